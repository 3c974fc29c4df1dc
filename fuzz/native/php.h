/* php.h -- the parts of PHP's heap that the runner reads, by offset. */
#ifndef ZMM_RUNNER_PHP_H
#define ZMM_RUNNER_PHP_H

#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#pragma GCC visibility push(hidden)

/* Offsets in the heap object and in a chunk's header; they differ between 8.2.34 and 8.2.35. */
struct php_layout {
    uint32_t limit, overflow, huge_list, main_chunk, cached_chunks, chunk_count, chunk_count_peak, cached_count,
        average, boundary, delete_count, free_map, page_map;
};

enum {
    PHP_SIZE = 16,
    PHP_PEAK = 24,
    PHP_FREE_SLOTS = 32,
    PHP_REAL_SIZE = 272,
    PHP_REAL_PEAK = 280,
    PHP_HEAP_IN_CHUNK = 64,
    PHP_CHUNK_NEXT = 8,
    PHP_CHUNK_FREE_PAGES = 24,
    PHP_CHUNK_FREE_TAIL = 28,
    PHP_CHUNK_NUMBER = 32,
    PHP_BIN_COUNT = 30,
    PHP_PAGE_COUNT = 512,
};

static inline uint64_t php_u64(const void *object, uint32_t offset) {
    uint64_t value;
    memcpy(&value, (const char *)object + offset, sizeof value);
    return value;
}

static inline uint32_t php_u32(const void *object, uint32_t offset) {
    uint32_t value;
    memcpy(&value, (const char *)object + offset, sizeof value);
    return value;
}

static inline const void *php_pointer(const void *object, uint32_t offset) {
    const void *value;
    memcpy(&value, (const char *)object + offset, sizeof value);
    return value;
}

/* The one heap of this process, and how its calls come back. */
struct php_state {
    const struct php_layout *layout;
    void *heap; /* NULL: none is open */
    bool kernel_storage;
    volatile bool running; /* PHP code runs on our behalf: only then are the interposed functions ours to answer */
    jmp_buf escape;        /* where a refusal ends */
    void (*bailout)(const char *file, uint32_t line); /* PHP's own */
};
extern struct php_state php_state;

/* True when the freshly started `heap` looks as this layout says. */
bool php_layout_fits(const struct php_layout *layout, const void *heap);
/* The digest of `check`. */
uint32_t php_digest(const struct php_layout *layout, const void *heap);

#pragma GCC visibility pop
#endif
