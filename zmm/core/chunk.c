/* chunk.c -- a heap's ring of chunks and its cache of spare ones.
 *
 * Owns:    the ring (next, prev, number), the cache, chunk_count, cached_count, the deletion counters.
 * Asks:    storage, usage.
 * Serves:  supply, gc, heap, request.
 * Keeps:   CHUNK-1  The ring starts at the main chunk, closes, and has chunk_count members of this heap.
 *          CHUNK-2  The cache has cached_count members of this heap; their pages are all free.
 *
 * The policy of deletion, with its thrash counter, is zendmm.md section 6. */
#include "core.h"

/* An empty chunk as ZendMM makes one: only the header page is used. The caller has cleared words and live bits. */
ZMM_INTERNAL void chunk_reset(chunk_record *chunk) {
    chunk->free_pages = ZMM_RUN_PAGES_MAX;
    chunk->free_tail = ZMM_HEADER_PAGES;
    for (uint32_t word = 0; word < ZMM_MAP_WORDS; word++) {
        chunk->free_map[word] = 0;
    }
    bits_assign(chunk->free_map, 0, ZMM_HEADER_PAGES, true);
}

ZMM_INTERNAL chunk_record *chunk_verified(zmm_heap *heap, chunk_record *chunk) {
    if (ZMM_GUARDS_METADATA && (!ground_is_record(chunk) || chunk->heap != heap)) {
        panic(heap, PANIC_CHUNK_RECORD, chunk);
    }
    return chunk;
}

ZMM_INTERNAL chunk_record *chunk_next(zmm_heap *heap, const chunk_record *chunk) {
    chunk_record *const next = chunk_verified(heap, chunk->next);
    if (ZMM_GUARDS_METADATA && next->prev != chunk) {
        panic(heap, PANIC_CHUNK_RECORD, next);
    }
    return next;
}

ZMM_INTERNAL void chunk_link_last(zmm_heap *heap, chunk_record *chunk) {
    chunk_record *const main_chunk = heap->main_chunk;
    chunk->next = main_chunk;
    chunk->prev = main_chunk->prev;
    chunk->number = chunk->prev->number + 1;
    chunk->prev->next = chunk;
    main_chunk->prev = chunk;
}

static void chunk_unlink(zmm_heap *heap, chunk_record *chunk) {
    chunk_record *const next = chunk_next(heap, chunk_verified(heap, chunk));
    chunk_record *const prev = chunk_verified(heap, chunk->prev);
    if (ZMM_GUARDS_METADATA && prev->next != chunk) {
        panic(heap, PANIC_CHUNK_RECORD, prev);
    }
    next->prev = prev;
    prev->next = next;
}

ZMM_INTERNAL void chunk_move_to_front(zmm_heap *heap, chunk_record *chunk) {
    chunk_record *const main_chunk = heap->main_chunk;
    zmm_assert(chunk != main_chunk);
    chunk_unlink(heap, chunk);
    chunk->next = main_chunk->next;
    chunk->prev = main_chunk;
    chunk->prev->next = chunk;
    chunk->next->prev = chunk;
}

ZMM_INTERNAL void chunk_cache_push(zmm_heap *heap, chunk_record *chunk) {
    chunk->next = heap->cached_chunks;
    heap->cached_chunks = chunk;
    heap->cached_count++;
}

/* The list ends where the count does: one that somebody wrote to may end too soon, or never. */
static void chunk_verify_cache_end(zmm_heap *heap, const chunk_record *chunk, uint32_t left_count) {
    if (ZMM_GUARDS_METADATA && (chunk == NULL) != (left_count == 0)) {
        panic(heap, PANIC_CHUNK_RECORD, chunk != NULL ? (const void *)chunk : &heap->cached_chunks);
    }
}

ZMM_INTERNAL chunk_record *chunk_cache_pop(zmm_heap *heap) {
    chunk_record *const chunk = heap->cached_chunks;
    chunk_verify_cache_end(heap, chunk, heap->cached_count);
    if (chunk != NULL) {
        heap->cached_chunks = chunk_verified(heap, chunk)->next;
        heap->cached_count--;
    }
    return chunk;
}

/* The bytes leave real_size here, unlike in the plain pop: a cached chunk is still mapped. */
ZMM_INTERNAL void chunk_cache_release_head(zmm_heap *heap) {
    chunk_record *const chunk = chunk_cache_pop(heap);
    heap->real_size_bytes -= ZMM_CHUNK_BYTES;
    storage_chunk_release(heap, chunk);
}

ZMM_INTERNAL void chunk_cache_reset(zmm_heap *heap) {
    uint32_t left_count = heap->cached_count;
    chunk_record *chunk = heap->cached_chunks;
    while (chunk != NULL) {
        chunk_verify_cache_end(heap, chunk, left_count);
        chunk_verified(heap, chunk)->number = 0;
        chunk_reset(chunk);
        chunk = chunk->next;
        left_count--;
    }
    chunk_verify_cache_end(heap, NULL, left_count);
}

ZMM_INTERNAL void chunk_delete(zmm_heap *heap, chunk_record *chunk) {
    zmm_assert(chunk != heap->main_chunk);
    zmm_assert(chunk->free_pages == ZMM_RUN_PAGES_MAX);
    chunk_unlink(heap, chunk);
    heap->chunk_count--;
    const bool is_expected_again = (double)(heap->chunk_count + heap->cached_count) < heap->chunk_count_average + 0.1;
    const bool is_thrashing = heap->chunk_count == heap->delete_boundary && heap->delete_count >= ZMM_DELETE_COUNT_MAX;
    if (is_expected_again || is_thrashing) {
        chunk_cache_push(heap, chunk);
        return;
    }
    heap->real_size_bytes -= ZMM_CHUNK_BYTES;
    if (heap->cached_chunks == NULL) {
        if (heap->chunk_count != heap->delete_boundary) {
            heap->delete_boundary = heap->chunk_count;
            heap->delete_count = 0;
        } else {
            heap->delete_count++;
        }
    }
    chunk_record *const head = heap->cached_chunks;
    if (head == NULL || chunk->number > chunk_verified(heap, head)->number) {
        storage_chunk_release(heap, chunk);
    } else {
        /* The older chunk (lower number) is kept in the cached head's place. */
        chunk->next = head->next;
        heap->cached_chunks = chunk;
        storage_chunk_release(heap, head);
    }
}
