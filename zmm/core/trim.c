/* trim.c -- the block calls of the faces at levels hardened and debug: trims are armed, verified and kept in step.
 *
 * Asks:    heap, resize, identify, fence, quarantine.
 * Serves:  api (block_alloc and its kin), request (the sweep).
 * Changes: every block takes up TRIM_BYTES more than asked for, so it may lie in another bin than at level release; its
 *          usable size is what was asked for; freed blocks count as used until they leave quarantine. */
#include "core.h"

#if ZMM_TRIMS

#include <string.h>

static inline bool trim_inner_bytes(zmm_heap *heap, size_t size_bytes, size_t *inner_bytes) {
    if (size_bytes > SIZE_MAX - TRIM_BYTES) {
        refuse_overflow2(heap, size_bytes, TRIM_BYTES);
        return false;
    }
    *inner_bytes = size_bytes + TRIM_BYTES;
    *inner_bytes = *inner_bytes < TRIM_INNER_BYTES_MIN ? TRIM_INNER_BYTES_MIN : *inner_bytes;
    return true;
}

/* The bytes of a large or huge block of that inner size. */
static size_t trim_class_bytes(const zmm_heap *heap, size_t inner_bytes) {
    return inner_bytes <= ZMM_LARGE_BYTES_MAX
               ? fence_block_bytes(heap, (uint32_t)(fence_add(heap, inner_bytes) / ZMM_PAGE_BYTES))
               : huge_round(inner_bytes);
}

static inline void trim_note_site(const void *block, size_t inner_bytes, uint32_t which) {
#if ZMM_SITES
    ANNOTATE_POKE(&trim_sites(block, inner_bytes)[which], site_now);
#else
    (void)block, (void)inner_bytes, (void)which;
#endif
}

/* The requested size of a live block whose trims are whole; a panic otherwise. */
static size_t trim_verify(zmm_heap *heap, const void *block, size_t inner_bytes) {
    const uint64_t word = ANNOTATE_PEEK(trim_word(block, inner_bytes));
    const uint64_t requested_bytes = trim_open(trim_mix(heap, block), word);
    const size_t end_bytes = inner_bytes - trim_tail_bytes(inner_bytes);
    if (requested_bytes >= end_bytes ||
        trim_canary_difference(block, end_bytes - requested_bytes, requested_bytes, word) != 0) {
        panic(heap, PANIC_OVERRUN, block);
    }
    return requested_bytes;
}

/* The slot below ends where this one starts: a write before a block is a write into that slot's state word. */
static void trim_verify_lower(zmm_heap *heap, const void *block, const block_look *look) {
    if (look->kind != BLOCK_SMALL || look->at % ZMM_PAGE_BYTES < look->block_bytes) {
        return;
    }
    const void *const lower = (const char *)block - look->block_bytes;
    if ((trim_get_state(heap, lower, look->block_bytes) & ~TRIM_STATE_FREE) > look->block_bytes) {
        panic(heap, PANIC_OVERRUN, lower);
    }
}

/* ---- allocating ----------------------------------------------------------------------------------------------------------- */

static inline void *trim_hand_out(uint64_t mix, void *slot, size_t slot_bytes, size_t size_bytes) {
    trim_arm_mixed(mix, slot, slot_bytes, size_bytes);
    trim_note_site(slot, slot_bytes, 0);
    trim_note_site(slot, slot_bytes, 1);
    return slot;
}

/* A slot that has waited and looks odd: outside the reserved range, written to, or live. */
static ZMM_COLD void *trim_alloc_odd(zmm_heap *heap, void *slot, size_t size_bytes) {
    const position at = ground_locate(heap, slot);
    const uint32_t bin_index = page_word_bin(ground.words[at >> ZMM_PAGE_SHIFT]);
    if (live_exchange(live_word(at), at >> ZMM_SLOT_SHIFT, true)) {
        panic(heap, PANIC_LIST_LIVE, slot);
    }
    quarantine_verify_slot(heap, slot, bin_index, 0);
    return trim_hand_out(trim_mix(heap, slot), slot, bin_bytes[bin_index], size_bytes);
}

