/* bin.c -- carving a run into slots.
 *
 * Asks: run's result (a run already taken), ground's tables, classes. Serves: supply. Never: looks for a run itself. */
#include "core.h"

/* Ascending from slot 0, as ZendMM; with trims a random start and a random stride that reaches every slot. */
static void bin_order(zmm_heap *heap, uint32_t slot_count, uint32_t *start, uint32_t *step) {
    *start = 0;
    *step = 1;
#if ZMM_TRIMS
    heap->order_state = heap->order_state * LINK_FACTOR + 1;
    *start = (uint32_t)(heap->order_state >> 33) % slot_count;
    uint32_t left = slot_count, right = *step = (uint32_t)(heap->order_state >> 49) % slot_count | 1;
    while (right != 0) {
        const uint32_t rest = left % right;
        left = right;
        right = rest;
    }
    if (left != 1) {
        *step = slot_count - 1; /* not coprime: backwards */
    }
#else
    (void)heap, (void)slot_count;
#endif
}

#if ZMM_GUARDS_METADATA
/* Most runs have some bytes left behind their last slot. The first eight of them hold a key of their own. */
static uint64_t bin_rest_seal(const zmm_heap *heap, const void *rest) {
    return ((uintptr_t)rest ^ heap->huge_key) * LINK_FACTOR | 0x80; /* never 0 first: text ends in one */
}
static inline size_t bin_rest_offset(uint32_t bin_index) {
    return (size_t)bin_bytes[bin_index] * bin_elements[bin_index];
}
static void bin_seal_rest(const zmm_heap *heap, uint32_t bin_index, char *run) {
    if (bin_rest_offset(bin_index) % ZMM_PAGE_BYTES != 0) {
        uint64_t *const rest = (uint64_t *)(void *)(run + bin_rest_offset(bin_index));
        ANNOTATE_POKE(rest, bin_rest_seal(heap, rest));
    }
}
ZMM_INTERNAL void bin_verify_rest(zmm_heap *heap, uint32_t bin_index, const char *run) {
    if (bin_rest_offset(bin_index) % ZMM_PAGE_BYTES != 0) {
        const uint64_t *const rest = (const uint64_t *)(const void *)(run + bin_rest_offset(bin_index));
        if (ANNOTATE_PEEK(rest) != bin_rest_seal(heap, rest)) {
            panic(heap, PANIC_OVERRUN, (const char *)rest - bin_bytes[bin_index]);
        }
    }
}
#else
static void bin_seal_rest(const zmm_heap *heap, uint32_t bin_index, char *run) {
    (void)heap, (void)bin_index, (void)run;
}
ZMM_INTERNAL void bin_verify_rest(zmm_heap *heap, uint32_t bin_index, const char *run) {
    (void)heap, (void)bin_index, (void)run;
}
#endif

/* Threads all slots but the first in that order, in which `slot_index` is the first. Without trims nothing is left of it but
 * a step from slot to slot. Free slots are closed to memory tools, so this function says once what it may. */
static ANNOTATE_BLIND void bin_thread(zmm_heap *heap, uint32_t bin_index, char *run, uint32_t slot_index,
                                      uint32_t step) {
    ANNOTATE_UNSEEN;
    const size_t slot_bytes = bin_bytes[bin_index];
    const uint32_t slot_count = bin_elements[bin_index];
    void **const head = bin_head(heap, bin_index);
    char *previous = NULL;
    for (uint32_t count = 1; count < slot_count; count++) {
        slot_index += step;
        slot_index -= ZMM_TRIMS && slot_index >= slot_count ? slot_count : 0;
        char *const slot = run + slot_index * slot_bytes;
        if (count == 1) {
            *head = slot;
        } else {
            link_set(heap, previous, slot_bytes, slot);
        }
        previous = slot;
    }
    link_set(heap, previous, slot_bytes, NULL);
}

/* Writes the run's page words and threads slots 1, 2, ... as the bin's free list; slot 0 is the caller's. */
ZMM_INTERNAL void *bin_carve(zmm_heap *heap, uint32_t bin_index, chunk_record *chunk, uint32_t page_index) {
    page_word *const words = chunk_words(chunk) + page_index;
    for (uint32_t back_pages = 0; back_pages < bin_pages[bin_index]; back_pages++) {
        words[back_pages] = page_word_small(heap->id, bin_index, back_pages);
    }
    const size_t slot_bytes = bin_bytes[bin_index];
    const uint32_t slot_count = bin_elements[bin_index];
    char *const run = chunk_page(chunk, page_index);
    zmm_assert(*bin_head(heap, bin_index) == NULL);
    uint32_t slot_index, step;
    bin_order(heap, slot_count, &slot_index, &step);
#if ZMM_TRIMS
    for (uint32_t index = 0; index < slot_count && slot_bytes >= TRIM_SLOT_BYTES_MIN; index++) {
        trim_mark_free(heap, run + index * slot_bytes, bin_index, slot_bytes);
    }
#endif
    bin_thread(heap, bin_index, run, slot_index, step);
    bin_seal_rest(heap, bin_index, run);
    return run + slot_index * slot_bytes;
}
