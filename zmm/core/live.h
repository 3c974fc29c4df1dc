/* live.h -- the live bits: one for every possible start of a slot, set while a block starts there. Included by core.h, in its
 * place among the layers. */
#ifndef ZMM_LIVE_H
#define ZMM_LIVE_H

#if ZMM_LIVE_BITS
static inline uint64_t *live_word(position at) {
    return &ground.live[at >> (ZMM_SLOT_SHIFT + 6)];
}
static inline uint64_t live_mask(position at) {
    return (uint64_t)1 << ((at >> ZMM_SLOT_SHIFT) % 64);
}
static inline bool live_test(position at) {
    return (*live_word(at) & live_mask(at)) != 0;
}
/* Sets or clears the bit of granule % 64 in a copy of a word and tells what it was. Compilers do not find the instruction by
 * themselves. */
static inline bool live_turn(uint64_t *bits, uint64_t granule, bool value) {
    bool before;
#if defined(__x86_64__) && defined(__GCC_ASM_FLAG_OUTPUTS__)
    if (value) {
        __asm__("btsq %2, %0" : "+r"(*bits), "=@ccc"(before) : "r"(granule));
    } else {
        __asm__("btrq %2, %0" : "+r"(*bits), "=@ccc"(before) : "r"(granule));
    }
#else
    const uint64_t mask = (uint64_t)1 << (granule % 64);
    before = (*bits & mask) != 0;
    *bits = value ? *bits | mask : *bits & ~mask;
#endif
    return before;
}
/* The same in the word itself. */
static inline bool live_exchange(uint64_t *word, uint64_t granule, bool value) {
    uint64_t bits = *word;
    const bool before = live_turn(&bits, granule, value);
    *word = bits;
    return before;
}
/* For an address in the range. The range is aligned, so the address's own granule has the right place in its word. */
static inline uint64_t *live_word_of_address(const void *address) {
    return (uint64_t *)(ground.live_by_address + ((uintptr_t)address >> (ZMM_SLOT_SHIFT + 6)) * sizeof(uint64_t));
}
#endif

#endif
