/* check.c -- every invariant of the heap as code, each under its id; the first broken one is named.
 *
 * Asks:    everything below resize. Serves: request (level debug), api.
 *
 * CHUNK-1, CHUNK-2: chunk.c. RUN-1, RUN-2, RUN-3: run.c. HUGE-1, HUGE-2: huge.c. Besides:
 *   WORD-1  A page word is not 0 exactly on the first page of a large run and on all pages of a small one, and bears the
 *           heap's id.
 *   BIN-1   Every free slot is a slot of a run of its own bin.
 *   BIN-2   No slot is free twice.
 *   BIN-3   A slot's live bit is set exactly while it is neither free nor in quarantine (not kept at level fast).
 *   LINK-1  Both copies of a free slot's link agree (not kept at level fast).
 *   GUARD-1 (level debug) guard.c.
 *   USE-1   size is the sum of the live blocks (edition php-8.2: plus what refused small blocks left in it).
 *   USE-2   real_size is 2 MiB for each chunk, cached or not, plus the huge blocks.
 *   USE-3   No peak lies below its counter. */
#include "core.h"

#define CHECK(condition, id)                                                                                           \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            return id;                                                                                                 \
        }                                                                                                              \
    } while (0)

typedef struct check_sums {
    size_t small_bytes; /* all slots of all runs, free ones included */
    size_t large_bytes;
    size_t free_bytes; /* the free slots */
    size_t huge_bytes;
    size_t live_bits, slots, free_slots;
    uint32_t fences; /* of one chunk */
} check_sums;

static const char *check_ring(const zmm_heap *heap) {
    uint32_t chunk_count = 0;
    const chunk_record *chunk = heap->main_chunk;
    do {
        /* Is it a record at all? A link that somebody wrote to must not be followed. */
        CHECK(ground_is_record(chunk) && chunk->heap == heap && chunk_count < heap->chunk_count, "CHUNK-1");
        CHECK(ground_is_record(chunk->next) && chunk->next->prev == chunk, "CHUNK-1");
        chunk_count++;
        chunk = chunk->next;
    } while (chunk != heap->main_chunk);
    CHECK(chunk_count == heap->chunk_count, "CHUNK-1");

    uint32_t cached_count = 0;
    for (chunk = heap->cached_chunks; chunk != NULL; chunk = chunk->next) {
        CHECK(ground_is_record(chunk) && chunk->heap == heap && cached_count < heap->cached_count, "CHUNK-2");
        CHECK(chunk != heap->main_chunk, "CHUNK-2");
        const page_word *const words = chunk_words(chunk);
        for (uint32_t page = 0; page < ZMM_CHUNK_PAGES; page++) {
            CHECK(words[page] == 0, "CHUNK-2");
        }
        cached_count++;
    }
    CHECK(cached_count == heap->cached_count, "CHUNK-2");
    return NULL;
}

static const char *check_run(const zmm_heap *heap, const chunk_record *chunk, uint32_t page_index, uint32_t *run_pages,
                             check_sums *sums) {
    const page_word *const words = chunk_words(chunk);
    const page_word word = words[page_index];
    const bool is_small = (word & PAGE_WORD_SMALL) != 0;
    if (is_small) {
        const uint32_t bin_index = page_word_bin(word);
        CHECK(bin_index < ZMM_BIN_COUNT && word == page_word_small(heap->id, bin_index, 0), "WORD-1");
        *run_pages = bin_pages[bin_index];
        sums->small_bytes += (size_t)bin_bytes[bin_index] * bin_elements[bin_index];
        sums->slots += bin_elements[bin_index];
    } else {
        *run_pages = page_word_run_pages(word);
        CHECK(*run_pages > 0 && (word & ~PAGE_WORD_BACK_MASK) == page_word_large(heap->id, *run_pages), "WORD-1");
        sums->large_bytes += (size_t)*run_pages * ZMM_PAGE_BYTES;
#if ZMM_TRIMS
        if (bits_test(chunk->fence_map, page_index + *run_pages - 1)) {
            CHECK(fence_has_room(heap, *run_pages) || (*run_pages == 1 && (word & PAGE_WORD_WAITING) != 0), "FENCE-1");
            sums->fences++;
        }
#endif
    }
    CHECK(page_index + *run_pages <= ZMM_CHUNK_PAGES, "RUN-1");
    CHECK(page_index < chunk->free_tail, "RUN-3");
    for (uint32_t page = 1; page < *run_pages; page++) {
        CHECK(bits_test(chunk->free_map, page_index + page), "RUN-1");
        const page_word expected = is_small ? page_word_small(heap->id, page_word_bin(word), page) : 0;
        CHECK(words[page_index + page] == expected, "WORD-1");
    }
    return NULL;
}

