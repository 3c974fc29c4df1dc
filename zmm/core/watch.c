/* watch.c -- the block calls of the faces at level debug: which blocks are guarded, and when the heap is checked.
 *
 * Asks:    guard, trim, check.
 * Serves:  annotate and api (bare_alloc and its kin).
 * Keeps:   a block that guard mode cannot take (no room, over the limit) is an ordinary one; resizing a guarded block
 *          always moves it, so that a stale pointer to it is found. */
#include "core.h"

#if ZMM_GUARD_MODE

#include <string.h>

/* The whole heap, the trims of all its blocks and the pages of the guarded ones; a panic names the first damage. */
static ZMM_COLD void watch_check(zmm_heap *heap) {
    heap->check_countdown = heap->check_every;
    trim_verify_all(heap);
    guard_verify_all(heap);
    const char *const broken = check_heap(heap);
    if (broken != NULL) {
        panic(heap, PANIC_CHECK, broken);
    }
}

static inline void watch_count_call(zmm_heap *heap) {
    if (ZMM_UNLIKELY(heap->check_every != 0) && --heap->check_countdown == 0) {
        watch_check(heap);
    }
}

/* One block of guard_every on average, at a distance that a program's own rhythm cannot follow. */
static bool watch_chooses(zmm_heap *heap) {
    if (ZMM_LIKELY(heap->guard_every == 0) || --heap->guard_countdown != 0) {
        return false;
    }
    heap->order_state = heap->order_state * LINK_FACTOR + 1;
    heap->guard_countdown = 1 + (uint32_t)((heap->order_state >> 32) % (2 * (uint64_t)heap->guard_every - 1));
    return true;
}

static void *watch_take(zmm_heap *heap, size_t size_bytes) {
    void *const guarded = watch_chooses(heap) ? guard_alloc(heap, size_bytes) : NULL;
    return guarded != NULL ? guarded : trim_alloc(heap, size_bytes);
}

ZMM_INTERNAL void *watch_alloc(zmm_heap *heap, size_t size_bytes) {
    watch_count_call(heap);
    return watch_take(heap, size_bytes);
}

ZMM_INTERNAL void watch_free(zmm_heap *heap, void *block) {
    watch_count_call(heap);
    if (guard_has(block)) {
        guard_free(heap, block);
    } else {
        trim_free(heap, block);
    }
}

ZMM_INTERNAL void *watch_resize(zmm_heap *heap, void *block, size_t size_bytes, size_t copy_bytes) {
    watch_count_call(heap);
    if (block == NULL) {
        return watch_take(heap, size_bytes);
    }
    if (!guard_has(block)) {
        return trim_resize(heap, block, size_bytes, copy_bytes);
    }
    const size_t old_bytes = guard_identify(heap, block)->requested_bytes;
    resize_verify_copy(heap, block, (old_bytes + 7) & ~(size_t)7, size_bytes, copy_bytes);
    void *const moved = watch_take(heap, size_bytes);
    if (moved != NULL) {
        size_t kept_bytes = old_bytes < size_bytes ? old_bytes : size_bytes;
        kept_bytes = kept_bytes < copy_bytes ? kept_bytes : copy_bytes;
        ANNOTATE_OPEN(moved, size_bytes);
        memcpy(moved, block, kept_bytes);
        guard_free(heap, block);
    }
    return moved;
}

ZMM_INTERNAL size_t watch_block_size(zmm_heap *heap, const void *block) {
    return guard_has(block) ? guard_identify(heap, block)->requested_bytes : trim_block_size(heap, block);
}

#endif
