/* core.c -- the core, whole, for the harness: its reset to the first state, and what it looks like.
 *
 * The core is included as one translation unit, as tests/core does, so that its statics are within reach. This file is
 * compiled with coverage counters; the rest of the harness is not. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "spare.h"

size_t core_kept_from, core_kept_bytes;

#ifdef SPARE_HAS_ASAN
#define __asan_poison_memory_region spare_poison
#define __asan_unpoison_memory_region spare_unpoison
#define __asan_region_is_poisoned spare_region_is_poisoned
#define __asan_address_is_poisoned spare_address_is_poisoned
#endif
#define memcpy(to, from, byte_count)                                                                                   \
    ((byte_count) > SPARE_BYTES ? spare_copy(to, from, byte_count) : memcpy(to, from, byte_count))
#define memset(to, byte, byte_count)                                                                                   \
    ((byte_count) > SPARE_BYTES ? spare_fill(to, byte, byte_count) : memset(to, byte, byte_count))

/* "Can't initialize heap" is no news here, and each line costs more than a play. */
#define fputs(text, file) ((void)(text))
/* A finding must not depend on the switches of whoever fuzzes, and to look for them costs as much as an operation. */
#define getenv(name) ((const char *)NULL)

#include ZMM_CORE_UNITY

#undef memcpy
#undef memset
#undef fputs
#undef getenv

/* ---- the table, with the heap remembered ------------------------------------------------------------------------------ */

#pragma GCC visibility push(hidden)
const zmm_api *harness_api(void);
#pragma GCC visibility pop

static zmm_heap *open_heap;

QUIET size_t core_long_bytes(const void *block) {
    const position at = open_heap != NULL ? ground_locate(open_heap, block) : POSITION_NONE;
    if (at == POSITION_NONE) {
        const huge_record *const huge = open_heap != NULL ? huge_find(open_heap, block) : NULL;
        return huge != NULL ? huge->size_bytes : 0;
    }
    if (ground_chunk(at)->heap != open_heap) {
        return 0;
    }
    const page_word word = ground.words[at >> ZMM_PAGE_SHIFT];
    const uint32_t run_pages = page_word_run_pages(word);
    return word == page_word_large(open_heap->id, run_pages) ? (size_t)run_pages * ZMM_PAGE_BYTES : 0;
}

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
    size_t index = 0;
    for (; byte_count - index >= sizeof(uint64_t); index += sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, all + index, sizeof word);
        digest = (digest ^ word) * UINT64_C(0x9E3779B97F4A7C15);
        digest ^= digest >> 32;
    }
    for (; index < byte_count; index++) {
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
        slot = link_open(heap, slot, bin_bytes[bin_index]);
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
