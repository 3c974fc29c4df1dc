/* link.h -- how free slots hang together. Included by core.h, in its place among the layers.
 *
 * At level fast a free slot's first word is the address of the next one. From level release on the first word is that
 * address under the heap's key, and the last word (with trims the second; the last is the state word's) is its twin: the
 * first word multiplied, so that a change of any byte spreads upward, less the slot's own address. When a slot is taken,
 * by gc, and when a neighbour grows, the two are held against each other. So a write into one of them is always found, and
 * so is a pair that was copied from another slot, be it as a whole: the multiplication has an inverse, and addresses
 * differ. Other bytes over both, the same or not, fit each other in one case of 2^64, and where a few changed bits do
 * they lead outside every chunk, which the next call finds. Who can read freed memory at length can learn the key: the
 * seal is against accidents and blind writes.
 *
 * Only the comparison waits for the multiplication, and no call waits for the comparison: the way of a link from a slot to
 * the head and back to a slot, which the next call does wait for, is one exclusive or.
 *
 * A slot of 8 bytes ("tiny") has the twin alone, and slow paths of its own, so that nobody else pays for the question:
 * there a broken link opens to an address outside every chunk. */
#ifndef ZMM_LINK_H
#define ZMM_LINK_H

#include "annotate.h"
#include "layout.h"

#define LINK_FACTOR UINT64_C(0x9E3779B97F4A7C15)
#define LINK_INVERSE UINT64_C(0xF1DE83E19937733D)
static_assert(LINK_FACTOR * LINK_INVERSE == 1, "what seals a link opens it");

static inline bool bin_is_tiny(uint32_t bin_index) {
    return ZMM_SEALED_LINKS && bin_index == 0;
}
static inline void **bin_head(zmm_heap *heap, uint32_t bin_index) {
    return bin_is_tiny(bin_index) ? &heap->free_tiny : &heap->free_slot[bin_index];
}
static ANNOTATE_BLIND uint64_t *link_twin(const void *slot, size_t slot_bytes) {
    const size_t twin_bytes = ZMM_TRIMS && slot_bytes > sizeof(uint64_t) ? 2 * sizeof(uint64_t) : slot_bytes;
    return (uint64_t *)((uintptr_t)slot + twin_bytes - sizeof(uint64_t));
}
/* What the twin of a slot's first word is, and which first word has this twin. */
static ANNOTATE_BLIND uint64_t link_seal(const void *slot, uint64_t word) {
    return word * LINK_FACTOR - (uintptr_t)slot;
}
static ANNOTATE_BLIND uint64_t link_unseal(const void *slot, uint64_t twin) {
    return (twin + (uintptr_t)slot) * LINK_INVERSE;
}
static ANNOTATE_BLIND bool link_is_whole(const void *slot, size_t slot_bytes) {
    return !ZMM_SEALED_LINKS || slot_bytes == sizeof(uint64_t) ||
           link_seal(slot, ANNOTATE_PEEK((const uint64_t *)slot)) == ANNOTATE_PEEK(link_twin(slot, slot_bytes));
}
/* A slot's first word as an address, and back. */
static ANNOTATE_BLIND uint64_t link_mask(const zmm_heap *heap, uint64_t word) {
    return ZMM_SEALED_LINKS ? word ^ heap->link_key : word;
}
/* Opens a link without asking whether it is whole. */
static ANNOTATE_BLIND void *link_open(const zmm_heap *heap, const void *slot, size_t slot_bytes) {
    const uint64_t word = ANNOTATE_PEEK((const uint64_t *)slot);
    const bool is_twin = ZMM_SEALED_LINKS && slot_bytes == sizeof(uint64_t);
    return (void *)(uintptr_t)link_mask(heap, is_twin ? link_unseal(slot, word) : word);
}
static inline void *link_next(zmm_heap *heap, const void *slot, size_t slot_bytes) {
    if (ZMM_UNLIKELY(!link_is_whole(slot, slot_bytes))) {
        panic(heap, PANIC_FREE_SLOT, slot);
    }
    return link_open(heap, slot, slot_bytes);
}
/* The twin comes last: in a tiny slot it is what stays. */
static ANNOTATE_BLIND void link_set(const zmm_heap *heap, void *slot, size_t slot_bytes, const void *next) {
    const uint64_t word = link_mask(heap, (uintptr_t)next);
    ANNOTATE_POKE((uint64_t *)slot, word);
#if ZMM_SEALED_LINKS
    ANNOTATE_POKE(link_twin(slot, slot_bytes), link_seal(slot, word));
#else
    (void)slot_bytes;
#endif
}
#if ZMM_SEALED_LINKS
/* The same, and the slot's first 32 bytes are wiped, where a stale pointer would look first and the next owner of the slot
 * may forget to write: 16 bytes from `wipe_bytes` on and the second word. In slots that are too short for all of it the
 * stores overlap, so the twin comes last. (With trims more is wiped, and it is done when the slot begins to wait.) */
#define LINK_WIPED_BYTES ((size_t)16)
static ANNOTATE_BLIND void link_set_wiped(const zmm_heap *heap, void *slot, size_t slot_bytes, size_t wipe_bytes,
                                          const void *next) {
    const uint64_t word = link_mask(heap, (uintptr_t)next);
    ANNOTATE_ZERO((char *)slot + wipe_bytes, LINK_WIPED_BYTES);
#if ZMM_ANNOTATES
    ANNOTATE_POKE((uint64_t *)slot, word);
    ANNOTATE_POKE((uint64_t *)slot + 1, 0);
#else
    /* A store each: the next call loads the first word, and would wait long for half of a vector. */
    *(volatile uint64_t *)slot = word;
    *((volatile uint64_t *)slot + 1) = 0;
#endif
    ANNOTATE_POKE(link_twin(slot, slot_bytes), link_seal(slot, word));
}
#endif

#endif
