/* small.c -- zendmm.md sections 7 to 9: slots, large runs, huge blocks, and what each costs. */
#include "../world.h"

/* Freed slots are handed out again in reverse order, across the runs of their bin. */
CASE(free_slots_are_last_in_first_out_across_runs) {
    zmm_heap *const heap = new_heap();
    char *slots[9];
    for (uint32_t slot = 0; slot < 9; slot++) {
        slots[slot] = alloc_of(heap, 3072); /* four to a run: three runs */
    }
    static const uint32_t order[] = {0, 5, 3, 8};
    for (size_t index = 0; index < 4; index++) {
        zmm_heap_free(heap, slots[order[index]]);
    }
    for (size_t index = 4; index > 0; index--) {
        EXPECT(alloc_of(heap, 3072) == slots[order[index - 1]]);
    }
    end_heap(heap);
}

/* A free list belongs to its bin: a freed slot serves no other size. */
CASE(a_freed_slot_serves_only_its_own_bin) {
    zmm_heap *const heap = new_heap();
    char *const small = alloc_of(heap, 40);
    zmm_heap_free(heap, small);
    EXPECT(alloc_of(heap, 32) != small);
    EXPECT(alloc_of(heap, 48) != small);
    EXPECT(alloc_of(heap, 33) == small);
    end_heap(heap);
}

/* Size and peak count bin sizes, whole pages, and whole mappings with their node. */
CASE(size_counts_what_a_block_occupies) {
    zmm_heap *const heap = new_heap();
    char *const small = alloc_of(heap, 33);
    EXPECT_EQUAL(usage_of(heap).size_bytes, 40);
    char *const large = alloc_of(heap, 4097);
    EXPECT_EQUAL(usage_of(heap).size_bytes, 40 + 8192);
    char *const huge = alloc_of(heap, 2093057); /* observed: +2097176 and +2097152 */
    EXPECT_EQUAL(usage_of(heap).size_bytes, 40 + 8192 + 2097176);
    EXPECT_EQUAL(usage_of(heap).real_size_bytes, 2097152 + 2097152);
    zmm_heap_free(heap, huge);
    zmm_heap_free(heap, large);
    zmm_heap_free(heap, small);
    zmm_heap_free(heap, NULL);
    EXPECT_EQUAL(usage_of(heap).size_bytes, 0);
    EXPECT_EQUAL(usage_of(heap).peak_bytes, 40 + 8192 + 2097176);
    EXPECT_EQUAL(usage_of(heap).real_size_bytes, 2097152);
    EXPECT_EQUAL(usage_of(heap).real_peak_bytes, 2 * 2097152);
    end_heap(heap);
}

/* reset_peak brings both peaks down to the present. */
CASE(reset_peak_lowers_both_peaks) {
    zmm_heap *const heap = new_heap();
    char *const huge = alloc_of(heap, 3 * MEBIBYTE);
    alloc_of(heap, 100);
    zmm_heap_free(heap, huge);
    zmm_heap_reset_peak(heap);
    EXPECT_EQUAL(usage_of(heap).peak_bytes, 112);
    EXPECT_EQUAL(usage_of(heap).real_peak_bytes, 2 * MEBIBYTE);
    end_heap(heap);
}

/* Observed: after emalloc(24) at page + 0 a huge block's node takes page + 24, the next emalloc(24) page + 48. */
CASE(huge_node_takes_a_slot_of_24_bytes) {
    FOR_BOTH_EDITIONS(edition) {
        zmm_heap *const heap = heap_of(edition, 0);
        EXPECT_EQUAL(offset_of(heap, alloc_of(heap, 24)), 0x1000);
        char *const huge = alloc_of(heap, 2 * MEBIBYTE);
        EXPECT_EQUAL(offset_of(heap, huge), 0);
        EXPECT_EQUAL((uintptr_t)huge % (2 * MEBIBYTE), 0);
        EXPECT_EQUAL(offset_of(heap, alloc_of(heap, 24)), 0x1000 + 48);
        zmm_heap_free(heap, huge); /* the node's slot is free again, and first in line */
        EXPECT_EQUAL(offset_of(heap, alloc_of(heap, 24)), 0x1000 + 24);
        end_heap(heap);
    }
}

/* The node of a huge block may need a chunk of its own; that chunk is mapped after the block. */
CASE(huge_node_may_need_a_chunk) {
    zmm_heap *const heap = new_heap();
    chunk_full(heap);
    char *const huge = alloc_of(heap, 2 * MEBIBYTE);
    EXPECT_EQUAL(mapping_of(heap, huge), 1);
    EXPECT_EQUAL(usage_of(heap).chunk_count, 2);
    EXPECT_EQUAL(usage_of(heap).real_size_bytes, 6 * MEBIBYTE);
    EXPECT_EQUAL(mapping_of(heap, alloc_of(heap, 24)), 2);
    end_heap(heap);
}

/* A huge block's size is rounded to the page; its bytes are all usable. */
CASE(huge_blocks_are_rounded_to_the_page) {
    zmm_heap *const heap = new_heap();
    char *const huge = alloc_of(heap, 3 * MEBIBYTE + 1);
    EXPECT_EQUAL(zmm_heap_block_size(heap, huge), 3 * MEBIBYTE + 4096);
    huge[3 * MEBIBYTE + 4095] = 1;
    EXPECT_EQUAL(usage_of(heap).real_size_bytes, 5 * MEBIBYTE + 4096);
    end_heap(heap);
}

