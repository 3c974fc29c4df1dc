/* heap.c -- one allocation, one free, one size query: chooses by size or by address.
 *
 * Asks:    supply, run, chunk, huge.
 * Serves:  resize, api. The fast paths are inline in core.h.
 * Never:   says what a wrong address might have been; it panics. */
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

ZMM_INTERNAL ZMM_COLD void *heap_alloc_beyond_small(zmm_heap *heap, size_t size_bytes) {
    return size_bytes <= ZMM_LARGE_BYTES_MAX ? large_alloc(heap, size_bytes) : huge_alloc(heap, size_bytes);
}

static void large_free(zmm_heap *heap, chunk_record *chunk, uint32_t page_index) {
    page_word *const word = &chunk_words(chunk)[page_index];
    const uint32_t run_pages = page_word_run_pages(*word);
    usage_subtract(heap, (size_t)run_pages * ZMM_PAGE_BYTES);
    *word = 0;
    run_give_back(chunk, page_index, run_pages);
    if (chunk->free_pages == ZMM_RUN_PAGES_MAX && chunk != heap->main_chunk) {
        chunk_delete(heap, chunk);
    }
}

ZMM_INTERNAL void heap_free_beyond_fast(zmm_heap *heap, void *block) {
    if (block == NULL) {
        return;
    }
    const position at = ground_locate(heap, block);
    if (at == POSITION_NONE) {
        huge_free(heap, block);
        return;
    }
    chunk_record *const chunk = ground_chunk(at);
    const page_word word = ground.words[at >> ZMM_PAGE_SHIFT];
    if (chunk->heap != heap) {
        panic(heap, "not a block of this heap", block);
    }
    if ((word & PAGE_WORD_SMALL) != 0) {
        small_free_at(heap, block, at);
        return;
    }
    if ((word & PAGE_WORD_LARGE) == 0 || at % ZMM_PAGE_BYTES != 0) {
        panic(heap, "not the start of a block", block);
    }
    large_free(heap, chunk, position_page(at));
}

ZMM_INTERNAL size_t heap_block_size(zmm_heap *heap, const void *block) {
    const position at = ground_locate(heap, block);
    if (at == POSITION_NONE) {
        const huge_record *const record = huge_find(heap, block);
        if (record == NULL) {
            panic(heap, "not a block of this heap", block);
        }
        return record->size_bytes;
    }
    const page_word word = ground.words[at >> ZMM_PAGE_SHIFT];
    if (ground_chunk(at)->heap != heap) {
        panic(heap, "not a block of this heap", block);
    }
    if ((word & PAGE_WORD_SMALL) != 0) {
#if ZMM_LIVE_BITS
        if (at % ZMM_SLOT_ALIGNMENT_BYTES != 0 || !live_test(at)) {
            panic(heap, "not a live slot", block);
        }
#endif
        return bin_bytes[page_word_bin(word)];
    }
    if ((word & PAGE_WORD_LARGE) == 0 || at % ZMM_PAGE_BYTES != 0) {
        panic(heap, "not the start of a block", block);
    }
    return (size_t)page_word_run_pages(word) * ZMM_PAGE_BYTES;
}
