/* quarantine.c -- freed blocks wait before they are used again: wiped, marked free, and looked at when they leave.
 *
 * Owns:    a queue of slots for each bin and one of large blocks, in memory of its own.
 * Asks:    small, heap.
 * Serves:  trim.
 * Keeps:   a waiting slot is not live; a waiting run's page word says so; both still count as used. */
#include "core.h"

#if ZMM_TRIMS

#include <string.h>

typedef struct quarantine_slots {
    void *slots[ZMM_QUARANTINE_SLOTS];
    uint32_t oldest, count;
} quarantine_slots;

struct quarantine {
    quarantine_slots bins[ZMM_BIN_COUNT];
    void *runs[ZMM_QUARANTINE_RUNS];
    uint32_t run_oldest, run_count, run_pages;
};

#define QUARANTINE_BYTES ((sizeof(quarantine) + ZMM_PAGE_BYTES - 1) / ZMM_PAGE_BYTES * ZMM_PAGE_BYTES)

ZMM_INTERNAL bool quarantine_prepare(zmm_heap *heap) {
    heap->waiting = kernel()->map(QUARANTINE_BYTES, ZMM_PAGE_BYTES);
    return heap->waiting != NULL;
}

ZMM_INTERNAL void quarantine_release(zmm_heap *heap) {
    if (heap->waiting != NULL) {
        kernel()->unmap(heap->waiting, QUARANTINE_BYTES);
        heap->waiting = NULL;
    }
}

ZMM_INTERNAL void quarantine_forget(zmm_heap *heap) {
    memset(heap->waiting, 0, sizeof(*heap->waiting));
}

/* ---- what a waiting block looks like ---------------------------------------------------------------------------------------- */

