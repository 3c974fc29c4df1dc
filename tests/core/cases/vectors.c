/* vectors.c -- the golden and first-touch vectors of zendmm.md section 22, and the sizes of section 2. */
#include "../world.h"

/* Section 22: placement, free_tail, free_pages, usage and peak of one long scenario, in both editions. */
CASE(golden_vector) {
    FOR_BOTH_EDITIONS(edition) {
        zmm_heap *const heap = heap_of(edition, 0);
        static const size_t sizes[] = {100, 5000, 12000, 40, 8192, 3072, 320, 4096};
        static const size_t offsets[] = {0x1000, 0x2000, 0x4000, 0x7000, 0x8000, 0xa000, 0xd000, 0x12000};
        void *blocks[8];
        for (size_t index = 0; index < 8; index++) {
            blocks[index] = alloc_of(heap, sizes[index]);
            EXPECT_EQUAL(offset_of(heap, blocks[index]), offsets[index]);
        }
        zmm_heap_free(heap, blocks[1]);
        zmm_heap_free(heap, blocks[4]);
        zmm_heap_free(heap, blocks[7]);
        EXPECT_EQUAL(heap->main_chunk->free_tail, 18);
        EXPECT_EQUAL(heap->main_chunk->free_pages, 498);
        EXPECT_EQUAL(offset_of(heap, alloc_of(heap, 4096)), 0x2000); /* two holes of two pages: the lowest */
        EXPECT_EQUAL(offset_of(heap, alloc_of(heap, 8192)), 0x8000); /* exact */
        EXPECT_EQUAL(offset_of(heap, alloc_of(heap, 4000)), 0x3000); /* exact */
        EXPECT_EQUAL(offset_of(heap, alloc_of(heap, 20000)), 0x12000);
        void *const grown = alloc_of(heap, 30000);
        EXPECT_EQUAL(offset_of(heap, grown), 0x17000);
        EXPECT(zmm_heap_realloc(heap, grown, 50000) == grown);
        EXPECT(zmm_heap_realloc(heap, grown, 9000) == grown);
        EXPECT_EQUAL(offset_of(heap, alloc_of(heap, 4096)), 0x1a000);
        EXPECT_EQUAL(usage_of(heap).size_bytes, 69080);
        EXPECT_EQUAL(usage_of(heap).peak_bytes, 105944);
        end_heap(heap);
    }
}

/* Section 22: where the first block of each size lies in a fresh heap. */
CASE(first_touch_vector) {
    static const size_t sizes[] = {0, 1, 8, 9, 16, 24, 25, 256, 257, 320, 3072, 3073, 4096, 4097, 8192};
    static const size_t offsets[] = {0x1000, 0x1008, 0x1010, 0x2000, 0x2010, 0x3000,  0x4000, 0x5000,
                                     0x6000, 0x6140, 0xb000, 0xe000, 0xf000, 0x10000, 0x12000};
    FOR_BOTH_EDITIONS(edition) {
        zmm_heap *const heap = heap_of(edition, 0);
        for (size_t index = 0; index < sizeof(sizes) / sizeof(sizes[0]); index++) {
            EXPECT_EQUAL(offset_of(heap, alloc_of(heap, sizes[index])), offsets[index]);
        }
        end_heap(heap);
    }
}

/* Section 2, observed: request and block size; 2093056 bytes are one full chunk, one more is huge. */
CASE(block_sizes_as_observed) {
    static const size_t sizes[][2] = {{0, 8},       {1, 8},       {9, 16},      {257, 320},         {3072, 3072},
                                      {3073, 4096}, {4096, 4096}, {4097, 8192}, {2093056, 2093056}, {2093057, 2097152}};
    for (size_t index = 0; index < sizeof(sizes) / sizeof(sizes[0]); index++) {
        zmm_heap *const heap = new_heap();
        void *const block = alloc_of(heap, sizes[index][0]);
        EXPECT_EQUAL(zmm_heap_block_size(heap, block), sizes[index][1]);
        if (sizes[index][0] == 2093056) {
            EXPECT_EQUAL(page_of(heap, block), 1);
            EXPECT_EQUAL(heap->main_chunk->free_pages, 0);
        }
        end_heap(heap);
    }
}

/* Section 12: a fresh heap has 2 MiB real, nothing in use, and the default limit; nothing else is mapped. */
CASE_AT_ALL_LEVELS(fresh_heap_counters) {
    FOR_BOTH_EDITIONS(edition) {
        zmm_heap *const heap = heap_of(edition, 0);
        const zmm_usage usage = usage_of(heap);
        EXPECT_EQUAL(usage.size_bytes, 0);
        EXPECT_EQUAL(usage.peak_bytes, 0);
        EXPECT_EQUAL(usage.real_size_bytes, 2 * MEBIBYTE);
        EXPECT_EQUAL(usage.real_peak_bytes, 2 * MEBIBYTE);
        EXPECT_EQUAL(usage.limit_bytes, SIZE_MAX >> 1);
        EXPECT_EQUAL(usage.chunk_count, 1);
        EXPECT_EQUAL(usage.chunk_count_peak, 1);
        EXPECT_EQUAL(usage.cached_chunk_count, 0);
        EXPECT_EQUAL(usage.delete_boundary, 0);
        EXPECT_EQUAL(usage.delete_count, 0);
        EXPECT(usage.chunk_count_average == 1.0);
        EXPECT_EQUAL(heap->main_chunk->free_pages, 511);
        EXPECT_EQUAL(zmm_heap_edition(heap), edition);
        end_heap(heap);
    }
}

/* Each bin's run hands its elements out from the first on, at base, base + size, ...; the next run follows. */
CASE(slots_of_a_fresh_run_ascend) {
    for (uint32_t bin = 0; bin < ZMM_BIN_COUNT; bin++) {
        zmm_heap *const heap = new_heap();
        for (uint32_t slot = 0; slot < bin_elements[bin] + 1u; slot++) {
            const zmm_place place = zmm_heap_place(heap, alloc_of(heap, bin_bytes[bin]));
            const bool second_run = slot == bin_elements[bin];
            EXPECT_EQUAL(place.kind, ZMM_PLACE_SMALL);
            EXPECT_EQUAL(place.page_index, second_run ? 1u + bin_pages[bin] : 1u);
            EXPECT_EQUAL(place.slot_index, second_run ? 0 : slot);
            EXPECT_EQUAL(place.block_bytes, bin_bytes[bin]);
        }
        EXPECT_EQUAL(usage_of(heap).size_bytes, (size_t)bin_bytes[bin] * (bin_elements[bin] + 1u));
        end_heap(heap);
    }
}
