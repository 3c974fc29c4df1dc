/* gc.c -- gives completely free runs of slots, and chunks that become empty, back.
 *
 * Asks:    bin's tables, run, chunk.
 * Serves:  supply, huge's limit check, the API.
 * Never:   moves a live block, or touches size and peak.
 *
 * zendmm.md section 10. Two of its bugs are told apart here: edition php-8.2 never collects bin 0 (there the counter of
 * free slots has nine bits, and 512 does not fit); the deletion of an empty main chunk is done in no edition. */
#include "core.h"

/* The run that a free slot lies in: where its free slots are counted. Neighbours in a list mostly share a page, so the last
 * page is remembered. */
struct gc_place {
    uintptr_t page;
    uint16_t *free_slots;
};

/* Panics when the list has left the bin's runs, whose first pages say `first_word`. */
static uint16_t *gc_place_of(zmm_heap *heap, page_word first_word, const void *slot, struct gc_place *last) {
    const uintptr_t page = (uintptr_t)slot >> ZMM_PAGE_SHIFT;
    if (page == last->page) {
        return last->free_slots;
    }
    const position at = ground_locate(heap, slot);
    if (at == POSITION_NONE) {
        panic(heap, PANIC_LIST_ASTRAY, slot);
    }
    const page_word word = ground.words[at >> ZMM_PAGE_SHIFT];
    if ((word & ~PAGE_WORD_BACK_MASK) != first_word) {
        panic(heap, PANIC_LIST_ASTRAY, slot);
    }
    *last = (struct gc_place){page, &ground_chunk(at)->free_slots[position_page(at) - page_word_back_pages(word)]};
    return last->free_slots;
}

/* Counts the bin's free slots, run by run; tells whether there is a run of nothing else. */
static bool gc_count(zmm_heap *heap, uint32_t bin_index, page_word first_word) {
    const size_t slot_bytes = bin_bytes[bin_index];
    const uint32_t slot_count = bin_elements[bin_index];
    struct gc_place last = {UINTPTR_MAX, NULL}; /* no page */
    bool has_free_run = false;
    for (const void *slot = *bin_head(heap, bin_index); slot != NULL; slot = link_next(heap, slot, slot_bytes)) {
        const uint32_t free_slots = ++*gc_place_of(heap, first_word, slot, &last);
        if (free_slots > slot_count) {
            panic(heap, PANIC_LIST_CIRCLE, slot);
        }
        has_free_run |= free_slots == slot_count;
    }
    return has_free_run;
}

/* Makes `slot` what comes after `kept`, or first where nothing was kept. */
static void gc_join(const zmm_heap *heap, void **head, void *kept, size_t slot_bytes, void *slot) {
    if (kept == NULL) {
        *head = slot;
    } else {
        link_set(heap, kept, slot_bytes, slot);
    }
}

/* Takes the slots of free runs out of the bin's list. Those that stay keep their order, and their links where nothing
 * between them goes. */
static void gc_unlink(zmm_heap *heap, uint32_t bin_index, page_word first_word) {
    const size_t slot_bytes = bin_bytes[bin_index];
    void **const head = bin_head(heap, bin_index);
    struct gc_place last = {UINTPTR_MAX, NULL}; /* no page */
    void *kept = NULL;
    bool is_cut = false; /* the last kept slot's link, or the head, leads to a slot that goes */
    for (void *slot = *head, *next; slot != NULL; slot = next) {
        next = link_next(heap, slot, slot_bytes);
        if (*gc_place_of(heap, first_word, slot, &last) == bin_elements[bin_index]) {
            is_cut = true;
            continue;
        }
        if (is_cut) {
            gc_join(heap, head, kept, slot_bytes, slot);
            is_cut = false;
        }
        kept = slot;
    }
    if (is_cut) {
        gc_join(heap, head, kept, slot_bytes, NULL);
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
        const page_word first_word = page_word_small(heap->id, bin_index, 0);
        if (gc_count(heap, bin_index, first_word)) {
            gc_unlink(heap, bin_index, first_word);
        }
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
