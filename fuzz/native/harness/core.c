/* core.c -- the core, whole, for the harness: its reset to the first state, what it looks like, and copies that cost
 * little.
 *
 * The core is included as one translation unit, as tests/core does, so that its statics are within reach. This file is
 * compiled with coverage counters; the rest of the harness is not. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stdio.h>
#include <string.h>

#include "harness.h"

/* Of the harness itself: neither counted nor watched. */
#ifdef __clang__
#define QUIET __attribute__((no_sanitize("coverage", "address", "undefined")))
#else
#define QUIET __attribute__((no_sanitize("address,undefined")))
#endif

/* ---- copies ---------------------------------------------------------------------------------------------------------
 * The model looks at both ends of a block and at what was written into it (labels.h), so a copy of two megabytes need
 * not be made in full: what nobody looks at is left out, and a thousand inputs a second become a hundred thousand.
 * A sanitizer is asked about the whole range all the same. */
#define SPARE_BYTES ((size_t)33 << 10) /* the live bits of a whole chunk are less */
#define SPARE_END_BYTES ((size_t)8 << 10)

size_t core_kept_from, core_kept_bytes;

#ifdef __SANITIZE_ADDRESS__
#define SPARE_HAS_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SPARE_HAS_ASAN 1
#endif
#endif

#ifdef SPARE_HAS_ASAN
void *__asan_region_is_poisoned(void *begin, size_t size);
void __asan_poison_memory_region(void const volatile *address, size_t size_bytes);
void __asan_unpoison_memory_region(void const volatile *address, size_t size_bytes);
#pragma GCC visibility push(hidden)
void spare_poison(void const volatile *address, size_t size_bytes);
void spare_unpoison(void const volatile *address, size_t size_bytes);
void *spare_region_is_poisoned(void *begin, size_t size_bytes);
#pragma GCC visibility pop

/* The core poisons a chunk whole when it comes, although it left it whole when it went; and opens a huge block of
 * gigabytes whole, of which only the beginning (a chunk once) and the end (slack) can be closed. */
enum { SPARE_RANGE_CHUNKS = 1 << 15, SPARE_ARENA_SLOTS = 1 << 13, SPARE_SLOT_SHIFT = 33 };
static bool spare_range[SPARE_RANGE_CHUNKS], spare_arena[SPARE_ARENA_SLOTS]; /* chunks that are poisoned whole */

/* Handlers' chunks begin slots of the arena (storage.c), the kernel's lie side by side: so each has a cell of its own. */
QUIET static bool *spare_cell(uintptr_t address) {
    const bool in_arena = address >> 45 == 1;
    return in_arena ? &spare_arena[(address >> SPARE_SLOT_SHIFT) % SPARE_ARENA_SLOTS]
                    : &spare_range[(address >> 21) % SPARE_RANGE_CHUNKS];
}

enum { SPARE_BEGIN = 2 << 20, SPARE_END = 16 << 10 };

QUIET static bool spare_begins_mapping(void const volatile *address, size_t size_bytes) {
    return (uintptr_t)address % SPARE_BEGIN == 0 && size_bytes > SPARE_BEGIN - 4096;
}

QUIET static size_t spare_begin_bytes(size_t size_bytes) {
    return size_bytes < SPARE_BEGIN ? size_bytes : SPARE_BEGIN;
}

QUIET void spare_poison(void const volatile *address, size_t size_bytes) {
    if (!spare_begins_mapping(address, size_bytes)) {
        __asan_poison_memory_region(address, size_bytes);
        return;
    }
    bool *const is_whole = spare_cell((uintptr_t)address);
    if (!*is_whole) {
        *is_whole = true;
        __asan_poison_memory_region(address, spare_begin_bytes(size_bytes));
    }
    __asan_poison_memory_region((const volatile char *)address + size_bytes - SPARE_END, SPARE_END);
}

