/* texts.c -- the text of a report: its lines, its numbers, and what becomes of it where there is no room. */
#include "../storage.h"

#include <sys/mman.h>

#if ZMM_LEVEL > ZMM_LEVEL_FAST
/* Edition php-8.2 keeps PHP's first line; sites and requested sizes are printed where they are known; a small buffer gets
 * the beginning, and the full length is returned. */
CASE_WITH_GUARDS(report_text_has_its_parts_and_is_cut_to_the_buffer) {
    zmm_heap *const heap = heap_of(ZMM_EDITION_PHP_8_2, 0);
    REPORT_OF(zmm_heap_free(heap, chunk_page(heap->main_chunk, 0)));
    EXPECT(strncmp(seen_text, "zend_mm_heap corrupted\n  reason:    not the start of a block\n", 60) == 0);
    const zmm_panic report = {.reason = "because",
                              .address = (void *)(uintptr_t)0x1008,
                              .block = (void *)(uintptr_t)0x1000,
                              .block_bytes = 64,
                              .requested_bytes = 50,
                              .bin_index = -1,
                              .alloc_site = (void *)(uintptr_t)0xabc,
                              .free_site = (void *)(uintptr_t)0xdef};
    const size_t length = zmm_panic_text(&report, seen_text, sizeof(seen_text));
    EXPECT_EQUAL(length, strlen(seen_text));
    EXPECT_TEXT(seen_text,
                "zmm: heap corruption: because\n"
                "  address:   0x1008\n"
                "  block:     0x1000, 64 bytes (asked for 50), free, mapping 0, page 0; the address is 8 bytes "
                "behind its start\n"
                "  allocated: 0xabc\n"
                "  freed:     0xdef\n");
    char small[9];
    EXPECT_EQUAL(zmm_panic_text(&report, small, sizeof(small)), length);
    EXPECT_TEXT(small, "zmm: hea");
    EXPECT_EQUAL(zmm_panic_text(&report, small, 0), length);
    EXPECT_TEXT(small, "zmm: hea");
}

/* Every number of the text is one that looks different in any other base, and as long as it can become. */
CASE_WITH_GUARDS(report_text_has_each_number_in_its_own_base) {
    zmm_heap *const heap = new_heap();
    char *const block = (char *)(uintptr_t)0xfedcba9876543210;
    zmm_panic report = {.reason = "because",
                        .address = block + 98765,
                        .owner = "somebody",
                        .owner_heap = (void *)(uintptr_t)0x1234567890abcdef,
                        .heap = heap,
                        .block = block,
                        .block_bytes = SIZE_MAX,
                        .requested_bytes = SIZE_MAX - 1,
                        .block_is_live = true,
                        .mapping_index = UINT32_MAX,
                        .page_index = 511,
                        .slot_index = 345,
                        .bin_index = 29,
                        .has_values = true,
                        .expected = UINT64_MAX,
                        .found = 0,
                        .alloc_site = (void *)(uintptr_t)0x10,
                        .free_site = (void *)(uintptr_t)0x110,
                        .access_site = (void *)(uintptr_t)0x1110,
                        .hint = "do something else"};
    char expected[1024];
    snprintf(
        expected, sizeof(expected),
        "zmm: heap corruption: because\n"
        "  address:   0xfedcba987655b3dd, belongs to somebody 0x1234567890abcdef\n"
        "  heap:      %p\n"
        "  block:     0xfedcba9876543210, 18446744073709551615 bytes (asked for 18446744073709551614), live, mapping "
        "4294967295, page 511, slot 345 of bin 29; the address is 98765 bytes behind its start\n"
        "  expected:  0xffffffffffffffff, found 0x0\n"
        "  allocated: 0x10\n"
        "  freed:     0x110\n"
        "  accessed:  0x1110\n"
        "  hint:      do something else\n",
        (void *)heap);
    EXPECT_EQUAL(zmm_panic_text(&report, seen_text, sizeof(seen_text)), strlen(expected));
    EXPECT_TEXT(seen_text, expected);
    report = (zmm_panic){.reason = "because",
                         .address = block - 11,
                         .block = block,
                         .block_bytes = 20,
                         .requested_bytes = SIZE_MAX,
                         .owner = "somebody",
                         .slot_index = 12};
    zmm_panic_text(&report, seen_text, sizeof(seen_text));
    EXPECT_TEXT(seen_text, "zmm: heap corruption: because\n"
                           "  address:   0xfedcba9876543205, belongs to somebody\n"
                           "  block:     0xfedcba9876543210, 20 bytes, free, mapping 0, page 0, slot 12 of bin 0; the "
                           "address is 11 bytes before its start\n");
    report.address = block;
    zmm_panic_text(&report, seen_text, sizeof(seen_text));
    EXPECT_IN_REPORT("; the address is 0 bytes behind its start\n");
    /* Sizes are read as sizes, all else as words. */
    for (panic_reason reason = 0; reason < PANIC_REASON_COUNT; reason++) {
        report = (zmm_panic){.reason = panic_phrases[reason], .has_values = true, .expected = 26, .found = 4096};
        zmm_panic_text(&report, seen_text, sizeof(seen_text));
        EXPECT_IN_REPORT(reason == PANIC_SIZE || reason == PANIC_OVERREAD ? "\n  expected:  26, found 4096\n"
                                                                          : "\n  expected:  0x1a, found 0x1000\n");
    }
}

