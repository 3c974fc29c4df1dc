/* guards.c -- the allocator's own records, overwritten on purpose: from level release on the damage is found before it is
 * used. Level fast believes its records, as PHP does. */
#include "../storage.h"

#if ZMM_GUARDS_METADATA
#define PAGE_MAP "a page map was written to"
#define FREE_MAP "a free map was written to"
#define CHUNK_RECORD "a chunk record was written to"
#define HUGE_RECORD "a huge block's record was written to"
#define WILD(type) ((type *)0x4141414141414141)
/* Level debug checks the whole heap before it ends a request. */
#if ZMM_LEVEL >= ZMM_LEVEL_DEBUG
#define AT_THE_END(reason) "the heap is broken"
#else
#define AT_THE_END(reason) reason
#endif

/* The word of a live block's page is believed by nobody. */
CASE_WITH_GUARDS(written_page_words_panic) {
    zmm_heap *const heap = new_heap();
    char *const slot = alloc_of(heap, 900);
    for (uint32_t index = 1; index < 9; index++) {
        alloc_of(heap, 900); /* the run has no free slot left: gc comes across its word only */
    }
    char *const large = pages_of(heap, 3);
    const page_word small_words[] = {page_word_seal(heap->id, PAGE_WORD_SMALL | 30),
                                     page_word_small(heap->id + 1, 22, 0),
                                     page_word_small(heap->id - 1, 22, 0), /* neither above nor below is the own one */
                                     *word_at(heap, slot) | PAGE_WORD_LARGE, *word_at(heap, slot) | (page_word)1 << 8};
    for (size_t index = 0; index < sizeof(small_words) / sizeof(small_words[0]); index++) {
        EXPECT_PANIC(PAGE_MAP, *word_at(heap, slot) = small_words[index]; zmm_heap_free(heap, slot));
        EXPECT_PANIC(PAGE_MAP, *word_at(heap, slot) = small_words[index]; zmm_heap_realloc(heap, slot, 2));
        EXPECT_PANIC(PAGE_MAP, *word_at(heap, slot) = small_words[index]; zmm_heap_block_size(heap, slot));
        if (!ZMM_TRIMS) {
            EXPECT_PANIC(PAGE_MAP, *word_at(heap, slot) = small_words[index]; zmm_heap_gc(heap));
        }
    }
    EXPECT_PANIC("not a live slot", *word_at(heap, large) |= PAGE_WORD_WAITING; zmm_heap_free(heap, large));
    EXPECT_PANIC(PAGE_MAP, *word_at(heap, large) = page_word_large(heap->id + 1, 3); zmm_heap_free(heap, large));
    EXPECT_PANIC(PAGE_MAP, *word_at(heap, large) = page_word_large(heap->id - 1, 3); zmm_heap_free(heap, large));
    EXPECT_PANIC(PAGE_MAP, *word_at(heap, large) = page_word_large(heap->id + 1, 3); zmm_heap_gc(heap));
    EXPECT_PANIC(PAGE_MAP, *word_at(heap, large) = page_word_large(heap->id, 0); zmm_heap_gc(heap));
}

/* A page that the free map gives away must have no word; the two maps watch each other. */
CASE_WITH_GUARDS(gaps_with_a_page_word_panic) {
    zmm_heap *const heap = new_heap();
    char *const large = pages_of(heap, 3);
    page_word *const behind = chunk_words(heap->main_chunk) + 100;
    EXPECT_PANIC(PAGE_MAP, *behind = 1; pages_of(heap, 200));
    EXPECT_PANIC(PAGE_MAP, *behind = 1; zmm_heap_realloc(heap, large, 150 * ZMM_PAGE_BYTES));
}

/* free_pages and the free map tell the same count. */
CASE_WITH_GUARDS(free_map_and_free_pages_watch_each_other) {
    zmm_heap *const heap = new_heap();
    char *const large = pages_of(heap, 3);
    EXPECT_PANIC(FREE_MAP, heap->main_chunk->free_pages--; pages_of(heap, 2));
    EXPECT_PANIC(FREE_MAP, bits_assign(heap->main_chunk->free_map, 300, 1, true); pages_of(heap, 2));
    EXPECT_PANIC(FREE_MAP, heap->main_chunk->free_pages++; run_give_back(heap->main_chunk, page_of(heap, large), 3));
}