QUIET void spare_unpoison(void const volatile *address, size_t size_bytes) {
    if (!spare_begins_mapping(address, size_bytes)) {
        __asan_unpoison_memory_region(address, size_bytes);
        return;
    }
    bool *const is_whole = spare_cell((uintptr_t)address);
    if (*is_whole) {
        *is_whole = false;
        __asan_unpoison_memory_region(address, spare_begin_bytes(size_bytes));
    }
    __asan_unpoison_memory_region((const volatile char *)address + size_bytes - SPARE_END, SPARE_END);
}

/* Only the ends can differ from the rest. */
QUIET void *spare_region_is_poisoned(void *begin, size_t size_bytes) {
    if (size_bytes < (size_t)4 * SPARE_END) {
        return __asan_region_is_poisoned(begin, size_bytes);
    }
    void *const found = __asan_region_is_poisoned(begin, SPARE_END);
    return found != NULL ? found : __asan_region_is_poisoned((char *)begin + size_bytes - SPARE_END, SPARE_END);
}

static bool spare_is_poisoned(const void *begin, size_t size_bytes) {
    return spare_region_is_poisoned((void *)(uintptr_t)begin, size_bytes) != NULL;
}
#else
static bool spare_is_poisoned(const void *begin, size_t size_bytes) {
    (void)begin, (void)size_bytes;
    return false;
}
#endif

QUIET static __attribute__((noinline)) void *spare_copy(void *to, const void *from, size_t byte_count) {
    if (spare_is_poisoned(to, byte_count) || spare_is_poisoned(from, byte_count)) {
        return memcpy(to, from, byte_count); /* the sanitizer says where */
    }
    memcpy(to, from, SPARE_END_BYTES);
    const size_t tail = byte_count - SPARE_END_BYTES;
    memcpy((char *)to + tail, (const char *)from + tail, SPARE_END_BYTES);
    if (core_kept_bytes > 0 && core_kept_from < byte_count) {
        const size_t room = byte_count - core_kept_from;
        const size_t kept = core_kept_bytes < room ? core_kept_bytes : room;
        memcpy((char *)to + core_kept_from, (const char *)from + core_kept_from, kept);
    }
    return to;
}

QUIET static __attribute__((noinline)) void *spare_fill(void *to, int byte, size_t byte_count) {
    if (spare_is_poisoned(to, byte_count)) {
        return memset(to, byte, byte_count);
    }
    memset(to, byte, SPARE_END_BYTES);
    memset((char *)to + byte_count - SPARE_END_BYTES, byte, SPARE_END_BYTES);
    return to;
}

#ifdef SPARE_HAS_ASAN
#define __asan_poison_memory_region spare_poison
#define __asan_unpoison_memory_region spare_unpoison
#define __asan_region_is_poisoned spare_region_is_poisoned
#endif
#define memcpy(to, from, byte_count)                                                                                   \
    ((byte_count) > SPARE_BYTES ? spare_copy(to, from, byte_count) : memcpy(to, from, byte_count))
#define memset(to, byte, byte_count)                                                                                   \
    ((byte_count) > SPARE_BYTES ? spare_fill(to, byte, byte_count) : memset(to, byte, byte_count))

/* "Can't initialize heap" is no news here, and each line costs more than a play. */
#define fputs(text, file) ((void)(text))

#include ZMM_CORE_UNITY

#undef memcpy
#undef memset
#undef fputs

/* ---- the table, with the heap remembered ------------------------------------------------------------------------------ */

#pragma GCC visibility push(hidden)
const zmm_api *harness_api(void);
#pragma GCC visibility pop

static zmm_heap *open_heap;

QUIET static zmm_heap *startup(const zmm_options *options) {
    return open_heap = zmm_heap_startup(options);
}

QUIET static void shutdown_heap(zmm_heap *heap, bool full, bool silent) {
    zmm_heap_shutdown(heap, full, silent);
    if (full) {
        open_heap = NULL;
    }
}

QUIET zmm_heap *core_heap(void) {
    return open_heap;
}

