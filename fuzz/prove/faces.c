/* faces.c -- the core's arithmetic behind names of its own: what `zmm prove` compiles, and reads as IR or calls.
 *
 * The core's functions are static, most of them inline; here each that a property speaks of is called once, with
 * arguments that the prover leaves open. Nothing is computed here. */
#include "unity.c"

#define FACE __attribute__((used, noinline, visibility("default")))

/* Variables that only a whole library sets; without this the compiler would take their first values for constants. */
FACE void face_establish(const ground_tables *tables, uint64_t secret) {
    ground = *tables;
    page_word_secret = secret;
}

/* ---- sizes ------------------------------------------------------------------------------------------------------------- */

FACE uint32_t face_bin_of_size(size_t size_bytes) {
    return bin_of_size(size_bytes);
}
FACE size_t face_small_bytes(size_t size_bytes) {
    return bin_bytes[bin_of_size(size_bytes)];
}
FACE size_t face_bin_bytes(uint32_t bin_index) {
    return bin_bytes[bin_index];
}
FACE size_t face_bin_pages(uint32_t bin_index) {
    return bin_pages[bin_index];
}
FACE size_t face_bin_elements(uint32_t bin_index) {
    return bin_elements[bin_index];
}
FACE size_t face_huge_round(size_t size_bytes) {
    return huge_round(size_bytes);
}
/* Whole: the choice between bin, run and mapping; what each asks of the file below it. The prover looks at the calls. */
FACE void *face_beyond_small(zmm_heap *heap, size_t size_bytes) {
    return heap_alloc_beyond_small(heap, size_bytes);
}
FACE bool face_product(zmm_heap *heap, size_t count, size_t size_bytes, size_t offset_bytes, size_t *total) {
    return api_product(heap, count, size_bytes, offset_bytes, total);
}
FACE bool face_keeps_slot(zmm_heap *heap, uint32_t bin_index, size_t size_bytes) {
    const block_look look = {.kind = BLOCK_SMALL, .bin_index = bin_index, .block_bytes = bin_bytes[bin_index]};
    bool refused;
    return resize_in_place(heap, &look, size_bytes, &refused);
}

/* ---- counters ---------------------------------------------------------------------------------------------------------- */

FACE bool face_may_map(zmm_heap *heap, size_t bytes) {
    return usage_may_map(heap, bytes);
}
FACE void face_set_limit(zmm_heap *heap, size_t limit_bytes) {
    usage_set_limit(heap, limit_bytes);
}
FACE void face_usage_add(zmm_heap *heap, size_t bytes) {
    usage_add(heap, bytes);
}
FACE void face_usage_map(zmm_heap *heap, size_t bytes) {
    usage_map(heap, bytes);
}

/* ---- the free map, and runs --------------------------------------------------------------------------------------------- */

FACE uint64_t face_mask(uint32_t from, uint32_t to) {
    return bits_mask(from, to);
}
FACE void face_assign(uint64_t *map, uint32_t first, uint32_t count, bool value) {
    bits_assign(map, first, count, value);
}
FACE uint32_t face_next(const uint64_t *map, uint32_t from, bool value) {
    return bits_next(map, from, value);
}
FACE bool face_all_clear(const uint64_t *map, uint32_t first, uint32_t count) {
    return bits_all_clear(map, first, count);
}
FACE uint32_t face_count(const uint64_t *map) {
    return bits_count(map);
}
FACE uint32_t face_find(chunk_record *chunk, uint32_t run_pages) {
    return run_find(chunk, run_pages);
}
FACE void face_take(chunk_record *chunk, uint32_t page_index, uint32_t run_pages) {
    run_take(chunk, page_index, run_pages);
}
FACE void face_give_back(chunk_record *chunk, uint32_t page_index, uint32_t run_pages) {
    run_give_back(chunk, page_index, run_pages);
}
FACE bool face_extend(chunk_record *chunk, uint32_t page_index, uint32_t old_pages, uint32_t new_pages) {
    return run_extend(chunk, page_index, old_pages, new_pages);
}
FACE void face_truncate(chunk_record *chunk, uint32_t page_index, uint32_t old_pages, uint32_t new_pages) {
    run_truncate(chunk, page_index, old_pages, new_pages);
}