ZMM_INTERNAL inline void *trim_alloc_waiting(zmm_heap *heap, size_t size_bytes) {
    if (ZMM_UNLIKELY(size_bytes >= heap->trim_bytes_end)) {
        return NULL;
    }
    const size_t inner_bytes = size_bytes + TRIM_BYTES;
    const uint32_t bin_index = bin_of_size(inner_bytes < TRIM_INNER_BYTES_MIN ? TRIM_INNER_BYTES_MIN : inner_bytes);
    if (ZMM_UNLIKELY(quarantine_count(heap, bin_index) <= heap->waiting->least_count)) {
        return NULL;
    }
    void *const slot = quarantine_pop(heap, bin_index);
    const trim_bin *const bin = &trim_bins[bin_index];
    quarantine_send_for_next(heap, bin_index, bin->slot_bytes);
    const uint64_t word = ANNOTATE_PEEK(trim_word(slot, bin->slot_bytes));
    const uint64_t mix = trim_mix(heap, slot);
    const uint64_t granule = ground_granule(slot);
    if (ZMM_UNLIKELY(!trim_is_filled(slot, bin, word)) ||
        ZMM_UNLIKELY(trim_open(mix, trim_turn(word)) > bin->slot_bytes) ||
        ZMM_UNLIKELY(!heap_has_granule(heap, granule)) ||
        ZMM_UNLIKELY(live_exchange(live_word_of_address(slot), granule, true))) {
        return trim_alloc_odd(heap, slot, size_bytes);
    }
    return trim_hand_out(mix, slot, bin->slot_bytes, size_bytes);
}

static void *trim_alloc_listed(zmm_heap *heap, size_t inner_bytes, size_t size_bytes) {
    const uint32_t bin_index = bin_of_size(inner_bytes);
    void *const slot = small_alloc(heap, inner_bytes);
    if (slot == NULL) {
        return NULL;
    }
    quarantine_verify_slot(heap, slot, bin_index, TRIM_LINK_BYTES);
    return trim_hand_out(trim_mix(heap, slot), slot, bin_bytes[bin_index], size_bytes);
}

static void *trim_alloc_beyond_small(zmm_heap *heap, size_t inner_bytes, size_t size_bytes) {
    const bool is_large = inner_bytes <= ZMM_LARGE_BYTES_MAX;
    const size_t taken_bytes = is_large ? fence_add(heap, inner_bytes) : inner_bytes;
    void *const block = heap_alloc(heap, taken_bytes);
    if (block != NULL) {
        if (is_large) {
            const position at = ground_locate(heap, block);
            fence_raise(heap, ground_chunk(at), position_page(at), (uint32_t)(taken_bytes / ZMM_PAGE_BYTES));
        }
        inner_bytes = trim_class_bytes(heap, inner_bytes);
        trim_arm(heap, block, inner_bytes, size_bytes);
        trim_note_site(block, inner_bytes, 0);
        trim_note_site(block, inner_bytes, 1);
    }
    return block;
}

static void *trim_alloc_once(zmm_heap *heap, size_t inner_bytes, size_t size_bytes) {
    return inner_bytes <= ZMM_SMALL_BYTES_MAX ? trim_alloc_listed(heap, inner_bytes, size_bytes)
                                              : trim_alloc_beyond_small(heap, inner_bytes, size_bytes);
}

static __attribute__((noinline)) void *trim_alloc_slowly(zmm_heap *heap, size_t size_bytes) {
    size_t inner_bytes;
    if (!trim_inner_bytes(heap, size_bytes, &inner_bytes)) {
        return NULL;
    }
    void *block = trim_alloc_once(heap, inner_bytes, size_bytes);
    if (block == NULL && quarantine_make_room(heap)) {
        block = trim_alloc_once(heap, inner_bytes, size_bytes);
    }
    return block;
}

/* One copy for all faces but zmm_emalloc, which has the fast half in it. */
ZMM_INTERNAL __attribute__((noinline)) void *trim_alloc(zmm_heap *heap, size_t size_bytes) {
    void *const slot = trim_alloc_waiting(heap, size_bytes);
    return ZMM_LIKELY(slot != NULL) ? slot : trim_alloc_slowly(heap, size_bytes);
}

/* ---- freeing -------------------------------------------------------------------------------------------------------------- */

/* A slot whose live bit is clear and whose trims are whole begins to wait; `word` is its state word. */
static inline void trim_let_wait(zmm_heap *heap, void *slot, uint32_t bin_index, uint64_t word) {
    const trim_bin *const bin = &trim_bins[bin_index];
    const uint64_t turned = trim_turn(word);
    trim_note_site(slot, bin->slot_bytes, 1);
    ANNOTATE_POKE(trim_word(slot, bin->slot_bytes), turned);
    trim_fill(slot, bin, turned);
    if (ZMM_UNLIKELY(quarantine_push(heap, slot, bin_index))) {
        quarantine_see_to(heap, slot, bin_index);
    }
}