QUIET const zmm_api *harness_api(void) {
    static zmm_api table;
    table = *zmm_get_api();
    table.heap_startup = startup;
    table.heap_shutdown = shutdown_heap;
    return &table;
}

/* ---- the reset ---------------------------------------------------------------------------------------------------------- */

QUIET static bool is_zero(const void *bytes, size_t byte_count) {
    const uint64_t *const words = bytes;
    uint64_t all = 0;
    for (size_t index = 0; index < byte_count / sizeof(uint64_t); index++) {
        all |= words[index];
    }
    return all == 0;
}

QUIET static const char *zone_remains(const ground_zone *zone) {
    for (uint32_t slot = zone->first_slot; slot < zone->fresh_slot; slot++) {
        if (ground.records[slot].heap != NULL || ground.records[slot].base != 0) {
            return "RESET-1: a chunk record still has an owner";
        }
        if (!is_zero(&ground.words[(size_t)slot * ZMM_CHUNK_PAGES], ground_words_bytes(1))) {
            return "RESET-2: a page word was not cleared";
        }
#if ZMM_LIVE_BITS
        if (!is_zero(live_word((position)slot << ZMM_CHUNK_SHIFT), ground_live_bytes(1))) {
            return "RESET-3: a live bit was not cleared";
        }
#endif
        if (!is_zero(ground.records[slot].free_slots, sizeof ground.records[slot].free_slots)) {
            return "RESET-4: a record's scratch counters were not cleared";
        }
    }
    return zone->free_count == zone->fresh_slot - zone->first_slot ? NULL : "RESET-5: a chunk record was lost";
}

QUIET const char *core_remains(void) {
    if (open_heap != NULL) {
        return "RESET-6: a heap is still open";
    }
    if (!is_zero(ground_ids_used, sizeof ground_ids_used)) {
        return "RESET-7: a heap's id was not given back";
    }
    const char *what = zone_remains(&ground_range_zone);
    return what != NULL ? what : zone_remains(&ground_foreign_zone);
}

QUIET static void zone_forget(ground_zone *zone) {
    for (uint32_t slot = zone->first_slot; slot < zone->fresh_slot; slot++) {
        memset(&ground.records[slot], 0, sizeof ground.records[slot]);
#if ZMM_TRIMS
        memset(&ground.words[(size_t)slot * ZMM_CHUNK_PAGES], 0, ground_words_bytes(1));
#endif
    }
    zone->fresh_slot = zone->first_slot;
    zone->free_list = zone->free_last = zone->free_count = 0;
}

QUIET void core_forget(void) {
    zone_forget(&ground_range_zone);
    zone_forget(&ground_foreign_zone);
    ground_id_next = 1;
}

QUIET static uint64_t mix_in(uint64_t digest, const void *bytes, size_t byte_count) {
    const unsigned char *const all = bytes;
    for (size_t index = 0; index < byte_count; index++) {
        digest = (digest ^ all[index]) * UINT64_C(0x100000001B3);
    }
    return digest;
}

/* Everything static in the core that may change: what is missing here would be missed by nobody else. */
QUIET uint32_t core_digest_of_statics(void) {
    uint64_t digest = UINT64_C(0xCBF29CE484222325);
    digest = mix_in(digest, &ground_range_zone.first_slot, sizeof ground_range_zone.first_slot);
    digest = mix_in(digest, &ground_range_zone.fresh_slot, sizeof ground_range_zone.fresh_slot);
    digest = mix_in(digest, &ground_range_zone.free_list, sizeof ground_range_zone.free_list);
    digest = mix_in(digest, &ground_foreign_zone.fresh_slot, sizeof ground_foreign_zone.fresh_slot);
    digest = mix_in(digest, &ground_foreign_zone.free_list, sizeof ground_foreign_zone.free_list);
    digest = mix_in(digest, ground_ids_used, sizeof ground_ids_used);
    digest = mix_in(digest, &ground_id_next, sizeof ground_id_next);
    digest = mix_in(digest, &page_word_secret, sizeof page_word_secret);
    digest = mix_in(digest, &api_no_heap, sizeof api_no_heap);
    digest = mix_in(digest, &api_current, sizeof api_current);
    digest = mix_in(digest, ground_foreign_table, sizeof ground_foreign_table);
    return (uint32_t)(digest ^ digest >> 32);
}