#if ZMM_LIVE_BITS
static size_t check_live_bits(const chunk_record *chunk, uint32_t page_index) {
    const uint64_t *const live = live_word(chunk_position(chunk, page_index));
    size_t count = 0;
    for (uint32_t word = 0; word < ZMM_LIVE_WORDS_PER_PAGE; word++) {
        count += (size_t)__builtin_popcountll(live[word]);
    }
    return count;
}
#endif

static const char *check_chunk(const zmm_heap *heap, const chunk_record *chunk, check_sums *sums) {
    CHECK(bits_test(chunk->free_map, 0), "RUN-1");
    CHECK(chunk->free_pages == ZMM_CHUNK_PAGES - bits_count(chunk->free_map), "RUN-2");
    const page_word *const words = chunk_words(chunk);
    CHECK(words[0] == 0, "WORD-1");
    uint32_t page_index = ZMM_HEADER_PAGES;
    while (page_index < ZMM_CHUNK_PAGES) {
        uint32_t run_pages = 1;
        if (bits_test(chunk->free_map, page_index)) {
            const char *const broken = check_run(heap, chunk, page_index, &run_pages, sums);
            if (broken != NULL) {
                return broken;
            }
        } else {
            CHECK(words[page_index] == 0, "WORD-1");
        }
#if ZMM_LIVE_BITS
        for (uint32_t page = 0; page < run_pages; page++) {
            sums->live_bits += check_live_bits(chunk, page_index + page);
        }
#endif
        page_index += run_pages;
    }
#if ZMM_TRIMS
    CHECK(sums->fences == bits_count(chunk->fence_map), "FENCE-1");
    sums->fences = 0;
#endif
    return NULL;
}

/* Counts the free slots of each run. Each slot has one link and one bin, so a slot that is free twice makes its list a
 * circle, and some run's count too high. */
static const char *check_free_lists(zmm_heap *heap, check_sums *sums) {
    for (uint32_t bin_index = 0; bin_index < ZMM_BIN_COUNT; bin_index++) {
        for (const void *slot = *bin_head(heap, bin_index); slot != NULL;
             slot = link_open(heap, slot, bin_bytes[bin_index])) {
            const position at = ground_locate(heap, slot);
            CHECK(at != POSITION_NONE && ground_chunk(at)->heap == heap, "BIN-1");
            const page_word word = ground.words[at >> ZMM_PAGE_SHIFT];
            CHECK((word & PAGE_WORD_SMALL) != 0 && page_word_bin(word) == bin_index, "BIN-1");
            const uint32_t page_index = position_page(at) - page_word_back_pages(word);
            const size_t run_offset = at % ZMM_CHUNK_BYTES - (size_t)page_index * ZMM_PAGE_BYTES;
            CHECK(run_offset % bin_bytes[bin_index] == 0, "BIN-1");
            CHECK(run_offset / bin_bytes[bin_index] < bin_elements[bin_index], "BIN-1");
            CHECK(++ground_chunk(at)->free_slots[page_index] <= bin_elements[bin_index], "BIN-2");
            CHECK(link_is_whole(slot, bin_bytes[bin_index]), "LINK-1");
            sums->free_slots++;
            sums->free_bytes += bin_bytes[bin_index];
#if ZMM_LIVE_BITS
            CHECK(!live_test(at), "BIN-3");
#endif
        }
    }
    return NULL;
}

