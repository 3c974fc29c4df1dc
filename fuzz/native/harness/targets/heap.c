/* heap.c -- target `heap`: every word, every setting, edition zmm. */
#include "../harness.h"

const struct harness_target harness_target = {.name = "heap"};
