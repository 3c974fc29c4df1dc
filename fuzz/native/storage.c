/* storage.c -- deterministic memory for heaps: an arena of fixed slots, numbered mappings, failing calls. */
#include "storage.h"

#include <string.h>

#include "abi.h"
#include "crc.h"
#include "pages.h"

#define ARENA_ADDRESS ((uintptr_t)0x200000000000)
#define ARENA_BYTES (STORAGE_BYTES_MAX * STORAGE_LIVE_MAX)
#define CHUNK_BYTES ((uint64_t)2 << 20)

enum { EVENT_ALLOC = 1, EVENT_FREE = 2, EVENT_TRUNCATE = 3, EVENT_EXTEND = 4 };

struct slot {
    uint64_t size_bytes; /* 0: free */
    uint32_t number;
    bool warm; /* its beginning is resident, from before */
};
/* So many slots (and chunks of a region) stay resident when they are free: the lowest ones, which are taken first. */
enum { WARM_MAX = 64 };

/* Addresses that a kernel's `reserve` gave out; numbers[i] is 1 + the mapping number of its i-th 2 MiB, 0: none. */
struct region {
    uint8_t *base;
    uint64_t size_bytes;
    uint32_t *numbers;
    bool warm[WARM_MAX];
};
enum { REGIONS_MAX = 64 };

struct storage_record storage_record;

static uint8_t *arena;
static struct slot slots[STORAGE_LIVE_MAX];
static uint64_t used_slots[STORAGE_LIVE_MAX / 64];
static uint32_t slots_end; /* no slot from here on was used since the last reset */
static struct region regions[REGIONS_MAX];
static uint32_t region_count;
static struct storage_rules rules;
static uint32_t next_number;
static uint64_t fallible_calls;
static uint64_t failing[STORAGE_FAILING_MAX];
static uint64_t failing_count, failing_next;

bool storage_prepare(void) {
    pages_prepare();
    arena = (uint8_t *)ARENA_ADDRESS; /* NOLINT(performance-no-int-to-ptr) */
    return pages_reserve_at(arena, ARENA_BYTES);
}

static void release_slot(struct slot *slot) {
    uint64_t index = (uint64_t)(slot - slots);
    pages_take_back(arena + index * STORAGE_BYTES_MAX, slot->size_bytes, index < WARM_MAX, &slot->warm);
    slot->size_bytes = 0;
    used_slots[index / 64] &= ~((uint64_t)1 << (index % 64));
}

void storage_reset(const struct storage_rules *new_rules, const uint64_t *new_failing, uint64_t new_failing_count) {
    for (uint32_t index = 0; index < slots_end; index++) {
        if (slots[index].size_bytes > 0) {
            release_slot(&slots[index]);
        }
    }
    slots_end = 0;
    for (uint32_t index = 0; index < region_count && storage_record.live > 0; index++) {
        struct region *region = &regions[index];
        pages_clear(region->numbers, sizeof(uint32_t) * (region->size_bytes / CHUNK_BYTES));
    }
    rules = *new_rules;
    failing_count = new_failing_count < STORAGE_FAILING_MAX ? new_failing_count : STORAGE_FAILING_MAX;
    if (failing_count > 0) {
        memcpy(failing, new_failing, sizeof(uint64_t) * failing_count);
    }
    failing_next = 0;
    next_number = 0;
    fallible_calls = 0;
    storage_record = (struct storage_record){0};
}

void storage_forget_failures(void) {
    failing_count = 0;
}

static void digest(uint64_t kind, uint32_t mapping, uint64_t size_bytes, bool granted) {
    uint64_t words[4] = {kind, mapping, size_bytes, granted ? 1 : 0};
    storage_record.calls++;
    storage_record.crc = crc_extend(storage_record.crc, words, sizeof words);
}

static void fault(const char *what) {
    if (storage_record.fault == NULL) {
        storage_record.fault = what;
    }
}

/* Counts a fallible call; true when it is one that must fail. */
static bool call_must_fail(void) {
    fallible_calls++;
    while (failing_next < failing_count && failing[failing_next] < fallible_calls) {
        failing_next++;
    }
    return failing_next < failing_count && failing[failing_next] == fallible_calls;
}

static struct slot *slot_at(const void *address) {
    uintptr_t offset = (uintptr_t)address - (uintptr_t)arena;
    return offset < ARENA_BYTES ? &slots[offset / STORAGE_BYTES_MAX] : NULL;
}

/* The live slot whose mapping begins exactly here, or NULL. */
static struct slot *slot_beginning_at(const void *address) {
    struct slot *slot = slot_at(address);
    bool begins = ((uintptr_t)address - (uintptr_t)arena) % STORAGE_BYTES_MAX == 0;
    return slot != NULL && begins && slot->size_bytes > 0 ? slot : NULL;
}