/* The ring's links lead to records of this heap that lead back. */
CASE_WITH_GUARDS(written_chunk_links_panic) {
    zmm_heap *const heap = new_heap();
    zmm_heap *const other = new_heap();
    for (uint32_t chunk = 0; chunk < 4; chunk++) {
        pages_of(heap, 500);
    }
    chunk_record *const second = heap->main_chunk->next;
    chunk_record *const last = heap->main_chunk->prev;
    static chunk_record elsewhere;
    chunk_record *const strays[] = {NULL,
                                    &elsewhere,
                                    other->main_chunk,
                                    (chunk_record *)((uintptr_t)second + 128),
                                    (chunk_record *)(ground.base + 4096),
                                    &ground.records[ground_range_zone.committed_slot],
                                    &ground.records[ground_foreign_zone.committed_slot]};
    for (size_t index = 0; index < sizeof(strays) / sizeof(strays[0]); index++) {
        EXPECT_PANIC(CHUNK_RECORD, second->next = strays[index]; zmm_heap_gc(heap));
        EXPECT_PANIC(CHUNK_RECORD, last->prev = strays[index]; chunk_move_to_front(heap, last));
        EXPECT_PANIC(CHUNK_RECORD, heap->cached_chunks = strays[index] != NULL ? strays[index] : &elsewhere;
                     pages_of(heap, 500));
    }
    EXPECT_PANIC(CHUNK_RECORD, second->next = second; zmm_heap_gc(heap));
    EXPECT_PANIC(CHUNK_RECORD, last->prev = second; chunk_move_to_front(heap, last));
    EXPECT_PANIC(CHUNK_RECORD, second->heap = NULL; zmm_heap_gc(heap));
}

/* Whose a chunk is, is asked before anything is done with it: no search, gc or end of a request believes the record. */
CASE_WITH_GUARDS(chunks_that_are_nobodys_panic) {
    zmm_heap *const heap = new_heap();
    alloc_of(heap, 900);
    pages_of(heap, 500);
    pages_of(heap, 500);
    chunk_record *const main_chunk = heap->main_chunk;
    chunk_record *const second = main_chunk->next;
    zmm_heap *const owners[] = {NULL, (zmm_heap *)0xff, WILD(zmm_heap), new_heap()};
    for (size_t index = 0; index < sizeof(owners) / sizeof(owners[0]); index++) {
        EXPECT_PANIC(CHUNK_RECORD, main_chunk->heap = owners[index]; main_chunk->free_pages--; pages_of(heap, 2));
        EXPECT_PANIC(CHUNK_RECORD, main_chunk->heap = owners[index]; zmm_heap_gc(heap));
        EXPECT_PANIC(AT_THE_END(CHUNK_RECORD), main_chunk->heap = owners[index]; zmm_heap_shutdown(heap, false, true));
        EXPECT_PANIC(AT_THE_END(CHUNK_RECORD), main_chunk->heap = owners[index]; zmm_heap_shutdown(heap, true, true));
        EXPECT_PANIC(AT_THE_END(CHUNK_RECORD), second->heap = owners[index]; zmm_heap_shutdown(heap, true, true));
    }
    EXPECT_PANIC(CHUNK_RECORD, memset(main_chunk, 'A', offsetof(chunk_record, free_slots)); pages_of(heap, 2));
    EXPECT_PANIC(CHUNK_RECORD, memset(main_chunk, 'A', offsetof(chunk_record, free_slots)); zmm_heap_gc(heap));
    EXPECT_PANIC(AT_THE_END(CHUNK_RECORD), memset(main_chunk, 'A', offsetof(chunk_record, free_slots));
                 zmm_heap_shutdown(heap, false, true));
}

/* A record that says another place than its own, or its chunk's, is believed no more. Outside the range a chunk may lie
 * anywhere, but at a multiple of its size. */
