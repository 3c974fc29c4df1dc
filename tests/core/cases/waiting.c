/* waiting.c -- levels hardened and debug: what lets freed blocks go that wait, and what is said of them when they leave. */
#include "../storage.h"

#if ZMM_TRIMS

/* A block that leaves quarantine damaged is told as what it was: free, with the call that freed it where that is kept. */
CASE_WITH_TRIMS(reports_of_blocks_written_to_while_they_waited_call_them_free) {
    zmm_heap *const heap = new_heap();
    char *const slot = alloc_of(heap, 200);
    char *const large = alloc_of(heap, 9000);
    zmm_heap_free(heap, slot);
    zmm_heap_free(heap, large);
    allow_mistakes(slot, 208);
    allow_mistakes(large, (size_t)3 * 4096);
    char *const damaged[] = {large, slot};
    for (size_t index = 0; index < 2; index++) {
        damaged[index][0] ^= 1;
        REPORT_OF(quarantine_flush(heap));
        EXPECT_IN_REPORT("a freed block was written to");
        EXPECT_IN_REPORT(index == 1 ? "(asked for 200), free, " : "(asked for 9000), free, ");
        EXPECT(!seen_report.block_is_live && seen_report.block == damaged[index]);
        EXPECT((seen_report.alloc_site != NULL) == ZMM_SITES && (seen_report.free_site != NULL) == ZMM_SITES);
    }
    /* Also by the call that was about to hand the slot out. */
    char *const other = alloc_of(heap, 100);
    zmm_heap_free(heap, other);
    allow_mistakes(other, 8);
    other[0] ^= 1;
    REPORT_OF(for (uint32_t turn = 0; turn < 400; turn++) { zmm_heap_free(heap, alloc_of(heap, 100)); });
    EXPECT(!seen_report.block_is_live && seen_report.block == other);
    EXPECT((seen_report.free_site != NULL) == ZMM_SITES);
}

/* The same for a slot from a free list. */
CASE_WITH_TRIMS(reports_of_listed_slots_that_were_written_to_call_them_free) {
    zmm_heap *const heap = new_heap();
    alloc_of(heap, 200);
    char *const listed = *bin_head(heap, bin_of_size(200 + TRIM_BYTES));
    EXPECT(listed != NULL);
    allow_mistakes(listed, 64);
    listed[30] ^= 1;
    REPORT_OF(for (uint32_t turn = 0; turn < 400; turn++) { alloc_of(heap, 200); });
    EXPECT(!seen_report.block_is_live && seen_report.block == listed);
}

/* gc gives back what waits: runs of slots, large blocks, and the chunks that become empty by that. */
CASE_WITH_TRIMS(gc_lets_go_what_waits) {
    FOR_BOTH_EDITIONS(edition) {
        zmm_heap *const heap = heap_of(edition, 0);
        char *blocks[100];
        for (uint32_t count = 0; count < 100; count++) {
            blocks[count] = alloc_of(heap, 1000);
        }
        char *const first = pages_of(heap, 300);
        char *const second = pages_of(heap, 300);
        const size_t peak_bytes = usage_of(heap).peak_bytes;
        EXPECT_EQUAL(zmm_heap_gc(heap), 0);
        EXPECT_EQUAL(heap->chunk_count, 2);
        for (uint32_t count = 0; count < 100; count++) {
            zmm_heap_free(heap, blocks[count]);
        }
        zmm_heap_free(heap, first);
        zmm_heap_free(heap, second);
        const size_t waiting_bytes = usage_of(heap).size_bytes;
        EXPECT(waiting_bytes > 300 * ZMM_PAGE_BYTES);
        EXPECT(zmm_heap_gc(heap) >= waiting_bytes);
        EXPECT_EQUAL(usage_of(heap).size_bytes, 0);
        EXPECT_EQUAL(usage_of(heap).peak_bytes, peak_bytes);
        EXPECT_EQUAL(heap->chunk_count, 1);
        EXPECT_EQUAL(heap->main_chunk->free_pages, ZMM_RUN_PAGES_MAX);
        EXPECT_EQUAL(zmm_heap_gc(heap), 0);
        end_heap(heap);
    }
}

/* A damaged block is found by gc, as by whatever else lets it go. */
CASE_WITH_TRIMS(gc_looks_at_what_it_lets_go) {
    zmm_heap *const heap = new_heap();
    char *const slot = alloc_of(heap, 200);
    zmm_heap_free(heap, slot);
    allow_mistakes(slot, 8);
    EXPECT_PANIC("a freed block was written to", slot[0] ^= 1; zmm_heap_gc(heap));
    end_heap(heap);
}

/* Blocks that wait do not speak against a lower limit; those that live do, and then nothing but quarantine has changed. */
CASE_WITH_TRIMS(a_lower_limit_lets_go_what_waits) {
    FOR_BOTH_EDITIONS(edition) {
        zmm_heap *const heap = heap_of(edition, 8 * MEBIBYTE);
        char *const first = pages_of(heap, 300);
        char *const second = pages_of(heap, 300);
        EXPECT_EQUAL(usage_of(heap).real_size_bytes, 4 * MEBIBYTE);
        EXPECT(!zmm_heap_set_limit(heap, 2 * MEBIBYTE));
        EXPECT_EQUAL(usage_of(heap).limit_bytes, 8 * MEBIBYTE);
        zmm_heap_free(heap, second);
        EXPECT(zmm_heap_set_limit(heap, 6 * MEBIBYTE)); /* nothing needs to go for this */
        EXPECT(quarantine_run_bytes(heap) > 0);
        EXPECT(zmm_heap_set_limit(heap, 2 * MEBIBYTE));
        EXPECT_EQUAL(quarantine_run_bytes(heap), 0);
        EXPECT_EQUAL(usage_of(heap).real_size_bytes, 2 * MEBIBYTE);
        EXPECT(!zmm_heap_set_limit(heap, MEBIBYTE));
        zmm_heap_free(heap, first);
        EXPECT(!zmm_heap_set_limit(heap, MEBIBYTE));
        EXPECT_EQUAL(quarantine_run_bytes(heap), 0);
        EXPECT_HEALTHY(heap);
        end_heap(heap);
    }
}
#endif
