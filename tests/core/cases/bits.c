/* bits.c -- the free map's bit operations and the page search, each against a page-by-page statement of the rule.
 *
 * bits.h is the same at every level, so its long cases run at one. */
#include "../world.h"

static void map_of_runs(uint64_t *map, uint64_t *state) {
    memset(map, 0, ZMM_MAP_WORDS * sizeof(uint64_t));
    /* Few or many runs, short or long ones; sometimes all full. */
    const uint32_t step_max = 1u + (uint32_t)(draw(state) % 64);
    bool used = draw(state) % 2 == 0;
    for (uint32_t page = 1; page < ZMM_CHUNK_PAGES;) {
        const uint32_t length = 1u + (uint32_t)(draw(state) % step_max);
        for (uint32_t end = page + length; page < end && page < ZMM_CHUNK_PAGES; page++) {
            map[page / 64] |= (uint64_t)used << (page % 64);
        }
        used = !used;
    }
    map[0] |= 1;
}

/* Every operation on bits equals its definition, for random maps and all borders of words. */
CASE_AT_RELEASE(bit_operations_equal_their_definitions) {
    uint64_t state = 1;
    for (uint32_t round = 0; round < 400; round++) {
        uint64_t map[ZMM_MAP_WORDS];
        map_of_runs(map, &state);
        uint32_t count = 0;
        for (uint32_t page = 0; page < ZMM_CHUNK_PAGES; page++) {
            count += bits_test(map, page);
        }
        EXPECT_EQUAL(bits_count(map), count);
        const uint32_t from = (uint32_t)(draw(&state) % (ZMM_CHUNK_PAGES + 1));
        for (int value = 0; value < 2; value++) {
            uint32_t page = from;
            while (page < ZMM_CHUNK_PAGES && bits_test(map, page) != (value == 1)) {
                page++;
            }
            EXPECT_EQUAL(bits_next(map, from, value == 1), page);
        }
        const uint32_t length = (uint32_t)(draw(&state) % (ZMM_CHUNK_PAGES - from + 1));
        bool clear = true;
        for (uint32_t page = from; page < from + length; page++) {
            clear = clear && !bits_test(map, page);
        }
        EXPECT(bits_all_clear(map, from, length) == clear);
        for (int value = 0; value < 2; value++) {
            uint64_t changed[ZMM_MAP_WORDS];
            memcpy(changed, map, sizeof(changed));
            bits_assign(changed, from, length, value == 1);
            for (uint32_t page = 0; page < ZMM_CHUNK_PAGES; page++) {
                const bool inside = page >= from && page < from + length;
                EXPECT(bits_test(changed, page) == (inside ? value == 1 : bits_test(map, page)));
            }
        }
    }
}

/* zendmm.md section 4, point 2, page by page. `free_tail` is only changed where the sheet says so. */
static uint32_t search_by_the_book(const uint64_t *map, uint32_t run_pages, uint32_t *free_tail) {
    uint32_t best_page = 0, best_pages = 512;
    for (uint32_t page = 1; page < 512;) {
        if (bits_test(map, page)) {
            page++;
            continue;
        }
        uint32_t end = page;
        while (end < 512 && !bits_test(map, end)) {
            end++;
        }
        const uint32_t length = end - page;
        if (end == 512) {
            const bool takes_tail = length >= run_pages && length < best_pages;
            *free_tail = takes_tail ? page + run_pages : page;
            return takes_tail ? page : best_page;
        }
        if (length == run_pages) {
            return page;
        }
        if (length > run_pages && length < best_pages) {
            best_page = page;
            best_pages = length;
        }
        page = end;
    }
    return best_page;
}