CASE_WITH_GUARDS(chunk_records_know_their_place) {
    store_prepare();
    zmm_heap *const heaps[] = {new_heap(), store_heap(ZMM_EDITION_ZMM, &store_handlers)};
    for (size_t index = 0; index < sizeof(heaps) / sizeof(heaps[0]); index++) {
        zmm_heap *const heap = heaps[index];
        pages_of(heap, 500);
        pages_of(heap, 500);
        chunk_record *const records[] = {heap->main_chunk, heap->main_chunk->next};
        for (size_t which = 0; which < 2; which++) {
            chunk_record *const record = records[which];
            EXPECT_PANIC(CHUNK_RECORD, record->slot_index++; pages_of(heap, 50));
            EXPECT_PANIC(CHUNK_RECORD, record->slot_index = 0x41414141; zmm_heap_gc(heap));
            EXPECT_PANIC(CHUNK_RECORD, record->base += ZMM_PAGE_BYTES; pages_of(heap, 50));
            EXPECT_PANIC(AT_THE_END(CHUNK_RECORD), record->base = 0x4141414141414141;
                         zmm_heap_shutdown(heap, true, true));
            EXPECT_EXIT(0, "", record->slot_index = 0x41414141; EXPECT_BROKEN(heap, "CHUNK-1"));
            EXPECT_EXIT(0, "", record->base ^= 8; EXPECT_BROKEN(heap, "CHUNK-1"));
        }
    }
    zmm_heap *const heap = new_heap();
    pages_of(heap, 500);
    char *const block = pages_of(heap, 500);
    EXPECT_PANIC(CHUNK_RECORD, heap->main_chunk->base += ZMM_CHUNK_BYTES; pages_of(heap, 50));
    /* What is given back to the kernel is the chunk's own. */
    EXPECT_PANIC(CHUNK_RECORD, chunk_at(heap, block)->base += ZMM_CHUNK_BYTES; zmm_heap_free(heap, block);
                 zmm_heap_gc(heap));
}

/* A heap with three spare chunks: on storage, where levels with trims, too, go on with the chunks they have. */
static zmm_heap *heap_with_spares(void) {
    store_prepare();
    zmm_heap *const heap = store_heap(ZMM_EDITION_ZMM, &store_handlers);
    for (uint32_t chunk = 0; chunk < 4; chunk++) {
        pages_of(heap, 500);
    }
    heap->chunk_count_average = 9.0;
    zmm_heap_shutdown(heap, false, true);
    EXPECT_EQUAL(heap->cached_count, 3);
    EXPECT_HEALTHY(heap);
    return heap;
}

/* The cache's links lead to spare chunks of this heap, as many as it counts: whoever takes one looks, and so does whoever
 * goes through them all. */
CASE_WITH_GUARDS(written_links_of_spare_chunks_panic) {
    zmm_heap *const heap = heap_with_spares();
    chunk_record *const first = heap->cached_chunks;
    chunk_record *const strays[] = {WILD(chunk_record), (chunk_record *)0xff, NULL, first};
    for (size_t index = 0; index < sizeof(strays) / sizeof(strays[0]); index++) {
        chunk_record *const stray = strays[index];
        first->next = stray;
        EXPECT_BROKEN(heap, "CHUNK-2");
        EXPECT(zmm_heap_owns(heap, chunk_page(heap->main_chunk, 1)));
        EXPECT(!zmm_heap_owns(heap, chunk_page(first, 1)));
        EXPECT_PANIC(AT_THE_END(CHUNK_RECORD), zmm_heap_shutdown(heap, false, true));
        EXPECT_PANIC(AT_THE_END(CHUNK_RECORD), zmm_heap_shutdown(heap, true, true));
    }
    for (size_t index = 0; index < 3; index++) {
        EXPECT_PANIC(CHUNK_RECORD, first->next = strays[index]; for (;;) pages_of(heap, 500));
        EXPECT_PANIC(CHUNK_RECORD, first->next = strays[index]; zmm_heap_set_limit(heap, ZMM_CHUNK_BYTES));
    }
    first->next = heap->main_chunk;
    EXPECT_BROKEN(heap, "CHUNK-2");
    EXPECT_PANIC(AT_THE_END(CHUNK_RECORD), zmm_heap_shutdown(heap, false, true));
    /* A chunk that is given up is compared with the first spare one. */
    first->next = WILD(chunk_record);
    char *const block = pages_of(heap, 500);
    char *const other = pages_of(heap, 50);
    EXPECT(chunk_at(heap, block) == first || chunk_at(heap, other) == first);
    heap->chunk_count_average = 0.0;
    EXPECT_PANIC(CHUNK_RECORD, zmm_heap_free(heap, block); zmm_heap_free(heap, other); zmm_heap_gc(heap));
}

/* The check of a heap follows no link that leads away from the records. */
CASE_WITH_GUARDS(check_names_written_chunk_links) {
    zmm_heap *const heap = new_heap();
    pages_of(heap, 500);
    pages_of(heap, 500);
    chunk_record *const next = heap->main_chunk->next;
    static chunk_record elsewhere;
    elsewhere = *next;
    chunk_record *const strays[] = {WILD(chunk_record), (chunk_record *)0xff, NULL, &elsewhere};
    for (size_t index = 0; index < sizeof(strays) / sizeof(strays[0]); index++) {
        heap->main_chunk->next = strays[index];
        EXPECT_BROKEN(heap, "CHUNK-1");
        EXPECT_PANIC(AT_THE_END(CHUNK_RECORD), zmm_heap_shutdown(heap, false, true));
    }
    heap->main_chunk->next = next;
    EXPECT_HEALTHY(heap);
}

