/* trim.h -- what lies around a user's block at levels hardened and debug. Included by core.h, in its place among the layers.
 *
 *   block            [ requested bytes ][ canary, up to 8 ] ... slack ... [ sites, 16, debug ][ state, 8 ] end of slot or run
 * The state word holds the requested size, and whether the block is free, sealed by key and address: it opens to a size that
 * fits, or it was written to. The canary is made of the state word, so that one multiplication serves both; it is cut off
 * where sites or state begin (one byte of it is always there). None of its bytes is below 0x80, so neither text nor the zero
 * at its end nor a small number is taken for it.
 *
 * While a slot is free its first bytes repeat its state word: nobody owns them, so a change tells of a stale pointer. In a
 * free list the first two words are the link and its twin. */
#ifndef ZMM_TRIM_H
#define ZMM_TRIM_H

#include "annotate.h"
#include "link.h"

#if ZMM_TRIMS
#define TRIM_CANARY_BYTES ((size_t)8)
#define TRIM_CANARY_BYTES_MIN (ZMM_SITES ? TRIM_CANARY_BYTES : (size_t)1)
#define TRIM_TAIL_BYTES (ZMM_SITES ? (size_t)24 : (size_t)8)
#define TRIM_BYTES (TRIM_CANARY_BYTES_MIN + TRIM_TAIL_BYTES)
#define TRIM_LINK_BYTES ((size_t)16)
#define TRIM_FREE_BYTES ((size_t)64) /* at most so many of a free slot's bytes repeat the state word */
/* Two words of link and the state word must not meet in a free slot. */
#define TRIM_SLOT_BYTES_MIN ((size_t)24) /* the smallest slot that has a state word */
#define TRIM_INNER_BYTES_MIN (TRIM_LINK_BYTES + TRIM_TAIL_BYTES)
#define TRIM_STATE_FREE ((uint64_t)1 << 63)

/* Sites and state; the allocator's own small blocks have no sites. */
static inline size_t trim_tail_bytes(size_t inner_bytes) {
    return inner_bytes < TRIM_INNER_BYTES_MIN ? sizeof(uint64_t) : TRIM_TAIL_BYTES;
}
static inline uint64_t trim_mix(const zmm_heap *heap, const void *block) {
    return (uintptr_t)block ^ heap->trim_key;
}
static inline uint64_t trim_seal(uint64_t mix, uint64_t state) {
    return (state ^ mix) * LINK_FACTOR;
}
static inline uint64_t trim_open(uint64_t mix, uint64_t word) {
    return word * LINK_INVERSE ^ mix;
}
/* The word's upper half depends on every bit of what is sealed; it shall meet short overruns first. */
static inline uint64_t trim_canary(uint64_t word) {
    return (word >> 32 | word << 32) | UINT64_C(0x8080808080808080);
}
/* A live block's word with the mark of a free one, and back: the factor is odd, so the highest bit stays by itself. */
static inline uint64_t trim_turn(uint64_t word) {
    return word ^ TRIM_STATE_FREE;
}
static inline uint64_t *trim_word(const void *block, size_t inner_bytes) {
    return (uint64_t *)((uintptr_t)block + inner_bytes - sizeof(uint64_t));
}
static inline uint64_t trim_get_state(const zmm_heap *heap, const void *block, size_t inner_bytes) {
    return trim_open(trim_mix(heap, block), ANNOTATE_PEEK(trim_word(block, inner_bytes)));
}
/* The bits by which the bytes behind a block's requested ones differ from its canary, as far as there is room for it. */
static inline uint64_t trim_canary_difference(const void *block, size_t room_bytes, size_t requested_bytes,
                                              uint64_t word) {
    uint64_t found;
    ANNOTATE_COPY_OUT(&found, (const char *)block + requested_bytes);
    const size_t covered_bytes = room_bytes < TRIM_CANARY_BYTES ? room_bytes : TRIM_CANARY_BYTES;
    return (found ^ trim_canary(word)) << (8 * (TRIM_CANARY_BYTES - covered_bytes));
}
/* Arms the trims of a live block; what of the canary reaches into the tail is overwritten. */
static inline void trim_arm_mixed(uint64_t mix, void *block, size_t inner_bytes, size_t requested_bytes) {
    const uint64_t word = trim_seal(mix, requested_bytes);
    const uint64_t canary = trim_canary(word);
    ANNOTATE_COPY_IN((char *)block + requested_bytes, &canary);
    ANNOTATE_POKE(trim_word(block, inner_bytes), word);
}
static inline void trim_arm(const zmm_heap *heap, void *block, size_t inner_bytes, size_t requested_bytes) {
    trim_arm_mixed(trim_mix(heap, block), block, inner_bytes, requested_bytes);
}
static inline const void **trim_sites(const void *block, size_t inner_bytes) {
    return (const void **)((uintptr_t)block + inner_bytes - TRIM_TAIL_BYTES);
}

/* ---- free slots ----------------------------------------------------------------------------------------------------- */

/* Four stores of two words each serve every bin: where there are fewer bytes they overlap. */
typedef uint64_t trim_pair __attribute__((vector_size(16), aligned(8), may_alias));
static inline trim_pair *trim_pair_at(const void *slot, uint32_t offset_bytes) {
    return (trim_pair *)((uintptr_t)slot + offset_bytes);
}
static ANNOTATE_BLIND void trim_fill(void *slot, const trim_bin *bin, uint64_t word) {
    ANNOTATE_UNSEEN;
    const trim_pair pair = {word, word};
    *trim_pair_at(slot, 0) = pair;
    *trim_pair_at(slot, bin->second) = pair;
    *trim_pair_at(slot, bin->third) = pair;
    *trim_pair_at(slot, bin->fourth) = pair;
}
static ANNOTATE_BLIND bool trim_is_filled(const void *slot, const trim_bin *bin, uint64_t word) {
    ANNOTATE_UNSEEN;
    const trim_pair pair = {word, word};
    const trim_pair any = (*trim_pair_at(slot, 0) ^ pair) | (*trim_pair_at(slot, bin->second) ^ pair) |
                          (*trim_pair_at(slot, bin->third) ^ pair) | (*trim_pair_at(slot, bin->fourth) ^ pair);
    return (any[0] | any[1]) == 0;
}
/* Marks a slot that was never a user's, or no longer is, as free; the link comes after. */
static inline void trim_mark_free(const zmm_heap *heap, void *slot, uint32_t bin_index, size_t slot_bytes) {
    const uint64_t word = trim_seal(trim_mix(heap, slot), TRIM_STATE_FREE);
    ANNOTATE_POKE(trim_word(slot, slot_bytes), word);
    trim_fill(slot, &trim_bins[bin_index], word);
}
#endif

#endif
