/* storage.c -- zendmm.md section 15: heaps on storage handlers: the record, and every call in its order. */
#include "../storage.h"

/* Observed: 20 bytes of data make a 64-byte block at chunk + 0x1000 (size = peak = 64); none, a 40-byte block. */
CASE(storage_record_is_the_first_block) {
    FOR_BOTH_EDITIONS(edition) {
        store_prepare();
        static const char data[20] = "nineteen characters";
        zmm_heap *heap = zmm_heap_startup(&(zmm_options){
            .edition = edition, .handlers = &store_handlers, .storage_data = data, .storage_data_bytes = 20});
        EXPECT_EQUAL(usage_of(heap).size_bytes, 64);
        EXPECT_EQUAL(usage_of(heap).peak_bytes, 64);
        EXPECT_EQUAL(offset_of(heap, alloc_of(heap, 64)), 0x1040);
        const zmm_storage *const storage = zmm_heap_storage(heap);
        EXPECT(storage->data != data);
        EXPECT_TEXT(storage->data, data);
        end_heap(heap);

        heap = store_heap(edition, &store_handlers);
        EXPECT_EQUAL(usage_of(heap).size_bytes, 40);
        EXPECT_EQUAL(offset_of(heap, alloc_of(heap, 40)), 0x1028);
        EXPECT(zmm_heap_storage(heap)->data == NULL);
        end_heap(heap);

        heap =
            zmm_heap_startup(&(zmm_options){.edition = edition, .handlers = &store_handlers, .storage_data_bytes = 20});
        EXPECT_EQUAL(usage_of(heap).size_bytes, 64); /* room for data, but none was given */
        EXPECT(zmm_heap_storage(heap)->data == NULL);
        end_heap(heap);

        heap = zmm_heap_startup(&(zmm_options){.edition = edition, .handlers = &store_handlers, .storage_data = data});
        EXPECT_EQUAL(usage_of(heap).size_bytes, 40);
        EXPECT(zmm_heap_storage(heap)->data == data); /* no copy: the pointer as it was given */
        end_heap(heap);
        EXPECT_EQUAL(store.live_count, 0);
    }
}

/* A heap on the kernel has no storage record. */
CASE_AT_ALL_LEVELS(heap_on_the_kernel_has_no_storage) {
    zmm_heap *const heap = new_heap();
    EXPECT(zmm_heap_storage(heap) == NULL);
    EXPECT_EQUAL(usage_of(heap).size_bytes, 0);
    end_heap(heap);
}

/* The working copy of the record and its data outlive the request; the block they were in is handed out anew. */
CASE(storage_outlives_the_request) {
    store_prepare();
    zmm_heap *const heap =
        zmm_heap_startup(&(zmm_options){.handlers = &store_handlers, .storage_data = "kept", .storage_data_bytes = 5});
    chunk_full(heap);
    zmm_heap_shutdown(heap, false, true);
    char *const first = alloc_of(heap, 45);
    EXPECT_EQUAL(offset_of(heap, first), 0x1000);
    memset(first, 0xff, 45);
    EXPECT_TEXT(zmm_heap_storage(heap)->data, "kept");
    chunk_full(heap);
    end_heap(heap);
    EXPECT_EQUAL(store.live_count, 0);
}

/* Observed order at the end, for huge A, huge B and one more chunk: B, A, that chunk, the main chunk. */
CASE(full_end_frees_huge_blocks_then_chunks) {
    FOR_BOTH_EDITIONS(edition) {
        store_prepare();
        zmm_heap *const heap = store_heap(edition, &store_handlers);
        alloc_of(heap, 3 * MEBIBYTE);
        alloc_of(heap, 4 * MEBIBYTE);
        chunk_full(heap);
        EXPECT_TEXT(store_calls(), "a0:2097152 a1:3145728 a2:4194304 a3:2097152");
        end_heap(heap);
        EXPECT_TEXT(store_calls(), "f2:4194304 f1:3145728 f3:2097152 f0:2097152");
    }
}

/* The end of a request frees the huge blocks newest first, then cached heads (the last of the ring first). */
CASE(request_end_frees_from_the_last_chunk) {
    store_prepare();
    zmm_heap *const heap = store_heap(ZMM_EDITION_ZMM, &store_handlers);
    for (uint32_t chunk = 0; chunk < 5; chunk++) {
        pages_of(heap, 300);
    }
    alloc_of(heap, 3 * MEBIBYTE);
    EXPECT_TEXT(store_calls(), "a0:2097152 a1:2097152 a2:2097152 a3:2097152 a4:2097152 a5:3145728");
    zmm_heap_shutdown(heap, false, true); /* average 3: two stay */
    EXPECT_TEXT(store_calls(), "f5:3145728 f4:2097152 f3:2097152");
    end_heap(heap);
    EXPECT_TEXT(store_calls(), "f2:2097152 f1:2097152 f0:2097152");
}

