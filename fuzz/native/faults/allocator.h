/* allocator.h -- an allocator under attack, as one struct of functions; those it does not have are NULL. */
#ifndef ZMM_FAULTS_ALLOCATOR_H
#define ZMM_FAULTS_ALLOCATOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A second heap's number is 1; the heap of everyday is 0. */
#define HEAPS_MAX 2

/* Allocating functions return NULL for a refusal. `heap` is 0 or 1; targets without heaps have 0 only. */
struct allocator {
    bool zendmm; /* heaps, limit, gc and requests exist */
    void (*load)(const char *library);
    /* The library's own everyday functions, as a program calls them; for prices. */
    void *(*plain_alloc)(size_t size);
    void (*plain_free)(void *block);
    void (*open)(uint32_t heap);
    void (*close)(uint32_t heap);
    void *(*alloc)(uint32_t heap, size_t size);
    void *(*calloc)(uint32_t heap, size_t count, size_t size);
    void *(*safe_alloc)(uint32_t heap, size_t count, size_t size, size_t offset);
    void *(*realloc)(uint32_t heap, void *block, size_t size);
    void *(*realloc2)(uint32_t heap, void *block, size_t size, size_t copy);
    void *(*safe_realloc)(uint32_t heap, void *block, size_t count, size_t size, size_t offset);
    void *(*strndup)(uint32_t heap, const char *text, size_t length);
    void *(*aligned)(uint32_t heap, size_t alignment, size_t size);
    void (*free)(uint32_t heap, void *block);
    void (*free_sized)(uint32_t heap, void *block, size_t size);
    void (*free_large)(uint32_t heap, void *block, size_t size);
    size_t (*block_size)(uint32_t heap, void *block);
    bool (*set_limit)(uint32_t heap, size_t limit);
    size_t (*gc)(uint32_t heap);
    void (*request_end)(uint32_t heap);
    /* The address of a piece of metadata ("page_word", "limit", ...); NULL when no writable mapping holds it. */
    void *(*meta)(uint32_t heap, const char *kind, const void *block);
    /* Whether `meta` is there at all; the pointer above is always set. */
    bool (*has_meta)(void);
};

extern struct allocator allocator_zmm, allocator_php, allocator_malloc;

/* ---- for allocators ---- */

/* Opens `path`; an empty one is the process itself, with whatever stands in for malloc there. Ends the process when it
 * cannot be loaded. */
void library_open(const char *path);
void *library_find(const char *name); /* ends the process when it is not there */
void *library_find_if_there(const char *name);

#endif