/* Bytes that must still be what the wiping left: nobody owns the block. */
static ANNOTATE_BLIND bool quarantine_is_wiped(const char *bytes, size_t count) {
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

/* The state word opens to "free" and a size that fits, and the canary is whole where the wiping and the link left it. */
static inline size_t quarantine_verify_trims(zmm_heap *heap, const char *block, size_t inner_bytes, size_t link_bytes) {
    const uint64_t state = trim_get_state(heap, block, inner_bytes);
    const uint64_t requested_bytes = state & ~TRIM_STATE_FREE;
    if ((state & TRIM_STATE_FREE) == 0 || requested_bytes > inner_bytes - TRIM_CANARY_BYTES - sizeof(uint64_t)) {
        panic(heap, PANIC_FREED_WRITTEN, block);
    }
    uint64_t canary;
    ANNOTATE_COPY_OUT(&canary, block + requested_bytes);
    if (requested_bytes >= link_bytes && canary != trim_canary(heap, block + requested_bytes)) {
        panic(heap, PANIC_FREED_WRITTEN, block);
    }
    return requested_bytes;
}

/* ---- slots ------------------------------------------------------------------------------------------------------------------- */

#define QUARANTINE_LINK_BYTES ((size_t)16)

/* What a waiting slot's two link words hold: no link, and nothing that a stale pointer would find useful. */
static inline uint64_t quarantine_own_link(const zmm_heap *heap, const void *slot) {
    return link_seal(heap, slot, NULL);
}

static void quarantine_verify_wiped_slot(zmm_heap *heap, const char *slot, uint32_t bin_index) {
    const size_t requested_bytes = quarantine_verify_trims(heap, slot, bin_bytes[bin_index], QUARANTINE_LINK_BYTES);
    if (requested_bytes > QUARANTINE_LINK_BYTES &&
        !quarantine_is_wiped(slot + QUARANTINE_LINK_BYTES, requested_bytes - QUARANTINE_LINK_BYTES)) {
        panic(heap, PANIC_FREED_WRITTEN, slot);
    }
}

static void quarantine_let_slot_go(zmm_heap *heap, uint32_t bin_index) {
    quarantine_slots *const queue = &heap->waiting->bins[bin_index];
    char *const slot = queue->slots[queue->oldest];
    queue->oldest = (queue->oldest + 1) % ZMM_QUARANTINE_SLOTS;
    queue->count--;
    const uint64_t *const words = (const uint64_t *)(const void *)slot;
    const uint64_t own = quarantine_own_link(heap, slot);
    if (ZMM_UNLIKELY(ANNOTATE_PEEK(&words[0]) != own || ANNOTATE_PEEK(&words[1]) != own)) {
        panic(heap, PANIC_FREED_WRITTEN, slot);
    }
    if (heap->wipes) {
        quarantine_verify_wiped_slot(heap, slot, bin_index);
    }
    small_push(heap, slot, bin_index, false);
}

static void quarantine_take_slot(zmm_heap *heap, void *slot, const block_look *look, size_t requested_bytes) {
    quarantine_slots *const queue = &heap->waiting->bins[look->bin_index];
    live_exchange(live_word(look->at), look->at >> ZMM_SLOT_SHIFT, false);
    if (heap->wipes) {
        ANNOTATE_ZERO(slot, requested_bytes);
    }
    uint64_t *const state = trim_state(slot, look->block_bytes);
    ANNOTATE_POKE(state, ANNOTATE_PEEK(state) ^ TRIM_STATE_FREE); /* was requested_bytes under its seal */
    uint64_t *const words = slot;
    const uint64_t own = quarantine_own_link(heap, slot);
    ANNOTATE_POKE(&words[0], own);
    ANNOTATE_POKE(&words[1], own);
    if (queue->count == ZMM_QUARANTINE_SLOTS) {
        quarantine_let_slot_go(heap, look->bin_index);
    }
    queue->slots[(queue->oldest + queue->count) % ZMM_QUARANTINE_SLOTS] = slot;
    queue->count++;
}

/* ---- large blocks ---------------------------------------------------------------------------------------------------------------- */

static void quarantine_let_run_go(zmm_heap *heap) {
    quarantine *const waiting = heap->waiting;
    char *const block = waiting->runs[waiting->run_oldest];
    waiting->run_oldest = (waiting->run_oldest + 1) % ZMM_QUARANTINE_RUNS;
    waiting->run_count--;
    const position at = ground_locate(heap, block);
    page_word *const word = &ground.words[at >> ZMM_PAGE_SHIFT];
    *word &= ~PAGE_WORD_WAITING;
    const block_look look = identify(heap, block);
    waiting->run_pages -= look.run_pages;
    const size_t requested_bytes = quarantine_verify_trims(heap, block, look.block_bytes, 0);
    if (heap->wipes && !quarantine_is_wiped(block, requested_bytes)) {
        panic(heap, PANIC_FREED_WRITTEN, block);
    }
    heap_free_large(heap, &look);
}

static void quarantine_take_run(zmm_heap *heap, void *block, const block_look *look, size_t requested_bytes) {
    quarantine *const waiting = heap->waiting;
    if (heap->wipes) {
        ANNOTATE_ZERO(block, requested_bytes);
    }
    trim_set_state(heap, block, look->block_bytes, TRIM_STATE_FREE | requested_bytes);
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

ZMM_INTERNAL void quarantine_take(zmm_heap *heap, void *block, const block_look *look, size_t requested_bytes) {
    if (look->kind == BLOCK_SMALL) {
        quarantine_take_slot(heap, block, look, requested_bytes);
    } else {
        quarantine_take_run(heap, block, look, requested_bytes);
    }
}

ZMM_INTERNAL size_t quarantine_slot_count(const zmm_heap *heap) {
    size_t count = 0;
    for (uint32_t bin_index = 0; bin_index < ZMM_BIN_COUNT; bin_index++) {
        count += heap->waiting->bins[bin_index].count;
    }
    return count;
}

ZMM_INTERNAL bool quarantine_flush(zmm_heap *heap) {
    bool has_waited = heap->waiting->run_count > 0;
    while (heap->waiting->run_count > 0) {
        quarantine_let_run_go(heap);
    }
    for (uint32_t bin_index = 0; bin_index < ZMM_BIN_COUNT; bin_index++) {
        has_waited |= heap->waiting->bins[bin_index].count > 0;
        while (heap->waiting->bins[bin_index].count > 0) {
            quarantine_let_slot_go(heap, bin_index);
        }
    }
    return has_waited;
}

#endif
