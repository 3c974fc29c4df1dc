/* storage.c -- where one heap's chunks and huge mappings come from: its storage handlers, or the kernel.
 *
 * Owns:   the heap's mapping numbers of chunks (huge.c takes its own from the same counter).
 * Asks:   kernel, ground.
 * Serves: supply, chunk, huge, request. Never: counts bytes; that is the caller's business. */
#include "core.h"

/* A chunk outside the reserved range: from the handlers, or from the kernel when the range is full. */
static chunk_record *storage_chunk_adopt(zmm_heap *heap) {
    void *const memory = storage_huge_acquire(heap, ZMM_CHUNK_BYTES);
    if (memory == NULL) {
        return NULL;
    }
    chunk_record *const chunk = ground_chunk_adopt(memory);
    if (chunk == NULL) {
        storage_huge_release(heap, memory, ZMM_CHUNK_BYTES);
    }
    return chunk;
}

/* Nothing in a new chunk is a user's yet. One that comes back into the range was left closed. */
static void storage_close(const chunk_record *chunk) {
#if ZMM_ANNOTATES
    if (!ANNOTATE_STAYED_CLOSED((const void *)chunk->base)) {
        ANNOTATE_CLOSE((const void *)chunk->base, ZMM_CHUNK_BYTES);
    }
#else
    (void)chunk;
#endif
}

ZMM_INTERNAL chunk_record *storage_chunk_acquire(zmm_heap *heap) {
    chunk_record *const chunk =
        heap->storage != NULL || ground_range_is_full() ? storage_chunk_adopt(heap) : ground_chunk_take();
    if (chunk != NULL) {
        chunk->heap = heap;
        chunk->mapping_index = heap->mapping_count++;
        heap->range_granules = __atomic_load_n(&ground.range_granules, __ATOMIC_RELAXED);
        storage_close(chunk);
    }
    return chunk;
}

ZMM_INTERNAL void storage_chunk_release(zmm_heap *heap, chunk_record *chunk) {
    void *const memory = (void *)chunk->base;
    const bool is_in_range = ground_has_granule(ground_granule(memory));
    if (heap->foreign_base == chunk->base) {
        heap->foreign_base = 0;
    }
    ground_chunk_give_back(chunk);
    if (!is_in_range) {
        storage_huge_release(heap, memory, ZMM_CHUNK_BYTES);
    }
}

ZMM_INTERNAL void *storage_huge_acquire(zmm_heap *heap, size_t size_bytes) {
    return heap->storage != NULL ? heap->storage->handlers.chunk_alloc(heap->storage, size_bytes, ZMM_CHUNK_BYTES)
                                 : kernel()->map(size_bytes, ZMM_CHUNK_BYTES);
}

ZMM_INTERNAL void storage_huge_release(zmm_heap *heap, void *block, size_t size_bytes) {
    ANNOTATE_OPEN(block, size_bytes); /* somebody else will have it */
    if (heap->storage != NULL) {
        heap->storage->handlers.chunk_free(heap->storage, block, size_bytes);
    } else {
        kernel()->unmap(block, size_bytes);
    }
}

ZMM_INTERNAL bool storage_huge_truncate(zmm_heap *heap, void *block, size_t old_bytes, size_t new_bytes) {
    if (heap->storage == NULL) {
        return kernel()->truncate(block, old_bytes, new_bytes);
    }
    return heap->storage->handlers.chunk_truncate != NULL &&
           heap->storage->handlers.chunk_truncate(heap->storage, block, old_bytes, new_bytes);
}

ZMM_INTERNAL bool storage_huge_extend(zmm_heap *heap, void *block, size_t old_bytes, size_t new_bytes) {
    if (heap->storage == NULL) {
        return kernel()->extend(block, old_bytes, new_bytes);
    }
    return heap->storage->handlers.chunk_extend != NULL &&
           heap->storage->handlers.chunk_extend(heap->storage, block, old_bytes, new_bytes);
}
