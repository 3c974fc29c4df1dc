/* bad_zmm.c -- zmm's library with one function of its table replaced by a wrong one, chosen by BUG; 0 is none. */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "zmm.h"

enum { NONE, PLACE, COUNTER, COLLECTS_NOTHING, INVARIANT, PANICS, CONTENTS, TEXT, REFUSES, GIVES_NOTHING_BACK };

static const zmm_api *good;
static zmm_api bad;

static void *alloc_wrong(zmm_heap *heap, size_t size_bytes) {
    if (BUG == PANICS && size_bytes == 100) {
        abort();
    }
    if (BUG == REFUSES && size_bytes == 100) {
        return good->heap_calloc(heap, SIZE_MAX, SIZE_MAX);
    }
    unsigned char *block = good->heap_alloc(heap, BUG == PLACE && size_bytes == 100 ? 200 : size_bytes);
    if (BUG == CONTENTS && block != NULL && size_bytes == 100) {
        block[-100] ^= 1; /* a neighbour's */
    }
    return block;
}

static size_t gc_wrong(zmm_heap *heap) {
    (void)heap;
    return 0;
}

static void usage_wrong(const zmm_heap *heap, zmm_usage *usage) {
    good->heap_usage(heap, usage);
    usage->peak_bytes += usage->size_bytes > 200 ? 8 : 0;
}

static const char *check_wrong(const zmm_heap *heap) {
    (void)heap;
    return "RUN-2";
}

static size_t text_wrong(const zmm_refusal *refusal, char *text, size_t text_bytes) {
    size_t length = good->refusal_text(refusal, text, text_bytes);
    text[0] = 'X';
    return length;
}

static void shutdown_wrong(zmm_heap *heap, bool full, bool silent) {
    (void)full;
    good->heap_shutdown(heap, false, silent);
}

__attribute__((visibility("default"))) const zmm_api *zmm_get_api(void) {
    void *handle = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    void *found = handle != NULL ? dlsym(handle, "zmm_get_api") : NULL;
    const zmm_api *(*get_api)(void);
    if (found == NULL) {
        return NULL;
    }
    memcpy(&get_api, &found, sizeof found);
    good = get_api();
    bad = *good;
    if (BUG == PLACE || BUG == PANICS || BUG == CONTENTS || BUG == REFUSES) {
        bad.heap_alloc = alloc_wrong;
    } else if (BUG == COUNTER) {
        bad.heap_usage = usage_wrong;
    } else if (BUG == COLLECTS_NOTHING) {
        bad.heap_gc = gc_wrong;
    } else if (BUG == INVARIANT) {
        bad.heap_check = check_wrong;
    } else if (BUG == TEXT) {
        bad.refusal_text = text_wrong;
    } else if (BUG == GIVES_NOTHING_BACK) {
        bad.heap_shutdown = shutdown_wrong;
    }
    return &bad;
}
