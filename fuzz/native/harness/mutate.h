/* mutate.h -- the mutator: tapes are changed operation by operation, towards numbers that matter to the allocator. */
#ifndef ZMM_HARNESS_MUTATE_H
#define ZMM_HARNESS_MUTATE_H

#include <stddef.h>
#include <stdint.h>

#pragma GCC visibility push(hidden)

/* Words that new operations prefer (bit i: code i + 1; 0: all alike), and settings that new tapes have. */
extern uint32_t mutate_words;
extern uint8_t mutate_settings;

/* Changes a tape where it is and returns its new length, at most `bytes_max`. Total: any bytes, any length, any seed;
 * the same arguments make the same tape. */
size_t mutate_tape(uint8_t *body, size_t byte_count, size_t bytes_max, uint32_t seed);
/* A tape that begins as one and goes on as another, or takes turns, cut between operations. */
size_t cross_tapes(const uint8_t *one, size_t one_bytes, const uint8_t *other, size_t other_bytes, uint8_t *into,
                   size_t bytes_max, uint32_t seed);

#pragma GCC visibility pop
#endif
