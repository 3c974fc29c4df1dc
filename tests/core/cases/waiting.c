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

/* So is a free slot that has left already: its run goes back, and nobody could look at it again. */
CASE_WITH_TRIMS(gc_looks_at_what_it_gives_back) {
    zmm_heap *const heap = new_heap();
    char *const slot = alloc_of(heap, 200);
    zmm_heap_free(heap, slot);
    EXPECT(quarantine_flush(heap));
    allow_mistakes(slot, 32);
    EXPECT_PANIC("a freed block was written to", slot[20] ^= 1; zmm_heap_gc(heap));
    EXPECT(zmm_heap_gc(heap) > 0);
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

/* ---- addresses of huge blocks --------------------------------------------------------------------------------------- */

/* The addresses of a freed huge block rest: inaccessible, nobody's, and no longer counted; stale pointers are told as such. */
CASE_WITH_TRIMS(freed_huge_addresses_rest) {
    zmm_heap *const heap = new_heap();
    char *const huge = alloc_of(heap, 3 * MEBIBYTE);
    memset(huge, 1, 3 * MEBIBYTE);
    zmm_heap_free(heap, huge);
    EXPECT_EQUAL(usage_of(heap).real_size_bytes, 2 * MEBIBYTE);
    EXPECT_EQUAL(usage_of(heap).size_bytes, 0);
    EXPECT(!is_readable(huge) && !is_readable(huge + 3 * MEBIBYTE - 1));
    EXPECT(!zmm_heap_owns(heap, huge) && zmm_heap_place(heap, huge).kind == ZMM_PLACE_NONE);
    for (uint32_t count = 0; count < 10; count++) {
        EXPECT(alloc_of(heap, 3 * MEBIBYTE) != huge);
    }
    EXPECT_PANIC("not a live slot", zmm_heap_free(heap, huge));
    EXPECT_PANIC("not a live slot", zmm_heap_realloc(heap, huge, 3 * MEBIBYTE));
    EXPECT_PANIC("not a live slot", zmm_heap_block_size(heap, huge));
    REPORT_OF(zmm_heap_free(heap, huge + 4096));
    EXPECT(seen_report.block == huge && !seen_report.block_is_live);
    EXPECT((seen_report.alloc_site != NULL) == ZMM_SITES && (seen_report.free_site != NULL) == ZMM_SITES);
    EXPECT_IN_REPORT("belongs to this heap");
    EXPECT_IN_REPORT("(asked for 3145728), free, mapping 1, page 0; the address is 4096 bytes behind its start");
    EXPECT_IN_REPORT("the block was freed before");
    EXPECT_EQUAL(zmm_heap_gc(heap), 0); /* what rests has nothing to give */
    EXPECT_PANIC("not a live slot", zmm_heap_free(heap, huge));
    zmm_heap_shutdown(heap, false, true);
    EXPECT_EQUAL(heap->waiting->huge_count, 0);
    EXPECT_PANIC("not a block of this heap", zmm_heap_free(heap, huge));
    end_heap(heap);
}

/* A block that moved has rested from then on. */
CASE_WITH_TRIMS(addresses_that_a_huge_block_has_left_rest) {
    store_prepare();
    zmm_heap *const heap = new_heap();
    char *const huge = alloc_of(heap, 3 * MEBIBYTE);
    char *const small = zmm_heap_realloc(heap, huge, 100);
    EXPECT(small != NULL && huge_find_resting(heap, huge) != NULL);
    EXPECT_PANIC("not a live slot", zmm_heap_free(heap, huge));
    end_heap(heap);
}

/* So many rest, and so many bytes: then the first that came goes. */
CASE_WITH_TRIMS(resting_addresses_are_bounded) {
    ledger_install();
    zmm_heap *const heap = new_heap();
    const uint32_t maps = ledger.map_count;
    char *const first = alloc_of(heap, 2 * MEBIBYTE);
    zmm_heap_free(heap, first);
    for (uint32_t count = 1; count < ZMM_REST_HUGE; count++) {
        zmm_heap_free(heap, alloc_of(heap, 2 * MEBIBYTE + count * ZMM_PAGE_BYTES));
    }
    EXPECT(huge_find_resting(heap, first) != NULL);
    zmm_heap_free(heap, alloc_of(heap, 3 * MEBIBYTE));
    EXPECT(huge_find_resting(heap, first) == NULL);
    EXPECT_EQUAL(heap->waiting->huge_count, ZMM_REST_HUGE);
    EXPECT(ledger.map_count <= maps + ZMM_REST_HUGE + 1);
    if (!HAS_ADDRESS_SANITIZER) { /* its shadow would take real memory */
        for (uint32_t count = 0; count < 5; count++) {
            zmm_heap_free(heap, alloc_of(heap, (size_t)1 << 30));
        }
        EXPECT_EQUAL(heap->waiting->huge_count, 3); /* a page of trims each keeps the fourth out */
        EXPECT(heap->waiting->huge_bytes <= ZMM_REST_HUGE_BYTES);
    }
    end_heap(heap);
    ledger_expect_balanced(0);
}

/* Where addresses cannot rest they are given back at once: a kernel that does not do it or cannot, storage handlers, a block
 * that is too long. */
CASE_WITH_TRIMS(addresses_that_cannot_rest_go_at_once) {
    ledger_install();
    zmm_heap *const heap = new_heap();
    const uint32_t maps = ledger.map_count;
    char *const huge = alloc_of(heap, 3 * MEBIBYTE);
    ledger.failing = ledger.calls + 1;
    zmm_heap_free(heap, huge);
    EXPECT_EQUAL(ledger.calls, ledger.failing);
    EXPECT_EQUAL(ledger.map_count, maps + 1); /* the page of the record */
    EXPECT_EQUAL(heap->waiting->huge_count, 0);
    char *const longest = zmm_heap_alloc(heap, ZMM_REST_HUGE_BYTES);
    if (longest != NULL) { /* else the machine has too little memory */
        zmm_heap_free(heap, longest);
        EXPECT_EQUAL(heap->waiting->huge_count, 0);
    }
    EXPECT_HEALTHY(heap);
    end_heap(heap);
    ledger_expect_balanced(0);
    store_prepare();
    zmm_heap *const stored = store_heap(ZMM_EDITION_ZMM, &store_handlers);
    zmm_heap_free(stored, alloc_of(stored, 3 * MEBIBYTE));
    EXPECT_EQUAL(store.live_count, 1);
    end_heap(stored);
}

/* When no more can be mapped, what rests goes before anything is refused. */
CASE_WITH_TRIMS(resting_addresses_make_room_before_a_refusal) {
    ledger_install();
    zmm_heap *const heap = new_heap();
    zmm_heap_free(heap, alloc_of(heap, 3 * MEBIBYTE));
    EXPECT_EQUAL(heap->waiting->huge_count, 1);
    ledger.failing = ledger.calls + 1;
    ledger.failing_to = ledger.calls + 2; /* a gc finds the node's page and lets it try again */
    alloc_of(heap, 4 * MEBIBYTE);
    EXPECT_EQUAL(heap->waiting->huge_count, 0);
    end_heap(heap);
    ledger_expect_balanced(0);
}
#endif