static uint32_t lowest_free_slot(void) {
    for (uint32_t word = 0; word < STORAGE_LIVE_MAX / 64; word++) {
        if (used_slots[word] != UINT64_MAX) {
            return word * 64 + (uint32_t)__builtin_ctzll(~used_slots[word]);
        }
    }
    return STORAGE_LIVE_MAX;
}

void *storage_alloc(uint64_t size_bytes) {
    uint32_t index = lowest_free_slot();
    bool granted = !call_must_fail() && size_bytes <= STORAGE_BYTES_MAX && storage_record.live < STORAGE_LIVE_MAX;
    if (size_bytes == 0) {
        fault("STORAGE-6: asked for a mapping of no bytes");
        granted = false;
    }
    uint8_t *mapping = arena + (uint64_t)index * STORAGE_BYTES_MAX;
    if (!granted || !pages_lend(mapping, whole_pages(size_bytes), &slots[index].warm)) {
        digest(EVENT_ALLOC, NO_MAPPING, size_bytes, false);
        return NULL;
    }
    slots[index] = (struct slot){whole_pages(size_bytes), next_number, false};
    used_slots[index / 64] |= (uint64_t)1 << (index % 64);
    if (index >= slots_end) {
        slots_end = index + 1;
    }
    storage_record.live++;
    digest(EVENT_ALLOC, next_number, size_bytes, true);
    next_number++;
    return mapping;
}

void storage_free(void *mapping, uint64_t size_bytes) {
    struct slot *slot = slot_beginning_at(mapping);
    if (slot == NULL) {
        fault("STORAGE-1: freed an address that is no live mapping");
        digest(EVENT_FREE, OUTSIDE_MAPPING, size_bytes, true);
        return;
    }
    if (slot->size_bytes != whole_pages(size_bytes)) {
        fault("STORAGE-2: freed a mapping with a size that is not its own");
    }
    digest(EVENT_FREE, slot->number, size_bytes, true);
    release_slot(slot);
    storage_record.live--;
}

bool storage_truncate(void *mapping, uint64_t old_bytes, uint64_t new_bytes) {
    struct slot *slot = slot_beginning_at(mapping);
    bool fails = call_must_fail();
    bool granted = rules.truncate_always || (rules.truncate && !fails);
    if (slot == NULL || slot->size_bytes != whole_pages(old_bytes) || new_bytes > old_bytes || new_bytes == 0) {
        fault("STORAGE-3: truncated a mapping that is not live or not of that size");
        granted = false;
    }
    digest(EVENT_TRUNCATE, slot != NULL ? slot->number : OUTSIDE_MAPPING, new_bytes, granted);
    if (granted) {
        uint64_t kept = whole_pages(new_bytes);
        if (kept < slot->size_bytes) {
            pages_drop((uint8_t *)mapping + kept, slot->size_bytes - kept);
        }
        slot->size_bytes = kept;
    }
    return granted;
}

bool storage_extend(void *mapping, uint64_t old_bytes, uint64_t new_bytes) {
    struct slot *slot = slot_beginning_at(mapping);
    bool fails = call_must_fail();
    bool granted = rules.extend && !fails && new_bytes <= STORAGE_BYTES_MAX;
    if (slot == NULL || slot->size_bytes != whole_pages(old_bytes) || new_bytes < old_bytes) {
        fault("STORAGE-4: extended a mapping that is not live or not of that size");
        granted = false;
    }
    uint64_t kept = whole_pages(old_bytes);
    if (granted && whole_pages(new_bytes) > kept) {
        bool warm = false;
        granted = pages_lend((uint8_t *)mapping + kept, whole_pages(new_bytes) - kept, &warm);
    }
    digest(EVENT_EXTEND, slot != NULL ? slot->number : OUTSIDE_MAPPING, new_bytes, granted);
    if (granted) {
        slot->size_bytes = whole_pages(new_bytes);
    }
    return granted;
}

/* ---- a kernel that reserves first ------------------------------------------------------------------------------ */

static struct region *region_at(const void *address) {
    for (uint32_t index = 0; index < region_count; index++) {
        if ((uintptr_t)address - (uintptr_t)regions[index].base < regions[index].size_bytes) {
            return &regions[index];
        }
    }
    return NULL;
}

/* The number cell of the chunk these bytes make up, NULL when they are something else. */
static uint32_t *chunk_cell(const void *address, uint64_t size_bytes) {
    struct region *region = region_at(address);
    if (region == NULL || size_bytes != CHUNK_BYTES || !rules.kernel) {
        return NULL;
    }
    return &region->numbers[((uintptr_t)address - (uintptr_t)region->base) / CHUNK_BYTES];
}

/* Counts a call for the allocator's own records where the rules ask for that; true when it must fail. */
static bool record_call_fails(uint64_t kind, uint64_t size_bytes) {
    if (!rules.all_calls) {
        return false;
    }
    bool fails = call_must_fail();
    digest(kind, OUTSIDE_MAPPING, size_bytes, !fails);
    return fails;
}

