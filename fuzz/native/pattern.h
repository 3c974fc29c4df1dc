/* pattern.h -- the bytes that fill blocks: byte i of a region with seed s is byte i % 8 of mix(s + i / 8). */
#ifndef ZMM_RUNNER_PATTERN_H
#define ZMM_RUNNER_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PATTERN_STRIDE 0x9E3779B97F4A7C15ULL
#define PATTERN_EQUAL UINT64_MAX
/* splitmix64's output function multiplies by these. */
#define PATTERN_FACTOR_1 0xBF58476D1CE4E5B9ULL
#define PATTERN_FACTOR_2 0x94D049BB133111EBULL

static inline uint64_t pattern_output(uint64_t state) {
    state = (state ^ (state >> 30)) * PATTERN_FACTOR_1;
    state = (state ^ (state >> 27)) * PATTERN_FACTOR_2;
    return state ^ (state >> 31);
}

static inline uint64_t pattern_mix(uint64_t value) {
    return pattern_output(value * PATTERN_STRIDE);
}

#pragma GCC visibility push(hidden)

/* Writes bytes [from, to) of the region that begins at `region`. */
void pattern_fill(uint8_t *region, uint64_t from, uint64_t to, uint64_t seed);
/* The first offset in [from, to) whose byte is not the pattern's, PATTERN_EQUAL when there is none. */
uint64_t pattern_difference(const uint8_t *region, uint64_t from, uint64_t to, uint64_t seed);

#pragma GCC visibility pop
#endif
