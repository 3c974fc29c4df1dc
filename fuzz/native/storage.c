/* storage.c -- deterministic memory for heaps: an arena of fixed slots, numbered mappings, failing calls. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "storage.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "abi.h"
#include "crc.h"

#define ARENA_HINT ((uintptr_t)0x200000000000)
#define ARENA_BYTES (STORAGE_BYTES_MAX * STORAGE_LIVE_MAX)
#define CHUNK_BYTES ((uint64_t)2 << 20)
#define PAGE_BYTES ((uint64_t)4096)

enum { EVENT_ALLOC = 1, EVENT_FREE = 2, EVENT_TRUNCATE = 3, EVENT_EXTEND = 4 };

struct slot {
    uint64_t size_bytes; /* 0: free */
    uint32_t number;
};

/* Addresses that a kernel's `reserve` gave out; numbers[i] is 1 + the mapping number of its i-th 2 MiB, 0: none. */
struct region {
    uint8_t *base;
    uint64_t size_bytes;
    uint32_t *numbers;
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

/* The raw call: `mmap` itself is interposed in this executable. */
static void *system_map(void *address, uint64_t size_bytes, int protection, int flags)
{
    long result = syscall(SYS_mmap, address, size_bytes, protection, flags, -1, 0L);
    return result == -1 ? NULL : (void *)result; /* NOLINT(performance-no-int-to-ptr) */
}

static bool make_accessible(void *address, uint64_t size_bytes)
{
    return syscall(SYS_mprotect, address, size_bytes, PROT_READ | PROT_WRITE) == 0;
}

/* Fresh inaccessible pages: what was there is gone, and touching it is a crash. */
static void make_inaccessible(void *address, uint64_t size_bytes)
{
    (void)system_map(address, size_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED);
}

static uint64_t whole_pages(uint64_t size_bytes)
{
    return (size_bytes + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);
}

void *storage_own_memory(size_t size_bytes)
{
    return system_map(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);
}

bool storage_prepare(void)
{
    /* A huge page for a chunk of which a program touches ten pages would cost a hundred times as much. */
    (void)prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
    void *hint = (void *)ARENA_HINT; /* NOLINT(performance-no-int-to-ptr) */
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    arena = system_map(hint, ARENA_BYTES, PROT_NONE, flags | MAP_FIXED_NOREPLACE);
    if (arena != NULL && arena != hint) { /* a kernel that does not know the flag */
        (void)syscall(SYS_munmap, arena, ARENA_BYTES);
        arena = NULL;
    }
    return arena != NULL;
}

static void release_slot(struct slot *slot)
{
    uint64_t index = (uint64_t)(slot - slots);
    make_inaccessible(arena + index * STORAGE_BYTES_MAX, slot->size_bytes);
    *slot = (struct slot){0};
    used_slots[index / 64] &= ~((uint64_t)1 << (index % 64));
}

void storage_reset(const struct storage_rules *new_rules, const uint64_t *new_failing, uint64_t new_failing_count)
{
    for (uint32_t index = 0; index < slots_end; index++) {
        if (slots[index].size_bytes > 0) {
            release_slot(&slots[index]);
        }
    }
    slots_end = 0;
    for (uint32_t index = 0; index < region_count; index++) {
        struct region *region = &regions[index];
        (void)syscall(SYS_madvise, region->numbers, sizeof(uint32_t) * (region->size_bytes / CHUNK_BYTES),
                      MADV_DONTNEED);
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

static void digest(uint64_t kind, uint32_t mapping, uint64_t size_bytes, bool granted)
{
    uint64_t words[4] = {kind, mapping, size_bytes, granted ? 1 : 0};
    storage_record.calls++;
    storage_record.crc = crc_extend(storage_record.crc, words, sizeof words);
}

static void fault(const char *what)
{
    if (storage_record.fault == NULL) {
        storage_record.fault = what;
    }
}

/* Counts a fallible call; true when it is one that must fail. */
static bool call_must_fail(void)
{
    fallible_calls++;
    while (failing_next < failing_count && failing[failing_next] < fallible_calls) {
        failing_next++;
    }
    return failing_next < failing_count && failing[failing_next] == fallible_calls;
}

static struct slot *slot_at(const void *address)
{
    uintptr_t offset = (uintptr_t)address - (uintptr_t)arena;
    return offset < ARENA_BYTES ? &slots[offset / STORAGE_BYTES_MAX] : NULL;
}

/* The live slot whose mapping begins exactly here, or NULL. */
static struct slot *slot_beginning_at(const void *address)
{
    struct slot *slot = slot_at(address);
    bool begins = ((uintptr_t)address - (uintptr_t)arena) % STORAGE_BYTES_MAX == 0;
    return slot != NULL && begins && slot->size_bytes > 0 ? slot : NULL;
}

static uint32_t lowest_free_slot(void)
{
    for (uint32_t word = 0; word < STORAGE_LIVE_MAX / 64; word++) {
        if (used_slots[word] != UINT64_MAX) {
            return word * 64 + (uint32_t)__builtin_ctzll(~used_slots[word]);
        }
    }
    return STORAGE_LIVE_MAX;
}

void *storage_alloc(uint64_t size_bytes)
{
    uint32_t index = lowest_free_slot();
    bool granted = !call_must_fail() && size_bytes <= STORAGE_BYTES_MAX && storage_record.live < STORAGE_LIVE_MAX;
    if (size_bytes == 0) {
        fault("STORAGE-6: asked for a mapping of no bytes");
        granted = false;
    }
    uint8_t *mapping = arena + (uint64_t)index * STORAGE_BYTES_MAX;
    if (!granted || !make_accessible(mapping, whole_pages(size_bytes))) {
        digest(EVENT_ALLOC, NO_MAPPING, size_bytes, false);
        return NULL;
    }
    slots[index] = (struct slot){whole_pages(size_bytes), next_number};
    used_slots[index / 64] |= (uint64_t)1 << (index % 64);
    if (index >= slots_end) {
        slots_end = index + 1;
    }
    storage_record.live++;
    digest(EVENT_ALLOC, next_number, size_bytes, true);
    next_number++;
    return mapping;
}

void storage_free(void *mapping, uint64_t size_bytes)
{
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

bool storage_truncate(void *mapping, uint64_t old_bytes, uint64_t new_bytes)
{
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
            make_inaccessible((uint8_t *)mapping + kept, slot->size_bytes - kept);
        }
        slot->size_bytes = kept;
    }
    return granted;
}

bool storage_extend(void *mapping, uint64_t old_bytes, uint64_t new_bytes)
{
    struct slot *slot = slot_beginning_at(mapping);
    bool fails = call_must_fail();
    bool granted = rules.extend && !fails && new_bytes <= STORAGE_BYTES_MAX;
    if (slot == NULL || slot->size_bytes != whole_pages(old_bytes) || new_bytes < old_bytes) {
        fault("STORAGE-4: extended a mapping that is not live or not of that size");
        granted = false;
    }
    uint64_t kept = whole_pages(old_bytes);
    if (granted && whole_pages(new_bytes) > kept) {
        granted = make_accessible((uint8_t *)mapping + kept, whole_pages(new_bytes) - kept);
    }
    digest(EVENT_EXTEND, slot != NULL ? slot->number : OUTSIDE_MAPPING, new_bytes, granted);
    if (granted) {
        slot->size_bytes = whole_pages(new_bytes);
    }
    return granted;
}

/* ---- a kernel that reserves first ------------------------------------------------------------------------------ */

static struct region *region_at(const void *address)
{
    for (uint32_t index = 0; index < region_count; index++) {
        if ((uintptr_t)address - (uintptr_t)regions[index].base < regions[index].size_bytes) {
            return &regions[index];
        }
    }
    return NULL;
}

/* The number cell of the chunk these bytes make up, NULL when they are something else. */
static uint32_t *chunk_cell(const void *address, uint64_t size_bytes)
{
    struct region *region = region_at(address);
    if (region == NULL || size_bytes != CHUNK_BYTES || !rules.kernel) {
        return NULL;
    }
    return &region->numbers[((uintptr_t)address - (uintptr_t)region->base) / CHUNK_BYTES];
}

static void *map_aligned(uint64_t size_bytes, uint64_t alignment_bytes, int protection)
{
    uint64_t asked = size_bytes + alignment_bytes;
    if (asked < size_bytes) {
        return NULL;
    }
    uint8_t *address = system_map(NULL, asked, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);
    if (address == NULL) {
        return NULL;
    }
    uint64_t before = (alignment_bytes - (uintptr_t)address % alignment_bytes) % alignment_bytes;
    if (before > 0) {
        (void)syscall(SYS_munmap, address, before);
    }
    if (alignment_bytes > before) {
        (void)syscall(SYS_munmap, address + before + size_bytes, alignment_bytes - before);
    }
    return address + before;
}

/* Counts a call for the allocator's own records where the rules ask for that; true when it must fail. */
static bool record_call_fails(uint64_t kind, uint64_t size_bytes)
{
    if (!rules.all_calls) {
        return false;
    }
    bool fails = call_must_fail();
    digest(kind, OUTSIDE_MAPPING, size_bytes, !fails);
    return fails;
}

void *storage_reserve(uint64_t size_bytes)
{
    if (record_call_fails(EVENT_ALLOC, size_bytes) || region_count == REGIONS_MAX) {
        return NULL;
    }
    struct region region = {map_aligned(size_bytes, CHUNK_BYTES, PROT_NONE), size_bytes, NULL};
    region.numbers = storage_own_memory(sizeof(uint32_t) * (size_bytes / CHUNK_BYTES + 1));
    if (region.base == NULL || region.numbers == NULL) {
        return NULL;
    }
    regions[region_count++] = region;
    return region.base;
}

static bool commit(void *address, uint64_t size_bytes, uint64_t guard_bytes)
{
    return make_accessible((uint8_t *)address + guard_bytes, size_bytes - guard_bytes);
}

bool storage_commit(void *address, uint64_t size_bytes, uint64_t guard_bytes)
{
    uint32_t *cell = guard_bytes > 0 ? chunk_cell(address, size_bytes) : NULL;
    if (cell == NULL) {
        return !record_call_fails(EVENT_ALLOC, size_bytes) && commit(address, size_bytes, guard_bytes);
    }
    if (*cell != 0) {
        fault("STORAGE-5: committed a chunk that is live");
    }
    bool granted = !call_must_fail() && storage_record.live < STORAGE_LIVE_MAX;
    if (!granted || !commit(address, size_bytes, guard_bytes)) {
        digest(EVENT_ALLOC, NO_MAPPING, CHUNK_BYTES, false);
        return false;
    }
    digest(EVENT_ALLOC, next_number, CHUNK_BYTES, true);
    *cell = ++next_number;
    storage_record.live++;
    return true;
}

void storage_decommit(void *address, uint64_t size_bytes)
{
    uint32_t *cell = chunk_cell(address, size_bytes);
    if (cell != NULL && *cell != 0) { /* 2 MiB of records have no number */
        storage_record.live--;
        digest(EVENT_FREE, *cell - 1, CHUNK_BYTES, true);
        *cell = 0;
    }
    make_inaccessible(address, size_bytes);
}

void *storage_map(uint64_t size_bytes, uint64_t alignment_bytes)
{
    if (rules.kernel && alignment_bytes >= CHUNK_BYTES) {
        return storage_alloc(size_bytes);
    }
    return record_call_fails(EVENT_ALLOC, size_bytes)
               ? NULL
               : map_aligned(whole_pages(size_bytes), alignment_bytes < PAGE_BYTES ? PAGE_BYTES : alignment_bytes,
                             PROT_READ | PROT_WRITE);
}

void storage_unmap(void *address, uint64_t size_bytes)
{
    if (slot_at(address) != NULL) {
        storage_free(address, size_bytes);
        return;
    }
    for (uint32_t index = 0; index < region_count; index++) {
        if (regions[index].base == address) {
            (void)syscall(SYS_munmap, regions[index].numbers,
                          sizeof(uint32_t) * (regions[index].size_bytes / CHUNK_BYTES + 1));
            regions[index] = regions[--region_count];
            break;
        }
    }
    (void)syscall(SYS_munmap, address, whole_pages(size_bytes));
}

/* ---- where something is ---------------------------------------------------------------------------------------- */

struct storage_place storage_place(const void *address)
{
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

uint64_t storage_mapping_bytes(const void *address)
{
    const struct slot *slot = slot_beginning_at(address);
    return slot != NULL ? slot->size_bytes : 0;
}

bool storage_owns(const void *address)
{
    return slot_at(address) != NULL;
}
