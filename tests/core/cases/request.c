/* request.c -- zendmm.md section 14: the end of a request and the end of a heap. */
#include "../world.h"

/* After the end of a request the heap is as new: counters, first addresses, an empty chunk; limit and edition stay. */
CASE(request_end_gives_a_fresh_heap) {
    FOR_BOTH_EDITIONS(edition) {
        zmm_heap *const heap = heap_of(edition, 64 * MEBIBYTE);
        char *first[40];
        for (uint32_t round = 0; round < 3; round++) {
            for (uint32_t block = 0; block < 40; block++) {
                char *const place = alloc_of(heap, block * 301);
                EXPECT(round == 0 || place == first[block]);
                first[block] = place;
                memset(place, 0x77, block * 301);
            }
            zmm_heap_free(heap, first[5]);
            alloc_of(heap, 3 * MEBIBYTE);
            zmm_heap_shutdown(heap, false, true);
            EXPECT_HEALTHY(heap);
            const zmm_usage usage = usage_of(heap);
            EXPECT_EQUAL(usage.size_bytes, 0);
            EXPECT_EQUAL(usage.peak_bytes, 0);
            EXPECT_EQUAL(usage.real_size_bytes, 2 * MEBIBYTE);
            EXPECT_EQUAL(usage.real_peak_bytes, 2 * MEBIBYTE);
            EXPECT_EQUAL(usage.limit_bytes, 64 * MEBIBYTE);
            EXPECT_EQUAL(heap->main_chunk->free_pages, 511);
            EXPECT_EQUAL(heap->main_chunk->free_tail, 1);
            EXPECT_EQUAL(zmm_heap_edition(heap), edition);
        }
        end_heap(heap);
    }
}

/* Observed: after a request of 10 chunks the average is 5.5, 3.25, 2.125, 1.5625, 1.28...; cached 4, 2, 1, 0, 0. */
CASE(idle_requests_let_the_cache_shrink) {
    zmm_heap *const heap = new_heap();
    for (uint32_t chunk = 0; chunk < 10; chunk++) {
        chunk_full(heap);
    }
    static const double averages[] = {5.5, 3.25, 2.125, 1.5625, 1.28125};
    static const uint32_t cached[] = {4, 2, 1, 0, 0};
    for (size_t request = 0; request < 5; request++) {
        zmm_heap_shutdown(heap, false, true);
        const zmm_usage usage = usage_of(heap);
        EXPECT(usage.chunk_count_average == averages[request]);
        EXPECT_EQUAL(usage.cached_chunk_count, cached[request]);
        EXPECT_EQUAL(usage.real_size_bytes, (1 + cached[request]) * 2 * MEBIBYTE);
        EXPECT_EQUAL(usage.real_peak_bytes, usage.real_size_bytes);
        EXPECT_EQUAL(usage.chunk_count, 1);
        EXPECT_EQUAL(usage.chunk_count_peak, 1);
        EXPECT_HEALTHY(heap);
    }
    end_heap(heap);
}

/* The last chunk of the ring becomes the cache's head, so it serves the next request first; numbers start anew. */
CASE(next_request_gets_the_cached_chunks) {
    zmm_heap *const heap = new_heap();
    char *blocks[6];
    for (uint32_t chunk = 0; chunk < 6; chunk++) {
        blocks[chunk] = chunk_full(heap);
    }
    zmm_heap_shutdown(heap, false, true); /* average 3.5: the heads go until 2 + 0.9 <= 3.5 */
    EXPECT_EQUAL(usage_of(heap).cached_chunk_count, 2);
    EXPECT_EQUAL(heap->cached_chunks->number, 0);
    EXPECT_EQUAL(heap->cached_chunks->free_pages, 511);
    EXPECT(chunk_full(heap) == blocks[0]);
    EXPECT(chunk_full(heap) == blocks[2]);
    EXPECT(chunk_full(heap) == blocks[1]);
    EXPECT_TEXT(ring_of(heap), "0 1 2");
    end_heap(heap);
}

/* The thrash counters start anew with each request. */
CASE(request_end_forgets_the_thrash_counters) {
    zmm_heap *const heap = new_heap();
    for (uint32_t chunk = 0; chunk < 3; chunk++) {
        chunk_full(heap);
    }
    for (uint32_t cycle = 0; cycle < 4; cycle++) {
        zmm_heap_free(heap, chunk_full(heap));
    }
    EXPECT_EQUAL(usage_of(heap).delete_count, 3);
    zmm_heap_shutdown(heap, false, true);
    EXPECT_EQUAL(usage_of(heap).delete_boundary, 0);
    EXPECT_EQUAL(usage_of(heap).delete_count, 0);
    end_heap(heap);
}

