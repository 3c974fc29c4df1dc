/* fence.c -- the inaccessible page behind a long run, inside its chunk (levels with trims).
 *
 * Owns:    the fence map of every chunk record, and the count of raised fences in the process.
 * Asks:    kernel, ground's tables, bits.
 * Serves:  trim (raise, move), quarantine (lower when the block leaves), request (lower at its end), fault.
 * Keeps:   FENCE-1  A page of the fence map is the last of a long run, or a run of its own that waits for the request's end.
 *
 * The page is one of the run's own, so the run is a page longer than its block needs; how long a block is follows from the
 * length of its run alone (fence.h). A fence that cannot be raised is none: the block is an ordinary one, with the page as
 * slack that nobody uses, and the heap counts it (missing_fence_count). Each raised fence costs the kernel two mappings, of
 * which a process has 65530, so there are only so many at a time. */
#include "core.h"

#if ZMM_TRIMS

#include <stdatomic.h>

static atomic_uint fence_raised_count; /* of all heaps */

static bool fence_move(chunk_record *chunk, uint32_t page_index, bool is_raised) {
    if (!kernel()->fence(chunk_page(chunk, page_index), ZMM_PAGE_BYTES, is_raised)) {
        return false;
    }
    bits_assign(chunk->fence_map, page_index, 1, is_raised);
    atomic_fetch_add(&fence_raised_count, is_raised ? 1u : UINT32_MAX);
    return true;
}

ZMM_INTERNAL void fence_raise(zmm_heap *heap, chunk_record *chunk, uint32_t page_index, uint32_t run_pages) {
    if (fence_has_room(heap, run_pages) &&
        (atomic_load(&fence_raised_count) >= ZMM_FENCES_MAX || !fence_move(chunk, page_index + run_pages - 1, true))) {
        heap->missing_fence_count++;
    }
}

ZMM_INTERNAL bool fence_lower(chunk_record *chunk, uint32_t page_index) {
    return !bits_test(chunk->fence_map, page_index) || fence_move(chunk, page_index, false);
}

ZMM_INTERNAL void fence_forget_all(chunk_record *chunk) {
    atomic_fetch_sub(&fence_raised_count, bits_count(chunk->fence_map));
    for (uint32_t word = 0; word < ZMM_MAP_WORDS; word++) {
        chunk->fence_map[word] = 0;
    }
}

/* All at once: what lies between them is accessible already. */
ZMM_INTERNAL bool fence_lower_all(chunk_record *chunk) {
    const size_t size_bytes = ZMM_RUN_PAGES_MAX * ZMM_PAGE_BYTES;
    const bool are_down = bits_all_clear(chunk->fence_map, 0, ZMM_CHUNK_PAGES) ||
                          kernel()->fence(chunk_page(chunk, ZMM_HEADER_PAGES), size_bytes, false);
    if (are_down) {
        fence_forget_all(chunk);
    }
    return are_down;
}

#endif