/* A buffer of any size gets as much of the text as it holds, and its end; nothing is written before or behind it. */
CASE_WITH_GUARDS(report_text_fits_buffers_of_every_size) {
    const zmm_panic report = {.reason = "because", .hint = "why"};
    static const char whole[] = "zmm: heap corruption: because\n  hint:      why\n";
    for (size_t text_bytes = 0; text_bytes <= sizeof(whole) + 1; text_bytes++) {
        char room[sizeof(whole) + 3], expected[sizeof(room)];
        memset(room, '#', sizeof(room));
        memset(expected, '#', sizeof(expected));
        if (text_bytes > 0) {
            const size_t kept = text_bytes < sizeof(whole) ? text_bytes - 1 : sizeof(whole) - 1;
            memcpy(expected + 1, whole, kept);
            expected[1 + kept] = '\0';
        }
        EXPECT_EQUAL(zmm_panic_text(&report, room + 1, text_bytes), sizeof(whole) - 1);
        EXPECT(memcmp(room, expected, sizeof(room)) == 0);
    }
}

/* A report that is longer than a panic's own buffer is cut: the end of the buffer is not written out, nor what lies behind. */
CASE_WITH_GUARDS(long_reports_are_cut) {
    static const char before[] = "zmm: heap corruption: assertion failed\n  hint:      ";
    static char hint[2000];
    const size_t lengths[] = {1022, 1023, 1024, 2000}; /* of the whole report; 1023 characters have room */
    for (size_t index = 0; index < 4; index++) {
        const size_t hint_bytes = lengths[index] - sizeof(before); /* what stands before it, and the end of its line */
        memset(hint, 'h', hint_bytes);
        hint[hint_bytes] = '\0';
        const int file = memfd_create("stderr", 0); /* a pipe would not tell how much was written */
        IN_CHILD(child, dup2(file, STDERR_FILENO); panic(NULL, PANIC_ASSERTION, hint));
        EXPECT(WIFSIGNALED(child.wait_status) && WTERMSIG(child.wait_status) == SIGABRT);
        char written[2048];
        const size_t kept = lengths[index] < 1023 ? lengths[index] : 1023;
        EXPECT_EQUAL(pread(file, written, sizeof(written), 0), kept);
        EXPECT(memcmp(written, before, strlen(before)) == 0);
        EXPECT_EQUAL(written[kept - 1], lengths[index] <= 1023 ? '\n' : 'h');
        close(file);
    }
}
#endif
