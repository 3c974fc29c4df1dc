/* unity.c -- the whole core as one translation unit, in layer order, so that the fast paths inline across files. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "panic.c"
#include "refusal.c"
#include "kernel.c"
#include "ground.c"
#include "storage.c"
#include "chunk.c"
#include "run.c"
#include "bin.c"
#include "gc.c"
#include "supply.c"
#include "small.c"
#include "huge.c"
#include "identify.c"
#include "heap.c"
#include "resize.c"
#include "walk.c"
#include "check.c"
#include "request.c"
#include "api.c"
