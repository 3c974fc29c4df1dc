/* quarantine.c -- freed blocks wait before they are used again: marked free, wiped, and looked at when they leave.
 *
 * Owns:    a ring of slots for each bin and a queue of large blocks, in memory of its own.
 * Asks:    small, heap, fence, huge.
 * Serves:  trim.
 * Keeps:   a waiting slot is not live; a waiting run's page word says so; both still count as used.
 */
#include "core.h"

#if ZMM_TRIMS

#include <string.h>

#define QUARANTINE_BYTES ((sizeof(quarantine) + ZMM_PAGE_BYTES - 1) / ZMM_PAGE_BYTES * ZMM_PAGE_BYTES)

ZMM_INTERNAL bool quarantine_prepare(zmm_heap *heap) {
    heap->waiting = kernel()->map(QUARANTINE_BYTES, ZMM_PAGE_BYTES);
    if (heap->waiting != NULL) {
        heap->waiting->least_count = heap->wipes ? UINT32_MAX : ZMM_QUARANTINE_SLOTS;
        heap->waiting->most_count = heap->wipes ? 0 : ZMM_QUARANTINE_SLOTS_MAX;
    }
    return heap->waiting != NULL;
}

ZMM_INTERNAL void quarantine_release(zmm_heap *heap) {
    if (heap->waiting != NULL) {
        kernel()->unmap(heap->waiting, QUARANTINE_BYTES);
        heap->waiting = NULL;
    }
}

/* ---- slots ------------------------------------------------------------------------------------------------------------------- */

/* Words from an offset on that must still repeat the state word: nobody owns the slot. */
static ANNOTATE_BLIND bool quarantine_is_filled(const char *slot, size_t from_bytes, size_t end_bytes, uint64_t word) {
    ANNOTATE_UNSEEN;
    uint64_t any = 0;
    for (size_t at = from_bytes; at < end_bytes; at += sizeof(uint64_t)) {
        any |= *(const uint64_t *)(const void *)(slot + at) ^ word;
    }
    return any == 0;
}

/* Tells what a word should be, and the first that is not; the panic comes after somebody has looked. */
static _Noreturn ZMM_COLD void quarantine_tell(zmm_heap *heap, const char *block, size_t from_bytes, size_t end_bytes,
                                               uint64_t expected) {
    for (size_t at = from_bytes; at + sizeof(uint64_t) <= end_bytes; at += sizeof(uint64_t)) {
        const uint64_t found = ANNOTATE_PEEK((const uint64_t *)(const void *)(block + at));
        if (found != expected) {
            panic_at_values(heap, PANIC_FREED_WRITTEN, block, expected, found);
        }
    }
    panic(heap, PANIC_FREED_WRITTEN, block);
}

static size_t quarantine_filled_bytes(bool is_all, size_t slot_bytes) {
    const size_t held_bytes = slot_bytes - trim_tail_bytes(slot_bytes);
    return is_all || held_bytes < TRIM_FREE_BYTES ? held_bytes : TRIM_FREE_BYTES;
}

ZMM_INTERNAL void quarantine_verify_slot(zmm_heap *heap, const void *slot, uint32_t bin_index, size_t link_bytes) {
    const size_t slot_bytes = bin_bytes[bin_index];
    const uint64_t word = ANNOTATE_PEEK(trim_word(slot, slot_bytes));
    const uint64_t requested_bytes = trim_open(trim_mix(heap, slot), trim_turn(word));
    /* In a free list there are slots fresh from their runs, too, which were never wiped as a whole. */
    const size_t end_bytes = quarantine_filled_bytes(heap->wipes && link_bytes == 0, slot_bytes);
    if (requested_bytes > slot_bytes) {
        panic(heap, PANIC_FREED_WRITTEN, slot);
    }
    if (!quarantine_is_filled(slot, link_bytes, end_bytes, word)) {
        quarantine_tell(heap, slot, link_bytes, end_bytes, word);
    }
}

static void quarantine_let_slots_go(zmm_heap *heap, uint32_t bin_index, uint32_t kept_count) {
    while (quarantine_count(heap, bin_index) > kept_count) {
        void *const slot = quarantine_pop(heap, bin_index);
        quarantine_verify_slot(heap, slot, bin_index, 0);
        small_push(heap, slot, bin_index, false, bin_bytes[bin_index], 0);
    }
}

ZMM_INTERNAL ZMM_COLD void quarantine_see_to(zmm_heap *heap, void *slot, uint32_t bin_index) {
    if (heap->wipes) {
        const uint64_t word = ANNOTATE_PEEK(trim_word(slot, bin_bytes[bin_index]));
        for (size_t at = 0; at < quarantine_filled_bytes(true, bin_bytes[bin_index]); at += sizeof(word)) {
            ANNOTATE_COPY_IN((char *)slot + at, &word);
        }
    }
    if (quarantine_count(heap, bin_index) >= ZMM_QUARANTINE_SLOTS_MAX) {
        quarantine_let_slots_go(heap, bin_index, ZMM_QUARANTINE_SLOTS);
    }
}

/* ---- large blocks ---------------------------------------------------------------------------------------------------------------- */

