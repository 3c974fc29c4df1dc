/* search.c -- zendmm.md section 4 through the API: which gap, which chunk, free_tail, and the move to the front. */
#include "../world.h"

/* Blocks of the given page counts one behind the other, from page 1 of a fresh heap; a 0 ends the list. */
static void lay_out(zmm_heap *heap, const uint32_t *page_counts, char **blocks) {
    for (size_t index = 0; page_counts[index] != 0; index++) {
        blocks[index] = pages_of(heap, page_counts[index]);
    }
}

/* An exact gap is taken although a longer one lies lower. */
CASE(exact_gap_wins_over_a_lower_longer_one) {
    zmm_heap *const heap = new_heap();
    char *blocks[4];
    lay_out(heap, (const uint32_t[]){3, 1, 2, 1, 0}, blocks);
    zmm_heap_free(heap, blocks[0]);
    zmm_heap_free(heap, blocks[2]);
    EXPECT_EQUAL(page_of(heap, pages_of(heap, 2)), 5);
    end_heap(heap);
}

/* Among longer gaps the shortest wins; among equals the lowest. */
CASE(shortest_then_lowest_gap_wins) {
    zmm_heap *const heap = new_heap();
    char *blocks[8];
    lay_out(heap, (const uint32_t[]){6, 1, 5, 1, 5, 1, 0}, blocks);
    zmm_heap_free(heap, blocks[0]); /* 1..6 */
    zmm_heap_free(heap, blocks[2]); /* 8..12 */
    zmm_heap_free(heap, blocks[4]); /* 14..18 */
    EXPECT_EQUAL(page_of(heap, pages_of(heap, 3)), 8);
    EXPECT_EQUAL(page_of(heap, pages_of(heap, 4)), 14);
    end_heap(heap);
}

/* An interior gap beats a tail of the same or a greater length; a shorter tail wins, also one of exactly n pages. */
CASE(tail_is_taken_only_when_it_is_shorter_than_every_candidate) {
    static const struct {
        uint32_t gap_pages, tail_pages, asked_pages;
        bool takes_tail;
    } rows[] = {{5, 5, 3, false}, {5, 6, 3, false}, {5, 4, 3, true}, {5, 3, 3, true}, {5, 2, 3, false}};
    for (size_t index = 0; index < sizeof(rows) / sizeof(rows[0]); index++) {
        zmm_heap *const heap = new_heap();
        char *const gap = pages_of(heap, rows[index].gap_pages);
        const uint32_t rest_pages = 511 - rows[index].gap_pages - rows[index].tail_pages;
        pages_of(heap, rest_pages);
        zmm_heap_free(heap, gap);
        const uint32_t tail_page = 512 - rows[index].tail_pages;
        EXPECT_EQUAL(page_of(heap, pages_of(heap, rows[index].asked_pages)), rows[index].takes_tail ? tail_page : 1);
        /* An accurate value, in both cases. */
        EXPECT_EQUAL(heap->main_chunk->free_tail,
                     rows[index].takes_tail ? tail_page + rows[index].asked_pages : tail_page);
        end_heap(heap);
    }
}

/* With page 511 in use there is no tail: an interior gap serves, free_tail stays; without one a new chunk comes. */
CASE(without_a_tail_the_interior_gap_serves_or_the_chunk_fails) {
    zmm_heap *const heap = new_heap();
    char *blocks[4];
    lay_out(heap, (const uint32_t[]){5, 500, 6, 0}, blocks);
    EXPECT_EQUAL(heap->main_chunk->free_tail, 512);
    zmm_heap_free(heap, blocks[0]);
    EXPECT_EQUAL(page_of(heap, pages_of(heap, 3)), 1);
    EXPECT_EQUAL(heap->main_chunk->free_tail, 512);
    char *const elsewhere = pages_of(heap, 3);
    EXPECT_EQUAL(mapping_of(heap, elsewhere), 1);
    EXPECT_EQUAL(page_of(heap, elsewhere), 1);
    EXPECT_EQUAL(heap->main_chunk->free_tail, 512);
    end_heap(heap);
}

