/* _mixed.c -- libzmm-mixed.so, to be preloaded: the C library's calls that take a block refuse those of zmm.
 *
 * A program that gives a block of zmm to free, realloc, reallocarray or malloc_usable_size corrupts the C library's heap,
 * mostly without a word. With this library preloaded such a call ends with zmm's report of the block; every other goes on
 * to the C library (or whichever allocator comes next). Each core in the process announces itself here (api.c). */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <malloc.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#define MIXED_CORES_MAX 16
#define MIXED_API __attribute__((visibility("default")))

/* Ends the process when the block is zmm's; returns when it is not. */
typedef void (*mixed_refuse)(const void *block, const char *call);
static mixed_refuse mixed_cores[MIXED_CORES_MAX];
static uint32_t mixed_count;

MIXED_API void zmm_mixed_announce(mixed_refuse refuse);
MIXED_API void zmm_mixed_announce(mixed_refuse refuse) {
    const uint32_t index = __atomic_fetch_add(&mixed_count, 1, __ATOMIC_RELAXED);
    if (index < MIXED_CORES_MAX) {
        __atomic_store_n(&mixed_cores[index], refuse, __ATOMIC_RELEASE);
    }
}

static void mixed_ask(const void *block, const char *call) {
    for (uint32_t index = 0; index < MIXED_CORES_MAX; index++) {
        const mixed_refuse refuse = __atomic_load_n(&mixed_cores[index], __ATOMIC_ACQUIRE);
        if (refuse == NULL) {
            return;
        }
        refuse(block, call);
    }
}

/* The next library's function of that name; it is looked up once. */
#define MIXED_NEXT(type, name, call)                                                                                   \
    static __typeof__(type) next;                                                                                      \
    if (next == NULL) {                                                                                                \
        *(void **)&next = dlsym(RTLD_NEXT, name);                                                                      \
    }                                                                                                                  \
    return next call

MIXED_API void free(void *block) {
    mixed_ask(block, "free");
    MIXED_NEXT(void (*)(void *), "free", (block));
}

MIXED_API void *realloc(void *block, size_t size_bytes) {
    mixed_ask(block, "realloc");
    MIXED_NEXT(void *(*)(void *, size_t), "realloc", (block, size_bytes));
}

MIXED_API void *reallocarray(void *block, size_t count, size_t size_bytes) {
    mixed_ask(block, "reallocarray");
    MIXED_NEXT(void *(*)(void *, size_t, size_t), "reallocarray", (block, count, size_bytes));
}

MIXED_API size_t malloc_usable_size(void *block);
MIXED_API size_t malloc_usable_size(void *block) {
    mixed_ask(block, "malloc_usable_size");
    MIXED_NEXT(size_t (*)(void *), "malloc_usable_size", (block));
}
