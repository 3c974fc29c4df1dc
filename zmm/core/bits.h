/* bits.h -- bit operations on a chunk's free map (a set bit is a used page); pure, no state of its own. */
#ifndef ZMM_BITS_H
#define ZMM_BITS_H

#include "config.h"

static inline bool bits_test(const uint64_t *map, uint32_t index) {
    return (map[index / 64] >> (index % 64)) & 1;
}

/* The word mask of the bits [from, to) within one word; to is at most 64 and more than from. */
static inline uint64_t bits_mask(uint32_t from, uint32_t to) {
    const uint64_t upper = to == 64 ? UINT64_MAX : ((uint64_t)1 << to) - 1;
    return upper & (UINT64_MAX << from);
}

/* Sets or clears `count` bits from `first`; count may be 0. */
static inline void bits_assign(uint64_t *map, uint32_t first, uint32_t count, bool value) {
    const uint32_t end = first + count;
    while (first < end) {
        const uint32_t word = first / 64;
        const uint32_t word_end = (word + 1) * 64;
        const uint64_t mask = bits_mask(first % 64, (end < word_end ? end : word_end) - word * 64);
        map[word] = value ? map[word] | mask : map[word] & ~mask;
        first = word_end;
    }
}

/* The first index >= from whose bit equals `value`; ZMM_CHUNK_PAGES when there is none. */
static inline uint32_t bits_next(const uint64_t *map, uint32_t from, bool value) {
    if (from >= ZMM_CHUNK_PAGES) {
        return ZMM_CHUNK_PAGES;
    }
    uint32_t word = from / 64;
    uint64_t found = (value ? map[word] : ~map[word]) & (UINT64_MAX << (from % 64));
    while (found == 0) {
        if (++word == ZMM_MAP_WORDS) {
            return ZMM_CHUNK_PAGES;
        }
        found = value ? map[word] : ~map[word];
    }
    return word * 64 + (uint32_t)__builtin_ctzll(found);
}

static inline bool bits_all_clear(const uint64_t *map, uint32_t first, uint32_t count) {
    return bits_next(map, first, true) >= first + count;
}

static inline uint32_t bits_count(const uint64_t *map) {
    uint32_t count = 0;
    for (uint32_t word = 0; word < ZMM_MAP_WORDS; word++) {
        count += (uint32_t)__builtin_popcountll(map[word]);
    }
    return count;
}

#endif
