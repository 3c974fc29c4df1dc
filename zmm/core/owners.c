/* owners.c -- which heap has a huge block at an address: one table for all heaps of the process.
 *
 * Owns:    the table, by address; as many entries as a process may have mappings. What finds no room is not known here.
 * Asks:    nothing.
 * Serves:  huge (enter, leave), mixed and diagnose (whose is it?).
 * Never:   decides anything: a heap believes its own list of huge blocks. */
#include "core.h"

typedef struct owners_entry {
    uintptr_t block; /* 0: empty */
    zmm_heap *heap;
} owners_entry;

static owners_entry owners_table[ZMM_OWNERS];
static uint32_t owners_count;
static atomic_flag owners_flag = ATOMIC_FLAG_INIT;

static uint32_t owners_home(uintptr_t block) {
    return (uint32_t)(((block >> ZMM_CHUNK_SHIFT) * LINK_FACTOR) >> 40) % ZMM_OWNERS;
}
/* The entry of the block, or the empty one where it would go; there is always one. */
static uint32_t owners_place(uintptr_t block) {
    uint32_t place = owners_home(block);
    while (owners_table[place].block != 0 && owners_table[place].block != block) {
        place = (place + 1) % ZMM_OWNERS;
    }
    return place;
}

ZMM_INTERNAL void owners_enter(zmm_heap *heap, const void *block) {
    lock_take(&owners_flag);
    if (owners_count < ZMM_OWNERS / 2) {
        owners_table[owners_place((uintptr_t)block)] = (owners_entry){.block = (uintptr_t)block, .heap = heap};
        owners_count++;
    }
    lock_give_back(&owners_flag);
}

/* Whatever stands behind it, up to the next empty place, is entered anew, so that nothing is cut off from its home. */
ZMM_INTERNAL void owners_leave(const void *block) {
    lock_take(&owners_flag);
    uint32_t place = owners_place((uintptr_t)block);
    if (owners_table[place].block != 0) {
        owners_count--;
        owners_table[place].block = 0;
        for (place = (place + 1) % ZMM_OWNERS; owners_table[place].block != 0; place = (place + 1) % ZMM_OWNERS) {
            const owners_entry moved = owners_table[place];
            owners_table[place].block = 0;
            owners_table[owners_place(moved.block)] = moved;
        }
    }
    lock_give_back(&owners_flag);
}

ZMM_INTERNAL zmm_heap *owners_find(const void *block) {
    lock_take(&owners_flag);
    const owners_entry entry = owners_table[owners_place((uintptr_t)block)];
    lock_give_back(&owners_flag);
    return entry.block != 0 ? entry.heap : NULL;
}

/* The table may change under the search, which therefore ends after one round. */
ZMM_INTERNAL zmm_heap *owners_find_quietly(const void *block) {
    uint32_t place = owners_home((uintptr_t)block);
    for (uint32_t steps = 0; steps < ZMM_OWNERS && owners_table[place].block != 0; steps++) {
        if (owners_table[place].block == (uintptr_t)block) {
            return owners_table[place].heap;
        }
        place = (place + 1) % ZMM_OWNERS;
    }
    return NULL;
}
