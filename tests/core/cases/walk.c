/* walk.c -- what a heap shows of itself: places, ownership, and the visit of everything in its order. */
#include "../storage.h"

/* A place tells kind, mapping, page, slot, size and offset of a live block, and NONE of anything else. */
CASE(places_of_every_kind_of_address) {
    zmm_heap *const heap = new_heap();
    alloc_of(heap, 3000);
    alloc_of(heap, 320);
    char *const slot = alloc_of(heap, 300);
    char *const large = pages_of(heap, 3);
    char *const huge = alloc_of(heap, 3 * MEBIBYTE);
    const zmm_place small_place = zmm_heap_place(heap, slot);
    EXPECT_EQUAL(small_place.kind, ZMM_PLACE_SMALL);
    EXPECT_EQUAL(small_place.mapping_index, 0);
    EXPECT_EQUAL(small_place.page_index, 4);
    EXPECT_EQUAL(small_place.slot_index, 1);
    EXPECT_EQUAL(small_place.block_bytes, 320);
    EXPECT_EQUAL(small_place.offset_bytes, 0x4000 + 320);
    const zmm_place large_place = zmm_heap_place(heap, large);
    EXPECT_EQUAL(large_place.kind, ZMM_PLACE_LARGE);
    EXPECT_EQUAL(large_place.page_index, 9);
    EXPECT_EQUAL(large_place.slot_index, 0);
    EXPECT_EQUAL(large_place.block_bytes, 12288);
    EXPECT_EQUAL(large_place.offset_bytes, 0x9000);
    const zmm_place huge_place = zmm_heap_place(heap, huge);
    EXPECT_EQUAL(huge_place.kind, ZMM_PLACE_HUGE);
    EXPECT_EQUAL(huge_place.mapping_index, 1);
    EXPECT_EQUAL(huge_place.block_bytes, 3 * MEBIBYTE);
    EXPECT_EQUAL(huge_place.offset_bytes, 0);

    char *const base = chunk_page(heap->main_chunk, 0);
    static char elsewhere[8];
    char *const none[] = {NULL,
                          elsewhere,
                          slot + 8,
                          slot + 1,
                          large + 8,
                          large + 4096,
                          huge + 4096,
                          base,
                          base + 64,
                          slot + 320 /* free */,
                          large + 4 * 4096,
                          base + 4096 + 4 * 3072 - 8,
                          (char *)UINTPTR_MAX,
                          (char *)heap};
    for (size_t index = 0; index < sizeof(none) / sizeof(none[0]); index++) {
        EXPECT_EQUAL(zmm_heap_place(heap, none[index]).kind, ZMM_PLACE_NONE);
    }
    zmm_heap_free(heap, slot);
    zmm_heap_free(heap, large);
    zmm_heap_free(heap, huge);
    EXPECT_EQUAL(zmm_heap_place(heap, slot).kind, ZMM_PLACE_NONE);
    EXPECT_EQUAL(zmm_heap_place(heap, large).kind, ZMM_PLACE_NONE);
    EXPECT_EQUAL(zmm_heap_place(heap, huge).kind, ZMM_PLACE_NONE);
    end_heap(heap);
}

/* The waste at the end of a run is no slot. */
CASE(waste_of_a_run_is_no_place) {
    zmm_heap *const heap = new_heap();
    char *const first = alloc_of(heap, 24);
    EXPECT_EQUAL(zmm_heap_place(heap, first + 170 * 24).kind, ZMM_PLACE_NONE);
    char *slots[170] = {first};
    for (uint32_t slot = 1; slot < 170; slot++) {
        slots[slot] = alloc_of(heap, 24);
    }
    EXPECT_EQUAL(zmm_heap_place(heap, slots[169]).slot_index, 169);
    EXPECT_EQUAL(zmm_heap_place(heap, first + 170 * 24).kind, ZMM_PLACE_NONE);
    end_heap(heap);
}

/* owns is is_zend_ptr: chunks of the ring, header and free pages included, and huge blocks; cached chunks not. */
CASE(owns_chunks_of_the_ring_and_huge_blocks) {
    for (uint32_t stored = 0; stored < 2; stored++) {
        store_prepare();
        zmm_heap *const heap = stored ? store_heap(ZMM_EDITION_ZMM, &store_handlers) : new_heap();
        zmm_heap *const other = new_heap();
        char *const huge = alloc_of(heap, 3 * MEBIBYTE);
        char *const slot = alloc_of(heap, 40);
        char *const base = chunk_page(heap->main_chunk, 0);
        EXPECT(zmm_heap_owns(heap, slot) && zmm_heap_owns(heap, slot + 3));
        EXPECT(zmm_heap_owns(heap, base) && zmm_heap_owns(heap, base + ZMM_CHUNK_BYTES - 1));
        EXPECT(zmm_heap_owns(heap, huge) && zmm_heap_owns(heap, huge + 3 * MEBIBYTE - 1));
        EXPECT(!zmm_heap_owns(heap, huge + 3 * MEBIBYTE) && !zmm_heap_owns(heap, huge - 1));
        EXPECT(!zmm_heap_owns(other, slot) && !zmm_heap_owns(other, huge));
        EXPECT(!zmm_heap_owns(heap, NULL) && !zmm_heap_owns(heap, heap));
        chunk_full(heap);
        char *const second = chunk_full(heap);
        heap->chunk_count_average = 9.0;
        EXPECT(zmm_heap_owns(heap, second));
        zmm_heap_free(heap, second);
        EXPECT(!zmm_heap_owns(heap, second));
        EXPECT(zmm_heap_owns(heap, slot));
        end_heap(heap);
        EXPECT(!zmm_heap_owns(other, slot));
        end_heap(other);
    }
}

