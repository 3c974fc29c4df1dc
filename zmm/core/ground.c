/* ground.c -- which chunk an address belongs to: the reserved range, the chunk records, page words and live bits of all
 * heaps of the process.
 *
 * Owns:    the tables in `ground`, the lists of unused records, the table of chunks outside the range, heap ids.
 * Asks:    kernel.
 * Serves:  storage (a record for a new chunk), everybody (address to position).
 * Never:   knows what a heap does with its chunk.
 *
 * Records of the range come first, records of chunks elsewhere behind them; both zones are committed as far as they were
 * ever used, a group at a time. A lock guards all of it: only the slow paths come here. */
#include "core.h"

#include <string.h>

ZMM_INTERNAL ground_tables ground;
ZMM_INTERNAL uint64_t page_word_secret;

typedef struct ground_zone {
    uint32_t first_slot, end_slot;  /* the records of the zone */
    uint32_t fresh_slot;            /* never used from here on */
    uint32_t committed_slot;        /* records exist below this */
    uint32_t free_list;             /* slot index + 1 of an unused record; 0: none */
    uint32_t free_last, free_count; /* its end and length: with trims it is a queue, so that addresses rest */
} ground_zone;

static ground_zone ground_range_zone, ground_foreign_zone;
/* Open addressing by chunk address; an entry is slot index + 1. */
static uint32_t ground_foreign_table[ZMM_FOREIGN_TABLE_SLOTS];
static uint64_t ground_ids_used[ZMM_HEAP_ID_COUNT / 64];
static uint32_t ground_id_next = 1;
static atomic_flag ground_flag = ATOMIC_FLAG_INIT;

/* ---- preparing ------------------------------------------------------------------------------------------------- */

static size_t ground_words_bytes(uint32_t slots) {
    return (size_t)slots * ZMM_CHUNK_PAGES * sizeof(page_word);
}
static size_t ground_live_bytes(uint32_t slots) {
    return (size_t)slots * ZMM_CHUNK_PAGES * ZMM_LIVE_WORDS_PER_PAGE * sizeof(uint64_t);
}
static size_t ground_records_bytes(uint32_t slots) {
    return (size_t)slots * sizeof(chunk_record);
}

/* The records of the range and of chunks elsewhere: their tables take addresses, too. */
static uint32_t ground_slots(uint32_t range_chunks) {
    return range_chunks + (range_chunks < ZMM_FOREIGN_CHUNKS_MIN ? ZMM_FOREIGN_CHUNKS_MIN : range_chunks);
}

/* AMD's processors look a cache line up by a hash of its address (bits 12 to 19 against 20 to 27), and two lines in turn are
 * slow when they have both the hash and their place in the page in common. Where the tables lie, the slots in some page of
 * each chunk meet their own live bits so; with these bytes before the bits it is not the first page of the first chunk,
 * which every program uses. */
#define GROUND_LIVE_SKEW_BYTES ((size_t)0xf0000)

/* A load of a page's word shall not have its place in the page in common with the stores into the page's first slot: a
 * processor that compares no more at first takes the one for the other. */
#define GROUND_WORDS_SKEW_BYTES ((size_t)512)

