/* run.c -- finds, takes and gives back runs of pages in one chunk.
 *
 * Owns:    free_map, free_pages and free_tail of every chunk record.
 * Asks:    bits, ground's tables.
 * Serves:  supply (a run, or none), heap and gc (a run to give back), resize (longer or shorter in place).
 * Never:   maps memory, reads the limit, writes page words, or chooses what to do when nothing fits.
 *
 * Keeps:   RUN-1  A page's bit is set exactly when one run covers that page.
 *          RUN-2  free_pages is the number of clear bits.
 *          RUN-3  Every run starts below free_tail. It may lie too far right: giving a run back moves it only when the
 *                 run ends there. A run extended in place may end beyond it. (zendmm.md section 4) */
#include "core.h"

#if ZMM_GUARDS_METADATA
/* free_pages and the free map tell the same count, so a change of either is seen before a run is taken. */
static void run_verify_map(const chunk_record *chunk) {
    if (bits_count(chunk->free_map) + chunk->free_pages != ZMM_CHUNK_PAGES) {
        panic(chunk->heap, PANIC_FREE_MAP, chunk->free_map);
    }
}
/* A gap in the free map is one in the page words too. */
static void run_verify_gap(const chunk_record *chunk, uint32_t page_index, uint32_t run_pages) {
    const page_word *const words = chunk_words(chunk) + page_index;
    page_word any = 0;
    for (uint32_t page = 0; page < run_pages; page++) {
        any |= words[page];
    }
    if (any != 0) {
        panic(chunk->heap, PANIC_PAGE_MAP, words);
    }
}
#else
static inline void run_verify_map(const chunk_record *chunk) {
    (void)chunk;
}
static inline void run_verify_gap(const chunk_record *chunk, uint32_t page_index, uint32_t run_pages) {
    (void)chunk, (void)page_index, (void)run_pages;
}
#endif

/* Best fit from low to high: the first gap of exactly run_pages wins at once; among longer ones the shortest, then the
 * lowest. The gap at the end of the chunk is taken only when it is shorter than every remembered one. */
ZMM_INTERNAL uint32_t run_find(chunk_record *chunk, uint32_t run_pages) {
    run_verify_map(chunk);
    const uint64_t *const map = chunk->free_map;
    uint32_t best_page = 0;
    uint32_t best_pages = ZMM_CHUNK_PAGES;
    uint32_t gap_page = bits_next(map, ZMM_HEADER_PAGES, false);
    while (gap_page < ZMM_CHUNK_PAGES) {
        const uint32_t gap_end = bits_next(map, gap_page, true);
        const uint32_t gap_pages = gap_end - gap_page;
        if (gap_end == ZMM_CHUNK_PAGES) {
            if (gap_pages >= run_pages && gap_pages < best_pages) {
                chunk->free_tail = gap_page + run_pages;
                return gap_page;
            }
            chunk->free_tail = gap_page;
            return best_page;
        }
        if (gap_pages == run_pages) {
            return gap_page;
        }
        if (gap_pages > run_pages && gap_pages < best_pages) {
            best_page = gap_page;
            best_pages = gap_pages;
        }
        gap_page = bits_next(map, gap_end, false);
    }
    return best_page;
}

/* The caller has just found the gap. We look again because searching and marking can drift apart, and a gap that is not
 * one would give a page two owners. run_give_back makes the mirror-image checks. */
ZMM_INTERNAL void run_take(chunk_record *chunk, uint32_t page_index, uint32_t run_pages) {
    zmm_assert(page_index >= ZMM_HEADER_PAGES);
    zmm_assert(page_index + run_pages <= ZMM_CHUNK_PAGES);
    zmm_assert(bits_all_clear(chunk->free_map, page_index, run_pages)); /* RUN-1 */
    zmm_assert(chunk->free_pages >= run_pages);                         /* RUN-2 */

    run_verify_gap(chunk, page_index, run_pages);
    bits_assign(chunk->free_map, page_index, run_pages, true);
    chunk->free_pages -= run_pages;
    if (page_index == chunk->free_tail) {
        chunk->free_tail = page_index + run_pages; /* RUN-3 */
    }
}

ZMM_INTERNAL void run_give_back(chunk_record *chunk, uint32_t page_index, uint32_t run_pages) {
    zmm_assert(page_index >= ZMM_HEADER_PAGES);
    zmm_assert(page_index + run_pages <= ZMM_CHUNK_PAGES);
    zmm_assert(bits_next(chunk->free_map, page_index, false) >= page_index + run_pages); /* RUN-1 */

    run_verify_map(chunk);
    bits_assign(chunk->free_map, page_index, run_pages, false);
    chunk->free_pages += run_pages;
    if (chunk->free_tail == page_index + run_pages) {
        chunk->free_tail = page_index;
    }
}

ZMM_INTERNAL bool run_extend(chunk_record *chunk, uint32_t page_index, uint32_t old_pages, uint32_t new_pages) {
    const uint32_t added_pages = new_pages - old_pages;
    if (page_index + new_pages > ZMM_CHUNK_PAGES ||
        !bits_all_clear(chunk->free_map, page_index + old_pages, added_pages)) {
        return false;
    }
    run_verify_gap(chunk, page_index + old_pages, added_pages);
    bits_assign(chunk->free_map, page_index + old_pages, added_pages, true);
    chunk->free_pages -= added_pages;
    return true;
}

ZMM_INTERNAL void run_truncate(chunk_record *chunk, uint32_t page_index, uint32_t old_pages, uint32_t new_pages) {
    bits_assign(chunk->free_map, page_index + new_pages, old_pages - new_pages, false);
    chunk->free_pages += old_pages - new_pages;
}

ZMM_INTERNAL page_word run_word(zmm_heap *heap, const chunk_record *chunk, uint32_t page_index) {
    const page_word *const word = chunk_words(chunk) + page_index;
    if ((*word & PAGE_WORD_SMALL) == 0) {
        const uint32_t run_pages = page_word_run_pages(*word);
        if (run_pages == 0 || (*word & ~PAGE_WORD_BACK_MASK) != page_word_large(heap->id, run_pages)) {
            panic(heap, PANIC_PAGE_MAP, word);
        }
    } else {
        const uint32_t bin_index = page_word_bin(*word);
        if (bin_index >= ZMM_BIN_COUNT || *word != page_word_small(heap->id, bin_index, 0)) {
            panic(heap, PANIC_PAGE_MAP, word);
        }
    }
    return *word;
}