static void note_chunk(void *context, const zmm_chunk_view *chunk) {
    const uint32_t used = 512 - chunk->free_pages;
    EXPECT_EQUAL(bits_count(chunk->free_map), used);
    fprintf(context, "%s%u#%u+%u<%u ", chunk->cached ? "cached" : "chunk", chunk->mapping_index, chunk->number, used,
            chunk->free_tail);
}
static void note_run(void *context, const zmm_run_view *run) {
    fprintf(context, "run%u:%u+%u", run->mapping_index, run->page_index, run->page_count);
    if (run->bin_index >= 0) {
        fprintf(context, "b%d-%u", run->bin_index, run->free_slots);
    }
    fputc(' ', context);
}
static void note_free_slot(void *context, const zmm_free_slot_view *slot) {
    if (slot->bin_index != 2) { /* the 169 free slots beside the nodes of huge blocks are too many words */
        fprintf(context, "free%u:%u:%zx ", slot->bin_index, slot->mapping_index, slot->offset_bytes);
    }
}
static void note_huge(void *context, const zmm_huge_view *huge) {
    fprintf(context, "huge%u:%zx ", huge->mapping_index, huge->size_bytes);
}
static const char *visit_text(const zmm_heap *heap, zmm_visitor visitor) {
    static char text[4096];
    memset(text, 0, sizeof(text));
    FILE *const stream = fmemopen(text, sizeof(text) - 1, "w");
    zmm_heap_visit(heap, &visitor, stream);
    fclose(stream);
    return text;
}

/* Chunks in ring order, each followed by its runs in page order; cached chunks from the head; free slots bin by bin in
 * list order; huge blocks from the newest. */
CASE(visit_shows_everything_in_order) {
    zmm_heap *const heap = new_heap();
    alloc_of(heap, 3072);
    char *const slot = alloc_of(heap, 512);
    zmm_heap_free(heap, alloc_of(heap, 512));
    zmm_heap_free(heap, slot);
    alloc_of(heap, 2 * MEBIBYTE);
    alloc_of(heap, 3 * MEBIBYTE);
    char *const hole = pages_of(heap, 2);
    pages_of(heap, 504);
    zmm_heap_free(heap, hole);
    char *const second = pages_of(heap, 500);
    heap->chunk_count_average = 9.0;
    zmm_heap_free(heap, chunk_full(heap));
    (void)second;
    const zmm_visitor all = {note_chunk, note_run, note_free_slot, note_huge};
    EXPECT_TEXT(visit_text(heap, all),
                "chunk0#0+510<512 run0:1+3b29-3 run0:4+1b19-8 run0:5+1b2-168 run0:8+504 "
                "chunk3#1+501<501 run3:1+500 cached4#2+1<1 "
                "free19:0:4000 free19:0:4200 free19:0:4400 free19:0:4600 free19:0:4800 free19:0:4a00 free19:0:4c00 "
                "free19:0:4e00 free29:0:1c00 free29:0:2800 free29:0:3400 "
                "huge2:300000 huge1:200000 ");
    EXPECT_HEALTHY(heap); /* the scratch counters are zero again */
    end_heap(heap);
}

/* Each callback may be missing. */
CASE(visit_without_callbacks_skips_their_part) {
    zmm_heap *const heap = new_heap();
    zmm_heap_free(heap, alloc_of(heap, 3072));
    alloc_of(heap, 3 * MEBIBYTE);
    EXPECT_TEXT(visit_text(heap, (zmm_visitor){.chunk = note_chunk}), "chunk0#0+5<5 ");
    EXPECT_TEXT(visit_text(heap, (zmm_visitor){.run = note_run}), "run0:1+3b29-4 run0:4+1b2-169 ");
    EXPECT_TEXT(visit_text(heap, (zmm_visitor){.huge = note_huge}), "huge1:300000 ");
    EXPECT_TEXT(visit_text(heap, (zmm_visitor){.free_slot = note_free_slot}),
                "free29:0:1000 free29:0:1c00 free29:0:2800 free29:0:3400 ");
    EXPECT_TEXT(visit_text(heap, (zmm_visitor){.chunk = NULL}), "");
    end_heap(heap);
}

/* A broken page map does not stop the visit: a run without pages is passed over. */
CASE(visit_passes_over_a_run_without_pages) {
    zmm_heap *const heap = new_heap();
    char *const large = pages_of(heap, 2);
    pages_of(heap, 1);
    *word_at(heap, large) = 0;
    EXPECT_TEXT(visit_text(heap, (zmm_visitor){.run = note_run}), "run0:1+0 run0:2+0 run0:3+1 ");
}

/* A large block that waits in quarantine is no live block. */
CASE(waiting_run_is_no_place) {
    zmm_heap *const heap = new_heap();
    char *const large = pages_of(heap, 2);
    *word_at(heap, large) |= PAGE_WORD_WAITING;
    EXPECT_EQUAL(zmm_heap_place(heap, large).kind, ZMM_PLACE_NONE);
    *word_at(heap, large) &= ~PAGE_WORD_WAITING;
    EXPECT_EQUAL(zmm_heap_place(heap, large).kind, ZMM_PLACE_LARGE);
    end_heap(heap);
}

/* The question that level fast asks for want of live bits: is this slot in its bin's list? */
CASE(free_slots_are_found_in_their_list) {
    zmm_heap *const heap = new_heap();
    char *const live = alloc_of(heap, 512);
    char *const freed = alloc_of(heap, 512);
    zmm_heap_free(heap, freed);
    EXPECT(walk_is_free_slot(heap, bin_of_size(512), freed));
    EXPECT(walk_is_free_slot(heap, bin_of_size(512), freed + 512));
    EXPECT(!walk_is_free_slot(heap, bin_of_size(512), live));
}
