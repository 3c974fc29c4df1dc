/* resize.c -- every transition of zendmm.md section 11: in place or moved, what is copied, what the counters do. */
#include "../world.h"

/* NULL allocates, even with size 0; size 0 is a request for the smallest block, never a free. */
CASE(realloc_of_null_allocates) {
    zmm_heap *const heap = new_heap();
    EXPECT_EQUAL(zmm_heap_block_size(heap, zmm_heap_realloc(heap, NULL, 0)), 8);
    EXPECT_EQUAL(zmm_heap_block_size(heap, zmm_heap_realloc(heap, NULL, 5000)), 8192);
    EXPECT_EQUAL(zmm_heap_block_size(heap, zmm_heap_realloc2(heap, NULL, 50, 7)), 56);
    end_heap(heap);
}

/* Observed: realloc to 0 leaves an 8-byte block alone and moves every other to an 8-byte block. */
CASE(realloc_to_zero_gives_the_smallest_block) {
    static const size_t sizes[] = {8, 16, 100, 3072, 4096, 20000, 3000000};
    for (size_t index = 0; index < sizeof(sizes) / sizeof(sizes[0]); index++) {
        zmm_heap *const heap = new_heap();
        char *const block = alloc_of(heap, sizes[index]);
        memcpy(block, "12345678", 8);
        char *const moved = zmm_heap_realloc(heap, block, 0);
        EXPECT((moved == block) == (sizes[index] == 8));
        EXPECT_EQUAL(zmm_heap_block_size(heap, moved), 8);
        EXPECT_EQUAL(usage_of(heap).size_bytes, 8);
        end_heap(heap);
    }
}

/* A block of bin b stays from the size of bin b - 1 (inclusive) to its own; below it moves down, above it moves up. */
CASE(small_block_stays_within_its_bin_and_one_below) {
    for (uint32_t bin = 0; bin < ZMM_BIN_COUNT; bin++) {
        const size_t low = bin == 0 ? 0 : bin_bytes[bin - 1];
        for (size_t size = low; size <= bin_bytes[bin]; size += bin_bytes[bin] - low) {
            zmm_heap *const heap = new_heap();
            char *const block = alloc_of(heap, bin_bytes[bin]);
            EXPECT(zmm_heap_realloc(heap, block, size) == block);
            EXPECT_EQUAL(usage_of(heap).size_bytes, bin_bytes[bin]);
            EXPECT_EQUAL(usage_of(heap).peak_bytes, bin_bytes[bin]);
            if (bin > 0) {
                char *const moved = zmm_heap_realloc(heap, block, low - 1);
                EXPECT(moved != block);
                EXPECT_EQUAL(zmm_heap_block_size(heap, moved), low);
            }
            end_heap(heap);
        }
    }
}

/* Observed boundaries: 3072 stays for 2560 and moves for 2559; 16 stays for 8 and moves for 7. */
CASE(shrinking_boundaries_as_observed) {
    zmm_heap *const heap = new_heap();
    char *const big = alloc_of(heap, 3072);
    char *const small = alloc_of(heap, 16);
    EXPECT(zmm_heap_realloc(heap, big, 2560) == big);
    EXPECT(zmm_heap_realloc(heap, small, 8) == small);
    EXPECT(zmm_heap_realloc(heap, big, 2559) != big);
    EXPECT(zmm_heap_realloc(heap, small, 7) != small);
    end_heap(heap);
}

/* Observed: usage 11264, realloc 3072 -> 100: usage 8304, peak 11376: both blocks lived, and the peak is not restored. */
CASE(peak_keeps_both_blocks_of_a_small_shrink) {
    zmm_heap *const heap = new_heap();
    alloc_of(heap, 8192);
    char *const block = alloc_of(heap, 3072);
    EXPECT_EQUAL(usage_of(heap).size_bytes, 11264);
    EXPECT(zmm_heap_realloc(heap, block, 100) != NULL);
    EXPECT_EQUAL(usage_of(heap).size_bytes, 8304);
    EXPECT_EQUAL(usage_of(heap).peak_bytes, 11376);
    end_heap(heap);
}

