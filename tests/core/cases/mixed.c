/* mixed.c -- what the preload library asks of the core: which blocks are ours, and which are not. */
#include "../storage.h"

#if ZMM_GUARDS_METADATA
#define GIVEN "given to the C library"

static void (*told_refuse)(const void *block, const char *call);
static uint32_t told_count;
static zmm_heap *(*first_current_heap)(void);
static zmm_heap *asked_heap;

/* In the place of the preload library's; the core calls it with the first heap of the process. */
void zmm_mixed_announce(void (*told)(const void *block, const char *call)) {
    told_refuse = told;
    told_count++;
}

static zmm_heap *asked(void) {
    return asked_heap;
}

/* Any address in the range of chunks is ours; of huge blocks those of the current heap, by their starts. */
CASE_WITH_GUARDS(the_c_library_may_not_have_blocks_of_ours) {
    zmm_heap *const heap = new_heap();
    asked_heap = heap;
    first_current_heap = mixed_current_heap;
    mixed_current_heap = NULL;
    mixed_announce(asked);
    mixed_announce(first_current_heap); /* once is enough */
    EXPECT_EQUAL(told_count, 1 + (first_current_heap != NULL));
    EXPECT(mixed_current_heap == asked);
    char *const slot = alloc_of(heap, 100);
    char *const large = alloc_of(heap, 10000);
    char *const huge = alloc_of(heap, 3 * MEBIBYTE);
    EXPECT_PANIC(GIVEN, told_refuse(slot, "free"));
    EXPECT_PANIC(GIVEN, told_refuse(large + 1, "free"));
    EXPECT_PANIC(GIVEN, told_refuse(huge, "realloc"));
    end_heap(heap);
}

/* What is not ours goes on to the C library without a word: its own blocks, the stack, mappings, with a heap or without. */
CASE_WITH_GUARDS(the_c_library_keeps_its_own) {
    zmm_heap *const heap = new_heap();
    mixed_current_heap = NULL;
    mixed_announce(asked);
    char on_stack = 0;
    char *const mapping = kernel_real.map(ZMM_CHUNK_BYTES, ZMM_CHUNK_BYTES);
    EXPECT_EQUAL((uintptr_t)mapping % ZMM_CHUNK_BYTES, 0);
    asked_heap = heap;
    told_refuse(&on_stack, "free");
    told_refuse(mapping, "free");
    told_refuse(NULL, "free");
    asked_heap = NULL;
    told_refuse(mapping, "free");
    kernel_real.unmap(mapping, ZMM_CHUNK_BYTES);
    end_heap(heap);
}
#endif
