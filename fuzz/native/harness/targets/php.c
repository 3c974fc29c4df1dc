/* php.c -- target `php`: as `heap`, in edition php-8.2 with its harmless quirks. */
#include "../harness.h"

const struct harness_target harness_target = {.name = "php", .php = true};