/* In every other move the peak is the higher of the old one and the final size. */
CASE(peak_hides_the_old_block_of_other_moves) {
    static const size_t moves[][2] = {{100, 3000}, {100, 5000},     {5000, 3000000},
                                      {5000, 100}, {3000000, 5000}, {3000000, 9}};
    for (size_t index = 0; index < sizeof(moves) / sizeof(moves[0]); index++) {
        zmm_heap *const heap = new_heap();
        char *const block = alloc_of(heap, moves[index][0]);
        const size_t peak = usage_of(heap).peak_bytes;
        EXPECT(zmm_heap_realloc(heap, block, moves[index][1]) != block);
        const zmm_usage usage = usage_of(heap);
        EXPECT_EQUAL(usage.peak_bytes, usage.size_bytes > peak ? usage.size_bytes : peak);
        end_heap(heap);
    }
}

/* The old block is freed after the new one is found: real_peak counts both, and the node needs a chunk. */
CASE(move_allocates_before_it_frees) {
    zmm_heap *const heap = new_heap();
    char *const full = chunk_full(heap);
    char *const moved = zmm_heap_realloc(heap, full, 3 * MEBIBYTE);
    EXPECT_EQUAL(mapping_of(heap, moved), 1);
    EXPECT_EQUAL(usage_of(heap).real_peak_bytes, 2 * MEBIBYTE + 3 * MEBIBYTE + 2 * MEBIBYTE);
    char *const back = zmm_heap_realloc(heap, moved, 2 * MEBIBYTE - 4096);
    EXPECT(back == full); /* the node's slot lies in a chunk of its own: the main one was full */
    EXPECT_EQUAL(usage_of(heap).size_bytes, 2 * MEBIBYTE - 4096);
    end_heap(heap);
}

/* What a move copies: the whole old block with its slack, cut to the new size; realloc2 at most copy_bytes of it. */
CASE(copies_are_exact) {
    static const struct {
        size_t from, to, copy, kept; /* copy 0: plain realloc; kept: the bytes that must arrive */
    } rows[] = {
        {100, 3000, 0, 112},      {100, 3000, 50, 50},
        {100, 3000, 5000, 112},   {3000, 100, 0, 100},
        {3000, 100, 60, 60},      {3000, 100, 5000, 100},
        {100, 5000, 0, 112},      {9000, 2500000, 0, 12288},
        {9000, 2500000, 10, 10},  {9000, 100, 0, 100},
        {2500000, 9000, 0, 9000}, {2500000, 9000, 4097, 4097},
        {2500000, 100, 200, 100}, {2093056, 2093057, 0, 2093056},
    };
    for (size_t index = 0; index < sizeof(rows) / sizeof(rows[0]); index++) {
        /* Copying more than the old block holds is left to edition php-8.2 here; edition zmm panics. */
        zmm_heap *const heap = heap_of(ZMM_EDITION_PHP_8_2, 0);
        /* The place where the block will go carries other bytes, so that too long a copy is seen as well. */
        char *const block = alloc_of(heap, rows[index].from);
        const size_t old_bytes = zmm_heap_block_size(heap, block);
        fill(block, old_bytes, 1);
        char *const target = alloc_of(heap, rows[index].to);
        const size_t new_bytes = zmm_heap_block_size(heap, target);
        memset(target, 0xee, new_bytes);
        zmm_heap_free(heap, target);
        char *const moved = rows[index].copy == 0 ? zmm_heap_realloc(heap, block, rows[index].to)
                                                  : zmm_heap_realloc2(heap, block, rows[index].to, rows[index].copy);
        EXPECT(moved != block);
        EXPECT_EQUAL(zmm_heap_block_size(heap, moved), new_bytes);
        EXPECT(is_filled(moved, rows[index].kept, 1));
        if (moved == target && new_bytes <= ZMM_LARGE_BYTES_MAX) {
            const size_t kept = rows[index].kept < FREED_HEAD_BYTES ? FREED_HEAD_BYTES : rows[index].kept;
            for (size_t at = kept; at < new_bytes - (new_bytes <= 3072 ? FREED_TAIL_BYTES : 0); at++) {
                EXPECT_EQUAL((unsigned char)moved[at], 0xee);
            }
        }
        end_heap(heap);
    }
}

