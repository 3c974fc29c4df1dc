/* guard.c -- guard mode: blocks on pages of their own, with inaccessible pages round them, in addresses of their own.
 *
 * Owns:    one reserved range of addresses for all heaps, and a record for each of its pages.
 * Asks:    kernel, usage, trim's keys, panic.
 * Serves:  watch (blocks), walk and check (looking), fault and diagnose (whose address is that?), request (the end).
 * Keeps:   GUARD-1  A heap's list holds its guarded blocks; the live ones are guard_count with guard_bytes together.
 *
 * A block is pushed to the end of its last page, as far as its alignment allows: 8 bytes, a page for large sizes, 2 MiB
 * for huge ones. The bytes that are left before and behind it carry a pattern keyed by address, looked at when the block
 * is freed. Pages of freed blocks are inaccessible, and their addresses are not used again before the whole range was. */
#include "core.h"

#if ZMM_GUARD_MODE

#include <string.h>

static struct guard_range {
    uintptr_t base; /* 0 until the first heap in guard mode */
    uint32_t page_count, fresh_page, next_page, committed_pages;
    guard_page *pages;
} guard_range;
static atomic_flag guard_flag = ATOMIC_FLAG_INIT;
static uint32_t
    guard_live_count; /* of all heaps: each live block costs the kernel two mappings, of which it has 65530 */

/* ---- addresses -------------------------------------------------------------------------------------------------------- */

ZMM_INTERNAL bool guard_prepare(void) {
    lock_take(&guard_flag);
    for (uint32_t pages = ZMM_GUARD_PAGES_MAX; guard_range.base == 0 && pages >= ZMM_GUARD_PAGES_MIN; pages /= 2) {
        const size_t range_bytes = (size_t)pages * ZMM_PAGE_BYTES;
        char *const range = kernel()->reserve(range_bytes + pages * sizeof(guard_page));
        if (range != NULL) {
            guard_range = (struct guard_range){.base = (uintptr_t)range,
                                               .page_count = pages,
                                               .next_page = 1,
                                               .pages = (guard_page *)(void *)(range + range_bytes)};
        }
    }
    const bool is_there = guard_range.base != 0;
    lock_give_back(&guard_flag);
    return is_there;
}

static char *guard_address(uint32_t page) {
    return (char *)guard_range.base + (size_t)page * ZMM_PAGE_BYTES;
}

ZMM_INTERNAL bool guard_has(const void *address) {
    return guard_range.base != 0 &&
           (uintptr_t)address - guard_range.base < (uintptr_t)guard_range.page_count * ZMM_PAGE_BYTES;
}

static uint32_t guard_page_of(const void *address) {
    return (uint32_t)(((uintptr_t)address - guard_range.base) / ZMM_PAGE_BYTES);
}

/* The record of the block whose pages these are, NULL for pages between blocks. */
static guard_page *guard_block_at(uint32_t page) {
    if (page >= guard_range.fresh_page || guard_range.pages[page].state == GUARD_NONE) {
        return NULL;
    }
    return &guard_range.pages[page - guard_range.pages[page].back_pages];
}

ZMM_INTERNAL guard_page *guard_find(const void *address) {
    return guard_has(address) ? guard_block_at(guard_page_of(address)) : NULL;
}

/* An inaccessible page between two blocks: the one that the address is nearer to, a live one before a dead one. */
ZMM_INTERNAL guard_page *guard_find_near(const void *address) {
    if (!guard_has(address)) {
        return NULL;
    }
    const uint32_t page = guard_page_of(address);
    guard_page *const lower = page > 0 ? guard_block_at(page - 1) : NULL;
    guard_page *const upper = guard_block_at(page + 1);
    if (lower == NULL || upper == NULL) {
        return lower != NULL ? lower : upper;
    }
    if ((lower->state == GUARD_LIVE) != (upper->state == GUARD_LIVE)) {
        return lower->state == GUARD_LIVE ? lower : upper;
    }
    const uintptr_t behind = (uintptr_t)address - ((uintptr_t)lower->block + lower->requested_bytes);
    return behind <= (uintptr_t)upper->block - (uintptr_t)address ? lower : upper;
}

