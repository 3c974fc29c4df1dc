/* limit.c -- zendmm.md section 13: where the limit is asked, equality, every text, and heaps after a refusal. */
#include "../world.h"

#define ALLOWED(limit, tried) "Allowed memory size of " limit " bytes exhausted (tried to allocate " tried " bytes)"
#define OVERFLOW_TEXT "Possible integer overflow in memory allocation "

/* Observed: limit 8 MiB, real 2 MiB: huge 6291456 is granted (equality), 6291457 is not; blocks inside the main chunk
 * still are. */
CASE(limit_allows_equality) {
    FOR_BOTH_EDITIONS(edition) {
        zmm_heap *const heap = heap_of(edition, 8 * MEBIBYTE);
        EXPECT_REFUSED(heap, zmm_heap_alloc(heap, 6291457), ALLOWED("8388608", "6291457"));
        alloc_of(heap, 6291456);
        EXPECT_EQUAL(usage_of(heap).real_size_bytes, 8 * MEBIBYTE);
        alloc_of(heap, 100);
        alloc_of(heap, 1000000);
        EXPECT_REFUSED(heap, zmm_heap_alloc(heap, 1200000), ALLOWED("8388608", "1200128"));
        EXPECT_REFUSED(heap, zmm_heap_alloc(heap, 2097152), ALLOWED("8388608", "2097152"));
        end_heap(heap);
    }
}

/* A chunk that exactly fits under the limit is granted; one byte less and it is not. */
CASE(limit_of_chunks_allows_equality) {
    FOR_BOTH_EDITIONS(edition) {
        for (size_t missing = 0; missing < 2; missing++) {
            zmm_heap *const heap = heap_of(edition, 4 * MEBIBYTE - missing);
            chunk_full(heap);
            EXPECT((zmm_heap_alloc(heap, 5000) != NULL) == (missing == 0));
            end_heap(heap);
        }
    }
}

/* The text names pages * 4096 for small and large blocks: 12288 for 3072 bytes, since bin 29 needs three pages. */
CASE(limit_text_names_the_run_not_the_request) {
    FOR_BOTH_EDITIONS(edition) {
        zmm_heap *const heap = heap_of(edition, 2 * MEBIBYTE);
        chunk_full(heap);
        EXPECT_REFUSED(heap, zmm_heap_alloc(heap, 3072), ALLOWED("2097152", "12288"));
        EXPECT_REFUSED(heap, zmm_heap_alloc(heap, 8), ALLOWED("2097152", "4096"));
        EXPECT_REFUSED(heap, zmm_heap_alloc(heap, 1200000), ALLOWED("2097152", "1200128"));
        EXPECT_REFUSED(heap, zmm_heap_calloc(heap, 1200, 1000), ALLOWED("2097152", "1200128"));
        EXPECT_REFUSED(heap, zmm_heap_strdup(heap, "x"), ALLOWED("2097152", "4096"));
        EXPECT_REFUSED(heap, zmm_heap_strndup(heap, "xyz", 2), ALLOWED("2097152", "4096"));
        EXPECT_REFUSED(heap, zmm_heap_safe_alloc(heap, 3, 1000, 1), ALLOWED("2097152", "12288"));
        end_heap(heap);
    }
}

/* A refused small block leaves the counters alone in edition zmm; in php-8.2 size and peak stay raised. */
CASE(refused_small_block_raises_the_counters_in_php_only) {
    FOR_BOTH_EDITIONS(edition) {
        zmm_heap *const heap = heap_of(edition, 2 * MEBIBYTE);
        chunk_full(heap);
        const size_t size = usage_of(heap).size_bytes;
        for (size_t count = 1; count <= 2; count++) {
            EXPECT_REFUSED(heap, zmm_heap_alloc(heap, 100), ALLOWED("2097152", "4096"));
            const size_t raised = edition == ZMM_EDITION_PHP_8_2 ? count * 112 : 0;
            EXPECT_EQUAL(usage_of(heap).size_bytes, size + raised);
            EXPECT_EQUAL(usage_of(heap).peak_bytes, size + raised);
        }
        zmm_heap_shutdown(heap, false, true);
        EXPECT_EQUAL(usage_of(heap).size_bytes, 0);
        end_heap(heap);
    }
}

