/* trims.c -- levels hardened and debug: what lies around blocks, and what waits before it is used again. */
#include "../storage.h"

#if ZMM_TRIMS
#define OVERRUN "written beyond its end"
#define FREED "a freed block was written to"
static const size_t trim_sizes[] = {0, 1, 7, 8, 9, 100, 1000, 3040, 3072, 4000, 5000, 100000, 2093000, 3 * MEBIBYTE};
#define TRIM_SIZE_COUNT (sizeof(trim_sizes) / sizeof(trim_sizes[0]))

/* The usable size of a block is what was asked for, to the byte. */
CASE_WITH_TRIMS(usable_size_is_the_requested_size) {
    zmm_heap *const heap = new_heap();
    for (size_t index = 0; index < TRIM_SIZE_COUNT; index++) {
        char *const block = alloc_of(heap, trim_sizes[index]);
        EXPECT_EQUAL(zmm_heap_block_size(heap, block), trim_sizes[index]);
        fill(block, trim_sizes[index], 1);
        EXPECT_HEALTHY(heap);
        zmm_heap_free(heap, block);
    }
    end_heap(heap);
}

/* One byte too many is found by whatever touches the block next, and at the end of the request. */
CASE_WITH_TRIMS(one_byte_beyond_the_end_panics) {
    for (size_t index = 0; index < TRIM_SIZE_COUNT; index++) {
        zmm_heap *const heap = new_heap();
        const size_t size = trim_sizes[index];
        char *const block = alloc_of(heap, size);
        allow_mistakes(block, size + 1);
        EXPECT_PANIC(OVERRUN, block[size] ^= 1; zmm_heap_free(heap, block));
        EXPECT_PANIC(OVERRUN, block[size] ^= 1; zmm_heap_realloc(heap, block, size + 10));
        EXPECT_PANIC(OVERRUN, block[size] ^= 1; zmm_heap_block_size(heap, block));
        EXPECT_PANIC(OVERRUN, block[size] ^= 1; zmm_heap_shutdown(heap, false, true));
        EXPECT_PANIC(OVERRUN, block[size] ^= 1; zmm_heap_shutdown(heap, true, true));
    }
}

/* A write before a block is one into the slot below it in its run: found when that one is freed or its request ends, and when
 * this one is resized. */
CASE_WITH_TRIMS(a_write_before_the_start_panics) {
    zmm_heap *const heap = new_heap();
    char *slots[60], *lower = NULL, *block = NULL;
    for (uint32_t count = 0; count < 60;
         count++) { /* slots come in a random order: two live neighbours are looked for */
        slots[count] = alloc_of(heap, 100);
        for (uint32_t other = 0; other < count; other++) {
            char *const first = slots[other] < slots[count] ? slots[other] : slots[count];
            char *const second = slots[other] < slots[count] ? slots[count] : slots[other];
            const bool one_run = (uintptr_t)first / ZMM_PAGE_BYTES == (uintptr_t)second / ZMM_PAGE_BYTES;
            if (one_run && second - first == (ptrdiff_t)bin_bytes[page_word_bin(*word_at(heap, first))]) {
                lower = first;
                block = second;
            }
        }
    }
    EXPECT(lower != NULL);
    allow_mistakes(block - 8, 8);
    EXPECT_PANIC(OVERRUN, block[-1] ^= 0x7f; zmm_heap_free(heap, block); zmm_heap_free(heap, lower));
    EXPECT_PANIC(OVERRUN, block[-1] ^= 0x7f; zmm_heap_realloc(heap, block, 200));
    EXPECT_PANIC(OVERRUN, block[-1] ^= 0x7f; zmm_heap_free(heap, lower));
    EXPECT_PANIC(OVERRUN, block[-1] ^= 0x7f; zmm_heap_shutdown(heap, false, true));
    end_heap(heap);
}