static bool ground_reserve(uint32_t range_chunks) {
    const uint32_t slots = ground_slots(range_chunks);
    const size_t range_bytes = (size_t)range_chunks << ZMM_CHUNK_SHIFT;
    const size_t words_bytes = ground_words_bytes(slots) + ZMM_PAGE_BYTES;
    const size_t live_bytes = ZMM_LIVE_BITS ? GROUND_LIVE_SKEW_BYTES + ground_live_bytes(slots) : 0;
    char *range = kernel()->reserve(range_bytes + words_bytes + live_bytes + ground_records_bytes(slots));
    if (range == NULL) {
        return false;
    }
    char *tables = range + range_bytes;
    ground.base = (uintptr_t)range;
    ground.words = (page_word *)(void *)(tables + GROUND_WORDS_SKEW_BYTES);
    ground.live = ZMM_LIVE_BITS ? (uint64_t *)(void *)(tables + words_bytes + GROUND_LIVE_SKEW_BYTES) : NULL;
    ground.records = (chunk_record *)(void *)(tables + words_bytes + live_bytes);
    ground.words_by_address = (uintptr_t)ground.words - (ground.base >> ZMM_PAGE_SHIFT) * sizeof(page_word);
    ground.live_by_address = (uintptr_t)ground.live - (ground.base >> (ZMM_SLOT_SHIFT + 6)) * sizeof(uint64_t);
    ground_range_zone = (ground_zone){.first_slot = 0, .end_slot = range_chunks};
    ground_foreign_zone = (ground_zone){
        .first_slot = range_chunks, .end_slot = slots, .fresh_slot = range_chunks, .committed_slot = range_chunks};
    return true;
}

ZMM_INTERNAL bool ground_prepare(void) {
    lock_take(&ground_flag);
    bool prepared = ground.base != 0;
    if (ZMM_GUARDS_METADATA && page_word_secret == 0) {
        page_word_secret = kernel()->random != NULL ? kernel()->random() | 1 : LINK_FACTOR;
    }
    /* Where addresses are scarce (a small RLIMIT_AS), a smaller range serves: chunks beyond it are mapped elsewhere. */
    for (uint32_t chunks = ZMM_RANGE_CHUNKS_MAX; !prepared && chunks >= ZMM_RANGE_CHUNKS_MIN; chunks /= 2) {
        prepared = ground_reserve(chunks);
    }
    lock_give_back(&ground_flag);
    return prepared;
}

static bool ground_commit_group(ground_zone *zone) {
    const uint32_t slot = zone->committed_slot;
    const uint32_t count = ZMM_RECORD_GROUP_CHUNKS;
    const zmm_kernel *const os = kernel();
    /* Whole pages, so that two groups share one. */
    char *words = (char *)&ground.words[(size_t)slot * ZMM_CHUNK_PAGES] - GROUND_WORDS_SKEW_BYTES;
    if (!os->commit(&ground.records[slot], ground_records_bytes(count), 0) ||
        !os->commit(words, ground_words_bytes(count) + ZMM_PAGE_BYTES, 0)) {
        return false;
    }
#if ZMM_LIVE_BITS
    if (!os->commit(live_word((position)slot << ZMM_CHUNK_SHIFT), ground_live_bytes(count), 0)) {
        return false;
    }
#endif
    zone->committed_slot += count;
    if (zone == &ground_range_zone) {
        __atomic_store_n(&ground.range_granules, (size_t)zone->committed_slot << (ZMM_CHUNK_SHIFT - ZMM_SLOT_SHIFT),
                         __ATOMIC_RELAXED);
    }
    return true;
}

/* ---- records --------------------------------------------------------------------------------------------------- */

static chunk_record *ground_record_take(ground_zone *zone) {
    const bool must_rest = ZMM_TRIMS && zone->free_count < ZMM_REST_CHUNKS && zone->fresh_slot != zone->end_slot;
    if (zone->free_list != 0 && !must_rest) {
        zone->free_count--;
        chunk_record *const record = &ground.records[zone->free_list - 1];
        zone->free_list = record->next_free;
        return record;
    }
    if (zone->fresh_slot == zone->end_slot) {
        return NULL;
    }
    if (zone->fresh_slot == zone->committed_slot && !ground_commit_group(zone)) {
        return NULL;
    }
    chunk_record *const record = &ground.records[zone->fresh_slot];
    record->slot_index = zone->fresh_slot;
    zone->fresh_slot++;
    return record;
}

static void ground_record_give_back(ground_zone *zone, chunk_record *record) {
    record->heap = NULL;
    record->base = 0;
    zone->free_count++;
    if (ZMM_TRIMS && zone->free_list != 0) {
        record->next_free = 0;
        ground.records[zone->free_last - 1].next_free = record->slot_index + 1;
    } else {
        record->next_free = zone->free_list;
        zone->free_list = record->slot_index + 1;
    }
    zone->free_last = record->slot_index + 1;
}