/* ---- the pattern round a block ------------------------------------------------------------------------------------------- */

/* No byte is 0, and libc's free takes the word before a block for the size of a mapping that cannot be. */
static uint64_t guard_pattern(const zmm_heap *heap, uintptr_t word_address) {
    return trim_seal(trim_mix(heap, (const void *)word_address), 0) | UINT64_C(0x0202020202020202);
}

static uint8_t guard_pattern_byte(const zmm_heap *heap, uintptr_t address) {
    return (uint8_t)(guard_pattern(heap, address & ~(uintptr_t)7) >> (address % 8 * 8));
}

static void guard_fill(const zmm_heap *heap, char *from, const char *to) {
    while (from < to) {
        if ((uintptr_t)from % 8 == 0 && to - from >= 8) {
            const uint64_t word = guard_pattern(heap, (uintptr_t)from);
            memcpy(from, &word, sizeof(word));
            from += sizeof(word);
        } else {
            *from = (char)guard_pattern_byte(heap, (uintptr_t)from);
            from++;
        }
    }
}

/* The first byte that is not as it was filled; NULL when all are. */
static const char *guard_first_changed(const zmm_heap *heap, const char *from, const char *to) {
    while (from < to) {
        if ((uintptr_t)from % 8 == 0 && to - from >= 8) {
            uint64_t word;
            memcpy(&word, from, sizeof(word));
            if (word == guard_pattern(heap, (uintptr_t)from)) {
                from += sizeof(word);
                continue;
            }
        }
        if ((uint8_t)*from != guard_pattern_byte(heap, (uintptr_t)from)) {
            return from;
        }
        from++;
    }
    return NULL;
}

static char *guard_pages_start(const guard_page *record) {
    return (char *)((uintptr_t)record->block & ~(ZMM_PAGE_BYTES - 1));
}

static const char *guard_pages_end(const guard_page *record) {
    return guard_pages_start(record) + (size_t)record->page_count * ZMM_PAGE_BYTES;
}

static void guard_verify(zmm_heap *heap, const guard_page *record) {
    const char *const end = (const char *)record->block + record->requested_bytes;
    const char *const behind = guard_first_changed(heap, end, guard_pages_end(record));
    const char *const changed =
        behind != NULL ? behind : guard_first_changed(heap, guard_pages_start(record), record->block);
    if (changed != NULL) {
        panic_at_values(heap, behind != NULL ? PANIC_OVERRUN : PANIC_UNDERRUN, record->block,
                        guard_pattern_byte(heap, (uintptr_t)changed), (uint8_t)*changed);
    }
}

/* ---- a heap's list ------------------------------------------------------------------------------------------------------------ */

static uint32_t guard_index(const guard_page *record) {
    return (uint32_t)(record - guard_range.pages);
}

static void guard_link(zmm_heap *heap, guard_page *record) {
    record->next = heap->guard_first;
    record->previous = 0;
    if (record->next != 0) {
        guard_range.pages[record->next].previous = guard_index(record);
    }
    heap->guard_first = guard_index(record);
}

static void guard_unlink(zmm_heap *heap, const guard_page *record) {
    if (record->previous != 0) {
        guard_range.pages[record->previous].next = record->next;
    } else {
        heap->guard_first = record->next;
    }
    if (record->next != 0) {
        guard_range.pages[record->next].previous = record->previous;
    }
}

ZMM_INTERNAL const guard_page *guard_next(const zmm_heap *heap, const guard_page *record) {
    uint32_t page = record != NULL ? record->next : heap->guard_first;
    while (page != 0 && guard_range.pages[page].state != GUARD_LIVE) {
        page = guard_range.pages[page].next;
    }
    return page != 0 ? &guard_range.pages[page] : NULL;
}