/* Level debug tells where a block was allocated and where it was freed; the reports of both levels what was asked for. */
CASE_WITH_TRIMS(reports_tell_requested_sizes_and_call_sites) {
    zmm_heap *const heap = new_heap();
    char *const slot = alloc_of(heap, 100);
    zmm_heap_free(heap, slot);
    REPORT_OF(zmm_heap_free(heap, slot));
    EXPECT_EQUAL(seen_report.requested_bytes, 100);
    EXPECT((seen_report.alloc_site != NULL) == ZMM_SITES && (seen_report.free_site != NULL) == ZMM_SITES);
    char *const other = alloc_of(heap, 1000);
    allow_mistakes(other, 1001);
    REPORT_OF(other[1000] ^= 1; zmm_heap_free(heap, other));
    EXPECT(seen_report.has_values && seen_report.expected == (seen_report.found ^ 1));
    EXPECT((seen_report.alloc_site != NULL) == ZMM_SITES && seen_report.free_site == NULL);
    char *const large = alloc_of(heap, 9000);
    zmm_heap_free(heap, large);
    REPORT_OF(zmm_heap_free(heap, large));
    EXPECT_EQUAL(seen_report.requested_bytes, 9000);
    EXPECT_IN_REPORT("the block was freed before");
}

/* Contents survive every resize; in place or not, the new end is guarded at once. */
CASE_WITH_TRIMS(resizing_keeps_contents_and_moves_the_guard) {
    for (size_t from = 0; from < TRIM_SIZE_COUNT; from++) {
        for (size_t to = 0; to < TRIM_SIZE_COUNT; to++) {
            zmm_heap *const heap = new_heap();
            char *block = alloc_of(heap, trim_sizes[from]);
            fill(block, trim_sizes[from], 2);
            block = zmm_heap_realloc(heap, block, trim_sizes[to]);
            EXPECT(is_filled(block, trim_sizes[from] < trim_sizes[to] ? trim_sizes[from] : trim_sizes[to], 2));
            EXPECT_EQUAL(zmm_heap_block_size(heap, block), trim_sizes[to]);
            memset(block, 3, trim_sizes[to]);
            block = zmm_heap_realloc2(heap, block, trim_sizes[to] + 50, 0);
            EXPECT_HEALTHY(heap);
            zmm_heap_free(heap, block);
            end_heap(heap);
        }
    }
}

/* A freed block is not handed out again at once, and a second free of it is found while it waits and later. */
CASE_WITH_TRIMS(freed_blocks_wait_and_are_not_freed_twice) {
    zmm_heap *const heap = new_heap();
    for (size_t index = 0; index < TRIM_SIZE_COUNT - 1; index++) {
        char *const block = alloc_of(heap, trim_sizes[index]);
        zmm_heap_free(heap, block);
        EXPECT_HEALTHY(heap);
        EXPECT_PANIC("not a live slot", zmm_heap_free(heap, block));
        EXPECT_PANIC("not a live slot", zmm_heap_realloc(heap, block, 10));
        char *const other = alloc_of(heap, trim_sizes[index]);
        EXPECT(other != block);
        zmm_heap_free(heap, other);
    }
    end_heap(heap);
}

/* What is written into a waiting block is found when it leaves: link words and state always, the rest where it wipes. */
CASE_WITH_TRIMS(writes_into_waiting_blocks_panic) {
    for (size_t wipes = 0; wipes < 2; wipes++) {
        zmm_heap *const heap = zmm_heap_startup(&(zmm_options){.wipes = wipes == 1});
        char *const slot = alloc_of(heap, 200);
        char *const large = alloc_of(heap, 9000);
        fill(slot, 200, 4);
        fill(large, 9000, 4);
        zmm_heap_free(heap, slot);
        zmm_heap_free(heap, large);
        allow_mistakes(slot, 208);
        allow_mistakes(large, (size_t)3 * 4096);
        EXPECT_PANIC(FREED, slot[0] ^= 1; quarantine_flush(heap));
        EXPECT_PANIC(FREED, slot[15] ^= 1; quarantine_flush(heap));
        EXPECT_PANIC(FREED, large[9000] ^= 1; quarantine_flush(heap));
        EXPECT_PANIC(FREED, large[3 * 4096 - 1] ^= 1; quarantine_flush(heap));
        if (wipes == 1) {
            EXPECT_PANIC(FREED, slot[16] ^= 1; quarantine_flush(heap));
            EXPECT_PANIC(FREED, slot[199] ^= 1; quarantine_flush(heap));
            EXPECT_PANIC(FREED, slot[201] ^= 1; quarantine_flush(heap));
            EXPECT_PANIC(FREED, large[8999] ^= 1; quarantine_flush(heap));
            EXPECT_PANIC(FREED, large[0] ^= 1; quarantine_flush(heap));
        }
        EXPECT(quarantine_flush(heap));
        EXPECT(!quarantine_flush(heap));
        EXPECT_HEALTHY(heap);
        end_heap(heap);
    }
}

