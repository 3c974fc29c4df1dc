/* small.c -- the slow half of slots: when the list is empty, when slots are tiny, or when they lie outside the range.
 *
 * Asks:    supply, bin.
 * Serves:  the fast path (inline in core.h), huge, heap. */
#include "core.h"

/* The first of a list whose slots are tiny, lie outside the reserved range, or should not be where they are; panics when the
 * list leads nowhere or the slot was written to. */
static void *small_alloc_odd(zmm_heap *heap, uint32_t bin_index) {
    void **const head = bin_head(heap, bin_index);
    void *const slot = *head;
    const position at = ground_locate(heap, slot);
    if (at == POSITION_NONE || at % ZMM_SLOT_ALIGNMENT_BYTES != 0) {
        panic(heap, PANIC_LIST_ASTRAY, slot);
    }
#if ZMM_LIVE_BITS
    if (live_exchange(live_word(at), at >> ZMM_SLOT_SHIFT, true)) {
        panic(heap, PANIC_LIST_LIVE, slot);
    }
#endif
    *head = link_next(heap, slot, bin_bytes[bin_index]);
    usage_add(heap, bin_bytes[bin_index]);
    return slot;
}

ZMM_INTERNAL ZMM_COLD void *small_alloc_slow(zmm_heap *heap, uint32_t bin_index) {
    if (*bin_head(heap, bin_index) != NULL) {
        return small_alloc_odd(heap, bin_index);
    }
    const size_t slot_bytes = bin_bytes[bin_index];
    /* With trims a refusal here is not the last word, so it leaves nothing behind in any edition. */
    const bool is_php = !ZMM_TRIMS && heap->edition == ZMM_EDITION_PHP_8_2;
    if (is_php) {
        usage_add(heap, slot_bytes); /* before the run is found: a refusal leaves it raised */
    }
    chunk_record *chunk;
    const uint32_t page_index = supply_run(heap, bin_pages[bin_index], &chunk);
    if (page_index == 0) {
        heap->drift_bytes += is_php ? slot_bytes : 0;
        return NULL;
    }
    if (!is_php) {
        usage_add(heap, slot_bytes);
    }
    void *const slot = bin_carve(heap, bin_index, chunk, page_index);
#if ZMM_LIVE_BITS
    const position at = ground_locate(heap, slot);
    live_exchange(live_word(at), at >> ZMM_SLOT_SHIFT, true);
#endif
    return slot;
}

ZMM_INTERNAL void small_free_at(zmm_heap *heap, void *slot, position at) {
    const uint32_t bin_index = page_word_bin(ground.words[at >> ZMM_PAGE_SHIFT]);
#if ZMM_LIVE_BITS
    if (at % ZMM_SLOT_ALIGNMENT_BYTES != 0 || !live_exchange(live_word(at), at >> ZMM_SLOT_SHIFT, false)) {
        panic(heap, PANIC_NOT_LIVE, slot);
    }
#endif
#if ZMM_TRIMS
    if (bin_bytes[bin_index] >= TRIM_SLOT_BYTES_MIN) {
        trim_mark_free(heap, slot, bin_index, bin_bytes[bin_index]);
    }
#endif
    small_push(heap, slot, bin_index, bin_is_tiny(bin_index), bin_bytes[bin_index], bin_wipe[bin_index]);
}