void *storage_reserve(uint64_t size_bytes) {
    if (record_call_fails(EVENT_ALLOC, size_bytes) || region_count == REGIONS_MAX) {
        return NULL;
    }
    struct region region = {.base = pages_reserve(size_bytes, CHUNK_BYTES), .size_bytes = size_bytes};
    region.numbers = pages_map(sizeof(uint32_t) * (size_bytes / CHUNK_BYTES + 1), PAGE_BYTES);
    if (region.base == NULL || region.numbers == NULL) {
        return NULL;
    }
    regions[region_count++] = region;
    return region.base;
}

/* Where a chunk of a region notes that it is warm; NULL for those that never stay resident. */
static bool *warm_cell(const void *address) {
    struct region *region = region_at(address);
    uint64_t index = region != NULL ? ((uintptr_t)address - (uintptr_t)region->base) / CHUNK_BYTES : WARM_MAX;
    return index < WARM_MAX ? &region->warm[index] : NULL;
}

static bool lend_chunk(void *address, uint64_t guard_bytes) {
    bool cold = false;
    bool *warm = warm_cell(address);
    return pages_lend((uint8_t *)address + guard_bytes, CHUNK_BYTES - guard_bytes, warm != NULL ? warm : &cold);
}

static bool lend_records(void *address, uint64_t size_bytes, uint64_t guard_bytes) {
    bool cold = false;
    return !record_call_fails(EVENT_ALLOC, size_bytes) &&
           pages_lend((uint8_t *)address + guard_bytes, size_bytes - guard_bytes, &cold);
}

bool storage_commit(void *address, uint64_t size_bytes, uint64_t guard_bytes) {
    uint32_t *cell = guard_bytes > 0 ? chunk_cell(address, size_bytes) : NULL;
    if (cell == NULL) {
        return lend_records(address, size_bytes, guard_bytes);
    }
    if (*cell != 0) {
        fault("STORAGE-5: committed a chunk that is live");
    }
    bool granted = !call_must_fail() && storage_record.live < STORAGE_LIVE_MAX;
    if (!granted || !lend_chunk(address, guard_bytes)) {
        digest(EVENT_ALLOC, NO_MAPPING, CHUNK_BYTES, false);
        return false;
    }
    digest(EVENT_ALLOC, next_number, CHUNK_BYTES, true);
    *cell = ++next_number;
    storage_record.live++;
    return true;
}

void storage_decommit(void *address, uint64_t size_bytes) {
    uint32_t *cell = chunk_cell(address, size_bytes);
    if (cell == NULL || *cell == 0) { /* records */
        pages_drop(address, size_bytes);
        return;
    }
    bool cold;
    bool *warm = warm_cell(address);
    storage_record.live--;
    digest(EVENT_FREE, *cell - 1, CHUNK_BYTES, true);
    *cell = 0;
    pages_take_back(address, size_bytes, warm != NULL, warm != NULL ? warm : &cold);
}

void *storage_map(uint64_t size_bytes, uint64_t alignment_bytes) {
    if (rules.kernel && alignment_bytes >= CHUNK_BYTES) {
        return storage_alloc(size_bytes);
    }
    return record_call_fails(EVENT_ALLOC, size_bytes)
               ? NULL
               : pages_map(size_bytes, alignment_bytes > PAGE_BYTES ? alignment_bytes : PAGE_BYTES);
}

void storage_unmap(void *address, uint64_t size_bytes) {
    if (slot_at(address) != NULL) {
        storage_free(address, size_bytes);
        return;
    }
    for (uint32_t index = 0; index < region_count; index++) {
        if (regions[index].base == address) {
            pages_unmap(regions[index].numbers, sizeof(uint32_t) * (regions[index].size_bytes / CHUNK_BYTES + 1));
            regions[index] = regions[--region_count];
            break;
        }
    }
    pages_unmap(address, size_bytes);
}

/* ---- where something is ---------------------------------------------------------------------------------------- */

struct storage_place storage_place(const void *address) {
    const struct slot *slot = slot_at(address);
    if (slot != NULL) {
        uint64_t offset = ((uintptr_t)address - (uintptr_t)arena) % STORAGE_BYTES_MAX;
        return (struct storage_place){slot->size_bytes > 0 ? slot->number : OUTSIDE_MAPPING, offset};
    }
    const struct region *region = region_at(address);
    if (region != NULL) {
        uint64_t offset = (uintptr_t)address - (uintptr_t)region->base;
        uint32_t number = region->numbers[offset / CHUNK_BYTES];
        return (struct storage_place){number > 0 ? number - 1 : OUTSIDE_MAPPING, offset % CHUNK_BYTES};
    }
    return (struct storage_place){OUTSIDE_MAPPING, (uintptr_t)address};
}

uint64_t storage_mapping_bytes(const void *address) {
    const struct slot *slot = slot_beginning_at(address);
    return slot != NULL ? slot->size_bytes : 0;
}

bool storage_owns(const void *address) {
    return slot_at(address) != NULL;
}
