/* cache.c -- zendmm.md sections 5 and 6: chunks that come, go, and are kept for later. */
#include "../world.h"

/* Deleting the only chunk besides the main one caches it (1 + 0 < 1.1); real size stays. The cache serves it again. */
CASE(chunk_beside_the_main_one_is_cached_and_reused) {
    FOR_BOTH_EDITIONS(edition) {
        zmm_heap *const heap = heap_of(edition, 0);
        chunk_full(heap);
        char *const second = chunk_full(heap);
        zmm_heap_free(heap, second);
        EXPECT_EQUAL(usage_of(heap).chunk_count, 1);
        EXPECT_EQUAL(usage_of(heap).cached_chunk_count, 1);
        EXPECT_EQUAL(usage_of(heap).real_size_bytes, 4 * MEBIBYTE);
        EXPECT_HEALTHY(heap);
        EXPECT(chunk_full(heap) == second);
        EXPECT_EQUAL(usage_of(heap).cached_chunk_count, 0);
        EXPECT_EQUAL(usage_of(heap).real_size_bytes, 4 * MEBIBYTE);
        EXPECT_EQUAL(usage_of(heap).real_peak_bytes, 4 * MEBIBYTE);
        end_heap(heap);
    }
}

/* Observed: with three chunks kept, adding and freeing a fourth unmaps it in cycles 1 to 5 (delete_count 0 to 4), and
 * caches it in cycle 6. */
CASE(sixth_cycle_of_a_fourth_chunk_caches_it) {
    FOR_BOTH_EDITIONS(edition) {
        zmm_heap *const heap = heap_of(edition, 0);
        for (uint32_t chunk = 0; chunk < 3; chunk++) {
            chunk_full(heap);
        }
        for (uint32_t cycle = 0; cycle < 6; cycle++) {
            zmm_heap_free(heap, chunk_full(heap));
            const zmm_usage usage = usage_of(heap);
            EXPECT_EQUAL(usage.delete_boundary, 3);
            EXPECT_EQUAL(usage.delete_count, cycle < 5 ? cycle : 4);
            EXPECT_EQUAL(usage.cached_chunk_count, cycle == 5);
            EXPECT_EQUAL(usage.real_size_bytes, (cycle == 5 ? 8 : 6) * MEBIBYTE);
            EXPECT_EQUAL(usage.chunk_count, 3);
            EXPECT_EQUAL(usage.chunk_count_peak, 4);
        }
        end_heap(heap);
    }
}

/* Chunks 0..4 full, and chunk 3 in the cache by thrashing; the blocks of chunks 1, 2 and 4 are returned. */
static zmm_heap *heap_with_cached_third(zmm_edition edition, char *blocks[3]) {
    zmm_heap *const heap = heap_of(edition, 0);
    chunk_full(heap);
    blocks[0] = chunk_full(heap);
    blocks[1] = chunk_full(heap);
    for (uint32_t cycle = 0; cycle < 6; cycle++) {
        zmm_heap_free(heap, chunk_full(heap));
    }
    EXPECT_EQUAL(heap->cached_chunks->number, 3);
    return heap;
}

/* Observed: with number 3 cached, freeing chunk 1 unmaps number 3 and caches number 1, whose address is reused. */
CASE(lower_number_replaces_the_cached_head) {
    FOR_BOTH_EDITIONS(edition) {
        char *blocks[3];
        zmm_heap *const heap = heap_with_cached_third(edition, blocks);
        zmm_heap_free(heap, blocks[0]);
        EXPECT_EQUAL(heap->cached_chunks->number, 1);
        EXPECT_EQUAL(usage_of(heap).cached_chunk_count, 1);
        EXPECT_EQUAL(usage_of(heap).real_size_bytes, 6 * MEBIBYTE);
        EXPECT_EQUAL(usage_of(heap).delete_boundary, 3); /* not touched while the cache is filled */
        EXPECT_EQUAL(usage_of(heap).delete_count, 4);
        EXPECT_HEALTHY(heap);
        EXPECT(chunk_full(heap) == blocks[0]);
        end_heap(heap);
    }
}

