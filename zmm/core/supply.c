/* supply.c -- where the next run comes from: a gap, the chunk cache, the limit's permission, gc, new storage.
 *
 * Asks:    gc and all mechanisms.
 * Serves:  small and heap (a run), huge (may I map?).
 * Never:   unwinds. It records a refusal and returns nothing.
 *
 * The order of steps is zendmm.md section 5. After a gc that collected something, edition php-8.2 resumes at the chunk
 * cache and does not search the old chunks again; edition zmm starts over, so that it refuses only what really does not
 * fit. */
#include "core.h"

/* Walks the ring from the main chunk; returns the first page and the chunk, 0 when no chunk has a gap. `steps` counts
 * the chunks passed, the last one not included. */
static uint32_t supply_search(zmm_heap *heap, uint32_t run_pages, chunk_record **chunk, uint32_t *steps) {
    *steps = 0;
    for (chunk_record *candidate = chunk_verified(heap, heap->main_chunk);; candidate = chunk_next(heap, candidate)) {
        if (candidate->free_pages >= run_pages) {
            const uint32_t page_index = run_find(candidate, run_pages);
            if (page_index != 0) {
                *chunk = candidate;
                return page_index;
            }
        }
        if (candidate->next == heap->main_chunk) {
            return 0;
        }
        (*steps)++;
    }
}

enum supply_answer { SUPPLY_CHUNK, SUPPLY_SEARCH_AGAIN, SUPPLY_REFUSED };

/* A chunk for the heap, from the cache or new; it is not in the ring yet. */
static enum supply_answer supply_chunk(zmm_heap *heap, uint32_t run_pages, chunk_record **chunk) {
    const bool is_php = heap->edition == ZMM_EDITION_PHP_8_2;
    const size_t tried_bytes = (size_t)run_pages * ZMM_PAGE_BYTES;
    for (;;) {
        *chunk = chunk_cache_pop(heap);
        if (*chunk != NULL) {
            return SUPPLY_CHUNK;
        }
        if (usage_may_map(heap, ZMM_CHUNK_BYTES)) {
            break;
        }
        if (gc_collect(heap) == 0) {
            refuse_limit(heap, tried_bytes);
            return SUPPLY_REFUSED;
        }
        if (!is_php) {
            return SUPPLY_SEARCH_AGAIN;
        }
    }
    *chunk = storage_chunk_acquire(heap);
    if (*chunk == NULL) {
        const bool has_collected = gc_collect(heap) != 0;
        if (has_collected && !is_php) {
            return SUPPLY_SEARCH_AGAIN;
        }
        if (has_collected) {
            *chunk = storage_chunk_acquire(heap);
        }
        if (*chunk == NULL) {
            refuse_system(heap, tried_bytes);
            return SUPPLY_REFUSED;
        }
    }
    usage_map(heap, ZMM_CHUNK_BYTES);
    return SUPPLY_CHUNK;
}

ZMM_INTERNAL uint32_t supply_run(zmm_heap *heap, uint32_t run_pages, chunk_record **chunk) {
    uint32_t steps;
    uint32_t page_index;
    while ((page_index = supply_search(heap, run_pages, chunk, &steps)) == 0) {
        const enum supply_answer answer = supply_chunk(heap, run_pages, chunk);
        if (answer == SUPPLY_REFUSED) {
            return 0;
        }
        if (answer == SUPPLY_CHUNK) {
            heap->chunk_count++;
            if (heap->chunk_count_peak < heap->chunk_count) {
                heap->chunk_count_peak = heap->chunk_count;
            }
            chunk_reset(*chunk);
            chunk_link_last(heap, *chunk);
            page_index = ZMM_HEADER_PAGES;
            break;
        }
    }
    if (steps > ZMM_FRONT_STEPS && run_pages < ZMM_FRONT_PAGES) {
        chunk_move_to_front(heap, *chunk);
    }
    run_take(*chunk, page_index, run_pages);
    return page_index;
}

ZMM_INTERNAL bool supply_may_map_huge(zmm_heap *heap, size_t bytes) {
    if (usage_may_map(heap, bytes)) {
        return true;
    }
    const size_t collected_bytes = gc_collect(heap);
    if (heap->edition == ZMM_EDITION_PHP_8_2) {
        return collected_bytes != 0 && usage_may_map(heap, bytes);
    }
    while (!usage_may_map(heap, bytes) && heap->cached_chunks != NULL) {
        chunk_cache_release_head(heap);
    }
    return usage_may_map(heap, bytes);
}
