/* small.h -- the fast path of slots: taking one from its bin's list, and putting it back. Included by core.h, in its place
 * among the layers; small.c has the slow half.
 *
 * What such a call costs is the loads that wait for stores of the call before, and stores; instructions come third. So
 * nothing is loaded twice, and what a freed slot's page word says of it (its bin, its length) is all that the stores into
 * it wait for. */
#ifndef ZMM_SMALL_H
#define ZMM_SMALL_H

#include "live.h"
#include "link.h"

/* NULL where anything is out of the ordinary: the list is empty, its slots are tiny or lie outside the reserved range, or a
 * slot was written to or should not be in the list. Nothing has changed then, and small_alloc_slow finds out. */
static inline void *small_take(zmm_heap *heap, size_t size_bytes) {
    const uint32_t class_word = class_of_size(size_bytes);
    const uint32_t bin_index = class_bin(class_word);
    const size_t slot_bytes = class_bytes(class_word);
    void *const slot = heap->free_slot[bin_index];
#if ZMM_LIVE_BITS
    const uint64_t granule = ground_granule(slot);
    if (ZMM_UNLIKELY(!heap_has_granule(heap, granule))) {
        return NULL; /* what ends a list is no address in the range either */
    }
#else
    if (ZMM_UNLIKELY(slot == NULL)) {
        return NULL;
    }
#endif
    const uint64_t link = ANNOTATE_PEEK((const uint64_t *)slot);
#if ZMM_LIVE_BITS
    if (ZMM_UNLIKELY(link_seal(slot, link) != ANNOTATE_PEEK(link_twin(slot, slot_bytes))) ||
        ZMM_UNLIKELY(live_exchange(live_word_of_address(slot), granule, true))) {
        return NULL;
    }
#endif
    heap->free_slot[bin_index] = (void *)(uintptr_t)link_mask(heap, link);
    usage_add(heap, slot_bytes);
    return slot;
}
static inline void *small_alloc(zmm_heap *heap, size_t size_bytes) {
    void *const slot = small_take(heap, size_bytes);
    return ZMM_LIKELY(slot != NULL) ? slot : small_alloc_slow(heap, bin_of_size(size_bytes));
}

/* The rest of freeing a slot, once it is known to be live. The head comes after the slot's last word: at a page's first slot
 * both have the same place in their pages, and a store of the one would hold up a load of the other. */
static inline void small_push(zmm_heap *heap, void *slot, uint32_t bin_index, bool is_tiny, size_t slot_bytes,
                              size_t wipe_bytes) {
    void **const head = is_tiny ? &heap->free_tiny : &heap->free_slot[bin_index];
#if ZMM_SEALED_LINKS && !ZMM_TRIMS
    if (!is_tiny) {
        link_set_wiped(heap, slot, slot_bytes, wipe_bytes, *head);
    } else {
        link_set(heap, slot, slot_bytes, *head);
    }
#else
    (void)wipe_bytes;
    link_set(heap, slot, slot_bytes, *head);
#endif
    *head = slot;
    usage_subtract(heap, slot_bytes);
}

/* False, with nothing changed, when the block is no live slot of the fast path. */
static inline bool small_free(zmm_heap *heap, void *block) {
    const uint64_t granule = ground_granule(block);
    if (ZMM_UNLIKELY(!heap_has_granule(heap, granule))) {
        return false;
    }
    const page_word *const page = page_word_of_address(block);
    const uint32_t bin_index = page_word_bin_at(page);
    const size_t slot_bytes = page_word_slot_bytes_at(page);
    const size_t wipe_bytes = page_word_wipe_bytes_at(page);
#if ZMM_LIVE_BITS
    /* Read first, written last: the next call's look at the bit waits for this one's. */
    uint64_t *const live = live_word_of_address(block);
    uint64_t bits = *live;
    if (ZMM_UNLIKELY(!live_turn(&bits, granule, false))) {
        return false;
    }
#endif
    if (ZMM_UNLIKELY(((*page ^ heap->small_words[bin_index]) & ~PAGE_WORD_BACK_MASK) != 0)) {
        return false;
    }
#if ZMM_LIVE_BITS
    *live = bits;
#endif
    small_push(heap, block, bin_index, false, slot_bytes, wipe_bytes);
    return true;
}

#endif
