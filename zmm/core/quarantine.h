/* quarantine.h -- the rings in which freed slots wait, and what every call does with them. Included by core.h, in its place
 * among the layers.
 *
 * A bin's ring is where its next slot comes from as long as more than ZMM_QUARANTINE_SLOTS wait: first freed, first used
 * again, without a detour over the free list. Only what is more than a ring may hold goes to the list, some at a time. */
#ifndef ZMM_QUARANTINE_H
#define ZMM_QUARANTINE_H

#include "trim.h"

#if ZMM_TRIMS
typedef struct quarantine_ends {
    uint32_t oldest, newest; /* they only count upwards; newest - oldest wait */
} quarantine_ends;

struct quarantine {
    /* So many of a bin wait before one is used again, and when so many do some go. Where everything is wiped all go by the
     * list, and every one that comes is seen to. */
    uint32_t least_count, most_count;
    uint32_t run_oldest, run_count, run_pages;
    quarantine_ends ends[ZMM_BIN_COUNT];
    void *runs[ZMM_QUARANTINE_RUNS];
    uint32_t huge_oldest, huge_count;
    size_t huge_bytes;
    huge_rest huge[ZMM_REST_HUGE];
    void *slots[ZMM_BIN_COUNT][ZMM_QUARANTINE_RING];
};

static inline uint32_t quarantine_count(const zmm_heap *heap, uint32_t bin_index) {
    const quarantine_ends *const ends = &heap->waiting->ends[bin_index];
    return ends->newest - ends->oldest;
}
/* The slot that has waited longest. Nobody has looked at it yet. */
static inline void *quarantine_pop(zmm_heap *heap, uint32_t bin_index) {
    return heap->waiting->slots[bin_index][heap->waiting->ends[bin_index].oldest++ % ZMM_QUARANTINE_RING];
}
/* The next one is sent for: it has waited so long that it is in no cache near by, and all that trim_fill wrote and its state
 * word will be looked at. Where there is no next one an old address stands there, or none; either is harmless. */
static inline void quarantine_send_for_next(const zmm_heap *heap, uint32_t bin_index, size_t slot_bytes) {
    const uintptr_t next =
        (uintptr_t)heap->waiting->slots[bin_index][heap->waiting->ends[bin_index].oldest % ZMM_QUARANTINE_RING];
    __builtin_prefetch((const void *)next, 1);
    __builtin_prefetch((const void *)(next + TRIM_FREE_BYTES - sizeof(uint64_t)), 1);
    __builtin_prefetch((const void *)(next + slot_bytes - sizeof(uint64_t)), 1);
}
/* True when the ring must be seen to. */
static inline bool quarantine_push(zmm_heap *heap, void *slot, uint32_t bin_index) {
    quarantine_ends *const ends = &heap->waiting->ends[bin_index];
    heap->waiting->slots[bin_index][ends->newest % ZMM_QUARANTINE_RING] = slot;
    return ++ends->newest - ends->oldest >= heap->waiting->most_count;
}
#endif

#endif