/* A higher number than the cached head's is unmapped itself. */
CASE(higher_number_than_the_cached_head_is_unmapped) {
    char *blocks[3];
    zmm_heap *const heap = heap_with_cached_third(ZMM_EDITION_ZMM, blocks);
    zmm_heap_free(heap, blocks[0]); /* now number 1 is cached; [0,2] are left */
    chunk_record *const head = heap->cached_chunks;
    zmm_heap_reset_peak(heap);
    heap->chunk_count_average = 0.0; /* as after many idle requests: nothing is expected again */
    zmm_heap_free(heap, blocks[1]);
    EXPECT(heap->cached_chunks == head);
    EXPECT_EQUAL(usage_of(heap).real_size_bytes, 4 * MEBIBYTE);
    EXPECT_EQUAL(usage_of(heap).chunk_count, 1);
    end_heap(heap);
}

/* Replacement keeps the rest of the cache: only the head is exchanged. */
CASE(replacing_the_head_keeps_the_tail_of_the_cache) {
    zmm_heap *const heap = new_heap();
    char *blocks[4];
    for (uint32_t chunk = 0; chunk < 4; chunk++) {
        blocks[chunk] = chunk_full(heap);
    }
    heap->chunk_count_average = 4.0;
    zmm_heap_free(heap, blocks[2]); /* 3 + 0 < 4.1 */
    zmm_heap_free(heap, blocks[3]); /* 2 + 1 < 4.1: the cache is now 3, 2 */
    heap->chunk_count_average = 1.0;
    zmm_heap_free(heap, blocks[1]);
    EXPECT_EQUAL(heap->cached_chunks->number, 1);
    EXPECT_EQUAL(heap->cached_chunks->next->number, 2);
    EXPECT(heap->cached_chunks->next->next == NULL);
    EXPECT_EQUAL(usage_of(heap).cached_chunk_count, 2);
    end_heap(heap);
}

/* The boundary of "expected again" is chunks + cached < average + 0.1: equality does not cache. */
CASE(deletion_threshold_is_the_average_plus_a_tenth) {
    static const struct {
        double average;
        uint32_t cached;
    } rows[] = {{0.9, 0}, {0.91, 1}, {1.0, 1}, {0.5, 0}};
    for (size_t index = 0; index < sizeof(rows) / sizeof(rows[0]); index++) {
        zmm_heap *const heap = new_heap();
        chunk_full(heap);
        char *const second = chunk_full(heap);
        heap->chunk_count_average = rows[index].average;
        zmm_heap_free(heap, second);
        EXPECT_EQUAL(usage_of(heap).cached_chunk_count, rows[index].cached);
        end_heap(heap);
    }
}

/* The main chunk stays when its last block is freed; so does any chunk when small blocks are freed. */
CASE(only_large_frees_delete_chunks_and_never_the_main_one) {
    zmm_heap *const heap = new_heap();
    char *const main_block = chunk_full(heap);
    char *const small = alloc_of(heap, 3072);
    zmm_heap_free(heap, small);
    EXPECT_EQUAL(usage_of(heap).chunk_count, 2);
    zmm_heap_free(heap, main_block);
    EXPECT_EQUAL(usage_of(heap).chunk_count, 2);
    EXPECT_EQUAL(heap->main_chunk->free_pages, 511);
    EXPECT_EQUAL(usage_of(heap).cached_chunk_count, 0);
    end_heap(heap);
}

/* The cache is last in, first out. */
CASE(cache_is_last_in_first_out) {
    zmm_heap *const heap = new_heap();
    char *blocks[4];
    for (uint32_t chunk = 0; chunk < 4; chunk++) {
        blocks[chunk] = chunk_full(heap);
    }
    heap->chunk_count_average = 9.0;
    for (uint32_t chunk = 1; chunk < 4; chunk++) {
        zmm_heap_free(heap, blocks[chunk]);
    }
    EXPECT_EQUAL(usage_of(heap).real_size_bytes, 8 * MEBIBYTE);
    EXPECT(chunk_full(heap) == blocks[3]);
    EXPECT(chunk_full(heap) == blocks[2]);
    EXPECT(chunk_full(heap) == blocks[1]);
    end_heap(heap);
}
