/* panic.c -- zendmm.md section 17: every misuse that a level finds, at every call that finds it. */
#include "../storage.h"

#define OTHERS "not a block of this heap"
#define INSIDE "not the start of a block"
#define DEAD "not a live slot"
#define ASTRAY "a free list leads astray"
#define WRITTEN "a free slot was written to"

/* The three calls that take a block agree about an address that is none. */
#define EXPECT_NO_BLOCK(heap, reason, address)                                                                         \
    do {                                                                                                               \
        char *const address_ = (address);                                                                              \
        EXPECT_PANIC(reason, zmm_heap_free(heap, address_));                                                           \
        EXPECT_PANIC(reason, zmm_heap_realloc(heap, address_, 10));                                                    \
        EXPECT_PANIC(reason, zmm_heap_block_size(heap, address_));                                                     \
    } while (0)

/* Addresses that never were the allocator's. */
CASE_AT_ALL_LEVELS(foreign_addresses_panic) {
    zmm_heap *const heap = new_heap();
    static char in_the_program[4096];
    char on_the_stack[16];
    EXPECT_NO_BLOCK(heap, OTHERS, in_the_program);
    EXPECT_NO_BLOCK(heap, OTHERS, on_the_stack);
    EXPECT_NO_BLOCK(heap, OTHERS, (char *)(uintptr_t)8);
    EXPECT_NO_BLOCK(heap, OTHERS, (char *)UINTPTR_MAX);
    EXPECT_NO_BLOCK(heap, OTHERS, (char *)(ground.base - 1));
    EXPECT_NO_BLOCK(heap, OTHERS, (char *)(ground.base + 5 * ZMM_CHUNK_BYTES));     /* in the range, no chunk yet */
    EXPECT_NO_BLOCK(heap, OTHERS, (char *)(ground.base + 60000 * ZMM_CHUNK_BYTES)); /* no record either */
    EXPECT_PANIC(OTHERS, zmm_heap_block_size(heap, NULL));
}

/* Blocks of another heap. */
CASE_AT_ALL_LEVELS(blocks_of_another_heap_panic) {
    zmm_heap *const heap = new_heap();
    zmm_heap *const other = new_heap();
    alloc_of(heap, 40);
    EXPECT_NO_BLOCK(heap, OTHERS, alloc_of(other, 40));
    EXPECT_NO_BLOCK(heap, OTHERS, pages_of(other, 2));
    EXPECT_NO_BLOCK(heap, OTHERS, alloc_of(other, 3 * MEBIBYTE));
    store_prepare();
    EXPECT_NO_BLOCK(heap, OTHERS, alloc_of(store_heap(ZMM_EDITION_ZMM, &store_handlers), 40));
}

/* Of many heaps any two have different ids, in whichever bits these differ. */
CASE_AT_ALL_LEVELS(blocks_of_many_other_heaps_panic) {
    zmm_heap *const heap = new_heap();
    for (int index = 0; index < 17; index++) {
        zmm_heap *const other = new_heap();
        EXPECT_PANIC(OTHERS, zmm_heap_free(heap, alloc_of(other, 40)));
        EXPECT_PANIC(OTHERS, zmm_heap_free(heap, pages_of(other, 2)));
    }
}

/* The inside of a large block, a free page, the first page of a chunk. */
CASE_AT_ALL_LEVELS(inside_of_large_blocks_and_free_pages_panic) {
    zmm_heap *const heap = new_heap();
    char *const large = pages_of(heap, 3);
    EXPECT_NO_BLOCK(heap, INSIDE, large + 1);
    EXPECT_NO_BLOCK(heap, INSIDE, large + 8);
    EXPECT_NO_BLOCK(heap, INSIDE, large + 4096);
    EXPECT_NO_BLOCK(heap, INSIDE, large + 3 * 4096);
    EXPECT_NO_BLOCK(heap, INSIDE, chunk_page(heap->main_chunk, 0));
    EXPECT_NO_BLOCK(heap, INSIDE, chunk_page(heap->main_chunk, 0) + 64);
}

/* The inside of a slot: found from level release on; level fast accepts it, as PHP 8.2 does. */
CASE(inside_of_slots_panics_from_level_release_on) {
    zmm_heap *const heap = new_heap();
    char *const slot = alloc_of(heap, 320);
#if ZMM_LIVE_BITS
    for (size_t inside = 1; inside < 320; inside += inside < 16 ? 1 : 61) {
        EXPECT_NO_BLOCK(heap, DEAD, slot + inside);
    }
    EXPECT_NO_BLOCK(heap, DEAD, slot + 64 * 320 - 320); /* the last slot, never handed out */
#else
    EXPECT_EQUAL(zmm_heap_block_size(heap, slot + 8), 320);
    zmm_heap_free(heap, slot + 8);
    EXPECT(alloc_of(heap, 320) == slot + 8);
#endif
}