/* Bytes that must still be what the wiping left. */
static ANNOTATE_BLIND bool quarantine_is_wiped(const char *bytes, size_t count) {
    ANNOTATE_UNSEEN;
    uint64_t any = 0;
    for (; count >= sizeof(uint64_t); count -= sizeof(uint64_t), bytes += sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, bytes, sizeof(word));
        any |= word;
    }
    for (; count > 0; count--, bytes++) {
        any |= (uint8_t)*bytes;
    }
    return any == 0;
}

static bool quarantine_wipes_run(const zmm_heap *heap, const block_look *look) {
    return heap->wipes || look->run_pages <= ZMM_QUARANTINE_WIPED_PAGES;
}

static void quarantine_verify_run(zmm_heap *heap, const char *block, const block_look *look) {
    const uint64_t word = trim_turn(ANNOTATE_PEEK(trim_word(block, look->block_bytes)));
    const uint64_t requested_bytes = trim_open(trim_mix(heap, block), word);
    const size_t end_bytes = look->block_bytes - TRIM_TAIL_BYTES;
    if (requested_bytes >= end_bytes ||
        trim_canary_difference(block, end_bytes - requested_bytes, requested_bytes, word) != 0) {
        panic(heap, PANIC_FREED_WRITTEN, block);
    }
    if (quarantine_wipes_run(heap, look) && !quarantine_is_wiped(block, requested_bytes)) {
        quarantine_tell(heap, block, 0, requested_bytes, 0);
    }
}

/* A fence that the kernel will not lower becomes a run of its own, which waits for the end of the request; only the rest of
 * the run is free. */
static ZMM_COLD void quarantine_strand_fence(zmm_heap *heap, chunk_record *chunk, block_look *look) {
    look->run_pages--;
    const uint32_t page_index = position_page(look->at) + look->run_pages;
    chunk_words(chunk)[page_index] = page_word_large(heap->id, 1) | PAGE_WORD_WAITING;
    if (chunk->free_tail <= page_index) {
        chunk->free_tail = page_index + 1; /* RUN-3: a run that was extended in place may end beyond it */
    }
}

static void quarantine_let_run_go(zmm_heap *heap) {
    quarantine *const waiting = heap->waiting;
    char *const block = waiting->runs[waiting->run_oldest];
    waiting->run_oldest = (waiting->run_oldest + 1) % ZMM_QUARANTINE_RUNS;
    waiting->run_count--;
    const position at = ground_locate(heap, block);
    page_word *const word = &ground.words[at >> ZMM_PAGE_SHIFT];
    *word &= ~PAGE_WORD_WAITING;
    block_look look = identify(heap, block);
    waiting->run_pages -= look.run_pages;
    quarantine_verify_run(heap, block, &look);
    chunk_record *const chunk = ground_chunk(at);
    if (!fence_lower(chunk, position_page(at) + look.run_pages - 1)) {
        quarantine_strand_fence(heap, chunk, &look);
    }
    heap_free_large(heap, &look);
}

ZMM_INTERNAL void quarantine_take_run(zmm_heap *heap, void *block, const block_look *look, size_t requested_bytes) {
    quarantine *const waiting = heap->waiting;
    if (quarantine_wipes_run(heap, look)) {
        ANNOTATE_ZERO(block, requested_bytes);
    }
    uint64_t *const state = trim_word(block, look->block_bytes);
    ANNOTATE_POKE(state, trim_turn(ANNOTATE_PEEK(state)));
    ground.words[look->at >> ZMM_PAGE_SHIFT] |= PAGE_WORD_WAITING;
    while (waiting->run_count > 0 && (waiting->run_count == ZMM_QUARANTINE_RUNS ||
                                      waiting->run_pages + look->run_pages > ZMM_QUARANTINE_RUN_PAGES)) {
        quarantine_let_run_go(heap);
    }
    waiting->runs[(waiting->run_oldest + waiting->run_count) % ZMM_QUARANTINE_RUNS] = block;
    waiting->run_count++;
    waiting->run_pages += look->run_pages;
}

/* ---- the doors ---------------------------------------------------------------------------------------------------------------------- */

ZMM_INTERNAL size_t quarantine_slot_count(const zmm_heap *heap) {
    size_t count = 0;
    for (uint32_t bin_index = 0; bin_index < ZMM_BIN_COUNT; bin_index++) {
        count += quarantine_count(heap, bin_index);
    }
    return count;
}

ZMM_INTERNAL size_t quarantine_run_bytes(const zmm_heap *heap) {
    return (size_t)heap->waiting->run_pages * ZMM_PAGE_BYTES;
}

ZMM_INTERNAL bool quarantine_flush(zmm_heap *heap) {
    bool has_waited = heap->waiting->run_count > 0;
    while (heap->waiting->run_count > 0) {
        quarantine_let_run_go(heap);
    }
    for (uint32_t bin_index = 0; bin_index < ZMM_BIN_COUNT; bin_index++) {
        has_waited |= quarantine_count(heap, bin_index) > 0;
        quarantine_let_slots_go(heap, bin_index, 0);
    }
    return has_waited;
}

ZMM_INTERNAL bool quarantine_make_room(zmm_heap *heap) {
    const bool has_rested = huge_end_rests(heap);
    return quarantine_flush(heap) || has_rested;
}

#endif
