/* classes.h -- the thirty size classes as tables: which one serves a size, and what its slots are like. The tables are
 * in classes.c. */
#ifndef ZMM_CLASSES_H
#define ZMM_CLASSES_H

#include "config.h"

/* A class word has the bin in its low byte and the bytes of a slot in its upper half: one load finds both. */
#define CLASS_BYTES_SHIFT 16

/* Class words by a size's eighth, rounded up. They lie in the second half of a page, where no entry has its place in the page
 * in common with what is written to the first slot of a run for that size: a processor that compares no more at first would
 * let the load wait for the store. */
typedef struct class_words {
    uint32_t skew[512];
    uint32_t by_eighth[ZMM_SMALL_BYTES_MAX / 8 + 1];
} class_words;

#ifdef ZMM_SEPARATE
extern ZMM_INTERNAL const uint16_t bin_bytes[ZMM_BIN_COUNT];
extern ZMM_INTERNAL const uint16_t bin_elements[ZMM_BIN_COUNT];
extern ZMM_INTERNAL const uint8_t bin_pages[ZMM_BIN_COUNT];
extern ZMM_INTERNAL const uint8_t bin_wipe[ZMM_BIN_COUNT];
extern ZMM_INTERNAL _Alignas(ZMM_PAGE_BYTES) const class_words class_table;
#else
static const uint16_t bin_bytes[ZMM_BIN_COUNT];
static const uint16_t bin_elements[ZMM_BIN_COUNT];
static const uint8_t bin_pages[ZMM_BIN_COUNT];
static const uint8_t bin_wipe[ZMM_BIN_COUNT]; /* where the second half of what is wiped begins: link_set_wiped */
static _Alignas(ZMM_PAGE_BYTES) const class_words class_table;
#endif

#if ZMM_TRIMS
/* Where the bytes of a free slot lie that repeat its state word: trim.h. */
typedef struct trim_bin {
    uint16_t slot_bytes;
    uint8_t second, third, fourth; /* offsets of pairs of words; the first is at 0 */
    uint8_t unused[3];
} trim_bin;
#ifdef ZMM_SEPARATE
extern ZMM_INTERNAL const trim_bin trim_bins[ZMM_BIN_COUNT];
#else
static const trim_bin trim_bins[ZMM_BIN_COUNT];
#endif
#endif

static inline uint32_t class_of_size(size_t size_bytes) {
    return class_table.by_eighth[(size_bytes + 7) / 8];
}
static inline uint32_t class_bin(uint32_t class_word) {
    return class_word & 0xff;
}
static inline size_t class_bytes(uint32_t class_word) {
    return class_word >> CLASS_BYTES_SHIFT;
}
static inline uint32_t bin_of_size(size_t size_bytes) {
    return class_bin(class_of_size(size_bytes));
}

#endif