/* The inside of a huge block is no block. */
CASE_AT_ALL_LEVELS(inside_of_huge_blocks_panics) {
    zmm_heap *const heap = new_heap();
    char *const huge = alloc_of(heap, 3 * MEBIBYTE);
    EXPECT_NO_BLOCK(heap, OTHERS, huge + 8);
    EXPECT_NO_BLOCK(heap, OTHERS, huge + 4096);
    EXPECT_NO_BLOCK(heap, OTHERS, huge + 2 * MEBIBYTE);
}

/* Freed twice: large and huge blocks always, slots from level release on (at level fast the list becomes cyclic, and
 * the size goes down twice: observed in PHP 8.2). */
CASE(blocks_freed_twice_panic) {
    zmm_heap *const heap = new_heap();
    alloc_of(heap, 1000);
    char *const large = pages_of(heap, 2);
    char *const huge = alloc_of(heap, 3 * MEBIBYTE);
    char *const slot = alloc_of(heap, 100);
    zmm_heap_free(heap, large);
    zmm_heap_free(heap, huge);
    zmm_heap_free(heap, slot);
    EXPECT_NO_BLOCK(heap, INSIDE, large);
    EXPECT_NO_BLOCK(heap, OTHERS, huge);
#if ZMM_LIVE_BITS
    EXPECT_NO_BLOCK(heap, DEAD, slot);
#else
    zmm_heap_free(heap, slot);
    EXPECT(alloc_of(heap, 100) == slot && alloc_of(heap, 100) == slot);
#endif
}

/* Blocks whose pages or chunk have gone: collected, cached, unmapped, or ended with their request. */
CASE(blocks_of_gone_pages_panic) {
    zmm_heap *const heap = new_heap();
    char *const slot = alloc_of(heap, 100);
    zmm_heap_free(heap, slot);
    zmm_heap_gc(heap);
    EXPECT_NO_BLOCK(heap, INSIDE, slot);
    chunk_full(heap);
    char *const second = chunk_full(heap);
    char *const third = chunk_full(heap);
    zmm_heap_free(heap, third);  /* unmapped */
    zmm_heap_free(heap, second); /* cached */
    EXPECT_NO_BLOCK(heap, OTHERS, third);
    EXPECT_NO_BLOCK(heap, INSIDE, second);
    zmm_heap_shutdown(heap, false, true);
    alloc_of(heap, 40);
    EXPECT_NO_BLOCK(heap, INSIDE, slot + 4096);
}

/* The same for heaps on storage handlers, whose chunks lie outside the range. */
CASE_AT_ALL_LEVELS(misuse_of_storage_heaps_panics) {
    store_prepare();
    zmm_heap *const heap = store_heap(ZMM_EDITION_ZMM, &store_handlers);
    char *const slot = alloc_of(heap, 100);
    char *const large = pages_of(heap, 3);
    chunk_full(heap);
    char *const gone = chunk_full(heap);
    zmm_heap_free(heap, gone);
    EXPECT_NO_BLOCK(heap, INSIDE, large + 4096);
    EXPECT_NO_BLOCK(heap, INSIDE, large + 1);
    EXPECT_NO_BLOCK(heap, OTHERS, gone);
    EXPECT_NO_BLOCK(heap, OTHERS, alloc_of(store_heap(ZMM_EDITION_ZMM, &store_handlers), 100));
    zmm_heap_free(heap, slot);
#if ZMM_LIVE_BITS
    EXPECT_NO_BLOCK(heap, DEAD, slot);
    EXPECT_NO_BLOCK(heap, DEAD, slot + 4);
#endif
}

/* What is written into a free slot is found when the slot is taken, and by gc. At level fast the first word is believed:
 * a slot outside the bin is found by gc only. */
CASE(writes_into_free_slots_panic) {
    zmm_heap *const heap = new_heap();
    char *const slot = alloc_of(heap, 96);
    zmm_heap_free(heap, slot);
    allow_mistakes(slot, 96);
#if ZMM_SEALED_LINKS
    for (size_t at = 0; at < 8; at++) {
        EXPECT_PANIC(WRITTEN, slot[at] ^= 1; zmm_heap_alloc(heap, 96));
        EXPECT_PANIC(WRITTEN, slot[88 + at] ^= 1; zmm_heap_alloc(heap, 96));
    }
    EXPECT_PANIC(WRITTEN, slot[7] ^= 1; zmm_heap_gc(heap));
    EXPECT_PANIC(WRITTEN, slot[95] ^= 1; zmm_heap_gc(heap));
    EXPECT_PANIC(WRITTEN, memset(slot, 'A', 12); zmm_heap_gc(heap));
    /* Both words alike, as after a long overflow; and a whole free slot over another one. */
    EXPECT_PANIC(WRITTEN, memset(slot, 'A', 96); zmm_heap_alloc(heap, 96));
    EXPECT_PANIC(WRITTEN, memset(slot, 0, 96); zmm_heap_alloc(heap, 96));
    EXPECT_PANIC(WRITTEN, memset(slot, 'A', 96); zmm_heap_gc(heap));
    char *const next = free_head(heap, 96) == (void *)slot ? link_open(heap, slot, 96) : free_head(heap, 96);
    allow_mistakes(next, 96);
    EXPECT_PANIC(WRITTEN, memcpy(slot, next, 96); zmm_heap_gc(heap));
    EXPECT_PANIC(WRITTEN, memcpy(next, slot, 96); zmm_heap_gc(heap));
    /* The highest bit of both fits, and leads nowhere. (With trims the twin is the second word.) */
    EXPECT_PANIC(ASTRAY, *(uint64_t *)(void *)slot ^= (uint64_t)1 << 63; *link_twin(slot, 96) ^= (uint64_t)1 << 63;
                 zmm_heap_gc(heap));
    char *const tiny = alloc_of(heap, 8); /* one word, which is its own seal */
    zmm_heap_free(heap, tiny);
    allow_mistakes(tiny, 8);
    EXPECT_PANIC(ASTRAY, memset(tiny, 'A', 8); zmm_heap_alloc(heap, 8); zmm_heap_alloc(heap, 8));
#else
    static char elsewhere[64];
    EXPECT_PANIC(ASTRAY, *(char **)(void *)slot = elsewhere; zmm_heap_gc(heap));
#endif
}