/* ---- pages ------------------------------------------------------------------------------------------------------------------------ */

/* The end of the first live block that has one of these pages; 0 when none has. */
static uint32_t guard_obstacle(uint32_t first, uint32_t end) {
    for (uint32_t page = first; page < end; page++) {
        const guard_page *const record = guard_block_at(page);
        if (record != NULL && record->state == GUARD_LIVE) {
            return guard_index(record) + record->page_count;
        }
    }
    return 0;
}

/* The first of so many pages with one more behind them, none of a live block; 0 when the whole range has no such gap. */
static uint32_t guard_gap(uint32_t pages, uint32_t aligned_pages) {
    for (uint32_t turn = 0; turn < 2; turn++) {
        uint32_t first = turn == 0 ? guard_range.next_page : 1;
        for (;;) {
            first = (first + aligned_pages - 1) / aligned_pages * aligned_pages;
            if (first >= guard_range.page_count || guard_range.page_count - first < pages + 1) {
                break;
            }
            const uint32_t obstacle = guard_obstacle(first - 1, first + pages + 1);
            if (obstacle == 0) {
                return first;
            }
            first = obstacle + 1;
        }
    }
    return 0;
}

/* Forgets the dead blocks whose pages are used again, whole blocks at a time. */
static void guard_forget(uint32_t first, uint32_t end) {
    for (uint32_t page = first; page < end; page++) {
        guard_page *const record = guard_block_at(page);
        if (record != NULL) {
            if (record->heap != NULL) {
                guard_unlink(record->heap, record);
            }
            memset(record, 0, record->page_count * sizeof(*record));
        }
    }
}

static bool guard_commit_records(uint32_t end) {
    while (guard_range.committed_pages < end) {
        const uint32_t group = ZMM_GUARD_PAGES_MIN;
        if (!kernel()->commit(&guard_range.pages[guard_range.committed_pages], group * sizeof(guard_page), 0)) {
            return false;
        }
        guard_range.committed_pages += group;
    }
    return true;
}

/* Takes pages and writes their records; the first record, NULL when there is no room or the kernel gives no more. */
static guard_page *guard_take(zmm_heap *heap, uint32_t pages, uint32_t aligned_pages) {
    const uint32_t first = guard_live_count < ZMM_GUARD_LIVE_MAX ? guard_gap(pages, aligned_pages) : 0;
    if (first == 0 || !guard_commit_records(first + pages + 1)) {
        return NULL;
    }
    if (!kernel()->commit(guard_address(first), (size_t)pages * ZMM_PAGE_BYTES, 0)) {
        return NULL;
    }
    guard_forget(first, first + pages + 1);
    for (uint32_t page = 0; page < pages; page++) {
        guard_range.pages[first + page] = (guard_page){.state = GUARD_LIVE, .back_pages = page};
    }
    guard_page *const record = &guard_range.pages[first];
    record->heap = heap;
    record->page_count = pages;
    guard_link(heap, record);
    guard_live_count++;
    guard_range.next_page = first + pages + 1;
    if (guard_range.fresh_page < guard_range.next_page) {
        guard_range.fresh_page = guard_range.next_page;
    }
    return record;
}

static void guard_set_state(guard_page *record, uint8_t state) {
    for (uint32_t page = 0; page < record->page_count; page++) {
        record[page].state = state;
    }
}

static void guard_close(guard_page *record, uint8_t state) {
    guard_set_state(record, state);
    guard_live_count--;
    kernel()->decommit(guard_pages_start(record), (size_t)record->page_count * ZMM_PAGE_BYTES);
}

/* ---- blocks ------------------------------------------------------------------------------------------------------------------------- */

/* What a block counts as: its size class, as it would without guard mode. */
static size_t guard_counted_bytes(size_t size_bytes) {
    return size_bytes <= ZMM_SMALL_BYTES_MAX ? bin_bytes[bin_of_size(size_bytes)] : huge_round(size_bytes);
}