/* Huge blocks are freed in any order; each is unmapped at once, or its addresses rest where there are trims. */
CASE_AT_ALL_LEVELS(huge_blocks_are_freed_in_any_order) {
    ledger_install();
    zmm_heap *const heap = new_heap();
    char *blocks[3];
    for (size_t index = 0; index < 3; index++) {
        blocks[index] = alloc_of(heap, (3 + index) * MEBIBYTE);
    }
    const uint32_t maps = ledger.map_count;
    static const size_t order[] = {1, 2, 0};
    for (uint32_t index = 0; index < 3; index++) {
        zmm_heap_free(heap, blocks[order[index]]);
        EXPECT_EQUAL(ledger.map_count, ZMM_TRIMS ? maps : maps - 1 - index);
        EXPECT_HEALTHY(heap);
    }
    EXPECT_EQUAL(usage_of(heap).real_size_bytes, 2 * MEBIBYTE);
    end_heap(heap);
    ledger_expect_balanced(0);
}

/* More huge blocks than one page of records holds: the records live in pages of their own, all given back. */
CASE(huge_records_fill_more_than_one_page) {
    ledger_install();
    zmm_heap *const heap = new_heap();
    enum { BLOCKS = 120 };
    char *blocks[BLOCKS];
    for (size_t index = 0; index < BLOCKS; index++) {
        blocks[index] = alloc_of(heap, 2 * MEBIBYTE);
    }
    EXPECT_EQUAL(usage_of(heap).size_bytes, BLOCKS * (2 * MEBIBYTE + 24));
    for (size_t index = 0; index < BLOCKS; index += 2) {
        zmm_heap_free(heap, blocks[index]);
    }
    EXPECT_HEALTHY(heap);
    end_heap(heap);
    ledger_expect_balanced(0);
}

/* calloc zeroes exactly what was asked for, in slots and pages that were used before. */
CASE(calloc_zeroes_reused_memory) {
    zmm_heap *const heap = new_heap();
    static const size_t sizes[] = {1, 8, 13, 100, 3071, 3072, 3073, 5000, 100000, 2093056};
    for (size_t index = 0; index < sizeof(sizes) / sizeof(sizes[0]); index++) {
        char *const used = alloc_of(heap, sizes[index]);
        memset(used, 0xaa, zmm_heap_block_size(heap, used));
        zmm_heap_free(heap, used);
        char *const block = zmm_heap_calloc(heap, sizes[index], 1);
        EXPECT(block == used);
        for (size_t at = 0; at < sizes[index]; at++) {
            EXPECT_EQUAL(block[at], 0);
        }
        /* Slack keeps what was there, but where the slot bears the marks of having been free. */
        const bool is_slot = sizes[index] <= 3072;
        const size_t slack = is_slot && sizes[index] < FREED_HEAD_BYTES ? FREED_HEAD_BYTES : sizes[index];
        const size_t end = zmm_heap_block_size(heap, block) - (is_slot ? FREED_TAIL_BYTES : 0);
        for (size_t at = slack; at < end; at++) {
            EXPECT_EQUAL((unsigned char)block[at], 0xaa);
        }
        zmm_heap_free(heap, block);
    }
    end_heap(heap);
}

/* A huge calloc is zero without being written. */
CASE_AT_ALL_LEVELS(huge_calloc_is_zero) {
    zmm_heap *const heap = new_heap();
    for (uint32_t round = 0; round < 2; round++) {
        char *const block = zmm_heap_calloc(heap, 3, MEBIBYTE);
        for (size_t at = 0; at < 3 * MEBIBYTE; at += 511) {
            EXPECT_EQUAL(block[at], 0);
        }
        memset(block, 0x55, 3 * MEBIBYTE);
        zmm_heap_free(heap, block);
    }
    end_heap(heap);
}

/* strdup copies the NUL; strndup copies raw bytes, embedded NULs too, and writes a NUL behind them. */
CASE(strdup_and_strndup_copy_and_terminate) {
    zmm_heap *const heap = new_heap();
    char *const used = alloc_of(heap, 8);
    memset(used, 'x', 8);
    zmm_heap_free(heap, used);
    EXPECT_TEXT(zmm_heap_strdup(heap, "hello"), "hello");
    EXPECT_TEXT(zmm_heap_strdup(heap, ""), "");
    char *const cut = zmm_heap_strndup(heap, "hello", 3);
    EXPECT_TEXT(cut, "hel");
    char *const raw = zmm_heap_strndup(heap, "a\0bcdefgh", 9);
    EXPECT(memcmp(raw, "a\0bcdefgh", 10) == 0);
    EXPECT_EQUAL(zmm_heap_block_size(heap, raw), 16);
    EXPECT_TEXT(zmm_heap_strndup(heap, "", 0), "");
    end_heap(heap);
}

/* safe_alloc asks for count * size + offset. */
CASE(safe_alloc_adds_up) {
    zmm_heap *const heap = new_heap();
    EXPECT_EQUAL(zmm_heap_block_size(heap, zmm_heap_safe_alloc(heap, 3, 16, 8)), 56);
    EXPECT_EQUAL(zmm_heap_block_size(heap, zmm_heap_safe_alloc(heap, 0, SIZE_MAX, 9)), 16);
    EXPECT_EQUAL(zmm_heap_block_size(heap, zmm_heap_safe_realloc(heap, NULL, 2, 1500, 73)), 4096);
    end_heap(heap);
}