/* A granted truncate or extend resizes in place: one call each. */
CASE(granted_truncate_and_extend_stay_in_place) {
    store_prepare();
    zmm_heap *const heap = store_heap(ZMM_EDITION_ZMM, &store_handlers);
    char *const huge = alloc_of(heap, 4 * MEBIBYTE);
    store_calls();
    EXPECT(zmm_heap_realloc(heap, huge, 3 * MEBIBYTE) == huge);
    EXPECT_EQUAL(usage_of(heap).real_size_bytes, 5 * MEBIBYTE);
    EXPECT(zmm_heap_realloc(heap, huge, 6 * MEBIBYTE) == huge);
    EXPECT_EQUAL(usage_of(heap).real_size_bytes, 8 * MEBIBYTE);
    EXPECT_EQUAL(usage_of(heap).real_peak_bytes, 8 * MEBIBYTE);
    EXPECT_TEXT(store_calls(), "t1:3145728 e1:6291456");
    end_heap(heap);
}

/* Observed: a refused extend is followed by alloc(new), free(old); so is a refused truncate. */
CASE(refused_truncate_and_extend_move_the_block) {
    FOR_BOTH_EDITIONS(edition) {
        store_prepare();
        store.grants_extend = store.grants_truncate = false;
        zmm_heap *const heap = store_heap(edition, &store_handlers);
        char *huge = alloc_of(heap, 4 * MEBIBYTE);
        fill(huge, 3 * MEBIBYTE, 8);
        store_calls();
        huge = zmm_heap_realloc(heap, huge, 6 * MEBIBYTE);
        EXPECT_TEXT(store_calls(), "e1:6291456! a2:6291456 f1:4194304");
        huge = zmm_heap_realloc(heap, huge, 3 * MEBIBYTE);
        EXPECT_TEXT(store_calls(), "t2:3145728! a3:3145728 f2:6291456");
        EXPECT(is_filled(huge, 3 * MEBIBYTE, 8));
        EXPECT_EQUAL(usage_of(heap).size_bytes, 40 + 3 * MEBIBYTE + 24);
        end_heap(heap);
    }
}

/* Handlers without truncate and extend refuse both without a call. */
CASE(missing_truncate_and_extend_refuse) {
    store_prepare();
    zmm_heap *const heap = store_heap(ZMM_EDITION_ZMM, &store_handlers_plain);
    char *huge = alloc_of(heap, 4 * MEBIBYTE);
    store_calls();
    huge = zmm_heap_realloc(heap, huge, 6 * MEBIBYTE);
    EXPECT(zmm_heap_realloc(heap, huge, 3 * MEBIBYTE) != huge);
    EXPECT_TEXT(store_calls(), "a2:6291456 f1:4194304 a3:3145728 f2:6291456");
    end_heap(heap);
}

/* A huge block that fits a chunk moves into one: slot for the node free, then its mapping. */
CASE(huge_block_that_shrinks_into_a_chunk_frees_its_mapping) {
    store_prepare();
    zmm_heap *const heap = store_heap(ZMM_EDITION_ZMM, &store_handlers);
    char *const huge = alloc_of(heap, 4 * MEBIBYTE);
    fill(huge, 100000, 9);
    store_calls();
    char *const large = zmm_heap_realloc(heap, huge, 100000);
    EXPECT_TEXT(store_calls(), "f1:4194304");
    EXPECT(is_filled(large, 100000, 9));
    end_heap(heap);
}

/* The working copy of the handlers lies on a page that nobody can write to: the system says EFAULT, not we. */
CASE_AT_ALL_LEVELS(storage_handlers_are_read_only) {
    store_prepare();
    zmm_heap *const heap = store_heap(ZMM_EDITION_ZMM, &store_handlers);
    int ends[2];
    EXPECT(pipe(ends) == 0 && write(ends[1], "x", 1) == 1);
    EXPECT(read(ends[0], zmm_heap_storage(heap), 1) < 0 && errno == EFAULT);
    EXPECT(zmm_test_meta(heap, "handler", NULL) == NULL);
    end_heap(heap);
}

/* Many chunks outside the range: walked by gc, given back by the end of the request. */
CASE_AT_ALL_LEVELS(storage_heaps_walk_their_chunks) {
    store_prepare();
    zmm_heap *const heap = store_heap(ZMM_EDITION_ZMM, &store_handlers);
    for (uint32_t chunk = 0; chunk < 5; chunk++) {
        pages_of(heap, 500);
        alloc_of(heap, 3000);
    }
    zmm_heap_gc(heap);
    EXPECT_HEALTHY(heap);
    zmm_heap_shutdown(heap, false, true);
    end_heap(heap);
    EXPECT_EQUAL(store.live_count, 0);
}

/* Chunks of storage heaps obey the same rules of caching: a cached chunk causes no call. */
CASE(cached_chunks_cause_no_call) {
    store_prepare();
    zmm_heap *const heap = store_heap(ZMM_EDITION_ZMM, &store_handlers);
    char *const second = chunk_full(heap);
    zmm_heap_free(heap, second);
    EXPECT(chunk_full(heap) == second);
    EXPECT_TEXT(store_calls(), "a0:2097152 a1:2097152");
    end_heap(heap);
}