/* ---- what the heap looks like --------------------------------------------------------------------------------------------- */

/* 0, 1, 2, 3, 4 to 7, 8 to 15, ... */
QUIET static uint32_t scale(uint64_t number) {
    return number < 4 ? (uint32_t)number : (uint32_t)(66 - __builtin_clzll(number));
}

QUIET static uint32_t place_of(uint32_t kind, uint32_t a, uint32_t b) {
    uint64_t mixed = ((uint64_t)kind << 32 | a << 16 | b) * UINT64_C(0x9E3779B97F4A7C15);
    return (uint32_t)(mixed >> 40);
}

QUIET static void page_map_shape(const chunk_record *chunk, uint32_t *gaps, uint32_t *longest) {
    *gaps = *longest = 0;
    uint32_t page = bits_next(chunk->free_map, ZMM_HEADER_PAGES, false);
    while (page < ZMM_CHUNK_PAGES) {
        const uint32_t end = bits_next(chunk->free_map, page, true);
        (*gaps)++;
        *longest = end - page > *longest ? end - page : *longest;
        page = bits_next(chunk->free_map, end, false);
    }
}

/* A list may be damaged: it is followed for a few steps only. */
QUIET static uint32_t list_length(zmm_heap *heap, uint32_t bin_index) {
    uint32_t length = 0;
    for (void *slot = *bin_head(heap, bin_index); slot != NULL && length < 8; length++) {
        slot = link_open(heap, slot);
        if ((uintptr_t)slot % ZMM_SLOT_ALIGNMENT_BYTES != 0 || ground_locate(heap, slot) == POSITION_NONE) {
            break;
        }
    }
    return length;
}

QUIET void core_features(void (*hit)(uint32_t index), uint32_t first, uint32_t count) {
    zmm_heap *const heap = open_heap;
    if (heap == NULL) {
        return;
    }
    enum { BINS = 1, SHAPE, COUNTS, CACHE, DELETION, DISTANCE, HUGE_LIST };
    for (uint32_t bin_index = 0; bin_index < ZMM_BIN_COUNT; bin_index++) {
        const uint32_t length = list_length(heap, bin_index);
        if (length > 0) {
            hit(first + place_of(BINS, bin_index, length) % count);
        }
    }
    uint32_t chunks = 0;
    const chunk_record *chunk = heap->main_chunk;
    do {
        uint32_t gaps;
        uint32_t longest;
        page_map_shape(chunk, &gaps, &longest);
        hit(first +
            place_of(SHAPE, scale(gaps) << 4 | scale(longest), scale(chunk->free_tail) << 1 | (chunks > 0)) % count);
        chunk = chunk->next;
    } while (chunk != heap->main_chunk && ++chunks < 4);
    hit(first + place_of(COUNTS, scale(heap->chunk_count), scale(heap->chunk_count_peak)) % count);
    hit(first + place_of(CACHE, scale(heap->cached_count), (uint32_t)(heap->chunk_count_average * 2)) % count);
    hit(first + place_of(DELETION, scale(heap->delete_boundary), heap->delete_count) % count);
    const size_t left = heap->limit_bytes < heap->real_size_bytes ? 0 : heap->limit_bytes - heap->real_size_bytes;
    hit(first + place_of(DISTANCE, scale(left / ZMM_PAGE_BYTES), heap->limit_bytes < heap->real_size_bytes) % count);
    uint32_t blocks = 0;
    for (const huge_record *record = heap->huge_list; record != NULL && blocks < 16; record = record->next) {
        blocks++;
    }
    hit(first + place_of(HUGE_LIST, scale(blocks), 0) % count);
}