/* The search finds the page of the rule and leaves its free_tail, for 20,000 random maps. */
CASE_AT_RELEASE(page_search_follows_the_rule_on_random_maps) {
    uint64_t state = 2;
    EXPECT(ground_prepare());
    chunk_record *const chunk = ground_chunk_take();
    for (uint32_t round = 0; round < 20000; round++) {
        map_of_runs(chunk->free_map, &state);
        chunk->free_pages = ZMM_CHUNK_PAGES - bits_count(chunk->free_map);
        chunk->free_tail = 700; /* a value that no search sets */
        uint32_t free_tail = 700;
        const uint32_t run_pages = 1u + (uint32_t)(draw(&state) % (draw(&state) % 4 == 0 ? 511 : 40));
        EXPECT_EQUAL(run_find(chunk, run_pages), search_by_the_book(chunk->free_map, run_pages, &free_tail));
        EXPECT_EQUAL(chunk->free_tail, free_tail);
    }
}

/* Taking, extending, truncating and giving back change exactly the pages named, and count them. */
CASE_AT_RELEASE(runs_change_exactly_their_pages) {
    EXPECT(ground_prepare());
    chunk_record *const chunk = ground_chunk_take();
    chunk_reset(chunk);
    EXPECT_EQUAL(chunk->free_pages, 511);
    EXPECT_EQUAL(chunk->free_tail, 1);
    run_take(chunk, 1, 100);
    EXPECT_EQUAL(chunk->free_tail, 101);
    run_take(chunk, 200, 64);
    EXPECT_EQUAL(chunk->free_tail, 101); /* only a run that starts there moves it */
    EXPECT_EQUAL(chunk->free_pages, 511 - 164);
    EXPECT(!run_extend(chunk, 1, 100, 200)); /* page 200 is used */
    EXPECT(run_extend(chunk, 1, 100, 199));
    EXPECT_EQUAL(chunk->free_tail, 101); /* untouched by growth in place */
    EXPECT(run_extend(chunk, 200, 64, 312));
    EXPECT(!run_extend(chunk, 200, 312, 313)); /* beyond the chunk */
    EXPECT_EQUAL(chunk->free_pages, 0);
    run_truncate(chunk, 200, 312, 1);
    EXPECT_EQUAL(chunk->free_pages, 311);
    EXPECT_EQUAL(bits_next(chunk->free_map, 200, false), 201);
    run_give_back(chunk, 1, 199);
    EXPECT_EQUAL(chunk->free_tail, 101);
    chunk->free_tail = 201;
    run_give_back(chunk, 200, 1);
    EXPECT_EQUAL(chunk->free_tail, 200); /* a run that ends at free_tail lowers it */
    EXPECT_EQUAL(chunk->free_pages, 511);
}

/* The table of section 2: 30 classes; each size goes to the smallest bin that holds it. */
CASE_AT_RELEASE(every_small_size_maps_to_the_smallest_bin_that_holds_it) {
    static const uint16_t sizes[30] = {8,   16,  24,  32,   40,   48,   56,   64,   80,   96,
                                       112, 128, 160, 192,  224,  256,  320,  384,  448,  512,
                                       640, 768, 896, 1024, 1280, 1536, 1792, 2048, 2560, 3072};
    static const uint16_t elements[30] = {512, 256, 170, 128, 102, 85, 73, 64, 51, 42, 36, 32, 25, 21, 18,
                                          16,  64,  32,  9,   8,   32, 16, 9,  8,  16, 8,  16, 8,  8,  4};
    static const uint8_t run_pages[30] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                                          1, 5, 3, 1, 1, 5, 3, 2, 2, 5, 3, 7, 4, 5, 3};
    for (uint32_t bin = 0; bin < 30; bin++) {
        EXPECT_EQUAL(bin_bytes[bin], sizes[bin]);
        EXPECT_EQUAL(bin_elements[bin], elements[bin]);
        EXPECT_EQUAL(bin_pages[bin], run_pages[bin]);
    }
    for (size_t size = 0; size <= 3072; size++) {
        uint32_t bin = 0;
        while (sizes[bin] < size) {
            bin++;
        }
        EXPECT_EQUAL(bin_of_size(size), bin);
    }
}
