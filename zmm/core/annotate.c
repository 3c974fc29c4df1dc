/* annotate.c -- the block calls of the faces in builds for a memory tool: it says which bytes are a user's.
 *
 * Asks:    trim or heap and resize (bare_alloc and its kin), identify.
 * Serves:  api (block_alloc and its kin).
 * Keeps:   every byte of a chunk that is not of a live block is closed; of a live block the bytes that were asked for
 *          are not, and what the class has besides only once the caller has asked how much that is. */
#include "core.h"

#if ZMM_ANNOTATES

/* The bytes of a live block that are open, from its start. */
static size_t annotate_open_bytes(const void *block, size_t block_bytes) {
    const char *const closed = ANNOTATE_FIRST_CLOSED((void *)(uintptr_t)block, block_bytes);
    return closed != NULL ? (size_t)(closed - (const char *)block) : block_bytes;
}

/* The machine itself watches a guarded block. */
static bool annotate_is_guarded(const void *block) {
#if ZMM_GUARD_MODE
    return guard_has(block);
#else
    (void)block;
    return false;
#endif
}

ZMM_INTERNAL void *annotate_alloc(zmm_heap *heap, size_t size_bytes) {
    char *const block = bare_alloc(heap, size_bytes);
    if (block != NULL && !annotate_is_guarded(block)) {
        /* A huge one comes open, and zeroed. */
        ANNOTATE_OPEN_REST(block, annotate_open_bytes(block, size_bytes), size_bytes);
        ANNOTATE_CLOSE(block + size_bytes, identify(heap, block).block_bytes - size_bytes);
    }
    return block;
}

ZMM_INTERNAL void annotate_free(zmm_heap *heap, void *block) {
    if (block != NULL && !annotate_is_guarded(block)) {
        ANNOTATE_CLOSE(block, identify(heap, block).block_bytes);
    }
    bare_free(heap, block);
}

ZMM_INTERNAL void *annotate_resize(zmm_heap *heap, void *block, size_t size_bytes, size_t copy_bytes) {
    if (block == NULL) {
        return annotate_alloc(heap, size_bytes);
    }
    if (annotate_is_guarded(block)) {
        return bare_resize(heap, block, size_bytes, copy_bytes);
    }
    const size_t old_bytes = identify(heap, block).block_bytes;
    const size_t open_bytes = annotate_open_bytes(block, old_bytes);
    ANNOTATE_OPEN_REST(block, open_bytes, old_bytes); /* what moves takes all of it along, as in ZendMM */
    char *const result = bare_resize(heap, block, size_bytes, copy_bytes);
    if (result == NULL) {
        ANNOTATE_CLOSE((char *)block + open_bytes, old_bytes - open_bytes);
    } else if (result == block) {
        const block_look look = identify(heap, result);
        /* What a large block gave up is still in its chunk, what a huge one gave up is not. */
        const bool gave_up = look.kind == BLOCK_LARGE && old_bytes > look.block_bytes;
        ANNOTATE_OPEN_REST(result, old_bytes < size_bytes ? old_bytes : size_bytes, size_bytes);
        ANNOTATE_CLOSE(result + size_bytes, (gave_up ? old_bytes : look.block_bytes) - size_bytes);
    }
    return result;
}

ZMM_INTERNAL size_t annotate_block_size(zmm_heap *heap, const void *block) {
    const size_t block_bytes = bare_block_size(heap, block);
    if (!annotate_is_guarded(block)) {
        ANNOTATE_OPEN_REST(block, annotate_open_bytes(block, block_bytes), block_bytes);
    }
    return block_bytes;
}

#endif