/* Whoever wants more copied than the block holds is wrong about the block: found from level release on in edition zmm,
 * moved or not; asking for as much as the new size, as realloc does, is no mistake, and php-8.2 copies what is there. */
CASE_AT_ALL_LEVELS(copying_more_than_a_block_holds_panics_in_edition_zmm) {
    for (uint32_t edition = ZMM_EDITION_ZMM; edition <= ZMM_EDITION_PHP_8_2; edition++) {
        zmm_heap *const heap = heap_of((zmm_edition)edition, 0);
        static const size_t sizes[] = {64, 9000, 3 * MEBIBYTE};
        for (size_t index = 0; index < sizeof(sizes) / sizeof(sizes[0]); index++) {
            const size_t size = sizes[index];
            char *const block = alloc_of(heap, size);
            const size_t holds = zmm_heap_block_size(heap, block);
            fill(block, size, 9);
            if (ZMM_LEVEL >= ZMM_LEVEL_RELEASE && edition == ZMM_EDITION_ZMM) {
                EXPECT_PANIC("read beyond its end", zmm_heap_realloc2(heap, block, size * 3, holds + 1));
                EXPECT_PANIC("read beyond its end", zmm_heap_realloc2(heap, block, size, SIZE_MAX));
            } else {
                EXPECT(is_filled(zmm_heap_realloc2(heap, alloc_of(heap, size), size * 3, holds + 1), 0, 9));
            }
            char *const moved = zmm_heap_realloc2(heap, block, size * 3, size * 3);
            EXPECT(is_filled(moved, size, 9));
            EXPECT(is_filled(zmm_heap_realloc2(heap, moved, size * 4, size), size, 9));
        }
        EXPECT_HEALTHY(heap);
        end_heap(heap);
    }
}

/* In place nothing is copied, whatever copy_bytes says. */
CASE(realloc2_in_place_keeps_all_bytes) {
    zmm_heap *const heap = new_heap();
    char *const small = alloc_of(heap, 100);
    char *const large = alloc_of(heap, 9000);
    fill(small, zmm_heap_block_size(heap, small), 3);
    fill(large, zmm_heap_block_size(heap, large), 4);
    EXPECT(zmm_heap_realloc2(heap, small, 111, 1) == small);
    EXPECT(zmm_heap_realloc2(heap, large, 12000, 1) == large);
    EXPECT(zmm_heap_realloc2(heap, large, 16000, 1) == large);
    EXPECT(is_filled(small, zmm_heap_block_size(heap, small), 3));
    EXPECT_EQUAL(zmm_heap_block_size(heap, large), 16384);
    EXPECT(is_filled(large, 12288, 4));
    end_heap(heap);
}

/* Large: fewer pages free the tail in place, more pages take the gap behind, as far as it is free. */
CASE(large_block_shrinks_and_grows_in_place) {
    zmm_heap *const heap = new_heap();
    char *const block = pages_of(heap, 10);
    EXPECT(zmm_heap_realloc(heap, block, 10 * 4096 - 100) == block);
    EXPECT(zmm_heap_realloc(heap, block, 4096) == block);
    EXPECT_EQUAL(usage_of(heap).size_bytes, 4096);
    EXPECT_EQUAL(heap->main_chunk->free_pages, 510);
    EXPECT(zmm_heap_realloc(heap, block, 511 * 4096) == block);
    EXPECT_EQUAL(usage_of(heap).peak_bytes, 511 * 4096);
    EXPECT_EQUAL(heap->main_chunk->free_pages, 0);
    EXPECT(zmm_heap_realloc(heap, block, 3073) == block);
    EXPECT_EQUAL(zmm_heap_block_size(heap, block), 4096);
    EXPECT_EQUAL(page_of(heap, pages_of(heap, 510)), 2);
    end_heap(heap);
}