/* Observed: 8 pages at 23..30, free_tail 31; extended to 13 pages and shrunk to 3, it is still 31. */
CASE(free_tail_is_untouched_by_growth_and_shrinking_in_place) {
    zmm_heap *const heap = new_heap();
    pages_of(heap, 22);
    char *const block = pages_of(heap, 8);
    EXPECT_EQUAL(page_of(heap, block), 23);
    EXPECT_EQUAL(heap->main_chunk->free_tail, 31);
    EXPECT(zmm_heap_realloc(heap, block, 13 * ZMM_PAGE_BYTES) == block);
    EXPECT_EQUAL(heap->main_chunk->free_tail, 31);
    EXPECT_HEALTHY(heap); /* the run reaches beyond free_tail, but starts before it */
    EXPECT(zmm_heap_realloc(heap, block, 3 * ZMM_PAGE_BYTES) == block);
    EXPECT_EQUAL(heap->main_chunk->free_tail, 31);
    EXPECT_EQUAL(heap->main_chunk->free_pages, 511 - 25);
    end_heap(heap);
}

/* A chunk with fewer free pages than asked is passed over without a scan; one with enough, but in pieces, is scanned. */
CASE(chunks_are_tried_in_ring_order) {
    zmm_heap *const heap = new_heap();
    char *blocks[6];
    lay_out(heap, (const uint32_t[]){2, 1, 2, 1, 505, 0}, blocks); /* the main chunk is full */
    zmm_heap_free(heap, blocks[0]);
    zmm_heap_free(heap, blocks[2]);
    char *const scanned = pages_of(heap, 3); /* 4 pages free in two pieces */
    EXPECT_EQUAL(mapping_of(heap, scanned), 1);
    char *const passed = pages_of(heap, 5);
    EXPECT_EQUAL(mapping_of(heap, passed), 1);
    EXPECT_EQUAL(mapping_of(heap, pages_of(heap, 2)), 0);
    end_heap(heap);
}

/* Observed: with four full chunks [0,1,2,3] a small allocation makes chunk 4, and the order becomes [0,4,1,2,3]. */
CASE(new_chunk_behind_four_full_ones_moves_to_the_front) {
    zmm_heap *const heap = new_heap();
    for (uint32_t chunk = 0; chunk < 4; chunk++) {
        chunk_full(heap);
    }
    EXPECT_TEXT(ring_of(heap), "0 1 2 3");
    alloc_of(heap, 40);
    EXPECT_TEXT(ring_of(heap), "0 4 1 2 3");
    EXPECT_HEALTHY(heap);
    end_heap(heap);
}

/* Behind three full chunks it stays: three steps at least, and two were made. */
CASE(new_chunk_behind_three_full_ones_stays_last) {
    zmm_heap *const heap = new_heap();
    for (uint32_t chunk = 0; chunk < 3; chunk++) {
        chunk_full(heap);
    }
    alloc_of(heap, 40);
    EXPECT_TEXT(ring_of(heap), "0 1 2 3");
    end_heap(heap);
}

/* Runs of 8 pages and more leave the order alone, runs of 7 change it. */
CASE(only_runs_shorter_than_eight_pages_move_a_chunk) {
    for (uint32_t run_pages = 7; run_pages <= 8; run_pages++) {
        zmm_heap *const heap = new_heap();
        for (uint32_t chunk = 0; chunk < 4; chunk++) {
            chunk_full(heap);
        }
        pages_of(heap, run_pages);
        EXPECT_TEXT(ring_of(heap), run_pages < 8 ? "0 4 1 2 3" : "0 1 2 3 4");
        end_heap(heap);
    }
}

/* A gap in the fourth chunk of the ring moves that chunk behind the main one; a gap in the third does not. */
CASE(a_hit_after_three_steps_moves_the_chunk) {
    for (uint32_t hit = 2; hit <= 3; hit++) {
        zmm_heap *const heap = new_heap();
        char *blocks[4];
        for (uint32_t chunk = 0; chunk < 4; chunk++) {
            blocks[chunk] = chunk_full(heap);
        }
        EXPECT(zmm_heap_realloc(heap, blocks[hit], 509 * ZMM_PAGE_BYTES) == blocks[hit]);
        EXPECT_EQUAL(mapping_of(heap, pages_of(heap, 1)), hit);
        EXPECT_TEXT(ring_of(heap), hit == 3 ? "0 3 1 2" : "0 1 2 3");
        EXPECT_HEALTHY(heap);
        end_heap(heap);
    }
}

/* A later chunk's number is that of the last in the ring plus one, whatever the order. */
CASE(number_is_the_last_ones_plus_one) {
    zmm_heap *const heap = new_heap();
    for (uint32_t chunk = 0; chunk < 4; chunk++) {
        chunk_full(heap);
    }
    alloc_of(heap, 40); /* [0,4,1,2,3]: the last one is number 3 */
    chunk_full(heap);
    EXPECT_TEXT(ring_of(heap), "0 4 1 2 3 4");
    end_heap(heap);
}