/* ---- page words --------------------------------------------------------------------------------------------------------- */

FACE page_word face_word_large(uint32_t heap_id, uint32_t run_pages) {
    return page_word_large(heap_id, run_pages);
}
FACE page_word face_word_small(uint32_t heap_id, uint32_t bin_index, uint32_t back_pages) {
    return page_word_small(heap_id, bin_index, back_pages);
}
FACE uint32_t face_word_run_pages(page_word word) {
    return page_word_run_pages(word);
}
FACE uint32_t face_word_bin(page_word word) {
    return page_word_bin(word);
}
FACE uint32_t face_word_back_pages(page_word word) {
    return page_word_back_pages(word);
}
FACE page_word face_word_without_back(page_word word) {
    return word & ~PAGE_WORD_BACK_MASK;
}

/* ---- addresses ---------------------------------------------------------------------------------------------------------- */

FACE uint64_t face_granule(const void *address) {
    return ground_granule(address);
}
FACE bool face_has_granule(uint64_t granule) {
    return ground_has_granule(granule);
}
FACE uint32_t face_position_page(uint64_t at) {
    return position_page(at);
}
#if ZMM_LIVE_BITS
FACE uint64_t face_live_index(uint64_t at) {
    return at >> (ZMM_SLOT_SHIFT + 6);
}
FACE bool face_live_exchange(uint64_t *word, uint64_t granule, bool value) {
    return live_exchange(word, granule, value);
}
#endif

FACE void *face_map_chunk(void) {
    return kernel_map_aligned(ZMM_CHUNK_BYTES, ZMM_CHUNK_BYTES, PROT_READ | PROT_WRITE, 0);
}

/* ---- links -------------------------------------------------------------------------------------------------------------- */

FACE void face_link_set(const zmm_heap *heap, void *slot, size_t slot_bytes, const void *next) {
    link_set(heap, slot, slot_bytes, next);
}
FACE uintptr_t face_link_open(const zmm_heap *heap, const void *slot, size_t slot_bytes) {
    return (uintptr_t)link_open(heap, slot, slot_bytes);
}
FACE bool face_link_is_whole(const void *slot, size_t slot_bytes) {
    return link_is_whole(slot, slot_bytes);
}

/* ---- where the records keep what the prover looks at ---------------------------------------------------------------------- */

#define DATUM __attribute__((used, visibility("default")))
#define PLACE(name, type, field) DATUM const size_t name = offsetof(type, field)
PLACE(place_heap_below_peak, zmm_heap, below_peak_bytes);
PLACE(place_heap_peak, zmm_heap, peak_bytes);
PLACE(place_heap_small_words, zmm_heap, small_words);
PLACE(place_heap_link_key, zmm_heap, link_key);
PLACE(place_heap_free_slot, zmm_heap, free_slot);
PLACE(place_heap_free_tiny, zmm_heap, free_tiny);
PLACE(place_heap_range_granules, zmm_heap, range_granules);
PLACE(place_heap_edition, zmm_heap, edition);
PLACE(place_heap_real_size, zmm_heap, real_size_bytes);
PLACE(place_heap_real_peak, zmm_heap, real_peak_bytes);
PLACE(place_heap_limit, zmm_heap, limit_bytes);
PLACE(place_heap_limit_twin, zmm_heap, limit_twin);
PLACE(place_heap_cached, zmm_heap, cached_count);
PLACE(place_heap_main_chunk, zmm_heap, main_chunk);
PLACE(place_chunk_heap, chunk_record, heap);
PLACE(place_chunk_next, chunk_record, next);
PLACE(place_chunk_free_pages, chunk_record, free_pages);
PLACE(place_chunk_free_tail, chunk_record, free_tail);
PLACE(place_chunk_free_map, chunk_record, free_map);
DATUM const size_t bytes_of_heap = sizeof(zmm_heap);
DATUM const size_t bytes_of_chunk = sizeof(chunk_record);
DATUM const uint64_t link_factor = LINK_FACTOR;
DATUM const uint64_t link_inverse = LINK_INVERSE;