/* A refused move leaves the old block where it was, with its bytes. */
CASE(refused_realloc_leaves_the_block) {
    FOR_BOTH_EDITIONS(edition) {
        zmm_heap *const heap = heap_of(edition, 5 * MEBIBYTE);
        char *const huge = alloc_of(heap, 2 * MEBIBYTE + 1);
        char *const slots = alloc_of(heap, 512);
        char *const large = pages_of(heap, 509); /* the main chunk is full: node, slots, large */
        fill(huge, 2 * MEBIBYTE, 1);
        fill(slots, 512, 2);
        fill(large, 509 * 4096, 3);
        EXPECT_REFUSED(heap, zmm_heap_realloc(heap, huge, 4 * MEBIBYTE), ALLOWED("5242880", "4194304"));
        EXPECT_REFUSED(heap, zmm_heap_realloc(heap, huge, 5000), ALLOWED("5242880", "8192"));
        EXPECT_REFUSED(heap, zmm_heap_realloc(heap, slots, 600), ALLOWED("5242880", "20480"));
        EXPECT_REFUSED(heap, zmm_heap_realloc(heap, slots, 100), ALLOWED("5242880", "4096"));
        EXPECT_REFUSED(heap, zmm_heap_realloc(heap, large, 510 * 4096), ALLOWED("5242880", "2088960"));
        EXPECT_REFUSED(heap, zmm_heap_realloc(heap, large, 9 * MEBIBYTE), ALLOWED("5242880", "9437184"));
        EXPECT_REFUSED(heap, zmm_heap_safe_realloc(heap, large, 9, MEBIBYTE, 1), ALLOWED("5242880", "9437185"));
        EXPECT(is_filled(huge, 2 * MEBIBYTE, 1) && is_filled(slots, 512, 2) && is_filled(large, 509 * 4096, 3));
        EXPECT_EQUAL(zmm_heap_block_size(heap, huge), 2 * MEBIBYTE + 4096);
        end_heap(heap);
    }
}

/* Growth of a huge block asks for the difference only; equality is allowed. */
CASE(huge_growth_asks_for_the_difference) {
    FOR_BOTH_EDITIONS(edition) {
        store_prepare();
        zmm_heap *const heap = store_heap(edition, &store_handlers);
        char *const huge = alloc_of(heap, 3 * MEBIBYTE);
        EXPECT(zmm_heap_set_limit(heap, 6 * MEBIBYTE));
        EXPECT_REFUSED(heap, zmm_heap_realloc(heap, huge, 4 * MEBIBYTE + 1), ALLOWED("6291456", "4194305"));
        EXPECT(zmm_heap_realloc(heap, huge, 4 * MEBIBYTE) == huge);
        EXPECT_EQUAL(usage_of(heap).real_size_bytes, 6 * MEBIBYTE);
        end_heap(heap);
    }
}

/* Every overflow text, with the factors in call order. */
CASE(overflow_texts) {
    zmm_heap *const heap = new_heap();
    EXPECT_REFUSED(heap, zmm_heap_alloc(heap, SIZE_MAX), OVERFLOW_TEXT "(18446744073709551615 + 4096)");
    EXPECT_REFUSED(heap, zmm_heap_alloc(heap, SIZE_MAX - 4094), OVERFLOW_TEXT "(18446744073709547521 + 4096)");
    EXPECT_REFUSED(heap, zmm_heap_alloc(heap, SIZE_MAX - 4095), ALLOWED("9223372036854775807", "18446744073709547520"));
    EXPECT_REFUSED(heap, zmm_heap_safe_alloc(heap, 1, SIZE_MAX, 1), OVERFLOW_TEXT "(1 * 18446744073709551615 + 1)");
    EXPECT_REFUSED(heap, zmm_heap_safe_alloc(heap, 1, SIZE_MAX, 0), OVERFLOW_TEXT "(18446744073709551615 + 4096)");
    const size_t root = (size_t)1 << 32;
    EXPECT_REFUSED(heap, zmm_heap_safe_alloc(heap, root, root, 0), OVERFLOW_TEXT "(4294967296 * 4294967296 + 0)");
    EXPECT_REFUSED(heap, zmm_heap_safe_alloc(heap, 2, root, SIZE_MAX),
                   OVERFLOW_TEXT "(2 * 4294967296 + 18446744073709551615)");
    EXPECT_REFUSED(heap, zmm_heap_calloc(heap, root, root), OVERFLOW_TEXT "(4294967296 * 4294967296 + 0)");
    EXPECT_REFUSED(heap, zmm_heap_safe_realloc(heap, NULL, root, root, 5),
                   OVERFLOW_TEXT "(4294967296 * 4294967296 + 5)");
    EXPECT_REFUSED(heap, zmm_heap_strndup(heap, "x", SIZE_MAX), OVERFLOW_TEXT "(1 * 18446744073709551615 + 1)");
    char *const huge = alloc_of(heap, 3 * MEBIBYTE);
    EXPECT_REFUSED(heap, zmm_heap_realloc(heap, huge, SIZE_MAX), OVERFLOW_TEXT "(18446744073709551615 + 4096)");
    end_heap(heap);
}

