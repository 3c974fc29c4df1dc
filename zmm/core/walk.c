/* walk.c -- visits every chunk, run, free slot and huge block, read-only; tells the place of an address.
 *
 * Asks:    ground, bin's tables, huge. Serves: check, api. Never: changes anything (the counters of free slots per run
 * are scratch, and zero again afterwards). */
#include "core.h"

static const void *walk_head(const zmm_heap *heap, uint32_t bin_index) {
    return bin_is_tiny(bin_index) ? heap->free_tiny : heap->free_slot[bin_index];
}

/* Counts the free slots of each run into the chunk records' scratch, or sets them back to 0. */
static void walk_count_free_slots(const zmm_heap *heap, bool count) {
    for (uint32_t bin_index = 0; bin_index < ZMM_BIN_COUNT; bin_index++) {
        for (const void *slot = walk_head(heap, bin_index); slot != NULL;
             slot = link_open(heap, slot, bin_bytes[bin_index])) {
            const position at = ground_locate(NULL, slot);
            const uint32_t back_pages = page_word_back_pages(ground.words[at >> ZMM_PAGE_SHIFT]);
            uint16_t *const free_slots = &ground_chunk(at)->free_slots[position_page(at) - back_pages];
            *free_slots = count ? (uint16_t)(*free_slots + 1) : 0;
        }
    }
}

static void walk_runs(const chunk_record *chunk, const zmm_visitor *visitor, void *context) {
    const page_word *const words = chunk_words(chunk);
    uint32_t page_index = bits_next(chunk->free_map, ZMM_HEADER_PAGES, true);
    while (page_index < ZMM_CHUNK_PAGES) {
        const page_word word = words[page_index];
        const bool is_small = (word & PAGE_WORD_SMALL) != 0;
        const uint32_t bin_index = page_word_bin(word);
        const zmm_run_view view = {
            .mapping_index = chunk->mapping_index,
            .page_index = page_index,
            .page_count = is_small ? bin_pages[bin_index] : page_word_run_pages(word),
            .bin_index = is_small ? (int32_t)bin_index : -1,
            .free_slots = is_small ? chunk->free_slots[page_index] : 0,
        };
        visitor->run(context, &view);
        page_index = bits_next(chunk->free_map, page_index + (view.page_count > 0 ? view.page_count : 1), true);
    }
}

static void walk_chunk(const chunk_record *chunk, bool cached, const zmm_visitor *visitor, void *context) {
    if (visitor->chunk != NULL) {
        const zmm_chunk_view view = {
            .mapping_index = chunk->mapping_index,
            .number = chunk->number,
            .free_pages = chunk->free_pages,
            .free_tail = chunk->free_tail,
            .cached = cached,
            .free_map = chunk->free_map,
        };
        visitor->chunk(context, &view);
    }
    if (visitor->run != NULL && !cached) {
        walk_runs(chunk, visitor, context);
    }
}

ZMM_INTERNAL void walk_visit(const zmm_heap *heap, const zmm_visitor *visitor, void *context) {
    if (visitor->run != NULL) {
        walk_count_free_slots(heap, true);
    }
    const chunk_record *chunk = heap->main_chunk;
    do {
        walk_chunk(chunk, false, visitor, context);
        chunk = chunk->next;
    } while (chunk != heap->main_chunk);
    for (chunk = heap->cached_chunks; chunk != NULL; chunk = chunk->next) {
        walk_chunk(chunk, true, visitor, context);
    }
    if (visitor->run != NULL) {
        walk_count_free_slots(heap, false);
    }
    for (uint32_t bin_index = 0; visitor->free_slot != NULL && bin_index < ZMM_BIN_COUNT; bin_index++) {
        for (const void *slot = walk_head(heap, bin_index); slot != NULL;
             slot = link_open(heap, slot, bin_bytes[bin_index])) {
            const position at = ground_locate(NULL, slot);
            const zmm_free_slot_view view = {
                .bin_index = bin_index,
                .mapping_index = ground_chunk(at)->mapping_index,
                .offset_bytes = at % ZMM_CHUNK_BYTES,
            };
            visitor->free_slot(context, &view);
        }
    }
#if ZMM_GUARD_MODE
    for (const guard_page *guarded = visitor->huge != NULL ? guard_next(heap, NULL) : NULL; guarded != NULL;
         guarded = guard_next(heap, guarded)) {
        const zmm_huge_view view = {.mapping_index = guarded->mapping_index, .size_bytes = guarded->counted_bytes};
        visitor->huge(context, &view);
    }
#endif
    for (const huge_record *huge = heap->huge_list; visitor->huge != NULL && huge != NULL; huge = huge->next) {
        const zmm_huge_view view = {.mapping_index = huge->mapping_index, .size_bytes = huge->size_bytes};
        visitor->huge(context, &view);
    }
}

static bool walk_is_free_slot(const zmm_heap *heap, uint32_t bin_index, const void *address) {
    const void *slot = walk_head(heap, bin_index);
    while (slot != NULL && slot != address) {
        slot = link_open(heap, slot, bin_bytes[bin_index]);
    }
    return slot != NULL;
}

