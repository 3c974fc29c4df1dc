/* check.c -- every invariant is broken on purpose, in every way its sentence allows, and zmm_heap_check names it. */
#include "../world.h"

/* A heap with something of everything: slots and free slots of several bins, large runs, three chunks in the ring, one
 * in the cache, two huge blocks. */
static struct patient {
    zmm_heap *heap;
    char *slot, *other_bin, *large, *huge, *second_chunk_block;
    chunk_record *main, *second, *cached;
} patient;

static zmm_heap *patient_heap(void) {
    zmm_heap *const heap = new_heap();
    patient.heap = heap;
    patient.slot = alloc_of(heap, 320); /* pages 1..5 */
    zmm_heap_free(heap, alloc_of(heap, 320));
    patient.other_bin = alloc_of(heap, 512);
    char *const hole = pages_of(heap, 4);
    patient.large = pages_of(heap, 6);
    zmm_heap_free(heap, hole);
    patient.huge = alloc_of(heap, 2 * MEBIBYTE);
    alloc_of(heap, 3 * MEBIBYTE);
    patient.second_chunk_block = pages_of(heap, 505);
    pages_of(heap, 505);
    heap->chunk_count_average = 9.0;
    zmm_heap_free(heap, pages_of(heap, 505));
    patient.main = heap->main_chunk;
    patient.second = heap->main_chunk->next;
    patient.cached = heap->cached_chunks;
    EXPECT(patient.second != patient.main && patient.cached != NULL);
    EXPECT_HEALTHY(heap);
    return heap;
}
/* Does something to a fresh patient, and expects the diagnosis. Counts the ways. */
#define BREAK(id, ...)                                                                                                 \
    do {                                                                                                               \
        zmm_heap *const heap = patient_heap();                                                                         \
        __VA_ARGS__;                                                                                                   \
        EXPECT_BROKEN(heap, id);                                                                                       \
    } while (0)

static page_word *word_of(char *block) {
    return word_at(NULL, block);
}
/* A healthy heap of either edition gives NULL, and the check leaves no trace: it can be repeated. */
CASE(healthy_heap_gives_null) {
    for (uint32_t round = 0; round < 3; round++) {
        EXPECT(zmm_heap_check(patient_heap()) == NULL);
        EXPECT(zmm_heap_check(patient.heap) == NULL);
    }
    for (uint32_t page = 0; page < ZMM_CHUNK_PAGES; page++) {
        EXPECT_EQUAL(patient.main->free_slots[page], 0);
    }
}

/* What a link says after somebody wrote to it: none of these is looked into. */
static const uintptr_t no_records[] = {1, 0xff, 0x4141414141414141, UINTPTR_MAX};

/* CHUNK-1: the ring starts at the main chunk, closes, and has chunk_count members of this heap. */
CASE(check_names_CHUNK_1) {
    BREAK("CHUNK-1", heap->chunk_count++);
    BREAK("CHUNK-1", heap->chunk_count--);
    BREAK("CHUNK-1", heap->chunk_count = 0);
    BREAK("CHUNK-1", patient.second->heap = NULL);
    BREAK("CHUNK-1", patient.main->heap = new_heap());
    BREAK("CHUNK-1", patient.second->prev = patient.second);
    BREAK("CHUNK-1", patient.second->next = patient.second; patient.second->prev = patient.second);
    BREAK("CHUNK-1", patient.main->next = NULL);
    BREAK("CHUNK-1", heap->main_chunk = NULL);
    for (size_t index = 0; index < sizeof(no_records) / sizeof(no_records[0]); index++) {
        chunk_record *const stray = (chunk_record *)no_records[index];
        BREAK("CHUNK-1", patient.main->next = stray);
        BREAK("CHUNK-1", patient.second->next = stray);
        BREAK("CHUNK-1", heap->main_chunk = stray);
    }
}

/* CHUNK-2: the cache has cached_count members of this heap, and no page of them is in use. */
CASE(check_names_CHUNK_2) {
    BREAK("CHUNK-2", heap->cached_count++);
    BREAK("CHUNK-2", heap->cached_count--);
    BREAK("CHUNK-2", patient.cached->heap = NULL);
    BREAK("CHUNK-2", patient.cached->next = patient.cached);
    BREAK("CHUNK-2", heap->cached_chunks = patient.main);
    BREAK("CHUNK-2", heap->cached_chunks = NULL);
    for (size_t index = 0; index < sizeof(no_records) / sizeof(no_records[0]); index++) {
        BREAK("CHUNK-2", patient.cached->next = (chunk_record *)no_records[index]);
        BREAK("CHUNK-2", heap->cached_chunks = (chunk_record *)no_records[index]);
    }
    BREAK("CHUNK-2", chunk_words(patient.cached)[0] = 1);
    BREAK("CHUNK-2", chunk_words(patient.cached)[511] = page_word_large(heap->id, 1));
}