/* Everything that is no live slot with whole trims in the reserved range. */
static __attribute__((noinline)) void trim_free_beyond(zmm_heap *heap, void *block) {
    if (block == NULL) {
        return;
    }
    const block_look look = identify(heap, block);
    const size_t requested_bytes = trim_verify(heap, block, look.block_bytes);
    if (look.kind == BLOCK_HUGE) {
        huge_free_to_rest(heap, block, requested_bytes); /* every later access is a fault */
    } else if (look.kind == BLOCK_LARGE) {
        trim_note_site(block, look.block_bytes, 1);
        quarantine_take_run(heap, block, &look, requested_bytes);
    } else {
        live_exchange(live_word(look.at), look.at >> ZMM_SLOT_SHIFT, false);
        trim_let_wait(heap, block, look.bin_index, ANNOTATE_PEEK(trim_word(block, look.block_bytes)));
    }
}

/* Its live bit is back for the report, which comes from beyond. */
static ZMM_COLD void trim_free_broken(zmm_heap *heap, void *slot) {
    live_exchange(live_word_of_address(slot), ground_granule(slot), true);
    trim_free_beyond(heap, slot);
}

ZMM_INTERNAL void trim_free(zmm_heap *heap, void *block) {
    const uint64_t granule = ground_granule(block);
    if (ZMM_LIKELY(heap_has_granule(heap, granule))) {
        const page_word *const page = page_word_of_address(block);
        const uint32_t bin_index = page_word_bin_at(page);
        /* The bit first: what is no slot has no state word, and looking for one may lead off the chunk. */
        if (ZMM_LIKELY(((*page ^ heap->small_words[bin_index]) & ~PAGE_WORD_BACK_MASK) == 0) &&
            ZMM_LIKELY(live_exchange(live_word_of_address(block), granule, false))) {
            const size_t slot_bytes = page_word_slot_bytes_at(page);
            const uint64_t word = ANNOTATE_PEEK(trim_word(block, slot_bytes));
            const uint64_t requested_bytes = trim_open(trim_mix(heap, block), word);
            const size_t end_bytes = slot_bytes - TRIM_TAIL_BYTES;
            if (ZMM_LIKELY(requested_bytes < end_bytes) &&
                ZMM_LIKELY(trim_canary_difference(block, end_bytes - requested_bytes, requested_bytes, word) == 0)) {
                trim_let_wait(heap, block, bin_index, word);
            } else {
                trim_free_broken(heap, block);
            }
            return;
        }
    }
    trim_free_beyond(heap, block);
}

/* ---- resizing ------------------------------------------------------------------------------------------------------------- */

/* A long run's fence moves with its end. Where the old one cannot be lowered the block moves elsewhere. */
static bool trim_resize_in_place(zmm_heap *heap, const block_look *look, size_t inner_bytes, bool *refused) {
    if (look->kind != BLOCK_LARGE || inner_bytes <= ZMM_SMALL_BYTES_MAX || inner_bytes > ZMM_LARGE_BYTES_MAX) {
        return resize_in_place(heap, look, inner_bytes, refused);
    }
    *refused = false;
    chunk_record *const chunk = ground_chunk(look->at);
    const uint32_t page_index = position_page(look->at);
    const uint32_t fence_index = page_index + look->run_pages - 1;
    block_look resized = *look;
    resized.run_pages = (uint32_t)(fence_add(heap, inner_bytes) / ZMM_PAGE_BYTES);
    if (resized.run_pages == look->run_pages) {
        return true;
    }
    const bool grows = resized.run_pages > look->run_pages;
    if ((!grows && !fence_lower(chunk, fence_index)) ||
        !resize_in_place(heap, look, (size_t)resized.run_pages * ZMM_PAGE_BYTES, refused)) {
        return false;
    }
    if (grows && !fence_lower(chunk, fence_index)) {
        resize_in_place(heap, &resized, (size_t)look->run_pages * ZMM_PAGE_BYTES, refused);
        return false;
    }
    fence_raise(heap, chunk, page_index, resized.run_pages);
    return true;
}

