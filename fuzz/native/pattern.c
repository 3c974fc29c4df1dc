/* pattern.c -- writes and compares the bytes that fill blocks, a word at a time. */
#include "pattern.h"

#include <string.h>

static inline uint8_t pattern_byte(uint64_t offset, uint64_t seed) {
    return (uint8_t)(pattern_mix(seed + offset / 8) >> (offset % 8 * 8));
}

void pattern_fill(uint8_t *region, uint64_t from, uint64_t to, uint64_t seed) {
    while (from < to && from % 8 != 0) {
        region[from] = pattern_byte(from, seed);
        from++;
    }
    uint64_t state = (seed + from / 8) * PATTERN_STRIDE;
    for (; to - from >= 8; from += 8, state += PATTERN_STRIDE) {
        uint64_t word = pattern_output(state);
        memcpy(region + from, &word, 8);
    }
    if (from < to) {
        uint64_t word = pattern_output(state);
        memcpy(region + from, &word, to - from);
    }
}

/* The slow half of a comparison that has failed somewhere in [from, to). */
static uint64_t first_difference(const uint8_t *region, uint64_t from, uint64_t to, uint64_t seed) {
    while (from < to && region[from] == pattern_byte(from, seed)) {
        from++;
    }
    return from < to ? from : PATTERN_EQUAL;
}

uint64_t pattern_difference(const uint8_t *region, uint64_t from, uint64_t to, uint64_t seed) {
    const uint64_t begin = from;
    while (from < to && from % 8 != 0) {
        if (region[from] != pattern_byte(from, seed)) {
            return from;
        }
        from++;
    }
    uint64_t state = (seed + from / 8) * PATTERN_STRIDE;
    uint64_t different = 0;
    for (; to - from >= 8; from += 8, state += PATTERN_STRIDE) {
        uint64_t word;
        memcpy(&word, region + from, 8);
        different |= word ^ pattern_output(state);
    }
    if (from < to) {
        uint64_t word = pattern_output(state);
        different |= (uint64_t)(memcmp(region + from, &word, to - from) != 0);
    }
    return different == 0 ? PATTERN_EQUAL : first_difference(region, begin, to, seed);
}