/* RUN-1: a page's bit is set exactly when one run covers it. */
CASE(check_names_RUN_1) {
    BREAK("RUN-1", bits_assign(patient.main->free_map, 0, 1, false); patient.main->free_pages++);
    BREAK("RUN-1", bits_assign(patient.main->free_map, page_of(heap, patient.large) + 1, 1, false);
          patient.main->free_pages++);
    BREAK("RUN-1", bits_assign(patient.main->free_map, 3, 1, false); patient.main->free_pages++);
    BREAK("RUN-1", *word_of(patient.large) = page_word_large(heap->id, 512));
    BREAK("RUN-1", *word_of(patient.second_chunk_block) = page_word_large(heap->id, 506)); /* beyond its pages */
}

/* RUN-2: free_pages is the number of clear bits. */
CASE(check_names_RUN_2) {
    BREAK("RUN-2", patient.main->free_pages++);
    BREAK("RUN-2", patient.second->free_pages--);
    BREAK("RUN-2", bits_assign(patient.main->free_map, 400, 1, true));
}

/* RUN-3: every run starts below free_tail. */
CASE(check_names_RUN_3) {
    BREAK("RUN-3", patient.main->free_tail = 1);
    BREAK("RUN-3", patient.main->free_tail = page_of(heap, patient.large));
    BREAK("RUN-3", patient.second->free_tail = 0);
    patient_heap();
    patient.main->free_tail = page_of(patient.heap, patient.large) + 1; /* its last page may lie beyond */
    EXPECT_HEALTHY(patient.heap);
    patient.main->free_tail = 512; /* too far right is allowed */
    EXPECT_HEALTHY(patient.heap);
}

/* WORD-1: words stand on the first page of large runs and on all pages of small ones, and bear the heap's id. */
CASE(check_names_WORD_1) {
    BREAK("WORD-1", *word_of(patient.large) = page_word_large(heap->id + 1, 6));
    BREAK("WORD-1", *word_of(patient.large) |= PAGE_WORD_SMALL);
    BREAK("WORD-1", *word_of(patient.large) &= ~PAGE_WORD_LARGE);
    BREAK("WORD-1", *word_of(patient.large) = page_word_large(heap->id, 0));
    BREAK("WORD-1", *word_of(patient.large) = 0);
    BREAK("WORD-1", *word_of(patient.large + ZMM_PAGE_BYTES) = 1);
    BREAK("WORD-1", *word_of(patient.large) = page_word_large(heap->id, 5)); /* the sixth page has no word */
    BREAK("WORD-1", *word_of(patient.slot) = page_word_seal(heap->id, PAGE_WORD_SMALL | 30));
    BREAK("WORD-1", *word_of(patient.slot) = page_word_small(heap->id, 16, 1));
    BREAK("WORD-1", *word_of(patient.slot + 2 * ZMM_PAGE_BYTES) = page_word_small(heap->id, 16, 3));
    BREAK("WORD-1", *word_of(patient.slot + 2 * ZMM_PAGE_BYTES) = page_word_small(heap->id, 17, 2));
    BREAK("WORD-1", *word_of(patient.slot) ^= (page_word)1 << 8); /* no word of a slot bears it */
    BREAK("WORD-1", chunk_words(patient.main)[0] = page_word_large(heap->id, 1));
    BREAK("WORD-1", chunk_words(patient.main)[500] = page_word_large(heap->id, 1)); /* a free page */
}

/* BIN-1: every free slot is a slot of a run of its own bin. */
CASE(check_names_BIN_1) {
    static char elsewhere[64];
    BREAK("BIN-1", set_free_head(heap, 320, elsewhere));
    BREAK("BIN-1", set_free_head(heap, 320, patient.other_bin));
    BREAK("BIN-1", set_free_head(heap, 320, patient.large));
    BREAK("BIN-1", set_free_head(heap, 320, (char *)free_head(heap, 320) + 8));
    BREAK("BIN-1", set_free_head(heap, 320, alloc_of(new_heap(), 320)));
    BREAK("BIN-1", set_free_head(heap, 24, chunk_page(patient.main, page_of(heap, heap->huge_list->node)) + 170 * 24));
    BREAK("BIN-1", set_link(heap, 320, free_head(heap, 320), patient.other_bin));
    BREAK("BIN-1", set_link(heap, 320, free_head(heap, 320), patient.huge));
}

