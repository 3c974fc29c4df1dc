/* bin.c -- the thirty size classes, and carving a run into slots.
 *
 * Asks: run's result (a run already taken), ground's tables. Serves: supply. Never: looks for a run itself.
 * The classes are zendmm.md section 2: steps of 8 up to 64, then four classes to each power of two. */
#include "core.h"

/* bin, size, elements of a run, pages of a run */
#define BIN_TABLE(BIN)                                                                                                 \
    BIN(0, 8, 512, 1)                                                                                                  \
    BIN(1, 16, 256, 1)                                                                                                 \
    BIN(2, 24, 170, 1)                                                                                                 \
    BIN(3, 32, 128, 1)                                                                                                 \
    BIN(4, 40, 102, 1)                                                                                                 \
    BIN(5, 48, 85, 1)                                                                                                  \
    BIN(6, 56, 73, 1)                                                                                                  \
    BIN(7, 64, 64, 1)                                                                                                  \
    BIN(8, 80, 51, 1)                                                                                                  \
    BIN(9, 96, 42, 1)                                                                                                  \
    BIN(10, 112, 36, 1)                                                                                                \
    BIN(11, 128, 32, 1)                                                                                                \
    BIN(12, 160, 25, 1)                                                                                                \
    BIN(13, 192, 21, 1)                                                                                                \
    BIN(14, 224, 18, 1)                                                                                                \
    BIN(15, 256, 16, 1)                                                                                                \
    BIN(16, 320, 64, 5)                                                                                                \
    BIN(17, 384, 32, 3)                                                                                                \
    BIN(18, 448, 9, 1)                                                                                                 \
    BIN(19, 512, 8, 1)                                                                                                 \
    BIN(20, 640, 32, 5)                                                                                                \
    BIN(21, 768, 16, 3)                                                                                                \
    BIN(22, 896, 9, 2)                                                                                                 \
    BIN(23, 1024, 8, 2)                                                                                                \
    BIN(24, 1280, 16, 5)                                                                                               \
    BIN(25, 1536, 8, 3)                                                                                                \
    BIN(26, 1792, 16, 7)                                                                                               \
    BIN(27, 2048, 8, 4)                                                                                                \
    BIN(28, 2560, 8, 5)                                                                                                \
    BIN(29, 3072, 4, 3)

#define BIN_BYTES(bin, bytes, elements, pages) bytes,
#define BIN_ELEMENTS(bin, bytes, elements, pages) elements,
#define BIN_PAGES(bin, bytes, elements, pages) pages,
ZMM_INTERNAL const uint16_t bin_bytes[ZMM_BIN_COUNT] = {BIN_TABLE(BIN_BYTES)};
ZMM_INTERNAL const uint16_t bin_elements[ZMM_BIN_COUNT] = {BIN_TABLE(BIN_ELEMENTS)};
ZMM_INTERNAL const uint8_t bin_pages[ZMM_BIN_COUNT] = {BIN_TABLE(BIN_PAGES)};

#define BIN_WIPE(bin, bytes, elements, pages)                                                                          \
    (bytes) | (((bytes) >= 32 ? 32u : (bytes) >= 16 ? (bytes) : 16u) - 16u) << BIN_WIPE_SHIFT,
ZMM_INTERNAL const uint32_t bin_wipe[ZMM_BIN_COUNT] = {BIN_TABLE(BIN_WIPE)};

#if ZMM_TRIMS
/* min(step, what the slot holds before its tail - 16) */
#define BIN_TRIM_ROOM(bytes) ((bytes) - ((bytes) < TRIM_INNER_BYTES_MIN ? 8 : TRIM_TAIL_BYTES) - 16)
#define BIN_TRIM_OFFSET(bytes, step)                                                                                   \
    (uint8_t)((bytes) < 24 ? 0 : BIN_TRIM_ROOM(bytes) < (step) ? BIN_TRIM_ROOM(bytes) : (step))
