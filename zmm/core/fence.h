/* fence.h -- how long a run with a fence is, and how long its block: the one follows from the other. Included by core.h, in
 * its place among the layers.
 *
 * A block of so many pages at least gets a run of one page more, whose last page is inaccessible. A run that ends its chunk
 * needs none: behind the chunk lies the first page of the next, which nobody may touch, or the guard of its mapping. */
#ifndef ZMM_FENCE_H
#define ZMM_FENCE_H

#include "layout.h"

#if ZMM_TRIMS
/* Does the run's last page belong to a fence? Heaps on storage handlers have none: their pages are not ours to protect. */
static inline bool fence_has_room(const zmm_heap *heap, uint32_t run_pages) {
    return run_pages > heap->fenced_pages_min && run_pages < ZMM_RUN_PAGES_MAX;
}
/* The bytes to ask for, so that a large block of inner_bytes has room for its fence. */
static inline size_t fence_add(const zmm_heap *heap, size_t inner_bytes) {
    const size_t pages = (inner_bytes + ZMM_PAGE_BYTES - 1) / ZMM_PAGE_BYTES;
    return (pages >= heap->fenced_pages_min && pages < ZMM_RUN_PAGES_MAX ? pages + 1 : pages) * ZMM_PAGE_BYTES;
}
#endif
/* The bytes of a large block from the length of its run. */
static inline size_t fence_block_bytes(const zmm_heap *heap, uint32_t run_pages) {
#if ZMM_TRIMS
    run_pages -= fence_has_room(heap, run_pages);
#else
    (void)heap;
#endif
    return (size_t)run_pages * ZMM_PAGE_BYTES;
}

#endif