/* A page in use behind the block, or the chunk's end, makes it move. */
CASE(large_block_moves_when_the_gap_behind_is_too_short) {
    zmm_heap *const heap = new_heap();
    char *const first = pages_of(heap, 2);
    char *const between = pages_of(heap, 2);
    char *const last = pages_of(heap, 507);
    fill(first, 2 * 4096, 5);
    zmm_heap_free(heap, between);
    EXPECT(zmm_heap_realloc(heap, first, 4 * 4096) == first);
    char *const moved = zmm_heap_realloc(heap, first, 5 * 4096);
    EXPECT_EQUAL(mapping_of(heap, moved), 1);
    EXPECT(is_filled(moved, 2 * 4096, 5));
    char *const at_the_end = zmm_heap_realloc(heap, last, 508 * 4096);
    EXPECT_EQUAL(mapping_of(heap, at_the_end), 2); /* 506 pages are free in chunk 1, and 4 in the main one */
    end_heap(heap);
}

/* A chunk that a move empties is deleted by the free; one that a shrink leaves with one page is not. */
CASE(only_moves_empty_chunks) {
    zmm_heap *const heap = new_heap();
    chunk_full(heap);
    char *const block = chunk_full(heap);
    EXPECT(zmm_heap_realloc(heap, block, 4096) == block);
    EXPECT_EQUAL(usage_of(heap).chunk_count, 2);
    EXPECT(zmm_heap_realloc(heap, block, 8) != block);
    EXPECT_EQUAL(usage_of(heap).chunk_count, 2); /* the new slot lies in the same chunk */
    end_heap(heap);
}

/* Growth in place needs no limit: it takes pages that the heap has already. */
CASE(growth_in_place_needs_no_permission) {
    zmm_heap *const heap = heap_of(ZMM_EDITION_ZMM, 2 * MEBIBYTE);
    char *const block = pages_of(heap, 1);
    EXPECT(zmm_heap_realloc(heap, block, 511 * 4096) == block);
    end_heap(heap);
}

/* Huge on the kernel: the same page count stays, a smaller one is cut in place, and grows back over what was cut. */
CASE_AT_ALL_LEVELS(huge_block_shrinks_in_place_and_grows_back) {
    zmm_heap *const heap = new_heap();
    char *const block = alloc_of(heap, 5000000);
    fill(block, 3000000, 6);
    EXPECT(zmm_heap_realloc(heap, block, 5001216) == block); /* 5000000 is 4998 bytes short of its last page's end */
    EXPECT(zmm_heap_realloc(heap, block, 3000000) == block);
    EXPECT_EQUAL(usage_of(heap).real_size_bytes, 2 * MEBIBYTE + 3002368);
    EXPECT_EQUAL(usage_of(heap).size_bytes, 24 + 3002368);
    char *const grown = zmm_heap_realloc(heap, block, 3500000);
    EXPECT(grown == block);
    EXPECT_EQUAL(usage_of(heap).real_size_bytes, 2 * MEBIBYTE + 3502080);
    EXPECT(is_filled(grown, 3000000, 6));
    end_heap(heap);
}

/* Where the kernel cannot extend, a huge block moves with all its bytes. */
CASE(huge_block_moves_when_it_cannot_grow) {
    ledger_install();
    zmm_heap *const heap = new_heap();
    char *const block = alloc_of(heap, 3 * MEBIBYTE);
    fill(block, 3 * MEBIBYTE, 7);
    ledger.failing = ledger.calls + 1; /* the extension */
    char *const moved = zmm_heap_realloc(heap, block, 4 * MEBIBYTE);
    EXPECT(moved != NULL && moved != block);
    EXPECT(is_filled(moved, 3 * MEBIBYTE, 7));
    EXPECT_EQUAL(usage_of(heap).size_bytes, 4 * MEBIBYTE + 24);
    EXPECT_EQUAL(usage_of(heap).real_size_bytes, 6 * MEBIBYTE);
    EXPECT_EQUAL(usage_of(heap).real_peak_bytes, 9 * MEBIBYTE);
    end_heap(heap);
    ledger_expect_balanced(0);
}
