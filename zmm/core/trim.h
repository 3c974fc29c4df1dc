/* trim.h -- what lies around a user's block at levels hardened and debug. Included by core.h, in its place among the layers.
 *
 *   block            [ requested bytes ][ canary, 8 ] ... slack ... [ sites, 16, debug ][ state, 8 ] end of slot or run
 * The canary is keyed by its address, so it repeats nowhere, and its first byte is never 0. The state word holds the
 * requested size and whether the block is free, sealed by key and address; a block whose state does not open to a size
 * that fits, or whose canary differs, was overrun. The state word of a free slot is kept too. */
#ifndef ZMM_TRIM_H
#define ZMM_TRIM_H

#include "link.h"

#if ZMM_TRIMS
#define TRIM_CANARY_BYTES ((size_t)8)
#define TRIM_TAIL_BYTES (ZMM_SITES ? (size_t)24 : (size_t)8)
#define TRIM_BYTES (TRIM_CANARY_BYTES + TRIM_TAIL_BYTES)
/* Two words of link and the state word must not meet in a free slot. */
#define TRIM_SLOT_BYTES_MIN ((size_t)24) /* the smallest slot that has a state word */
#define TRIM_INNER_BYTES_MIN ((size_t)16 + TRIM_TAIL_BYTES)
#define TRIM_STATE_FREE ((uint64_t)1 << 63)

static inline uint64_t trim_seal(const zmm_heap *heap, const void *address) {
    const uint64_t mixed = ((uintptr_t)address ^ heap->trim_key) * LINK_FACTOR;
    return mixed >> 32 | mixed << 32; /* the upper half depends on every bit; it shall meet short overruns first */
}
static inline uint64_t trim_canary(const zmm_heap *heap, const void *address) {
    const uint64_t canary = trim_seal(heap, address);
    return (canary & 0xff) != 0 ? canary : canary | 0x5a;
}
static inline uint64_t *trim_state(const void *block, size_t inner_bytes) {
    return (uint64_t *)((uintptr_t)block + inner_bytes - sizeof(uint64_t));
}
static inline void trim_set_state(const zmm_heap *heap, void *block, size_t inner_bytes, uint64_t state) {
    uint64_t *const word = trim_state(block, inner_bytes);
    ANNOTATE_POKE(word, state ^ trim_seal(heap, word));
}
static inline uint64_t trim_get_state(const zmm_heap *heap, const void *block, size_t inner_bytes) {
    const uint64_t *const word = trim_state(block, inner_bytes);
    return ANNOTATE_PEEK(word) ^ trim_seal(heap, word);
}
/* Arms the trims of a live block. */
static inline void trim_arm(const zmm_heap *heap, void *block, size_t inner_bytes, size_t requested_bytes) {
    trim_set_state(heap, block, inner_bytes, requested_bytes);
    const uint64_t canary = trim_canary(heap, (char *)block + requested_bytes);
    ANNOTATE_COPY_IN((char *)block + requested_bytes, &canary);
}
static inline const void **trim_sites(const void *block, size_t inner_bytes) {
    return (const void **)((uintptr_t)block + inner_bytes - TRIM_TAIL_BYTES);
}
#endif

#endif
