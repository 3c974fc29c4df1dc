/* gc.c -- zendmm.md section 10: what is collected, what stays, and in which order. */
#include "../world.h"

/* Observed: a fully free page of 16-byte slots gives 4096, a run of 320-byte slots 20480; usage and peak stay. */
CASE(gc_returns_the_bytes_of_the_pages) {
    FOR_BOTH_EDITIONS(edition) {
        for (uint32_t bin = 1; bin < ZMM_BIN_COUNT; bin++) {
            zmm_heap *const heap = heap_of(edition, 0);
            zmm_heap_free(heap, alloc_of(heap, bin_bytes[bin]));
            EXPECT_EQUAL(heap->main_chunk->free_pages, 511u - bin_pages[bin]);
            EXPECT_EQUAL(zmm_heap_gc(heap), bin_pages[bin] * ZMM_PAGE_BYTES);
            EXPECT_EQUAL(heap->main_chunk->free_pages, 511);
            EXPECT_EQUAL(usage_of(heap).size_bytes, 0);
            EXPECT_EQUAL(usage_of(heap).peak_bytes, bin_bytes[bin]);
            EXPECT_EQUAL(zmm_heap_gc(heap), 0);
            end_heap(heap);
        }
    }
}

/* Bin 0: 512 free slots overflow PHP's counter, so edition php-8.2 never collects its runs; edition zmm does. */
CASE(bin_0_is_collected_by_edition_zmm_only) {
    FOR_BOTH_EDITIONS(edition) {
        zmm_heap *const heap = heap_of(edition, 0);
        zmm_heap_free(heap, alloc_of(heap, 8));
        EXPECT_EQUAL(zmm_heap_gc(heap), edition == ZMM_EDITION_ZMM ? 4096 : 0);
        EXPECT_EQUAL(offset_of(heap, alloc_of(heap, 8)), 0x1000);
        end_heap(heap);
    }
}

/* One live slot keeps its run; the free slots of other runs go, and the order of those that stay is kept. */
CASE(gc_keeps_runs_with_a_live_slot_and_the_order_of_their_free_slots) {
    FOR_BOTH_EDITIONS(edition) {
        zmm_heap *const heap = heap_of(edition, 0);
        char *slots[24]; /* bin 19: 8 slots of 512 bytes to a page, three runs */
        for (uint32_t slot = 0; slot < 24; slot++) {
            slots[slot] = alloc_of(heap, 512);
        }
        /* Interleaved: the second run completely, of the others all but one. */
        static const uint32_t order[] = {1, 9, 17, 10, 2, 18, 8, 3, 11, 23, 15, 12, 7, 13, 14};
        for (size_t index = 0; index < sizeof(order) / sizeof(order[0]); index++) {
            zmm_heap_free(heap, slots[order[index]]);
        }
        EXPECT_EQUAL(zmm_heap_gc(heap), 4096);
        EXPECT_HEALTHY(heap);
        static const uint32_t left[] = {7, 23, 3, 18, 2, 17, 1};
        for (size_t index = 0; index < sizeof(left) / sizeof(left[0]); index++) {
            EXPECT(alloc_of(heap, 512) == slots[left[index]]);
        }
        EXPECT(alloc_of(heap, 512) == slots[8]); /* the collected page, carved anew */
        end_heap(heap);
    }
}

/* A gc that finds nothing changes nothing, not even the scratch counters. */
CASE(gc_without_free_runs_changes_nothing) {
    zmm_heap *const heap = new_heap();
    char *const first = alloc_of(heap, 512);
    char *const second = alloc_of(heap, 512);
    pages_of(heap, 3);
    zmm_heap_free(heap, first);
    for (uint32_t round = 0; round < 3; round++) {
        EXPECT_EQUAL(zmm_heap_gc(heap), 0);
    }
    EXPECT(alloc_of(heap, 512) == first);
    (void)second;
    end_heap(heap);
}

/* A chunk that gc empties goes by the rule of deletion; the value counts its pages, not its 2 MiB. */
CASE(gc_deletes_chunks_that_it_empties) {
    FOR_BOTH_EDITIONS(edition) {
        zmm_heap *const heap = heap_of(edition, 0);
        chunk_full(heap);
        char *slots[3];
        slots[0] = alloc_of(heap, 512);
        chunk_record *const second = chunk_at(heap, slots[0]);
        pages_of(heap, 510); /* the second chunk is full */
        slots[1] = alloc_of(heap, 2048);
        EXPECT_EQUAL(usage_of(heap).chunk_count, 3);
        zmm_heap_free(heap, slots[1]);
        EXPECT_EQUAL(zmm_heap_gc(heap), 4 * ZMM_PAGE_BYTES);
        EXPECT_EQUAL(usage_of(heap).chunk_count, 2);
        EXPECT_EQUAL(usage_of(heap).real_size_bytes, 4 * MEBIBYTE); /* unmapped: 2 + 0 < 1.1 fails */
        EXPECT_EQUAL(usage_of(heap).delete_boundary, 2);
        EXPECT(heap->main_chunk->next == second);
        end_heap(heap);
    }
}