ZMM_INTERNAL void *guard_alloc(zmm_heap *heap, size_t size_bytes) {
    const bool is_huge = size_bytes > ZMM_LARGE_BYTES_MAX;
    if (size_bytes > (size_t)guard_range.page_count / 4 * ZMM_PAGE_BYTES) {
        return NULL;
    }
    const size_t counted_bytes = guard_counted_bytes(size_bytes);
    if (!usage_may_map(heap, counted_bytes)) {
        return NULL;
    }
    const size_t aligned_bytes = is_huge ? ZMM_CHUNK_BYTES : size_bytes > ZMM_SMALL_BYTES_MAX ? ZMM_PAGE_BYTES : 8;
    const size_t placed_bytes = size_bytes > 0 ? size_bytes : 1; /* an address of its own */
    const size_t page_bytes = huge_round(placed_bytes);
    lock_take(&guard_flag);
    guard_page *const record = guard_take(heap, (uint32_t)(page_bytes / ZMM_PAGE_BYTES), is_huge ? ZMM_CHUNK_PAGES : 1);
    lock_give_back(&guard_flag);
    if (record == NULL) {
        return NULL;
    }
    char *const pages = guard_address(guard_index(record));
    record->block = pages + ((page_bytes - placed_bytes) & ~(aligned_bytes - 1));
    record->requested_bytes = size_bytes;
    record->counted_bytes = counted_bytes;
    record->mapping_index = heap->mapping_count++;
    record->alloc_site = site_now;
    guard_fill(heap, pages, record->block);
    guard_fill(heap, (char *)record->block + size_bytes, pages + page_bytes);
    heap->guard_count++;
    heap->guard_bytes += counted_bytes;
    usage_map(heap, counted_bytes);
    usage_add(heap, counted_bytes);
    return record->block;
}

ZMM_INTERNAL guard_page *guard_identify(zmm_heap *heap, const void *block) {
    guard_page *const record = guard_find(block);
    if (record == NULL) {
        panic(heap, PANIC_NOT_START, block);
    }
    if (record->state != GUARD_LIVE) {
        panic(heap, PANIC_NOT_LIVE, block);
    }
    if (record->heap != heap) {
        panic(heap, PANIC_NOT_OURS, block);
    }
    if (record->block != block) {
        panic(heap, PANIC_NOT_START, block);
    }
    guard_verify(heap, record);
    return record;
}

ZMM_INTERNAL void guard_free(zmm_heap *heap, void *block) {
    guard_page *const record = guard_identify(heap, block);
    record->free_site = site_now;
    lock_take(&guard_flag);
    guard_close(record, GUARD_FREED);
    lock_give_back(&guard_flag);
    heap->guard_count--;
    heap->guard_bytes -= record->counted_bytes;
    heap->real_size_bytes -= record->counted_bytes;
    usage_subtract(heap, record->counted_bytes);
}

ZMM_INTERNAL void guard_verify_all(zmm_heap *heap) {
    for (const guard_page *record = guard_next(heap, NULL); record != NULL; record = guard_next(heap, record)) {
        guard_verify(heap, record);
    }
}

/* Counters of size go with the rest of the request's. */
ZMM_INTERNAL void guard_end_request(zmm_heap *heap) {
    guard_verify_all(heap);
    lock_take(&guard_flag);
    for (uint32_t page = heap->guard_first; page != 0; page = guard_range.pages[page].next) {
        guard_page *const record = &guard_range.pages[page];
        if (record->state == GUARD_LIVE) {
            record->free_site = site_now;
            guard_close(record, GUARD_ENDED);
        }
        record->heap = NULL; /* which may not be there any more when somebody asks */
    }
    lock_give_back(&guard_flag);
    heap->guard_first = 0;
    heap->guard_count = 0;
    heap->guard_bytes = 0;
}

#endif