/* The text is cut to the buffer; the full length is returned; no refusal is the empty text. */
CASE_AT_ALL_LEVELS(refusal_text_is_cut_to_the_buffer) {
    const zmm_refusal refusal = {.kind = ZMM_REFUSAL_LIMIT, .tried_bytes = 7, .limit_bytes = 9};
    char text[12] = "untouched";
    EXPECT_EQUAL(zmm_refusal_text(&refusal, text, sizeof(text)), strlen(ALLOWED("9", "7")));
    EXPECT_TEXT(text, "Allowed mem");
    EXPECT_EQUAL(zmm_refusal_text(&refusal, text, 0), strlen(ALLOWED("9", "7")));
    const zmm_refusal none = {.kind = ZMM_REFUSAL_NONE};
    EXPECT_EQUAL(zmm_refusal_text(&none, text, 0), 0);
    EXPECT_TEXT(text, "Allowed mem");
    EXPECT_EQUAL(zmm_refusal_text(&none, text, sizeof(text)), 0);
    EXPECT_TEXT(text, "");
    const zmm_refusal unknown = {.kind = (zmm_refusal_kind)99};
    EXPECT_EQUAL(zmm_refusal_text(&unknown, text, sizeof(text)), 0);
}

/* set_limit: not below what is in use, never below 2 MiB; SIZE_MAX is stored as it is. */
CASE_AT_ALL_LEVELS(set_limit_accepts_what_is_not_below_real_size) {
    FOR_BOTH_EDITIONS(edition) {
        zmm_heap *const heap = heap_of(edition, 0);
        EXPECT(!zmm_heap_set_limit(heap, 2097151));
        EXPECT_EQUAL(usage_of(heap).limit_bytes, SIZE_MAX >> 1);
        EXPECT(zmm_heap_set_limit(heap, 2097152));
        EXPECT_EQUAL(usage_of(heap).limit_bytes, 2097152);
        EXPECT(zmm_heap_set_limit(heap, SIZE_MAX));
        EXPECT_EQUAL(usage_of(heap).limit_bytes, SIZE_MAX);
        end_heap(heap);
    }
}

/* Between real_size less the cached chunks and real_size, cached heads go until it fits; php-8.2 then forgets to store
 * the limit. */
CASE(set_limit_releases_cached_chunks) {
    FOR_BOTH_EDITIONS(edition) {
        zmm_heap *const heap = heap_of(edition, 0);
        char *blocks[4];
        for (uint32_t chunk = 0; chunk < 4; chunk++) {
            blocks[chunk] = chunk_full(heap);
        }
        heap->chunk_count_average = 9.0;
        for (uint32_t chunk = 1; chunk < 4; chunk++) {
            zmm_heap_free(heap, blocks[chunk]);
        }
        EXPECT(!zmm_heap_set_limit(heap, 2 * MEBIBYTE - 1));
        EXPECT_EQUAL(usage_of(heap).cached_chunk_count, 3);
        EXPECT(zmm_heap_set_limit(heap, 5 * MEBIBYTE));
        EXPECT_EQUAL(usage_of(heap).cached_chunk_count, 1);
        EXPECT_EQUAL(usage_of(heap).real_size_bytes, 4 * MEBIBYTE);
        EXPECT_EQUAL(heap->cached_chunks->number, 1); /* the heads went first */
        EXPECT_EQUAL(usage_of(heap).limit_bytes, edition == ZMM_EDITION_ZMM ? 5 * MEBIBYTE : SIZE_MAX >> 1);
        EXPECT_HEALTHY(heap);
        end_heap(heap);
    }
}

/* Observed: limit 2 MiB, the main chunk full of freed small runs, 1,000,000 bytes: PHP refuses although gc has just made
 * room (it looks at the cache only); after a gc by hand it succeeds. Edition zmm searches again. */
