/* identify.c -- what an address is to this heap: a live slot, a large run or a huge block; anything else is a panic.
 *
 * Asks:    ground, bin's tables, huge.
 * Serves:  heap, resize: every call that takes a block, but for the fast path of free.
 * Keeps:   one place in which an address is believed. Level fast believes what PHP 8.2 does. */
#include "core.h"

static void identify_slot(zmm_heap *heap, block_look *look, const void *block) {
    const page_word word = ground.words[look->at >> ZMM_PAGE_SHIFT];
    look->bin_index = page_word_bin(word);
    if (look->bin_index >= ZMM_BIN_COUNT ||
        (word & ~PAGE_WORD_BACK_MASK) != page_word_small(heap->id, look->bin_index, 0)) {
        panic(heap, PANIC_PAGE_MAP, block);
    }
#if ZMM_LIVE_BITS
    if (look->at % ZMM_SLOT_ALIGNMENT_BYTES != 0 || !live_test(look->at)) {
        panic(heap, PANIC_NOT_LIVE, block);
    }
#endif
    look->block_bytes = bin_bytes[look->bin_index];
}

static void identify_large(zmm_heap *heap, block_look *look, const void *block) {
    const page_word word = ground.words[look->at >> ZMM_PAGE_SHIFT];
    if ((word & PAGE_WORD_LARGE) == 0 || look->at % ZMM_PAGE_BYTES != 0) {
        panic(heap, PANIC_NOT_START, block);
    }
    look->run_pages = page_word_run_pages(word);
    if (word == (page_word_large(heap->id, look->run_pages) | PAGE_WORD_WAITING)) {
        panic(heap, PANIC_NOT_LIVE, block);
    }
    if (word != page_word_large(heap->id, look->run_pages)) {
        panic(heap, PANIC_PAGE_MAP, block);
    }
    look->block_bytes = fence_block_bytes(heap, look->run_pages);
}

/* Was there a huge block whose addresses nobody else has yet? */
static bool identify_rests(const zmm_heap *heap, const void *block) {
#if ZMM_TRIMS
    return huge_find_resting(heap, block) != NULL;
#else
    (void)heap, (void)block;
    return false;
#endif
}

ZMM_INTERNAL block_look identify(zmm_heap *heap, const void *block) {
    block_look look = {.at = ground_locate(heap, block)};
    if (look.at == POSITION_NONE) {
        look.kind = BLOCK_HUGE;
        look.huge = huge_find(heap, block);
        if (look.huge == NULL) {
            panic(heap, identify_rests(heap, block) ? PANIC_NOT_LIVE : PANIC_NOT_OURS, block);
        }
        look.block_bytes = look.huge->size_bytes;
        return look;
    }
    if (ground_chunk(look.at)->heap != heap) {
        panic(heap, PANIC_NOT_OURS, block);
    }
    if ((ground.words[look.at >> ZMM_PAGE_SHIFT] & PAGE_WORD_SMALL) != 0) {
        look.kind = BLOCK_SMALL;
        identify_slot(heap, &look, block);
    } else {
        look.kind = BLOCK_LARGE;
        identify_large(heap, &look, block);
    }
    return look;
}

ZMM_INTERNAL size_t identify_room(zmm_heap *heap, const void *address) {
    const position at = ground_locate(heap, address);
    if (at == POSITION_NONE || ground_chunk(at)->heap != heap) {
        const huge_record *const huge = at == POSITION_NONE ? huge_find_around(heap, address) : NULL;
        return huge != NULL ? (uintptr_t)huge->block + huge->size_bytes - (uintptr_t)address : SIZE_MAX;
    }
    const page_word word = ground.words[at >> ZMM_PAGE_SHIFT];
    const uint32_t bin_index = page_word_bin(word);
    if ((word & PAGE_WORD_SMALL) == 0 || bin_index >= ZMM_BIN_COUNT) {
        return SIZE_MAX; /* in the middle of a large block: its end is not worth a search */
    }
    const size_t page_offset = (size_t)(position_page(at) - page_word_back_pages(word)) * ZMM_PAGE_BYTES;
    const size_t slot_offset = (at % ZMM_CHUNK_BYTES - page_offset) % bin_bytes[bin_index];
    return bin_bytes[bin_index] - slot_offset;
}
