/* pattern.c -- writes and compares the bytes that fill blocks: a word at a time, or eight where the processor can. */
#include "pattern.h"

#include <string.h>

static inline uint8_t pattern_byte(uint64_t offset, uint64_t seed) {
    return (uint8_t)(pattern_mix(seed + offset / 8) >> (offset % 8 * 8));
}

/* ---- eight words at a time ---------------------------------------------------------------------------------------- */

#if defined(__x86_64__)
#define WIDE __attribute__((target("avx512f,avx512dq")))
enum { WIDE_BYTES = 64 };
typedef uint64_t wide __attribute__((vector_size(WIDE_BYTES)));

static bool pattern_has_wide(void) {
    static int8_t known; /* 0: not asked yet, 1: has, -1: has not */
    if (known == 0) {
        __builtin_cpu_init();
        known = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") ? 1 : -1;
    }
    return known > 0;
}

WIDE static inline wide wide_states(uint64_t state) {
    const wide steps = {0, 1, 2, 3, 4, 5, 6, 7};
    return state + steps * PATTERN_STRIDE;
}

WIDE static inline wide wide_output(wide state) {
    state = (state ^ (state >> 30)) * PATTERN_FACTOR_1;
    state = (state ^ (state >> 27)) * PATTERN_FACTOR_2;
    return state ^ (state >> 31);
}

/* Writes whole wides from `from` on; returns where they end. */
WIDE static uint64_t wide_fill(uint8_t *region, uint64_t from, uint64_t to, uint64_t state) {
    wide states = wide_states(state);
    for (; to - from >= WIDE_BYTES; from += WIDE_BYTES, states += 8 * PATTERN_STRIDE) {
        wide words = wide_output(states);
        memcpy(region + from, &words, WIDE_BYTES);
    }
    return from;
}

/* The same for comparing: sets bits of `different` where any byte is another one. */
WIDE static uint64_t wide_difference(const uint8_t *region, uint64_t from, uint64_t to, uint64_t state,
                                     uint64_t *different) {
    wide states = wide_states(state);
    wide any = {0};
    for (; to - from >= WIDE_BYTES; from += WIDE_BYTES, states += 8 * PATTERN_STRIDE) {
        wide words;
        memcpy(&words, region + from, WIDE_BYTES);
        any |= words ^ wide_output(states);
    }
    for (int lane = 0; lane < 8; lane++) {
        *different |= any[lane];
    }
    return from;
}
#else
enum { WIDE_BYTES = 64 };

static bool pattern_has_wide(void) {
    return false;
}

static uint64_t wide_fill(uint8_t *region, uint64_t from, uint64_t to, uint64_t state) {
    (void)region, (void)to, (void)state;
    return from;
}

static uint64_t wide_difference(const uint8_t *region, uint64_t from, uint64_t to, uint64_t state,
                                uint64_t *different) {
    (void)region, (void)to, (void)state, (void)different;
    return from;
}
#endif

/* ---- a word at a time ----------------------------------------------------------------------------------------------- */

void pattern_fill(uint8_t *region, uint64_t from, uint64_t to, uint64_t seed) {
    while (from < to && from % 8 != 0) {
        region[from] = pattern_byte(from, seed);
        from++;
    }
    if (from + WIDE_BYTES <= to && pattern_has_wide()) {
        from = wide_fill(region, from, to, (seed + from / 8) * PATTERN_STRIDE);
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
    uint64_t different = 0;
    if (from + WIDE_BYTES <= to && pattern_has_wide()) {
        from = wide_difference(region, from, to, (seed + from / 8) * PATTERN_STRIDE, &different);
    }
    uint64_t state = (seed + from / 8) * PATTERN_STRIDE;
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