/* No edition deletes the main chunk, although it is empty. */
CASE(gc_keeps_an_empty_main_chunk) {
    FOR_BOTH_EDITIONS(edition) {
        zmm_heap *const heap = heap_of(edition, 0);
        zmm_heap_free(heap, alloc_of(heap, 100));
        EXPECT_EQUAL(zmm_heap_gc(heap), 4096);
        EXPECT_EQUAL(zmm_heap_gc(heap), 0);
        EXPECT_EQUAL(usage_of(heap).chunk_count, 1);
        EXPECT_EQUAL(usage_of(heap).cached_chunk_count, 0);
        EXPECT_EQUAL(offset_of(heap, alloc_of(heap, 5000)), 0x1000);
        end_heap(heap);
    }
}

/* free_tail is lowered only when the collected run ends exactly there, run by run from low to high. */
CASE(gc_lowers_free_tail_only_at_its_end) {
    zmm_heap *const heap = new_heap();
    char *const low = alloc_of(heap, 320);   /* pages 1..5 */
    char *const high = alloc_of(heap, 2560); /* pages 6..10 */
    EXPECT_EQUAL(heap->main_chunk->free_tail, 11);
    zmm_heap_free(heap, low);
    EXPECT_EQUAL(zmm_heap_gc(heap), 5 * ZMM_PAGE_BYTES);
    EXPECT_EQUAL(heap->main_chunk->free_tail, 11);
    char *const again = alloc_of(heap, 320);
    EXPECT(again == low);
    zmm_heap_free(heap, again);
    zmm_heap_free(heap, high);
    EXPECT_EQUAL(zmm_heap_gc(heap), 10 * ZMM_PAGE_BYTES);
    EXPECT_EQUAL(heap->main_chunk->free_tail, 6); /* the low run went first, when free_tail was still 11 */
    EXPECT_HEALTHY(heap);
    end_heap(heap);
}

/* A large run extended in place ends beyond free_tail; the walk steps over it. */
CASE(gc_steps_over_a_large_run_that_ends_beyond_free_tail) {
    zmm_heap *const heap = new_heap();
    char *const large = pages_of(heap, 2);
    EXPECT(zmm_heap_realloc(heap, large, 40 * ZMM_PAGE_BYTES) == large);
    EXPECT_EQUAL(heap->main_chunk->free_tail, 3);
    EXPECT_EQUAL(zmm_heap_gc(heap), 0);
    zmm_heap_free(heap, alloc_of(heap, 64));
    EXPECT_EQUAL(zmm_heap_gc(heap), 4096);
    end_heap(heap);
}

/* A heap built of many random blocks gives every page back when all are freed and collected. */
CASE(gc_collects_everything_that_random_traffic_left) {
    FOR_BOTH_EDITIONS(edition) {
        enum { BLOCKS = 3000 };
        static char *blocks[BLOCKS];
        zmm_heap *const heap = heap_of(edition, 0);
        uint64_t state = 7;
        memset(blocks, 0, sizeof(blocks));
        for (uint32_t step = 0; step < 20000; step++) {
            const size_t at = draw(&state) % BLOCKS;
            if (blocks[at] != NULL) {
                zmm_heap_free(heap, blocks[at]);
                blocks[at] = NULL;
            } else {
                const uint64_t kind = draw(&state) % 8;
                blocks[at] = alloc_of(heap, 16 + draw(&state) % (kind == 0 ? 40000 : 3057));
            }
            if (step % 4000 == 3999) {
                zmm_heap_gc(heap);
                EXPECT_HEALTHY(heap);
            }
        }
        for (size_t at = 0; at < BLOCKS; at++) {
            zmm_heap_free(heap, blocks[at]);
        }
        zmm_heap_gc(heap);
        EXPECT_EQUAL(usage_of(heap).size_bytes, 0);
        EXPECT_EQUAL(usage_of(heap).chunk_count, 1);
        EXPECT_EQUAL(heap->main_chunk->free_pages, 511);
        end_heap(heap);
    }
}
