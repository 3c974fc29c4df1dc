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

/* Any address in the range of chunks is ours; huge blocks are by their starts. */
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

/* Huge blocks of heaps that are nobody's current one are known, too, and the report names their heap; no longer when they are
 * freed, moved, or their request has ended. */
CASE_WITH_GUARDS(the_c_library_may_not_have_huge_blocks_of_explicit_heaps) {
    mixed_current_heap = NULL;
    mixed_announce(asked);
    asked_heap = NULL;
    zmm_heap *const heap = new_heap();
    char *blocks[40];
    for (uint32_t count = 0; count < 40; count++) {
        blocks[count] = alloc_of(heap, 3 * MEBIBYTE);
    }
    EXPECT_PANIC(GIVEN, told_refuse(blocks[7], "free"));
    REPORT_OF(told_refuse(blocks[39], "free"));
    EXPECT(seen_report.owner_heap == heap && seen_report.block == blocks[39] && seen_report.block_is_live);
    EXPECT_IN_REPORT("belongs to a heap 0x");
    EXPECT_IN_REPORT("this block came from zmm");
    for (uint32_t count = 0; count < 40; count += 2) {
        zmm_heap_free(heap, blocks[count]);
        told_refuse(blocks[count], "free");
        EXPECT_PANIC(GIVEN, told_refuse(blocks[count + 1], "free"));
    }
    zmm_heap_shutdown(heap, false, true);
    for (uint32_t count = 0; count < 40; count++) {
        told_refuse(blocks[count], "free");
    }
    EXPECT_EQUAL(owners_count, 0);
    end_heap(heap);
}

/* A block that found no room in the table was never entered, so that it is not counted when it goes: a full table stays full
 * until one of its own blocks leaves, and then has room for one more. */
CASE_WITH_GUARDS(blocks_without_room_among_the_owners_leave_no_room) {
    mixed_current_heap = NULL;
    mixed_announce(asked);
    asked_heap = NULL;
    zmm_heap *const heap = new_heap();
    const uint32_t others = ZMM_OWNERS / 2 - 1; /* so many that one more fills the table */
    owners_count = others;
    char *const last = alloc_of(heap, 3 * MEBIBYTE);
    char *const beyond = alloc_of(heap, 3 * MEBIBYTE);
    EXPECT_PANIC(GIVEN, told_refuse(last, "free"));
    told_refuse(beyond, "free");
    zmm_heap_free(heap, beyond);
    char *const still_beyond = alloc_of(heap, 3 * MEBIBYTE);
    told_refuse(still_beyond, "free");
    EXPECT_EQUAL(owners_count, others + 1);
    zmm_heap_free(heap, last);
    char *const next = alloc_of(heap, 3 * MEBIBYTE);
    EXPECT_PANIC(GIVEN, told_refuse(next, "free"));
    EXPECT_EQUAL(owners_count, others + 1);
    zmm_heap_shutdown(heap, false, true); /* what was entered leaves, and what was not does not, here as well */
    EXPECT_EQUAL(owners_count, others);
    owners_count = 0;
    owners_leave(next); /* nothing is less than none: the next one would never be entered */
    EXPECT_PANIC(GIVEN, told_refuse(alloc_of(heap, 3 * MEBIBYTE), "free"));
    end_heap(heap);
}

/* A table that is full is not searched for ever, and nothing is entered any more; addresses that share a home stay apart. */
CASE_WITH_GUARDS(owners_are_told_apart) {
    zmm_heap *const heap = new_heap();
    owners_count = ZMM_OWNERS / 2;
    owners_enter(heap, (void *)ZMM_CHUNK_BYTES);
    EXPECT(owners_find((void *)ZMM_CHUNK_BYTES) == NULL);
    owners_leave((void *)ZMM_CHUNK_BYTES);
    owners_count = 0;
    uintptr_t same_home[8];
    uint32_t found = 0;
    for (uintptr_t block = ZMM_CHUNK_BYTES; found < 8; block += ZMM_CHUNK_BYTES) {
        if (owners_home(block) == ZMM_OWNERS - 1) {
            same_home[found++] = block;
        }
    }
    for (uint32_t index = 0; index < 8; index++) {
        owners_enter(heap, (void *)same_home[index]);
    }
    for (uint32_t index = 0; index < 8; index++) {
        EXPECT(owners_find_quietly((void *)same_home[index]) == heap);
    }
    for (uint32_t index = 0; index < 8; index++) {
        const uint32_t gone = index * 3 % 8;
        owners_leave((void *)same_home[gone]);
        for (uint32_t other = 0; other < 8; other++) {
            bool is_gone = false;
            for (uint32_t before = 0; before <= index; before++) {
                is_gone = is_gone || other == before * 3 % 8;
            }
            EXPECT((owners_find((void *)same_home[other]) == NULL) == is_gone);
            EXPECT((owners_find_quietly((void *)same_home[other]) == NULL) == is_gone);
        }
    }
    EXPECT_EQUAL(owners_count, 0);
    for (uint32_t place = 0; place < ZMM_OWNERS; place++) { /* who has left keeps no place */
        EXPECT_EQUAL(owners_table[place].block, 0);
    }
    for (uint32_t place = 0; place < ZMM_OWNERS; place++) { /* as it may look to a report in the middle of a change */
        owners_table[place] = (owners_entry){.block = 1, .heap = heap};
    }
    EXPECT(owners_find_quietly((void *)ZMM_CHUNK_BYTES) == NULL);
    const uint32_t round_end = (owners_home(ZMM_CHUNK_BYTES) + ZMM_OWNERS - 1) % ZMM_OWNERS;
    owners_table[round_end].block = ZMM_CHUNK_BYTES; /* the last place that one round comes to */
    EXPECT(owners_find_quietly((void *)ZMM_CHUNK_BYTES) == heap);
    memset(owners_table, 0, sizeof(owners_table));
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
