/* hooks.c -- where the allocator's own records lie, for tests that overwrite them on purpose.
 *
 * Asks:    everything. Serves: the misuse catalogue. Never: called by the allocator itself. */
#include "core.h"

#include <string.h>

static void *hooks_of_chunk(zmm_heap *heap, chunk_record *chunk, const char *kind, position at) {
    const page_word word = ground.words[at >> ZMM_PAGE_SHIFT];
    if (strcmp(kind, "page_word") == 0) {
        return &ground.words[at >> ZMM_PAGE_SHIFT];
    }
    if (strcmp(kind, "free_map") == 0) {
        return chunk->free_map;
    }
    if (strcmp(kind, "bin_head") == 0) {
        return (word & PAGE_WORD_SMALL) != 0 ? bin_head(heap, page_word_bin(word)) : NULL;
    }
    if (strcmp(kind, "chunk_next") == 0) {
        return &chunk->next;
    }
    if (strcmp(kind, "chunk_free_pages") == 0) {
        return &chunk->free_pages;
    }
    return strcmp(kind, "chunk_heap") == 0 ? &chunk->heap : NULL;
}

ZMM_PUBLIC void *zmm_test_meta(zmm_heap *heap, const char *kind, const void *block) {
    if (strcmp(kind, "limit") == 0) {
        return &heap->limit_bytes;
    }
    if (strcmp(kind, "cached_next") == 0) {
        return heap->cached_chunks != NULL ? (void *)&heap->cached_chunks->next : NULL;
    }
    if (strcmp(kind, "huge_size") == 0) {
        huge_record *const record = huge_find(heap, block);
        return record != NULL ? &record->size_bytes : NULL;
    }
    /* "handler": the storage handlers lie on a read-only page, and there are no others. */
    const position at = ground_locate(heap, block);
    return at != POSITION_NONE ? hooks_of_chunk(heap, ground_chunk(at), kind, at) : NULL;
}