/* The limit has a twin, its complement. */
CASE_WITH_GUARDS(written_limit_panics) {
    zmm_heap *const heap = heap_of(ZMM_EDITION_ZMM, 64 * MEBIBYTE);
    alloc_of(heap, 40);
    EXPECT_PANIC("the limit was written to", heap->limit_bytes = SIZE_MAX; alloc_of(heap, 3 * MEBIBYTE));
    EXPECT_PANIC("the limit was written to", heap->limit_twin++; pages_of(heap, 400); pages_of(heap, 400));
}

/* The record of a huge block is sealed: block and size. */
CASE_WITH_GUARDS(written_huge_records_panic) {
    zmm_heap *const heap = new_heap();
    char *const huge = alloc_of(heap, 3 * MEBIBYTE);
    EXPECT_PANIC(HUGE_RECORD, heap->huge_list->size_bytes += 4096; zmm_heap_free(heap, huge));
    EXPECT_PANIC(HUGE_RECORD, heap->huge_list->size_bytes += 4096; zmm_heap_realloc(heap, huge, 5 * MEBIBYTE));
    EXPECT_PANIC(HUGE_RECORD, heap->huge_list->size_bytes += 4096; zmm_heap_block_size(heap, huge));
    EXPECT_PANIC(HUGE_RECORD, heap->huge_list->block = huge + 4096; zmm_heap_free(heap, huge + 4096));
    EXPECT_PANIC(HUGE_RECORD, heap->huge_list->seal++; huge_release_all(heap));
    static const size_t sizes[] = {0, 8, 2 * MEBIBYTE, 0x4141414141414141, SIZE_MAX};
    for (size_t index = 0; index < sizeof(sizes) / sizeof(sizes[0]); index++) {
        EXPECT_PANIC(AT_THE_END(HUGE_RECORD), heap->huge_list->size_bytes = sizes[index];
                     zmm_heap_shutdown(heap, false, true));
        if (ZMM_TRIMS) { /* their gc looks at every block */
            EXPECT_PANIC(HUGE_RECORD, heap->huge_list->size_bytes = sizes[index]; zmm_heap_gc(heap));
        }
    }
}

/* Asking for a place only looks: damaged records tell of no block, and whole ones beside them still do. */
CASE_WITH_GUARDS(places_of_damaged_records_are_none) {
    zmm_heap *const heap = new_heap();
    char *const huge = alloc_of(heap, 3 * MEBIBYTE);
    char *const other = alloc_of(heap, 3 * MEBIBYTE);
    char *const slot = alloc_of(heap, 900);
    char *const large = pages_of(heap, 3);
    huge_record *const record = huge_find_around(heap, huge);
    record->size_bytes += 4096;
    EXPECT_EQUAL(zmm_heap_place(heap, huge).kind, ZMM_PLACE_NONE);
    EXPECT_EQUAL(zmm_heap_place(heap, other).kind, ZMM_PLACE_HUGE);
    record->size_bytes = SIZE_MAX;
    EXPECT_EQUAL(zmm_heap_place(heap, huge).kind, ZMM_PLACE_NONE);
    record->size_bytes = 0;
    EXPECT_EQUAL(zmm_heap_place(heap, huge).kind, ZMM_PLACE_NONE);
    const page_word slot_word = *word_at(heap, slot), large_word = *word_at(heap, large);
    const page_word small_words[] = {slot_word | 0xff,
                                     slot_word | PAGE_WORD_BACK_MASK,
                                     slot_word ^ (1u << 20),
                                     slot_word ^ ((page_word)1 << PAGE_WORD_WIPE_SHIFT),
                                     slot_word ^ ((page_word)1 << PAGE_WORD_HEAP_SHIFT),
                                     slot_word & ~PAGE_WORD_SMALL,
                                     PAGE_WORD_SMALL,
                                     PAGE_WORD_NONE,
                                     ~(page_word)0};
    for (size_t index = 0; index < sizeof(small_words) / sizeof(small_words[0]); index++) {
        *word_at(heap, slot) = small_words[index];
        EXPECT_EQUAL(zmm_heap_place(heap, slot).kind, ZMM_PLACE_NONE);
    }
    /* Nor are they taken for a slot's by what compares them with a table of whole ones. */
    for (page_word low = 0; low < 256; low++) {
        const page_word words[] = {low, (PAGE_WORD_NONE & ~(page_word)0xff) | low, ~(page_word)0xff | low};
        for (size_t index = 0; index < sizeof(words) / sizeof(words[0]); index++) {
            const uint32_t bin_index = page_word_bin(words[index]);
            EXPECT(((words[index] ^ heap->small_words[bin_index]) & ~PAGE_WORD_BACK_MASK) != 0);
        }
    }
    EXPECT_PANIC("a page map was written to", *word_at(heap, slot) = ~(page_word)0; zmm_heap_free(heap, slot));
    *word_at(heap, slot) = slot_word;
    const page_word large_words[] = {large_word | 0x3ff, large_word & ~(page_word)0x3ff, large_word ^ (1u << 30)};
    for (size_t index = 0; index < sizeof(large_words) / sizeof(large_words[0]); index++) {
        *word_at(heap, large) = large_words[index];
        EXPECT_EQUAL(zmm_heap_place(heap, large).kind, ZMM_PLACE_NONE);
    }
    *word_at(heap, large) = large_word;
    EXPECT_EQUAL(zmm_heap_place(heap, slot).kind, ZMM_PLACE_SMALL);
    EXPECT_EQUAL(zmm_heap_place(heap, large).kind, ZMM_PLACE_LARGE);
}