ZMM_INTERNAL bool ground_range_is_full(void) {
    lock_take(&ground_flag);
    const bool is_full = ground_range_zone.free_list == 0 && ground_range_zone.fresh_slot == ground_range_zone.end_slot;
    lock_give_back(&ground_flag);
    return is_full;
}

ZMM_INTERNAL chunk_record *ground_chunk_take(void) {
    lock_take(&ground_flag);
    chunk_record *record = ground_record_take(&ground_range_zone);
    if (record != NULL) {
        record->base = ground.base + ((uintptr_t)record->slot_index << ZMM_CHUNK_SHIFT);
        if (!kernel()->commit((void *)record->base, ZMM_CHUNK_BYTES, ZMM_PAGE_BYTES)) {
            ground_record_give_back(&ground_range_zone, record);
            record = NULL;
        }
    }
    lock_give_back(&ground_flag);
    return record;
}

/* ---- chunks outside the range -------------------------------------------------------------------------------------- */

static uint32_t ground_foreign_home(uintptr_t chunk_address) {
    return (uint32_t)(((chunk_address >> ZMM_CHUNK_SHIFT) * 0x9E3779B97F4A7C15u) >> 40) % ZMM_FOREIGN_TABLE_SLOTS;
}

/* The table entry that holds the chunk, or the empty one where it would go. */
static uint32_t ground_foreign_entry(uintptr_t chunk_address) {
    uint32_t entry = ground_foreign_home(chunk_address);
    while (ground_foreign_table[entry] != 0 && ground.records[ground_foreign_table[entry] - 1].base != chunk_address) {
        entry = (entry + 1) % ZMM_FOREIGN_TABLE_SLOTS;
    }
    return entry;
}

ZMM_INTERNAL chunk_record *ground_chunk_adopt(void *address) {
    lock_take(&ground_flag);
    chunk_record *const record = ground_record_take(&ground_foreign_zone);
    if (record != NULL) {
        record->base = (uintptr_t)address;
        ground_foreign_table[ground_foreign_entry((uintptr_t)address)] = record->slot_index + 1;
    }
    lock_give_back(&ground_flag);
    return record;
}

/* Removes the chunk and closes the gap, so that no later entry is cut off from its home. */
static void ground_foreign_remove(uintptr_t chunk_address) {
    uint32_t gap = ground_foreign_entry(chunk_address);
    zmm_assert(ground_foreign_table[gap] != 0);
    uint32_t entry = gap;
    for (;;) {
        ground_foreign_table[gap] = 0;
        uint32_t home;
        do {
            entry = (entry + 1) % ZMM_FOREIGN_TABLE_SLOTS;
            if (ground_foreign_table[entry] == 0) {
                return;
            }
            home = ground_foreign_home(ground.records[ground_foreign_table[entry] - 1].base);
            /* Stay while home lies cyclically in (gap, entry]. */
        } while (gap <= entry ? (gap < home && home <= entry) : (gap < home || home <= entry));
        ground_foreign_table[gap] = ground_foreign_table[entry];
        gap = entry;
    }
}

/* A record knows its own place, and with it, in the range, its chunk's: one that says another was written to. */
ZMM_INTERNAL bool ground_is_record(const chunk_record *record) {
    const uintptr_t offset = (uintptr_t)record - (uintptr_t)ground.records;
    const uintptr_t slot = offset / sizeof(chunk_record);
    if (offset % sizeof(chunk_record) != 0) {
        return false;
    }
    if (slot < ground_range_zone.committed_slot) {
        return record->slot_index == slot && record->base == ground.base + (slot << ZMM_CHUNK_SHIFT);
    }
    return slot >= ground_foreign_zone.first_slot && slot < ground_foreign_zone.committed_slot &&
           record->slot_index == slot && record->base % ZMM_CHUNK_BYTES == 0;
}