/* BIN-2: no slot is free twice, so no list runs in a circle. */
CASE(check_names_BIN_2) {
    BREAK("BIN-2", set_link(heap, 320, free_head(heap, 320), free_head(heap, 320)));
    BREAK("BIN-2", {
        void *const first = free_head(heap, 320);
        void *const second = link_open(heap, first, 320);
        set_link(heap, 320, link_open(heap, second, 320), second);
    });
}

/* BIN-3: a slot's live bit is set exactly while it is not free. At level fast a lost slot shows in the size instead. */
CASE(check_names_BIN_3) {
#if ZMM_LIVE_BITS
    BREAK("BIN-3", set_live(free_head(heap, 320), true));
    BREAK("BIN-3", set_live(patient.slot, false));
    BREAK("BIN-3", set_live(patient.slot + 8, true));
    BREAK("BIN-3", set_live(patient.large, true));
    BREAK("BIN-3", set_live(chunk_page(patient.main, 400), true)); /* a free page */
    BREAK("BIN-3", set_free_head(heap, 320, link_open(heap, free_head(heap, 320), 320)));
    BREAK("BIN-3", set_free_head(heap, 512, NULL));
#else
    BREAK("USE-1", set_free_head(heap, 320, link_open(heap, free_head(heap, 320), 320)));
    BREAK("USE-1", set_free_head(heap, 512, NULL));
#endif
}

/* LINK-1: a free slot's link and its twin agree. Level fast has no twin. */
CASE(check_names_LINK_1) {
#if ZMM_SEALED_LINKS
    BREAK("LINK-1", allow_mistakes(free_head(heap, 320), 320); *(uint64_t *)free_head(heap, 320) ^= 1);
    BREAK("LINK-1", allow_mistakes(free_head(heap, 320), 320);
          *link_twin(free_head(heap, 320), 320) ^= (uint64_t)1 << 63);
#else
    patient_heap();
    allow_mistakes(free_head(patient.heap, 320), 16);
    ((uint64_t *)free_head(patient.heap, 320))[1] ^= 1;
    EXPECT_HEALTHY(patient.heap);
#endif
}

/* HUGE-1: the list has no circle; each block is 2 MiB aligned, each size a multiple of the page and not 0. */
CASE(check_names_HUGE_1) {
    BREAK("HUGE-1", heap->huge_list->block = (char *)heap->huge_list->block + 4096);
    BREAK("HUGE-1", heap->huge_list->size_bytes = 0);
    BREAK("HUGE-1", heap->huge_list->size_bytes += 8);
    BREAK("HUGE-1", heap->huge_list->next->next = heap->huge_list);
}

/* HUGE-2: the node of each huge block is a live slot of bin 2. */
CASE(check_names_HUGE_2) {
    BREAK("HUGE-2", heap->huge_list->node = NULL);
    BREAK("HUGE-2", heap->huge_list->node = patient.other_bin);
    BREAK("HUGE-2", heap->huge_list->node = patient.large);
    BREAK("HUGE-2", heap->huge_list->node = (char *)heap->huge_list->node + 8);
    BREAK("HUGE-2", zmm_heap_free(heap, heap->huge_list->next->node); heap->below_peak_bytes -= 24);
}

/* USE-1: size is the sum of the live blocks. */
CASE(check_names_USE_1) {
    BREAK("USE-1", heap->below_peak_bytes--);
    BREAK("USE-1", heap->below_peak_bytes++);
    BREAK("USE-1", heap->drift_bytes += 8);
    BREAK("USE-1", chunk_cache_release_head(heap); heap->below_peak_bytes = heap->peak_bytes);
}

/* USE-2: real_size is 2 MiB for each chunk, cached or not, plus the huge blocks. */
CASE(check_names_USE_2) {
    BREAK("USE-2", heap->real_size_bytes += 4096);
    BREAK("USE-2", heap->huge_list->size_bytes -= 4096; heap->below_peak_bytes += 4096);
    BREAK("USE-2", chunk_cache_pop(heap));
}

/* USE-3: no peak lies below its counter. */
CASE(check_names_USE_3) {
    BREAK("USE-3", heap->peak_bytes = usage_size(heap) - 1; heap->below_peak_bytes = SIZE_MAX);
    BREAK("USE-3", heap->real_peak_bytes = heap->real_size_bytes - 1);
    patient_heap();
    usage_set_peak(patient.heap, 0);
    patient.heap->real_peak_bytes = patient.heap->real_size_bytes;
    EXPECT_HEALTHY(patient.heap);
}
