/* labels.c -- the blocks a program holds and what is in them. */
#include "labels.h"

#include <string.h>

#include "abi.h"
#include "pages.h"
#include "pattern.h"

static struct label *labels;
static uint32_t end_index;
static uint64_t edge = 4096;

bool labels_prepare(void) {
    /* Not malloc: the process's own malloc may be the allocator under test. */
    labels = pages_map(sizeof(struct label) * LABELS_MAX, PAGE_BYTES);
    return labels != NULL;
}

struct label *labels_at(uint32_t index) {
    if (index >= end_index) {
        end_index = index + 1;
    }
    return &labels[index];
}

uint32_t labels_end(void) {
    return end_index;
}

void labels_clear(void) {
    memset(labels, 0, sizeof(struct label) * end_index);
    end_index = 0;
}

void contents_set_edge(uint64_t edge_bytes) {
    edge = edge_bytes;
}

/* A block's covered bytes: [0, first_end) and [second, requested). */
struct cover {
    uint64_t first_end, second, end;
};

static inline struct cover cover_of(uint64_t requested_bytes) {
    if (requested_bytes <= 2 * edge) {
        return (struct cover){requested_bytes, requested_bytes, requested_bytes};
    }
    return (struct cover){edge, requested_bytes - edge, requested_bytes};
}

static inline uint64_t smaller(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

static inline uint64_t larger(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

void contents_fill(struct label *label, uint64_t seed) {
    struct cover cover = cover_of(label->requested_bytes);
    label->seed = seed;
    label->write_bytes = 0;
    pattern_fill(label->block, 0, cover.first_end, seed);
    if (cover.second < cover.end) {
        pattern_fill(label->block, cover.second, cover.end, seed);
    }
}

/* Restores the base pattern in the part of [from, to) that lies in [low, high). */
static void restore(struct label *label, uint64_t from, uint64_t to, uint64_t low, uint64_t high) {
    from = larger(from, low);
    to = smaller(to, high);
    if (from < to) {
        pattern_fill(label->block, from, to, label->seed);
    }
}

void contents_write(struct label *label, uint64_t offset, uint64_t write_bytes, uint64_t seed) {
    if (label->write_bytes > 0) {
        struct cover cover = cover_of(label->requested_bytes);
        uint64_t from = label->write_offset;
        uint64_t to = from + label->write_bytes;
        restore(label, from, to, 0, cover.first_end);
        restore(label, from, to, cover.second, cover.end);
    }
    label->write_offset = offset;
    label->write_bytes = write_bytes;
    label->write_seed = seed;
    pattern_fill(label->block + offset, 0, write_bytes, seed);
}

/* Compares the base pattern in [from, to), around the write. */
static uint64_t base_difference(const struct label *label, const uint8_t *block, uint64_t from, uint64_t to) {
    if (from >= to) {
        return PATTERN_EQUAL;
    }
    if (label->write_bytes == 0) {
        return pattern_difference(block, from, to, label->seed);
    }
    uint64_t write_end = label->write_offset + label->write_bytes;
    uint64_t before_end = smaller(to, label->write_offset);
    if (from < before_end) {
        uint64_t difference = pattern_difference(block, from, before_end, label->seed);
        if (difference != PATTERN_EQUAL) {
            return difference;
        }
    }
    uint64_t after = larger(from, write_end);
    return after < to ? pattern_difference(block, after, to, label->seed) : PATTERN_EQUAL;
}

bool contents_hold(const struct label *label, const uint8_t *block, uint64_t kept_bytes, uint64_t *difference) {
    struct cover cover = cover_of(label->requested_bytes);
    uint64_t found = base_difference(label, block, 0, smaller(cover.first_end, kept_bytes));
    if (found == PATTERN_EQUAL) {
        found = base_difference(label, block, cover.second, smaller(cover.end, kept_bytes));
    }
    if (found == PATTERN_EQUAL && label->write_bytes > 0 && label->write_offset < kept_bytes) {
        uint64_t kept = smaller(label->write_bytes, kept_bytes - label->write_offset);
        found = pattern_difference(block + label->write_offset, 0, kept, label->write_seed);
        if (found != PATTERN_EQUAL) {
            found += label->write_offset;
        }
    }
    if (found == PATTERN_EQUAL) {
        return true;
    }
    *difference = found;
    return false;
}

static bool zero_between(const uint8_t *block, uint64_t from, uint64_t to, uint64_t *difference) {
    for (; to - from >= 8; from += 8) {
        uint64_t word;
        memcpy(&word, block + from, 8);
        if (word != 0) {
            break;
        }
    }
    for (; from < to; from++) {
        if (block[from] != 0) {
            *difference = from;
            return false;
        }
    }
    return true;
}

bool contents_zero(const uint8_t *block, uint64_t requested_bytes, uint64_t *difference) {
    struct cover cover = cover_of(requested_bytes);
    return zero_between(block, 0, cover.first_end, difference) &&
           zero_between(block, cover.second, cover.end, difference);
}