/* Nothing of a request survives it: no free slot, no live bit, no page word of a freed, shrunk or live block. */
CASE_AT_ALL_LEVELS(nothing_of_a_request_survives_it) {
    zmm_heap *const heap = new_heap();
    for (uint32_t bin = 0; bin < ZMM_BIN_COUNT; bin++) {
        char *const slot = alloc_of(heap, bin_bytes[bin]);
        alloc_of(heap, bin_bytes[bin]);
        zmm_heap_free(heap, slot);
    }
    chunk_full(heap);
    zmm_heap_shutdown(heap, false, true);
    for (uint32_t bin = 0; bin < ZMM_BIN_COUNT; bin++) {
        EXPECT(free_head(heap, bin_bytes[bin]) == NULL);
    }
    for (uint32_t page = 0; page < ZMM_CHUNK_PAGES; page++) {
        EXPECT_EQUAL(chunk_words(heap->main_chunk)[page], 0);
    }
#if ZMM_LIVE_BITS
    for (uint32_t page = 0; page < ZMM_CHUNK_PAGES; page++) {
        EXPECT_EQUAL(check_live_bits(heap->main_chunk, page), 0);
    }
#endif
    EXPECT_HEALTHY(heap);
    end_heap(heap);
}

/* A full end gives all back: chunks, cached chunks, huge blocks, records; a second heap finds room again. */
CASE_AT_ALL_LEVELS(full_end_gives_everything_back) {
    ledger_install();
    FOR_BOTH_EDITIONS(edition) {
        zmm_heap *const heap = heap_of(edition, 0);
        char *blocks[5];
        for (uint32_t chunk = 0; chunk < 5; chunk++) {
            blocks[chunk] = chunk_full(heap);
            alloc_of(heap, 3 * MEBIBYTE);
        }
        heap->chunk_count_average = 9.0;
        zmm_heap_free(heap, blocks[4]);
        end_heap(heap);
        ledger_expect_balanced(0);
    }
    EXPECT_EQUAL(ledger.reserves, 1); /* the range is reserved once for all heaps */
}

/* Two heaps live side by side: each its own places, counters and limit; ending one leaves the other alone. */
CASE(heaps_are_independent) {
    zmm_heap *const first = heap_of(ZMM_EDITION_ZMM, 2 * MEBIBYTE);
    zmm_heap *const second = heap_of(ZMM_EDITION_PHP_8_2, 0);
    char *const first_block = alloc_of(first, 100);
    char *const second_block = alloc_of(second, 100);
    EXPECT_EQUAL(offset_of(first, first_block), offset_of(second, second_block));
    EXPECT_EQUAL(zmm_heap_place(first, second_block).kind, ZMM_PLACE_NONE);
    EXPECT(!zmm_heap_owns(second, first_block));
    EXPECT(zmm_heap_alloc(first, 3 * MEBIBYTE) == NULL);
    char *const huge = alloc_of(second, 3 * MEBIBYTE);
    EXPECT_EQUAL(usage_of(first).size_bytes, 112);
    end_heap(first);
    memset(huge, 1, 3 * MEBIBYTE);
    EXPECT_EQUAL(usage_of(second).size_bytes, 112 + 3 * MEBIBYTE + 24);
    zmm_heap *const third = new_heap();
    EXPECT_EQUAL(offset_of(third, alloc_of(third, 100)), 0x1000);
    end_heap(third);
    end_heap(second);
}

/* Level debug checks the whole heap when a request ends and panics when it is broken; other levels do not look. */
CASE_AT_ALL_LEVELS(level_debug_checks_the_heap_at_the_end_of_a_request) {
    zmm_heap *const heap = new_heap();
    alloc_of(heap, 100);
    heap->below_peak_bytes--;
#if ZMM_LEVEL >= ZMM_LEVEL_DEBUG
    EXPECT_PANIC("the heap is broken", zmm_heap_shutdown(heap, false, true));
    EXPECT_PANIC("the heap is broken", zmm_heap_shutdown(heap, true, true));
#else
    zmm_heap_shutdown(heap, false, true);
    EXPECT_HEALTHY(heap);
#endif
}

/* However low the average, the cache ends when it is empty. */
CASE_AT_ALL_LEVELS(emptying_the_cache_ends_with_the_cache) {
    zmm_heap *const heap = new_heap();
    heap->chunk_count_average = 0.1;
    zmm_heap_shutdown(heap, false, true);
    EXPECT_EQUAL(usage_of(heap).cached_chunk_count, 0);
    end_heap(heap);
}