/* The next owner of a slot never gets one that was written to while it was free: neither one that has waited ... */
CASE_WITH_TRIMS(writes_into_slots_are_found_before_their_next_owner_has_them) {
    store_prepare();
    zmm_heap *const heaps[] = {new_heap(), store_heap(ZMM_EDITION_ZMM, &store_handlers)};
    for (size_t index = 0; index < 2; index++) {
        zmm_heap *const heap = heaps[index];
        char *const slot = alloc_of(heap, 100);
        zmm_heap_free(heap, slot);
        static const size_t places[] = {0, 7, 8, 20, 40, 63};
        allow_mistakes(slot, 64);
        for (size_t at = 0; at < sizeof(places) / sizeof(places[0]); at++) {
            EXPECT_PANIC(
                FREED, slot[places[at]] ^= 1;
                for (uint32_t turn = 0; turn < 400; turn++) { zmm_heap_free(heap, alloc_of(heap, 100)); });
        }
        const position at = ground_locate(heap, slot);
        EXPECT_PANIC(
            "a free list leads to a live slot", live_exchange(live_word(at), at >> ZMM_SLOT_SHIFT, true);
            for (uint32_t turn = 0; turn < 400; turn++) { zmm_heap_free(heap, alloc_of(heap, 100)); });
        for (uint32_t turn = 0; turn < 1000; turn++) {
            zmm_heap_free(heap, alloc_of(heap, 100));
        }
        EXPECT_HEALTHY(heap);
        /* ... nor one from the free list, fresh from its run or let go in numbers. */
        char *const listed = *bin_head(heap, page_word_bin(ground.words[at >> ZMM_PAGE_SHIFT]));
        EXPECT(listed != NULL);
        allow_mistakes(listed, 64);
        EXPECT_PANIC(FREED, listed[30] ^= 1; for (uint32_t turn = 0; turn < 400; turn++) { alloc_of(heap, 100); });
        EXPECT_PANIC(FREED, listed[30] ^= 1; zmm_heap_shutdown(heap, false, true));
        char *many[400];
        for (uint32_t count = 0; count < 400; count++) {
            many[count] = alloc_of(heap, 100);
        }
        for (uint32_t count = 0; count < 400; count++) {
            zmm_heap_free(heap, many[count]);
        }
        EXPECT_HEALTHY(heap);
        EXPECT(quarantine_slot_count(heap) >= ZMM_QUARANTINE_SLOTS);
        EXPECT(quarantine_slot_count(heap) < ZMM_QUARANTINE_SLOTS_MAX);
        end_heap(heap);
    }
}

/* Large blocks of a few pages are wiped when they are freed, and looked at when they leave; longer ones keep their bytes. */
CASE_WITH_TRIMS(short_large_blocks_are_wiped) {
    zmm_heap *const heap = new_heap();
    char *const large = alloc_of(heap, 9000);
    char *const longer = alloc_of(heap, (ZMM_QUARANTINE_WIPED_PAGES + 1) * ZMM_PAGE_BYTES);
    memset(large, 'S', 9000);
    memset(longer, 'S', 9000);
    zmm_heap_free(heap, large);
    zmm_heap_free(heap, longer);
    allow_mistakes(large, 9000);
    allow_mistakes(longer, 9000);
    EXPECT(memchr(large, 'S', 9000) == NULL && longer[4096] == 'S');
    EXPECT_PANIC(FREED, large[128] = 'A'; quarantine_flush(heap));
    longer[128] = 'A';
    EXPECT(quarantine_flush(heap));
    end_heap(heap);
}