CASE(php_does_not_search_again_after_gc) {
    FOR_BOTH_EDITIONS(edition) {
        zmm_heap *const heap = heap_of(edition, 2 * MEBIBYTE);
        alloc_of(heap, 8);
        static char *slots[170 * 102];
        uint32_t count = 0;
        while (count < 170 * 102 && (slots[count] = zmm_heap_alloc(heap, 3072)) != NULL) {
            count++;
        }
        EXPECT_EQUAL(count, 170 * 4);
        for (uint32_t slot = 0; slot < count; slot++) {
            zmm_heap_free(heap, slots[slot]);
        }
        zmm_heap_clear_refusal(heap);
        char *const block = zmm_heap_alloc(heap, 1000000);
        if (edition == ZMM_EDITION_ZMM) {
            EXPECT(block != NULL);
            EXPECT_EQUAL(zmm_heap_refusal(heap).kind, ZMM_REFUSAL_NONE);
        } else {
            EXPECT(block == NULL);
            EXPECT_TEXT(refusal_of(heap), ALLOWED("2097152", "1003520"));
            EXPECT(zmm_heap_alloc(heap, 1000000) != NULL); /* what the refused call collected serves the next one */
        }
        end_heap(heap);
    }
}

/* A gc on the way to a new chunk may empty another chunk, which is cached and serves at once. */
CASE(gc_under_the_limit_supplies_the_chunk_it_emptied) {
    FOR_BOTH_EDITIONS(edition) {
        zmm_heap *const heap = heap_of(edition, 4 * MEBIBYTE);
        chunk_full(heap);
        char *const slot = alloc_of(heap, 512);
        const uint32_t second = mapping_of(heap, slot);
        zmm_heap_free(heap, slot);
        EXPECT_EQUAL(mapping_of(heap, chunk_full(heap)), second);
        EXPECT_EQUAL(usage_of(heap).real_size_bytes, 4 * MEBIBYTE);
        end_heap(heap);
    }
}

/* Observed: real 4 MiB of which gc makes 2 MiB cached, limit 4 MiB, huge 2 MiB: PHP refuses; edition zmm unmaps the
 * cached chunk. With three emptied chunks two are really unmapped, and both grant it. */
CASE(cached_chunks_make_room_for_huge_blocks_in_edition_zmm) {
    FOR_BOTH_EDITIONS(edition) {
        for (uint32_t emptied = 1; emptied <= 3; emptied += 2) {
            zmm_heap *const heap = heap_of(edition, (2 + emptied * 2) * MEBIBYTE);
            pages_of(heap, 510);
            alloc_of(heap, 24);                               /* so that the node of the huge block finds a slot */
            static const size_t sizes[] = {3072, 2560, 1792}; /* a run of its own for each chunk */
            char *slots[3], *rests[3];
            for (uint32_t chunk = 0; chunk < emptied; chunk++) {
                slots[chunk] = alloc_of(heap, sizes[chunk]);
                rests[chunk] = pages_of(heap, 511u - bin_pages[bin_of_size(sizes[chunk])]);
            }
            EXPECT_EQUAL(usage_of(heap).chunk_count, 1 + emptied);
            for (uint32_t chunk = 0; chunk < emptied; chunk++) {
                zmm_heap_free(heap, slots[chunk]);
                zmm_heap_free(heap, rests[chunk]);
            }
            EXPECT_EQUAL(usage_of(heap).chunk_count, 1 + emptied);
            char *const huge = zmm_heap_alloc(heap, 2 * MEBIBYTE);
            EXPECT((huge != NULL) == (edition == ZMM_EDITION_ZMM || emptied == 3));
            EXPECT(usage_of(heap).real_size_bytes <= usage_of(heap).limit_bytes);
            EXPECT_HEALTHY(heap);
            end_heap(heap);
        }
    }
}

/* Edition zmm unmaps only as many cached chunks as it must. */
CASE(no_more_cached_chunks_go_than_must) {
    zmm_heap *const heap = heap_of(ZMM_EDITION_ZMM, 8 * MEBIBYTE);
    alloc_of(heap, 24);
    char *blocks[3];
    for (uint32_t chunk = 0; chunk < 3; chunk++) {
        blocks[chunk] = chunk_full(heap);
    }
    heap->chunk_count_average = 9.0;
    for (uint32_t chunk = 0; chunk < 3; chunk++) {
        zmm_heap_free(heap, blocks[chunk]);
    }
    EXPECT_EQUAL(usage_of(heap).cached_chunk_count, 3);
    alloc_of(heap, 4 * MEBIBYTE);
    EXPECT_EQUAL(usage_of(heap).cached_chunk_count, 1);
    EXPECT_EQUAL(usage_of(heap).real_size_bytes, 8 * MEBIBYTE);
    end_heap(heap);
}

/* A limit below the first chunk is refused with a line that says so. */
CASE_AT_ALL_LEVELS(startup_with_a_limit_below_a_chunk_says_so) {
    EXPECT_EXIT(0, "zmm: a limit of 2097151 bytes is less than a heap's first chunk (2097152 bytes)\n",
                EXPECT(zmm_heap_startup(&(zmm_options){.limit_bytes = 2097151}) == NULL));
}
