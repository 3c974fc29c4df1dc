/* resize.c -- a block stays, shrinks or grows in place, or moves.
 *
 * Asks:    identify, heap, huge, run, supply.
 * Serves:  api.
 * Keeps:   every transition of zendmm.md section 11, with what each does to size and peak. A refused move leaves the
 *          old block as it was. */
#include "core.h"

#include <string.h>

static bool resize_large_in_place(zmm_heap *heap, const block_look *look, size_t size_bytes) {
    if (size_bytes <= ZMM_SMALL_BYTES_MAX || size_bytes > ZMM_LARGE_BYTES_MAX) {
        return false;
    }
    chunk_record *const chunk = ground_chunk(look->at);
    const uint32_t page_index = position_page(look->at);
    const uint32_t old_pages = look->run_pages;
    const uint32_t new_pages = (uint32_t)((size_bytes + ZMM_PAGE_BYTES - 1) / ZMM_PAGE_BYTES);
    if (new_pages < old_pages) {
        run_truncate(chunk, page_index, old_pages, new_pages);
        usage_subtract(heap, (size_t)(old_pages - new_pages) * ZMM_PAGE_BYTES);
    } else if (new_pages > old_pages) {
        if (!run_extend(chunk, page_index, old_pages, new_pages)) {
            return false;
        }
        usage_add(heap, (size_t)(new_pages - old_pages) * ZMM_PAGE_BYTES);
    }
    ground.words[look->at >> ZMM_PAGE_SHIFT] = page_word_large(heap->id, new_pages);
    return true;
}

static bool resize_huge_in_place(zmm_heap *heap, huge_record *record, size_t size_bytes, bool *refused) {
    const size_t old_bytes = record->size_bytes;
    const size_t new_bytes = huge_round(size_bytes);
    if (new_bytes < size_bytes) {
        refuse_overflow2(heap, size_bytes, ZMM_PAGE_BYTES);
        *refused = true;
        return false;
    }
    if (new_bytes == old_bytes) {
        return true;
    }
    if (new_bytes < old_bytes) {
        if (!storage_huge_truncate(heap, record->block, old_bytes, new_bytes)) {
            return false;
        }
        heap->real_size_bytes -= old_bytes - new_bytes;
        usage_subtract(heap, old_bytes - new_bytes);
    } else {
        if (!supply_may_map_huge(heap, new_bytes - old_bytes)) {
            refuse_limit(heap, size_bytes);
            *refused = true;
            return false;
        }
        if (!storage_huge_extend(heap, record->block, old_bytes, new_bytes)) {
            return false;
        }
        usage_map(heap, new_bytes - old_bytes);
        usage_add(heap, new_bytes - old_bytes);
    }
    huge_set_size(heap, record, new_bytes);
    return true;
}

ZMM_INTERNAL bool resize_in_place(zmm_heap *heap, const block_look *look, size_t size_bytes, bool *refused) {
    *refused = false;
    switch (look->kind) {
    case BLOCK_SMALL:
        /* A slot is kept down to the size of the next smaller class. */
        return size_bytes <= look->block_bytes &&
               (look->bin_index == 0 || size_bytes >= bin_bytes[look->bin_index - 1]);
    case BLOCK_LARGE:
        return resize_large_in_place(heap, look, size_bytes);
    default:
        return size_bytes > ZMM_LARGE_BYTES_MAX && resize_huge_in_place(heap, look->huge, size_bytes, refused);
    }
}

/* ---- moving; with trims, trim.c moves ----------------------------------------------------------------------------------- */
#if !ZMM_TRIMS

static size_t resize_min(size_t left, size_t right) {
    return left < right ? left : right;
}

/* old_bytes: the whole old block, slack included, as ZendMM copies it. peak hides that both blocks lived for a moment;
 * real_peak does not. */
static void *resize_move(zmm_heap *heap, void *block, size_t old_bytes, size_t size_bytes, size_t copy_bytes) {
    const size_t peak_bytes = heap->peak_bytes;
    void *const moved = heap_alloc(heap, size_bytes);
    if (moved == NULL) {
        return NULL;
    }
    ANNOTATE_OPEN(moved, size_bytes);
    memcpy(moved, block, resize_min(resize_min(old_bytes, size_bytes), copy_bytes));
    ANNOTATE_CLOSE(block, old_bytes);
    heap_free(heap, block);
    usage_set_peak(heap, peak_bytes);
    return moved;
}

#if ZMM_SEALED_LINKS
/* Before a growing block is moved, the slot behind it is looked at: where it is free and its link is broken, the block
 * was overrun, and its bytes are not worth copying. */
static void resize_verify_neighbour(zmm_heap *heap, const char *block, const block_look *look) {
    const char *const neighbour = block + look->block_bytes;
    const position at = look->at + look->block_bytes;
    const page_word *const words = &ground.words[at >> ZMM_PAGE_SHIFT];
    if (at % ZMM_CHUNK_BYTES == 0 || at % ZMM_CHUNK_BYTES % ZMM_PAGE_BYTES + look->block_bytes > ZMM_PAGE_BYTES ||
        (*words & ~PAGE_WORD_BACK_MASK) != page_word_small(heap->id, look->bin_index, 0) || live_test(at)) {
        return;
    }
    if (!link_is_whole(neighbour, look->block_bytes)) {
        panic(heap, PANIC_FREE_SLOT, neighbour);
    }
}
#endif

/* Into a smaller bin: here ZendMM lets the peak of both blocks stand. */
static void *resize_to_smaller_bin(zmm_heap *heap, void *block, size_t old_bytes, size_t size_bytes,
                                   size_t copy_bytes) {
    void *const moved = small_alloc(heap, size_bytes);
    if (moved != NULL) {
        ANNOTATE_OPEN(moved, size_bytes);
        memcpy(moved, block, resize_min(size_bytes, copy_bytes));
        ANNOTATE_CLOSE(block, old_bytes);
        heap_free(heap, block);
    }
    return moved;
}

ZMM_INTERNAL void *resize(zmm_heap *heap, void *block, size_t size_bytes, size_t copy_bytes) {
    if (block == NULL) {
        return heap_alloc(heap, size_bytes);
    }
    const block_look look = identify(heap, block);
    resize_verify_copy(heap, block, look.block_bytes, size_bytes, copy_bytes);
    bool refused;
    if (resize_in_place(heap, &look, size_bytes, &refused)) {
        return block;
    }
    if (refused) {
        return NULL;
    }
    if (look.kind == BLOCK_SMALL) {
        if (size_bytes <= look.block_bytes) {
            return resize_to_smaller_bin(heap, block, look.block_bytes, size_bytes, copy_bytes);
        }
#if ZMM_SEALED_LINKS
        resize_verify_neighbour(heap, block, &look);
#endif
    }
    return resize_move(heap, block, look.block_bytes, size_bytes, copy_bytes);
}

#endif