ZMM_INTERNAL bool ground_has_table(const void *address) {
    const uintptr_t first = (uintptr_t)ground.words;
    const uintptr_t end = (uintptr_t)ground.records + ground_records_bytes(ground_foreign_zone.end_slot);
    return (uintptr_t)address - first < end - first; /* nothing is, before there are tables */
}

ZMM_INTERNAL position ground_locate_foreign(zmm_heap *heap, uintptr_t address) {
    const uintptr_t chunk_address = address & ~(ZMM_CHUNK_BYTES - 1);
    const uintptr_t offset = address & (ZMM_CHUNK_BYTES - 1);
    if (heap != NULL && heap->foreign_base == chunk_address && chunk_address != 0) {
        return ((position)heap->foreign_slot << ZMM_CHUNK_SHIFT) + offset;
    }
    position found = POSITION_NONE;
    lock_take(&ground_flag);
    const uint32_t slot = ground_foreign_table[ground_foreign_entry(chunk_address)];
    lock_give_back(&ground_flag);
    if (slot != 0) {
        found = ((position)(slot - 1) << ZMM_CHUNK_SHIFT) + offset;
        /* Only the heap's own chunks are remembered: it forgets them itself when they go. */
        if (heap != NULL && ground.records[slot - 1].heap == heap) {
            heap->foreign_base = chunk_address;
            heap->foreign_slot = slot - 1;
        }
    }
    return found;
}

ZMM_INTERNAL position ground_locate_quietly(const void *address) {
    const uint64_t offset = (uintptr_t)address - ground.base;
    if (ground_has_granule(offset >> ZMM_SLOT_SHIFT)) {
        return offset;
    }
    const uintptr_t chunk_address = (uintptr_t)address & ~(ZMM_CHUNK_BYTES - 1);
    const uint32_t slot = ground_foreign_table[ground_foreign_entry(chunk_address)];
    return slot != 0 ? ((position)(slot - 1) << ZMM_CHUNK_SHIFT) + ((uintptr_t)address & (ZMM_CHUNK_BYTES - 1))
                     : POSITION_NONE;
}

ZMM_INTERNAL void ground_chunk_give_back(chunk_record *chunk) {
    lock_take(&ground_flag);
    if (chunk->slot_index < ground_range_zone.end_slot) {
        kernel()->decommit((void *)chunk->base, ZMM_CHUNK_BYTES);
        ground_record_give_back(&ground_range_zone, chunk);
    } else {
        ground_foreign_remove(chunk->base);
        ground_record_give_back(&ground_foreign_zone, chunk);
    }
    lock_give_back(&ground_flag);
}

/* ---- heap ids ------------------------------------------------------------------------------------------------------- */

/* Ids go round, so that a dead heap's id is met again as late as possible. The last one is never used: at level fast no page
 * word then has the upper half of PAGE_WORD_NONE. */
ZMM_INTERNAL uint32_t ground_heap_id_take(void) {
    lock_take(&ground_flag);
    uint32_t id = 0;
    for (uint32_t tried = 1; tried < ZMM_HEAP_ID_COUNT && id == 0; tried++) {
        if (ground_id_next >= ZMM_HEAP_ID_COUNT - 1) {
            ground_id_next = 1;
        }
        if (((ground_ids_used[ground_id_next / 64] >> (ground_id_next % 64)) & 1) == 0) {
            id = ground_id_next;
            ground_ids_used[id / 64] |= (uint64_t)1 << (id % 64);
        }
        ground_id_next++;
    }
    lock_give_back(&ground_flag);
    return id;
}

ZMM_INTERNAL void ground_heap_id_give_back(uint32_t id) {
    lock_take(&ground_flag);
    ground_ids_used[id / 64] &= ~((uint64_t)1 << (id % 64));
    lock_give_back(&ground_flag);
}
