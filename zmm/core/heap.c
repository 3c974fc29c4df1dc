/* heap.c -- one allocation and one free: chooses by size or by what the address is.
 *
 * Asks:    identify, supply, small, run, chunk, huge.
 * Serves:  resize, api. The fast paths are inline in core.h. */
#include "core.h"

static void *large_alloc(zmm_heap *heap, size_t size_bytes) {
    const uint32_t run_pages = (uint32_t)((size_bytes + ZMM_PAGE_BYTES - 1) / ZMM_PAGE_BYTES);
    chunk_record *chunk;
    const uint32_t page_index = supply_run(heap, run_pages, &chunk);
    if (page_index == 0) {
        return NULL;
    }
    chunk_words(chunk)[page_index] = page_word_large(heap->id, run_pages);
    usage_add(heap, (size_t)run_pages * ZMM_PAGE_BYTES);
    return chunk_page(chunk, page_index);
}

ZMM_INTERNAL void heap_free_large(zmm_heap *heap, const block_look *look) {
    chunk_record *const chunk = ground_chunk(look->at);
    const uint32_t page_index = position_page(look->at);
    usage_subtract(heap, (size_t)look->run_pages * ZMM_PAGE_BYTES);
    chunk_words(chunk)[page_index] = 0;
    run_give_back(chunk, page_index, look->run_pages);
    if (chunk->free_pages == ZMM_RUN_PAGES_MAX && chunk != heap->main_chunk) {
        chunk_delete(heap, chunk);
    }
}

ZMM_INTERNAL ZMM_COLD void *heap_alloc_beyond_small(zmm_heap *heap, size_t size_bytes) {
    return size_bytes <= ZMM_LARGE_BYTES_MAX ? large_alloc(heap, size_bytes) : huge_alloc(heap, size_bytes);
}

ZMM_INTERNAL void heap_free_beyond_fast(void *block, zmm_heap *heap) {
    if (block == NULL) {
        return;
    }
    const block_look look = identify(heap, block);
    if (look.kind == BLOCK_SMALL) {
        small_free_at(heap, block, look.at);
    } else if (look.kind == BLOCK_LARGE) {
        heap_free_large(heap, &look);
    } else {
        huge_free(heap, block);
    }
}