/* A text's byte or a zero behind a block is found surely. */
CASE_WITH_TRIMS(every_text_byte_behind_a_block_is_found) {
    zmm_heap *const heap = new_heap();
    for (size_t size = 0; size < 200; size += 19) {
        char *const block = alloc_of(heap, size);
        allow_mistakes(block + size, 1);
        for (int byte = 0; byte < 128; byte += 32) {
            EXPECT_PANIC(OVERRUN, block[size] = (char)byte; zmm_heap_free(heap, block));
        }
        zmm_heap_free(heap, block);
    }
    end_heap(heap);
}

/* Under a limit, what waits is let go before anything is refused. */
CASE_WITH_TRIMS(waiting_blocks_make_room_before_a_refusal) {
    zmm_heap *const heap = heap_of(ZMM_EDITION_ZMM, 2 * MEBIBYTE);
    for (uint32_t round = 0; round < 20; round++) {
        zmm_heap_free(heap, alloc_of(heap, MEBIBYTE));
    }
    EXPECT(zmm_heap_alloc(heap, 2 * MEBIBYTE) == NULL);
    EXPECT_EQUAL(zmm_heap_refusal(heap).kind, ZMM_REFUSAL_LIMIT);
    EXPECT_HEALTHY(heap);
    end_heap(heap);
}

/* The trims' own bytes may overflow the size; the refusal names them. */
CASE_WITH_TRIMS(sizes_that_leave_no_room_for_trims_are_refused) {
    zmm_heap *const heap = new_heap();
    char *const block = alloc_of(heap, 100);
    char expected[128];
    snprintf(expected, sizeof(expected), "Possible integer overflow in memory allocation (18446744073709551615 + %zu)",
             (size_t)TRIM_BYTES);
    EXPECT_REFUSED(heap, zmm_heap_alloc(heap, SIZE_MAX), expected);
    EXPECT_REFUSED(heap, zmm_heap_realloc(heap, block, SIZE_MAX), expected);
    end_heap(heap);
}

/* Random traffic with patterns: contents hold, the heap stays whole, the end finds nothing broken. */
CASE_WITH_TRIMS(random_traffic_with_trims) {
    enum { BLOCKS = 400 };
    static char *blocks[BLOCKS];
    static size_t sizes[BLOCKS];
    for (size_t wipes = 0; wipes < 2; wipes++) {
        memset(blocks, 0, sizeof(blocks));
        zmm_heap *const heap = zmm_heap_startup(&(zmm_options){.wipes = wipes == 1});
        uint64_t state = 5 + wipes;
        for (uint32_t step = 0; step < 12000; step++) {
            const size_t at = draw(&state) % BLOCKS;
            EXPECT(blocks[at] == NULL || is_filled(blocks[at], sizes[at], (unsigned)at));
            const uint64_t kind = draw(&state) % 32;
            if (blocks[at] != NULL && kind % 2 == 0) {
                zmm_heap_free(heap, blocks[at]);
                blocks[at] = NULL;
            } else {
                sizes[at] = draw(&state) % (kind == 1 ? 60000 : 3200);
                blocks[at] = zmm_heap_realloc2(heap, blocks[at], sizes[at], 0);
                fill(blocks[at], sizes[at], (unsigned)at);
            }
            if (step % 3000 == 0) {
                zmm_heap_gc(heap);
                EXPECT_HEALTHY(heap);
            }
        }
        zmm_heap_shutdown(heap, false, true);
        end_heap(heap);
    }
}

/* A pointer of an ended request finds nothing: the next request lives elsewhere. */
CASE_WITH_TRIMS(each_request_lives_at_other_addresses) {
    ledger_install();
    zmm_heap *const heap = new_heap();
    const chunk_record *const first = heap->main_chunk;
    char *const stale = alloc_of(heap, 100);
    chunk_full(heap);
    zmm_heap_shutdown(heap, false, true);
    EXPECT(heap->main_chunk != first);
    alloc_of(heap, 100);
    EXPECT_PANIC("not a block of this heap", zmm_heap_free(heap, stale));
    end_heap(heap);
    ledger_expect_balanced(0);
}
#endif