/* The node of a huge block is freed like any slot: it must be a live one. */
CASE_WITH_GUARDS(huge_node_that_is_no_live_slot_panics) {
    zmm_heap *const heap = new_heap();
    char *const huge = alloc_of(heap, 3 * MEBIBYTE);
    EXPECT_PANIC("not a live slot", heap->huge_list->node = (char *)heap->huge_list->node + 4;
                 zmm_heap_free(heap, huge));
    EXPECT_PANIC("not a live slot", heap->huge_list->node = (char *)heap->huge_list->node + 8;
                 zmm_heap_free(heap, huge));
}

/* Before a slot is moved to grow, the free slot behind it is looked at: a broken link there is an overrun. */
CASE_AT_RELEASE(growing_looks_at_the_free_slot_behind) {
    zmm_heap *const heap = new_heap();
    char *const slot = alloc_of(heap, 112);
    allow_mistakes(slot, 113);
    EXPECT_PANIC("a free slot was written to", slot[112] ^= 1; zmm_heap_realloc(heap, slot, 500));
    char *const tiny = alloc_of(heap, 8);
    EXPECT(zmm_heap_realloc(heap, tiny, 100) != NULL);
    char *slots[36]; /* a whole run: the slot behind the last one is another run's, or a chunk's end, or the waste */
    for (uint32_t index = 0; index < 36; index++) {
        slots[index] = alloc_of(heap, 112);
    }
    for (uint32_t index = 0; index < 36; index++) {
        EXPECT(zmm_heap_realloc(heap, slots[index], 500) != NULL);
    }
    end_heap(heap);
    zmm_heap *const full = new_heap();
    pages_of(full, 510);
    char *ends[16]; /* the run of page 511: behind its last slot ends the chunk */
    for (uint32_t index = 0; index < 16; index++) {
        ends[index] = alloc_of(full, 256);
    }
    EXPECT(zmm_heap_realloc(full, ends[15], 300) != NULL);
    end_heap(full);
}

/* Behind the last slot of most runs a few bytes are left: a write there is found by gc and when the request ends. */
CASE_WITH_GUARDS(writes_behind_the_last_slot_of_a_run_panic) {
    zmm_heap *const heap = new_heap();
    for (uint32_t asked_bin = ZMM_TRIMS ? 4 : 0; asked_bin < ZMM_BIN_COUNT; asked_bin++) {
        char *const slot = alloc_of(heap, bin_bytes[asked_bin] - TRIM_ROOM_BYTES);
        const uint32_t bin_index = page_word_bin(*word_at(heap, slot));
        const size_t used_bytes = (size_t)bin_bytes[bin_index] * bin_elements[bin_index];
        char *const run = chunk_page(heap->main_chunk, page_of(heap, slot));
        if (used_bytes % ZMM_PAGE_BYTES != 0) {
            allow_mistakes(run + used_bytes, 8);
            EXPECT_PANIC("written beyond its end", run[used_bytes] ^= 1; zmm_heap_gc(heap));
            EXPECT_PANIC("written beyond its end", run[used_bytes + 7] ^= 1; zmm_heap_shutdown(heap, false, true));
            EXPECT_PANIC("written beyond its end", run[used_bytes] = 0; zmm_heap_shutdown(heap, true, true));
        }
    }
    end_heap(heap);
}