/* What the user may use of a live block: with trims what was asked for, as far as its state word can be read. */
static size_t walk_usable_bytes(const zmm_heap *heap, const void *block, size_t inner_bytes) {
#if ZMM_TRIMS
    if (inner_bytes >= TRIM_SLOT_BYTES_MIN) {
        const uint64_t requested_bytes = trim_get_state(heap, block, inner_bytes);
        return requested_bytes <= inner_bytes ? requested_bytes : 0;
    }
#endif
    (void)heap, (void)block;
    return inner_bytes;
}

/* Can a page of this heap have that word, waiting or not? */
static bool walk_is_word(const zmm_heap *heap, page_word word) {
    if ((word & PAGE_WORD_SMALL) != 0) {
        const uint32_t bin_index = page_word_bin(word);
        return bin_index < ZMM_BIN_COUNT && (word & ~PAGE_WORD_BACK_MASK) == page_word_small(heap->id, bin_index, 0);
    }
    const uint32_t run_pages = page_word_run_pages(word);
    return run_pages > 0 && (word & ~PAGE_WORD_BACK_MASK) == page_word_large(heap->id, run_pages);
}

static zmm_place walk_place_in_chunk(const zmm_heap *heap, position at, const void *address) {
    zmm_place place = {.kind = ZMM_PLACE_NONE};
    const chunk_record *const chunk = ground_chunk(at);
    const page_word word = ground.words[at >> ZMM_PAGE_SHIFT];
    const bool is_small = (word & PAGE_WORD_SMALL) != 0;
    /* A word that was written to tells of no block, either. */
    if (chunk->heap != heap || !walk_is_word(heap, word) ||
        (is_small && page_word_back_pages(word) > position_page(at))) {
        return place;
    }
    const uint32_t page_index = position_page(at) - (is_small ? page_word_back_pages(word) : 0);
    const size_t run_offset = at % ZMM_CHUNK_BYTES - (size_t)page_index * ZMM_PAGE_BYTES;
    size_t block_bytes;
    bool is_live;
    if (is_small) {
        const uint32_t bin_index = page_word_bin(word);
        block_bytes = bin_bytes[bin_index];
        is_live = run_offset % block_bytes == 0 && run_offset / block_bytes < bin_elements[bin_index];
#if ZMM_LIVE_BITS
        is_live = is_live && live_test(at);
#else
        is_live = is_live && !walk_is_free_slot(heap, bin_index, address);
#endif
    } else {
        block_bytes = fence_block_bytes(heap, page_word_run_pages(word));
        is_live = run_offset == 0 && (word & PAGE_WORD_WAITING) == 0;
    }
    (void)address;
    (void)walk_is_free_slot;
    if (is_live) {
        const size_t usable_bytes = walk_usable_bytes(heap, address, block_bytes);
        place = (zmm_place){
            .kind = is_small ? ZMM_PLACE_SMALL : ZMM_PLACE_LARGE,
            .mapping_index = chunk->mapping_index,
            .page_index = page_index,
            .slot_index = is_small ? (uint32_t)(run_offset / block_bytes) : 0,
            .block_bytes = usable_bytes,
            .offset_bytes = at % ZMM_CHUNK_BYTES,
        };
    }
    return place;
}

#if ZMM_GUARD_MODE
/* A guarded block is a mapping of its own. */
static zmm_place walk_place_guarded(const zmm_heap *heap, const void *address) {
    const guard_page *const guarded = guard_find(address);
    if (guarded == NULL || guarded->state != GUARD_LIVE || guarded->heap != heap || guarded->block != address) {
        return (zmm_place){.kind = ZMM_PLACE_NONE};
    }
    return (zmm_place){
        .kind = ZMM_PLACE_HUGE, .mapping_index = guarded->mapping_index, .block_bytes = guarded->requested_bytes};
}
#endif

ZMM_INTERNAL zmm_place walk_place(const zmm_heap *heap, const void *address) {
#if ZMM_GUARD_MODE
    if (guard_has(address)) {
        return walk_place_guarded(heap, address);
    }
#endif
    const position at = ground_locate(NULL, address);
    if (at != POSITION_NONE) {
        return walk_place_in_chunk(heap, at, address);
    }
    /* A record that was written to tells of no block: its size would lead anywhere. */
    const huge_record *const huge = huge_find_around(heap, address);
    if (huge == NULL || huge->block != address || !huge_is_whole(heap, huge)) {
        return (zmm_place){.kind = ZMM_PLACE_NONE};
    }
    const size_t usable_bytes = walk_usable_bytes(heap, address, huge->size_bytes);
    return (zmm_place){.kind = ZMM_PLACE_HUGE, .mapping_index = huge->mapping_index, .block_bytes = usable_bytes};
}

ZMM_INTERNAL bool walk_owns(const zmm_heap *heap, const void *address) {
#if ZMM_GUARD_MODE
    const guard_page *const guarded = guard_find(address);
    if (guarded != NULL) {
        return guarded->state == GUARD_LIVE && guarded->heap == heap;
    }
#endif
    const position at = ground_locate(NULL, address);
    if (at == POSITION_NONE) {
        return huge_find_around(heap, address) != NULL;
    }
    const chunk_record *chunk = ground_chunk(at);
    if (chunk->heap != heap) {
        return false;
    }
    /* A link that was written to ends the look: it leads to no chunk, or would lead round for ever. */
    const chunk_record *cached = heap->cached_chunks;
    for (uint32_t left_count = heap->cached_count; left_count > 0 && ground_is_record(cached); left_count--) {
        if (cached == chunk) {
            return false;
        }
        cached = cached->next;
    }
    return true;
}
