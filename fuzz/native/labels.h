/* labels.h -- the blocks a program holds, by label, and the bytes each of them must contain. */
#ifndef ZMM_RUNNER_LABELS_H
#define ZMM_RUNNER_LABELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#pragma GCC visibility push(hidden)

struct label {
    uint8_t *block; /* NULL: the label holds nothing, and nothing below means anything */
    uint64_t requested_bytes, block_bytes, seed;
    uint64_t write_offset, write_bytes, write_seed; /* the one write on top of the base pattern; 0 bytes: none */
    uint64_t reserved;
};

/* Makes room for LABELS_MAX labels; false when the system refuses the addresses. */
bool labels_prepare(void);
/* `index` is below LABELS_MAX. */
struct label *labels_at(uint32_t index);
/* Every label below this one may hold a block; none from it on does. */
uint32_t labels_end(void);
void labels_clear(void);

/* How many bytes are covered by patterns at each end of a block (a block of up to twice as many is covered whole). */
void contents_set_edge(uint64_t edge_bytes);

/* Fills the covered bytes of a block that was just made or resized, and forgets any write. */
void contents_fill(struct label *label, uint64_t seed);
/* Puts the pattern of `seed` over [offset, offset + write_bytes), after the base pattern is back under the last one. */
void contents_write(struct label *label, uint64_t offset, uint64_t write_bytes, uint64_t seed);
/* True when the first `kept_bytes` of `block` (covered or written ones) are what `label` says. On a difference false,
 * and its offset in *difference. */
bool contents_hold(const struct label *label, const uint8_t *block, uint64_t kept_bytes, uint64_t *difference);
/* The same for fresh zeroed memory: the covered ones of `requested_bytes` bytes. */
bool contents_zero(const uint8_t *block, uint64_t requested_bytes, uint64_t *difference);

#pragma GCC visibility pop
#endif