/* Free lists that lead astray, with links that are whole: into another bin, a live slot, out of the heap, in a circle. */
CASE(free_lists_that_lead_astray_panic) {
    zmm_heap *const heap = new_heap();
    static char elsewhere[64];
    char *const live = alloc_of(heap, 96);
    char *const large = pages_of(heap, 1);
    char *const slot = alloc_of(heap, 96);
    zmm_heap_free(heap, slot);
    EXPECT_PANIC(ASTRAY, set_link(heap, 96, slot, elsewhere); zmm_heap_gc(heap));
    EXPECT_PANIC(ASTRAY, set_link(heap, 96, slot, large); zmm_heap_gc(heap));
    EXPECT_PANIC(ASTRAY, set_link(heap, 96, slot, alloc_of(heap, 40)); zmm_heap_gc(heap));
    EXPECT_PANIC(ASTRAY, set_link(heap, 96, slot, alloc_of(new_heap(), 96)); zmm_heap_gc(heap));
    EXPECT_PANIC("a free list runs in a circle", set_link(heap, 96, slot, slot); zmm_heap_gc(heap));
#if ZMM_LIVE_BITS
    EXPECT_PANIC("a free list leads to a live slot", set_free_head(heap, 96, live); zmm_heap_alloc(heap, 96));
    EXPECT_PANIC("a free list leads to a live slot", set_link(heap, 96, live, NULL); set_free_head(heap, 96, live);
                 zmm_heap_alloc(heap, 96));
    EXPECT_PANIC(ASTRAY, set_free_head(heap, 96, elsewhere); zmm_heap_alloc(heap, 96));
    store_prepare();
    zmm_heap *const stored = store_heap(ZMM_EDITION_ZMM, &store_handlers);
    char *const stored_live = alloc_of(stored, 96);
    EXPECT_PANIC("a free list leads to a live slot", set_free_head(stored, 96, stored_live);
                 zmm_heap_alloc(stored, 96));
    EXPECT_PANIC(ASTRAY, set_free_head(stored, 96, elsewhere); zmm_heap_alloc(stored, 96));
    EXPECT_PANIC(ASTRAY, set_free_head(stored, 96, stored_live + 4); zmm_heap_alloc(stored, 96));
#else
    (void)live;
#endif
}

/* Level debug (and every build with asserts) stops at a run that would overlap another; other levels do not ask. */
CASE_AT_ALL_LEVELS(asserts_panic_with_their_condition) {
    zmm_heap *const heap = new_heap();
    pages_of(heap, 2);
#if ZMM_ASSERTS
    EXPECT_PANIC("assertion failed", run_take(heap->main_chunk, 2, 1));
    EXPECT_PANIC("assertion failed", usage_subtract(heap, usage_size(heap) + 1));
#else
    run_take(heap->main_chunk, 2, 1);
    EXPECT_BROKEN(heap, "RUN-2");
#endif
}

static void panic_note(zmm_heap *heap, const char *reason, const void *address, void *context) {
    fprintf(stderr, "%d %s %d\n", context == &panic_context, reason, address == (const void *)heap);
}

/* The hook gets heap, reason, address and its context; when it returns, the process aborts all the same. */
CASE_AT_ALL_LEVELS(panic_hook_that_returns_does_not_save_the_process) {
    zmm_heap *const heap = new_heap();
    IN_CHILD(child, zmm_set_panic_hook(panic_note, &panic_context); zmm_heap_free(heap, heap));
    EXPECT(WIFSIGNALED(child.wait_status) && WTERMSIG(child.wait_status) == SIGABRT);
    static const char expected[] = "1 not a block of this heap 1\n" PANIC_LINE("not a block of this heap");
    child.text[sizeof(expected) - 1] = '\0'; /* the report goes on from level release on */
    EXPECT_TEXT(child.text, expected);
}
