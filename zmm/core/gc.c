/* gc.c -- gives completely free runs of slots, and chunks that become empty, back.
 *
 * Asks:    bin's tables, run, chunk.
 * Serves:  supply, huge's limit check, the API.
 * Never:   moves a live block, or touches size and peak.
 *
 * zendmm.md section 10. Two of its bugs are told apart here: edition php-8.2 never collects bin 0 (there the counter of
 * free slots has nine bits, and 512 does not fit); the deletion of an empty main chunk is done in no edition. */
#include "core.h"

/* The record and first page of the run a free slot lies in; panics when the list has left the bin's runs, whose first pages
 * say `first_word`. */
static chunk_record *gc_run_of_slot(zmm_heap *heap, page_word first_word, const void *slot, uint32_t *page_index) {
    const position at = ground_locate(heap, slot);
    if (at == POSITION_NONE) {
        panic(heap, PANIC_LIST_ASTRAY, slot);
    }
    const page_word word = ground.words[at >> ZMM_PAGE_SHIFT];
    if ((word & ~PAGE_WORD_BACK_MASK) != first_word) {
        panic(heap, PANIC_LIST_ASTRAY, slot);
    }
    *page_index = position_page(at) - page_word_back_pages(word);
    return ground_chunk(at);
}

static void gc_bin(zmm_heap *heap, uint32_t bin_index) {
    const size_t slot_bytes = bin_bytes[bin_index];
    const page_word first_word = page_word_small(heap->id, bin_index, 0);
    void **const head = bin_head(heap, bin_index);
    bool has_free_run = false;
    for (void *slot = *head; slot != NULL; slot = link_next(heap, slot, slot_bytes)) {
        uint32_t page_index;
        chunk_record *const chunk = gc_run_of_slot(heap, first_word, slot, &page_index);
        const uint32_t free_slots = ++chunk->free_slots[page_index];
        if (free_slots > bin_elements[bin_index]) {
            panic(heap, PANIC_LIST_CIRCLE, slot);
        }
        has_free_run |= free_slots == bin_elements[bin_index];
    }
    if (!has_free_run) {
        return;
    }
    void *kept = NULL; /* the last slot that stays; the order of those that stay does not change */
    void *slot = *head;
    *head = NULL;
    while (slot != NULL) {
        void *const next = link_next(heap, slot, slot_bytes);
        uint32_t page_index;
        const chunk_record *const chunk = gc_run_of_slot(heap, first_word, slot, &page_index);
        if (chunk->free_slots[page_index] != bin_elements[bin_index]) {
            if (kept == NULL) {
                *head = slot;
            } else {
                link_set(heap, kept, slot_bytes, slot);
            }
            kept = slot;
            link_set(heap, slot, slot_bytes, NULL);
        }
        slot = next;
    }
}

static size_t gc_chunk(zmm_heap *heap, chunk_record *chunk) {
    size_t collected_pages = 0;
    page_word *const words = chunk_words(chunk);
    uint32_t page_index = ZMM_HEADER_PAGES;
    while (page_index < chunk->free_tail) {
        if (!bits_test(chunk->free_map, page_index)) {
            page_index++;
            continue;
        }
        const page_word word = run_word(heap, chunk, page_index);
        if ((word & PAGE_WORD_SMALL) == 0) {
            page_index += page_word_run_pages(word);
            continue;
        }
        const uint32_t bin_index = page_word_bin(word);
        bin_verify_rest(heap, bin_index, chunk_page(chunk, page_index));
        const uint32_t run_pages = bin_pages[bin_index];
        if (chunk->free_slots[page_index] == bin_elements[bin_index]) {
            for (uint32_t page = 0; page < run_pages; page++) {
                words[page_index + page] = 0;
            }
            run_give_back(chunk, page_index, run_pages);
            collected_pages += run_pages;
        }
        chunk->free_slots[page_index] = 0;
        page_index += run_pages;
    }
    return collected_pages;
}

ZMM_INTERNAL size_t gc_collect(zmm_heap *heap) {
    const uint32_t first_bin = heap->edition == ZMM_EDITION_PHP_8_2 ? 1 : 0;
    for (uint32_t bin_index = first_bin; bin_index < ZMM_BIN_COUNT; bin_index++) {
        gc_bin(heap, bin_index);
    }
    size_t collected_pages = 0;
    chunk_record *chunk = chunk_verified(heap, heap->main_chunk);
    do {
        chunk_record *const next = chunk_next(heap, chunk);
        collected_pages += gc_chunk(heap, chunk);
        if (chunk->free_pages == ZMM_RUN_PAGES_MAX && chunk != heap->main_chunk) {
            chunk_delete(heap, chunk);
        }
        chunk = next;
    } while (chunk != heap->main_chunk);
    return collected_pages * ZMM_PAGE_BYTES;
}