/* No memory for the first chunk, or for the record: one line on stderr, NULL, and all is given back. */
CASE_AT_ALL_LEVELS(startup_without_storage_says_so) {
    FOR_BOTH_EDITIONS(edition) {
        for (uint32_t granted = 0; granted < 2; granted++) {
            const zmm_options options = {
                .edition = edition, .handlers = &store_handlers, .storage_data_bytes = 3 * MEBIBYTE};
            EXPECT_EXIT(0, "Can't initialize heap\n", {
                ledger_install();
                store_prepare();
                store.allocs_left = granted;
                EXPECT(zmm_heap_startup(&options) == NULL);
                EXPECT_EQUAL(store.live_count, 0);
                ledger_expect_balanced(0);
            });
        }
    }
}

/* Data that no address space could hold is refused like data that finds no memory: its length is not wrapped. */
CASE_AT_ALL_LEVELS(storage_data_beyond_the_address_space_is_refused) {
    static const size_t lengths[] = {SIZE_MAX, SIZE_MAX - ZMM_PAGE_BYTES, SIZE_MAX - 2 * ZMM_PAGE_BYTES + 1};
    char data[64] = {0};
    for (size_t index = 0; index < sizeof(lengths) / sizeof(lengths[0]); index++) {
        const zmm_options options = {
            .handlers = &store_handlers, .storage_data = data, .storage_data_bytes = lengths[index]};
        EXPECT_EXIT(0, "Can't initialize heap\n", {
            store_prepare();
            EXPECT(zmm_heap_startup(&options) == NULL);
            EXPECT_EQUAL(store.mapping_count, 0);
        });
    }
}

/* A storage that runs dry is refused by the system, with real_size and the run or the raw size; gc is tried first. */
CASE(dry_storage_is_refused_by_the_system) {
    FOR_BOTH_EDITIONS(edition) {
        store_prepare();
        zmm_heap *const heap = store_heap(edition, &store_handlers);
        store.allocs_left = 0;
        pages_of(heap, 510);
        EXPECT_REFUSED(heap, zmm_heap_alloc(heap, 3000),
                       "Out of memory (allocated 2097152 bytes) (tried to allocate 12288 bytes)");
        EXPECT_REFUSED(heap, zmm_heap_alloc(heap, 3000000),
                       "Out of memory (allocated 2097152 bytes) (tried to allocate 3000000 bytes)");
        EXPECT_TEXT(store_calls(), "a0:2097152 a:2097152! a:3002368!");
        end_heap(heap);
    }
}

/* A failed map runs gc; when that found something, php-8.2 maps once more, edition zmm searches again. */
CASE(failed_map_is_tried_again_after_gc) {
    FOR_BOTH_EDITIONS(edition) {
        store_prepare();
        zmm_heap *const heap = store_heap(edition, &store_handlers);
        char *const slot = alloc_of(heap, 3072);
        pages_of(heap, 507);
        zmm_heap_free(heap, slot);
        store.allocs_left = 0;
        store_calls();
        char *const run = zmm_heap_alloc(heap, 3 * ZMM_PAGE_BYTES);
        EXPECT((run != NULL) == (edition == ZMM_EDITION_ZMM));
        EXPECT_TEXT(store_calls(), edition == ZMM_EDITION_ZMM ? "a:2097152!" : "a:2097152! a:2097152!");
        EXPECT_HEALTHY(heap);
        zmm_heap_free(heap, alloc_of(heap, 40)); /* the record's own page has room: no run for gc */
        zmm_heap_free(heap, run);
        zmm_heap_free(heap, alloc_of(heap, 3072));
        EXPECT(zmm_heap_alloc(heap, 3 * MEBIBYTE) == NULL); /* huge: both editions map once more */
        EXPECT_TEXT(store_calls(), "a:3145728! a:3145728!");
        end_heap(heap);
    }
}

/* A huge block whose node is refused: php-8.2 leaves the mapping behind, edition zmm gives it back. */
CASE(refused_huge_node_gives_the_mapping_back_in_edition_zmm) {
    FOR_BOTH_EDITIONS(edition) {
        store_prepare();
        zmm_heap *const heap = store_heap(edition, &store_handlers);
        pages_of(heap, 510);
        const zmm_usage before = usage_of(heap);
        store.allocs_left = 1;
        store_calls();
        EXPECT_REFUSED(heap, zmm_heap_alloc(heap, 3 * MEBIBYTE),
                       "Out of memory (allocated 2097152 bytes) (tried to allocate 4096 bytes)");
        const bool is_php = edition == ZMM_EDITION_PHP_8_2;
        EXPECT_TEXT(store_calls(), is_php ? "a1:3145728 a:2097152!" : "a1:3145728 a:2097152! f1:3145728");
        EXPECT_EQUAL(usage_of(heap).size_bytes, before.size_bytes + (is_php ? 24 : 0));
        EXPECT_EQUAL(usage_of(heap).real_size_bytes, before.real_size_bytes);
        end_heap(heap);
        EXPECT_EQUAL(store.live_count, is_php ? 1 : 0);
    }
}