/* A freed slot's first bytes are gone: neither a stale pointer nor the next owner of the slot sees them. */
CASE_AT_RELEASE(freed_slots_lose_their_first_bytes) {
    zmm_heap *const heap = new_heap();
    for (uint32_t bin_index = 1; bin_index < ZMM_BIN_COUNT; bin_index++) {
        const size_t size = bin_bytes[bin_index];
        char *const slot = alloc_of(heap, size);
        memset(slot, 'S', size);
        zmm_heap_free(heap, slot);
        allow_mistakes(slot, size);
        const size_t twin_at = size - sizeof(uint64_t);
        const size_t wiped_end = twin_at < FREED_HEAD_BYTES ? twin_at : FREED_HEAD_BYTES;
        for (size_t at = sizeof(uint64_t); at < wiped_end; at++) {
            EXPECT_EQUAL(slot[at], 0);
        }
        EXPECT(alloc_of(heap, size) == slot);
        EXPECT(memchr(slot, 'S', sizeof(uint64_t)) == NULL || memcmp(slot, "SSSSSSSS", 8) != 0);
    }
    end_heap(heap);
}

/* A sized free is checked: against the size class, with trims to the byte. */
CASE_WITH_GUARDS(sized_free_checks_the_size) {
    zmm_heap *const heap = new_heap();
    zmm_set_heap(heap);
    static const size_t sizes[] = {1, 100, 3072, 5000, 3 * MEBIBYTE};
    for (size_t index = 0; index < sizeof(sizes) / sizeof(sizes[0]); index++) {
        char *const block = alloc_of(heap, sizes[index]);
        EXPECT_PANIC("freed with a size it does not have", zmm_heap_free_sized(heap, block, sizes[index] + 20000));
        EXPECT_PANIC("freed with a size it does not have", zmm_efree_sized(block, sizes[index] * 3 + 9));
        zmm_heap_free_sized(heap, block, sizes[index]);
        zmm_efree_sized(alloc_of(heap, sizes[index]), sizes[index]);
    }
    zmm_heap_free_sized(heap, NULL, 100);
    zmm_efree_sized(NULL, 0);
    end_heap(heap);
}
#endif

/* Tests of misuse reach the allocator's records by name; what is not there is NULL. */
CASE_AT_ALL_LEVELS(records_are_found_by_name) {
    zmm_heap *const heap = new_heap();
    char *const slot = alloc_of(heap, 900);
    char *const large = pages_of(heap, 3);
    char *const huge = alloc_of(heap, 3 * MEBIBYTE);
    EXPECT(zmm_test_meta(heap, "limit", NULL) == &heap->limit_bytes);
    EXPECT(zmm_test_meta(heap, "page_word", slot) == word_at(heap, slot));
    EXPECT(zmm_test_meta(heap, "free_map", large) == heap->main_chunk->free_map);
    EXPECT(zmm_test_meta(heap, "bin_head", slot) == bin_head(heap, page_word_bin(*word_at(heap, slot))));
    EXPECT(zmm_test_meta(heap, "bin_head", large) == NULL);
    EXPECT(zmm_test_meta(heap, "chunk_next", slot) == &heap->main_chunk->next);
    EXPECT(zmm_test_meta(heap, "chunk_free_pages", slot) == &heap->main_chunk->free_pages);
    EXPECT(zmm_test_meta(heap, "chunk_heap", slot) == &heap->main_chunk->heap);
    EXPECT(zmm_test_meta(heap, "handler", slot) == NULL);
    EXPECT(zmm_test_meta(heap, "huge_size", huge) == &heap->huge_list->size_bytes);
    EXPECT(zmm_test_meta(heap, "huge_size", slot) == NULL);
    EXPECT(zmm_test_meta(heap, "page_word", huge) == NULL);
    EXPECT(zmm_test_meta(heap, "cached_next", NULL) == NULL);
    heap->chunk_count_average = 9.0;
    pages_of(heap, 500);
    zmm_heap_free(heap, pages_of(heap, 505));
    EXPECT((zmm_test_meta(heap, "cached_next", NULL) == NULL) == (heap->cached_chunks == NULL));
}