static void check_clear_scratch(zmm_heap *heap) {
    chunk_record *chunk = heap->main_chunk;
    do {
        for (uint32_t page = 0; page < ZMM_CHUNK_PAGES; page++) {
            chunk->free_slots[page] = 0;
        }
        chunk = chunk->next;
    } while (chunk != heap->main_chunk);
}

static const char *check_huge(const zmm_heap *heap, check_sums *sums) {
    for (const huge_record *huge = heap->huge_list; huge != NULL; huge = huge->next) {
        CHECK((uintptr_t)huge->block % ZMM_CHUNK_BYTES == 0, "HUGE-1");
        CHECK(huge->size_bytes > 0 && huge->size_bytes % ZMM_PAGE_BYTES == 0, "HUGE-1");
        sums->huge_bytes += huge->size_bytes;
        CHECK(sums->huge_bytes <= heap->real_size_bytes, "HUGE-1"); /* also ends a walk in a circle */
        const zmm_place node = walk_place(heap, huge->node);
        CHECK(node.kind == ZMM_PLACE_SMALL && node.block_bytes == (ZMM_TRIMS ? 0 : ZMM_HUGE_NODE_BYTES), "HUGE-2");
    }
    return NULL;
}

#if ZMM_GUARD_MODE
static const char *check_guarded(const zmm_heap *heap) {
    size_t bytes = 0;
    uint32_t count = 0;
    for (const guard_page *block = guard_next(heap, NULL); block != NULL; block = guard_next(heap, block)) {
        CHECK(block->heap == heap && count < heap->guard_count, "GUARD-1");
        bytes += block->counted_bytes;
        count++;
    }
    CHECK(count == heap->guard_count && bytes == heap->guard_bytes, "GUARD-1");
    return NULL;
}
#endif

static const char *check_usage(const zmm_heap *heap, const check_sums *sums) {
    const size_t live_bytes =
        sums->small_bytes - sums->free_bytes + sums->large_bytes + sums->huge_bytes + heap->guard_bytes;
    CHECK(usage_size(heap) == live_bytes + heap->drift_bytes, "USE-1");
    const size_t chunks = (size_t)heap->chunk_count + heap->cached_count;
    CHECK(heap->real_size_bytes == chunks * ZMM_CHUNK_BYTES + sums->huge_bytes + heap->guard_bytes, "USE-2");
    CHECK(heap->peak_bytes >= heap->below_peak_bytes, "USE-3");
    CHECK(heap->real_peak_bytes >= heap->real_size_bytes, "USE-3");
    return NULL;
}

ZMM_INTERNAL const char *check_heap(zmm_heap *heap) {
    check_sums sums = {0};
    const char *broken = check_ring(heap);
    if (broken != NULL) {
        return broken;
    }
    chunk_record *chunk = heap->main_chunk;
    do {
        broken = check_chunk(heap, chunk, &sums);
        chunk = chunk->next;
    } while (broken == NULL && chunk != heap->main_chunk);
    if (broken == NULL) {
        broken = check_free_lists(heap, &sums);
        check_clear_scratch(heap);
    }
#if ZMM_TRIMS
    sums.free_slots += quarantine_slot_count(heap);
#endif
#if ZMM_LIVE_BITS
    if (broken == NULL && sums.live_bits != sums.slots - sums.free_slots) {
        broken = "BIN-3";
    }
#endif
    if (broken == NULL) {
        broken = check_huge(heap, &sums);
    }
#if ZMM_GUARD_MODE
    if (broken == NULL) {
        broken = check_guarded(heap);
    }
#endif
    return broken != NULL ? broken : check_usage(heap, &sums);
}