ZMM_INTERNAL void *trim_resize(zmm_heap *heap, void *block, size_t size_bytes, size_t copy_bytes) {
    if (block == NULL) {
        return trim_alloc(heap, size_bytes);
    }
    const block_look look = identify(heap, block);
    const size_t old_bytes = trim_verify(heap, block, look.block_bytes);
    trim_verify_lower(heap, block, &look);
    /* Callers round up to whole words what they may. */
    resize_verify_copy(heap, block, (old_bytes + 7) & ~(size_t)7, size_bytes, copy_bytes);
    size_t inner_bytes;
    if (!trim_inner_bytes(heap, size_bytes, &inner_bytes)) {
        return NULL;
    }
    bool refused;
    bool stays = trim_resize_in_place(heap, &look, inner_bytes, &refused);
    if (refused && quarantine_make_room(heap)) {
        stays = trim_resize_in_place(heap, &look, inner_bytes, &refused);
    }
    if (stays) {
        const size_t class_bytes = look.kind == BLOCK_SMALL ? look.block_bytes : trim_class_bytes(heap, inner_bytes);
        trim_arm(heap, block, class_bytes, size_bytes);
        trim_note_site(block, class_bytes, 0);
        trim_note_site(block, class_bytes, 1);
        return block;
    }
    void *const moved = refused ? NULL : trim_alloc(heap, size_bytes);
    if (moved != NULL) {
        size_t kept_bytes = old_bytes < size_bytes ? old_bytes : size_bytes;
        kept_bytes = kept_bytes < copy_bytes ? kept_bytes : copy_bytes;
        ANNOTATE_OPEN(moved, size_bytes);
        memcpy(moved, block, kept_bytes);
        ANNOTATE_CLOSE(block, look.block_bytes);
        trim_free(heap, block);
    }
    return moved;
}

ZMM_INTERNAL size_t trim_block_size(zmm_heap *heap, const void *block) {
    return trim_verify(heap, block, identify(heap, block).block_bytes);
}

/* ---- the sweep at the end of a request ------------------------------------------------------------------------------------ */

static void trim_sweep_run(zmm_heap *heap, const chunk_record *chunk, uint32_t page_index, uint32_t bin_index) {
    const size_t slot_bytes = bin_bytes[bin_index];
    position at = chunk_position(chunk, page_index);
    const char *slot = chunk_page(chunk, page_index);
    for (uint32_t index = 0; index < bin_elements[bin_index]; index++) {
        if (live_test(at)) {
            trim_verify(heap, slot, slot_bytes);
        } else {
            quarantine_verify_slot(heap, slot, bin_index, TRIM_LINK_BYTES);
        }
        at += slot_bytes;
        slot += slot_bytes;
    }
}

static void trim_sweep_chunk(zmm_heap *heap, const chunk_record *chunk) {
    uint32_t page_index = bits_next(chunk->free_map, ZMM_HEADER_PAGES, true);
    while (page_index < ZMM_CHUNK_PAGES) {
        const page_word word = run_word(heap, chunk, page_index);
        uint32_t run_pages = page_word_run_pages(word);
        if ((word & PAGE_WORD_SMALL) != 0) {
            const uint32_t bin_index = page_word_bin(word);
            run_pages = bin_pages[bin_index];
            if (bin_bytes[bin_index] >= TRIM_SLOT_BYTES_MIN) {
                trim_sweep_run(heap, chunk, page_index, bin_index);
            }
        } else if ((word & PAGE_WORD_WAITING) == 0) {
            trim_verify(heap, chunk_page(chunk, page_index), fence_block_bytes(heap, run_pages));
        }
        page_index = bits_next(chunk->free_map, page_index + run_pages, true);
    }
}

/* Every block that lives, and every slot that does not. */
ZMM_INTERNAL void trim_verify_all(zmm_heap *heap) {
    const chunk_record *chunk = chunk_verified(heap, heap->main_chunk);
    do {
        trim_sweep_chunk(heap, chunk);
        chunk = chunk_next(heap, chunk);
    } while (chunk != heap->main_chunk);
    for (huge_record *huge = heap->huge_list; huge != NULL; huge = huge->next) {
        trim_verify(heap, huge->block, huge_verified(heap, huge)->size_bytes);
    }
}

/* The last look before all of it goes. */
ZMM_INTERNAL void trim_sweep(zmm_heap *heap) {
    quarantine_make_room(heap);
    trim_verify_all(heap);
}

#endif