#define BIN_TRIM(bin, bytes, elements, pages)                                                                          \
    {bytes, BIN_TRIM_OFFSET(bytes, 16), BIN_TRIM_OFFSET(bytes, 32), BIN_TRIM_OFFSET(bytes, TRIM_FREE_BYTES - 16), {0}},
ZMM_INTERNAL const trim_bin trim_bins[ZMM_BIN_COUNT] = {BIN_TABLE(BIN_TRIM)};
#endif

#define BIN_FITS(bin, bytes, elements, pages)                                                                          \
    static_assert((size_t)(bytes) * (elements) <= (pages) * ZMM_PAGE_BYTES &&                                          \
                      (size_t)(bytes) * ((elements) + 1) > (pages) * ZMM_PAGE_BYTES,                                   \
                  "a run holds all its elements and no more would fit");
BIN_TABLE(BIN_FITS)

/* Indexed by ceil(size / 8): one table look-up serves every small size. Each line is one class. */
#define TIMES2(bin) bin, bin
#define TIMES4(bin) TIMES2(bin), TIMES2(bin)
#define TIMES8(bin) TIMES4(bin), TIMES4(bin)
#define TIMES16(bin) TIMES8(bin), TIMES8(bin)
#define TIMES32(bin) TIMES16(bin), TIMES16(bin)
#define TIMES64(bin) TIMES32(bin), TIMES32(bin)
ZMM_INTERNAL const uint8_t bin_by_eighth[ZMM_SMALL_BYTES_MAX / 8 + 1] = {
    0, /* size 0 asks for the smallest block */
    0,           1,           2,           3,           4,           5,           6,           7,
    TIMES2(8),   TIMES2(9),   TIMES2(10),  TIMES2(11),  TIMES4(12),  TIMES4(13),  TIMES4(14),  TIMES4(15),
    TIMES8(16),  TIMES8(17),  TIMES8(18),  TIMES8(19),  TIMES16(20), TIMES16(21), TIMES16(22), TIMES16(23),
    TIMES32(24), TIMES32(25), TIMES32(26), TIMES32(27), TIMES64(28), TIMES64(29),
};

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

/* Writes the run's page words and threads slots 1, 2, ... as the bin's free list; slot 0 is the caller's. */
ZMM_INTERNAL void *bin_carve(zmm_heap *heap, uint32_t bin_index, chunk_record *chunk, uint32_t page_index) {
    page_word *const words = chunk_words(chunk) + page_index;
    for (uint32_t back_pages = 0; back_pages < bin_pages[bin_index]; back_pages++) {
        words[back_pages] = page_word_small(heap->id, bin_index, back_pages);
    }
    const size_t slot_bytes = bin_bytes[bin_index];
    const uint32_t slot_count = bin_elements[bin_index];
    char *const run = chunk_page(chunk, page_index);
    void **const head = bin_head(heap, bin_index);
    zmm_assert(*head == NULL);
    uint32_t slot_index, step;
    bin_order(heap, slot_count, &slot_index, &step);
#if ZMM_TRIMS
    for (uint32_t index = 0; index < slot_count && slot_bytes >= TRIM_SLOT_BYTES_MIN; index++) {
        trim_mark_free(heap, run + index * slot_bytes, bin_index, slot_bytes);
    }
#endif
    char *const first = run + slot_index * slot_bytes;
    void *previous = NULL;
    for (uint32_t count = 1; count < slot_count; count++) {
        slot_index += step;
        slot_index -= slot_index >= slot_count ? slot_count : 0;
        char *const slot = run + slot_index * slot_bytes;
        if (previous == NULL) {
            *head = slot;
        } else {
            link_set(heap, previous, slot_bytes, slot);
        }
        previous = slot;
    }
    link_set(heap, previous, slot_bytes, NULL);
    bin_seal_rest(heap, bin_index, run);
    return first;
}
