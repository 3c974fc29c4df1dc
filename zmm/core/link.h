/* link.h -- how free slots hang together. Included by core.h, in its place among the layers.
 *
 * At level fast a free slot's first word is the address of the next one. From level release on the link is sealed: mixed
 * with the heap's key and the slot's own address, multiplied so that a change of any byte spreads upward into the bits
 * that no address has, and written into the slot's first word and its last (with trims: the second; the last is the state
 * word's). A write into either breaks the pair; a write into both, or a whole link copied from elsewhere, opens to an
 * address outside every chunk. A slot of 8 bytes ("tiny") has one copy, and slow paths of its own, so that nobody else
 * pays for the question. */
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
static inline uint64_t *link_twin(const void *slot, size_t slot_bytes) {
    const size_t twin_bytes = ZMM_TRIMS && slot_bytes > sizeof(uint64_t) ? 2 * sizeof(uint64_t) : slot_bytes;
    return (uint64_t *)((uintptr_t)slot + twin_bytes - sizeof(uint64_t));
}
static inline bool link_is_whole(const void *slot, size_t slot_bytes) {
    return !ZMM_SEALED_LINKS || ANNOTATE_PEEK((const uint64_t *)slot) == ANNOTATE_PEEK(link_twin(slot, slot_bytes));
}
#if ZMM_SEALED_LINKS
/* The slot is taken off after the multiplication: so a link that is copied to another slot opens to its target plus a
 * multiple of LINK_INVERSE, which is nowhere near. */
static inline uint64_t link_seal(const zmm_heap *heap, const void *slot, const void *next) {
    return ((uintptr_t)next ^ heap->link_key) * LINK_FACTOR - (uintptr_t)slot;
}
#endif
/* Opens a slot's first word without asking whether it is whole. */
static inline void *link_open_word(const zmm_heap *heap, const void *slot, uint64_t word) {
#if ZMM_SEALED_LINKS
    return (void *)(uintptr_t)((word + (uintptr_t)slot) * LINK_INVERSE ^ heap->link_key);
#else
    (void)heap, (void)slot;
    return (void *)(uintptr_t)word;
#endif
}
static inline void *link_open(const zmm_heap *heap, const void *slot) {
    return link_open_word(heap, slot, ANNOTATE_PEEK((const uint64_t *)slot));
}
static inline void *link_next(zmm_heap *heap, const void *slot, size_t slot_bytes) {
    if (ZMM_UNLIKELY(!link_is_whole(slot, slot_bytes))) {
        panic(heap, PANIC_FREE_SLOT, slot);
    }
    return link_open(heap, slot);
}
static inline void link_set(const zmm_heap *heap, void *slot, size_t slot_bytes, const void *next) {
#if ZMM_SEALED_LINKS
    const uint64_t sealed = link_seal(heap, slot, next);
    ANNOTATE_POKE((uint64_t *)slot, sealed);
    ANNOTATE_POKE(link_twin(slot, slot_bytes), sealed);
#else
    (void)heap;
    (void)slot_bytes;
    ANNOTATE_POKE((const void **)slot, next);
#endif
}

#endif
