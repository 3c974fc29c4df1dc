/* core_tests.c -- all cases on the core, compiled with it as one translation unit, so that they see its insides. */
#define _GNU_SOURCE
#include "unity.c"

#include "harness.h"
#include "storage.h"
#include "world.h"

#include "cases/bits.c"
#include "cases/vectors.c"
#include "cases/search.c"
#include "cases/cache.c"
#include "cases/small.c"
#include "cases/gc.c"
#include "cases/resize.c"
#include "cases/limit.c"
#include "cases/request.c"
#include "cases/storage.c"
#include "cases/check.c"
#include "cases/panic.c"
#include "cases/walk.c"
#include "cases/ground.c"
#include "cases/kernel.c"
#include "cases/emalloc.c"
#include "cases/guards.c"
#include "cases/reports.c"
#include "cases/texts.c"
#include "cases/trims.c"
#include "cases/waiting.c"
#include "cases/fences.c"
#include "cases/guarded.c"
#include "cases/switches.c"
#include "cases/mixed.c"

int main(int argument_count, char **arguments) {
    return test_main(argument_count, arguments);
}
