/* fences.c -- levels hardened and debug: the inaccessible page behind a long run, through all that a run can meet. */
#include "../storage.h"

#if ZMM_TRIMS

static uint32_t run_pages_of(zmm_heap *heap, const void *block) {
    return page_word_run_pages(*word_at(heap, block));
}
/* The bytes up to the fence can be written, and not one more. */
static void expect_fenced(zmm_heap *heap, char *block) {
    const uint32_t run_pages = run_pages_of(heap, block);
    const char *const fence = block + (size_t)(run_pages - 1) * ZMM_PAGE_BYTES;
    EXPECT(is_readable(fence - 1) && !is_readable(fence) && !is_readable(fence + ZMM_PAGE_BYTES - 1));
    memset(block, 7, zmm_heap_block_size(heap, block));
    EXPECT_HEALTHY(heap);
}
/* Every page of the heap's free ones can be used. */
static void expect_no_fence_left(zmm_heap *heap) {
    char *blocks[ZMM_CHUNK_PAGES * 2];
    uint32_t count = 0;
    const uint32_t chunks = heap->chunk_count;
    for (;; count++) {
        blocks[count] = pages_of(heap, 1);
        if (heap->chunk_count > chunks) {
            break;
        }
        memset(blocks[count], 8, ZMM_PAGE_BYTES);
    }
    for (uint32_t index = 0; index <= count; index++) {
        zmm_heap_free(heap, blocks[index]);
    }
    zmm_heap_gc(heap);
    EXPECT_HEALTHY(heap);
}

/* From so many pages on there is a fence, and a page more is taken for it; what ends with its chunk needs none. */
CASE_WITH_TRIMS(long_runs_have_a_fence) {
    zmm_heap *const heap = new_heap();
    for (size_t block_pages = 2; block_pages <= ZMM_RUN_PAGES_MAX; block_pages += block_pages < 70 ? 1 : 40) {
        const size_t size = block_pages * ZMM_PAGE_BYTES - TRIM_BYTES;
        char *const block = alloc_of(heap, size);
        EXPECT_EQUAL(zmm_heap_block_size(heap, block), size);
        const bool has_fence = block_pages >= ZMM_FENCED_PAGES && block_pages < ZMM_RUN_PAGES_MAX - 1;
        EXPECT_EQUAL(run_pages_of(heap, block),
                     block_pages + (block_pages >= ZMM_FENCED_PAGES && block_pages < ZMM_RUN_PAGES_MAX));
        EXPECT(is_readable(block + block_pages * ZMM_PAGE_BYTES - 1));
        EXPECT(!has_fence || !is_readable(block + block_pages * ZMM_PAGE_BYTES));
        memset(block, 7, size);
        zmm_heap_free(heap, block);
        zmm_heap_gc(heap);
    }
    for (size_t missing = 0; missing < 2;
         missing++) { /* both end with their chunk: behind it lies the next one's first page */
        char *const last = alloc_of(heap, (ZMM_RUN_PAGES_MAX - missing) * ZMM_PAGE_BYTES - TRIM_BYTES);
        EXPECT_EQUAL(run_pages_of(heap, last), ZMM_RUN_PAGES_MAX);
        EXPECT(!is_readable(last + ZMM_RUN_PAGES_MAX * ZMM_PAGE_BYTES));
    }
    EXPECT_EQUAL(usage_of(heap).missing_fence_count, 0);
    end_heap(heap);
}

/* The trims stand before the fence: a write behind the block is found on free, one that comes to the fence is stopped. */
CASE_WITH_TRIMS(a_write_past_a_long_run_is_stopped) {
    zmm_heap *const heap = new_heap();
    const size_t size = 100 * ZMM_PAGE_BYTES - TRIM_BYTES;
    char *const block = alloc_of(heap, size);
    allow_mistakes(block, size + ZMM_PAGE_BYTES);
    EXPECT_PANIC("written beyond its end", block[size] ^= 1; zmm_heap_free(heap, block));
    if (!HAS_ADDRESS_SANITIZER) { /* it has a handler of its own */
        IN_CHILD(child, memset(block + size, 1, ZMM_PAGE_BYTES));
        EXPECT(WIFSIGNALED(child.wait_status) && WTERMSIG(child.wait_status) == SIGSEGV);
    }
    end_heap(heap);
}

/* Longer, shorter, over the threshold and back, in place and not: the fence is where the block ends. */
CASE_WITH_TRIMS(the_fence_moves_with_the_end) {
    static const size_t pages[] = {100, 130, 64, 63, 64, 63, 62, 200, 65, 500, 509, 510, 511, 509, 300, 2, 64};
    zmm_heap *const heap = new_heap();
    char *block = pages_of(heap, 1);
    fill(block, ZMM_PAGE_BYTES, 3);
    for (size_t index = 0; index < sizeof(pages) / sizeof(pages[0]); index++) {
        block = zmm_heap_realloc(heap, block, pages[index] * ZMM_PAGE_BYTES - TRIM_BYTES);
        EXPECT(is_filled(block, ZMM_PAGE_BYTES, 3));
        EXPECT_EQUAL(zmm_heap_block_size(heap, block), pages[index] * ZMM_PAGE_BYTES - TRIM_BYTES);
        if (pages[index] >= ZMM_FENCED_PAGES && pages[index] < 510) {
            expect_fenced(heap, block);
            fill(block, ZMM_PAGE_BYTES, 3);
        }
        EXPECT_HEALTHY(heap);
    }
    zmm_heap_free(heap, block);
    zmm_heap_gc(heap);
    expect_no_fence_left(heap);
    end_heap(heap);
}

/* In place: what was the fence is the block's, or free again. */
CASE_WITH_TRIMS(a_fence_that_moved_leaves_an_ordinary_page) {
    zmm_heap *const heap = new_heap();
    char *const block = alloc_of(heap, 100 * ZMM_PAGE_BYTES - TRIM_BYTES);
    EXPECT(zmm_heap_realloc(heap, block, 200 * ZMM_PAGE_BYTES - TRIM_BYTES) == block);
    expect_fenced(heap, block);
    EXPECT(zmm_heap_realloc(heap, block, 80 * ZMM_PAGE_BYTES - TRIM_BYTES) == block);
    expect_fenced(heap, block);
    EXPECT(zmm_heap_realloc(heap, block, 70 * ZMM_PAGE_BYTES - TRIM_BYTES + 1) == block);
    expect_fenced(heap, block);
    expect_no_fence_left(heap);
    end_heap(heap);
}

/* The fence stays while the block waits, and goes when it leaves; chunks that are cached or used again have none. */
CASE_WITH_TRIMS(fences_go_with_their_blocks) {
    FOR_BOTH_EDITIONS(edition) {
        zmm_heap *const heap = heap_of(edition, 0);
        for (uint32_t round = 0; round < 4; round++) {
            char *blocks[6];
            for (uint32_t count = 0; count < 6; count++) {
                blocks[count] = pages_of(heap, 150);
                expect_fenced(heap, blocks[count]);
            }
            for (uint32_t count = 0; count < 6; count++) {
                zmm_heap_free(heap, blocks[count]);
            }
            EXPECT(!is_readable(blocks[5] + (size_t)(run_pages_of(heap, blocks[5]) - 1) * ZMM_PAGE_BYTES));
            EXPECT_HEALTHY(heap);
            zmm_heap_gc(heap);
            EXPECT_EQUAL(bits_count(heap->main_chunk->fence_map), 0);
            expect_no_fence_left(heap);
        }
        end_heap(heap);
        EXPECT_EQUAL(fence_raised_count, 0);
    }
}

/* The end of a request takes the fences of whatever still lives; the next one may use every page. */
CASE_WITH_TRIMS(a_request_leaves_no_fence) {
    zmm_heap *const heap = new_heap();
    for (uint32_t request = 0; request < 5; request++) {
        for (uint32_t count = 0; count < 5; count++) {
            expect_fenced(heap, pages_of(heap, 300));
        }
        EXPECT_EQUAL(fence_raised_count, 5);
        zmm_heap_shutdown(heap, false, true);
        EXPECT_EQUAL(fence_raised_count, 0);
        expect_no_fence_left(heap);
        zmm_heap_shutdown(heap, false, true);
    }
    pages_of(heap, 300);
    end_heap(heap);
    EXPECT_EQUAL(fence_raised_count, 0);
}

/* Chunks of storage handlers are not ours to protect: no fence, and no page for one. */
CASE_WITH_TRIMS(storage_handlers_get_no_fences) {
    ledger_install();
    ledger.keeps_fences_down = true;
    store_prepare();
    zmm_heap *const heap = store_heap(ZMM_EDITION_ZMM, &store_handlers);
    char *const block = alloc_of(heap, 100 * ZMM_PAGE_BYTES - TRIM_BYTES);
    EXPECT_EQUAL(run_pages_of(heap, block), 100);
    EXPECT_EQUAL(usage_of(heap).missing_fence_count, 0);
    zmm_heap_free(heap, block);
    end_heap(heap);
}

/* A kernel that raises no fence, and a process with too many of them: the block does without, and is counted. */
CASE_WITH_TRIMS(blocks_without_a_fence_are_counted) {
    ledger_install();
    zmm_heap *const heap = new_heap();
    ledger.keeps_fences_down = true;
    char *const block = pages_of(heap, 100);
    EXPECT_EQUAL(usage_of(heap).missing_fence_count, 1);
    EXPECT(is_readable(block + 101 * ZMM_PAGE_BYTES));
    EXPECT(zmm_heap_realloc(heap, block, 200 * ZMM_PAGE_BYTES) == block);
    EXPECT_EQUAL(usage_of(heap).missing_fence_count, 2);
    ledger.keeps_fences_down = false;
    fence_raised_count = ZMM_FENCES_MAX;
    EXPECT(zmm_heap_realloc(heap, block, 150 * ZMM_PAGE_BYTES) == block);
    EXPECT_EQUAL(usage_of(heap).missing_fence_count, 3);
    fence_raised_count = 0;
    EXPECT(zmm_heap_realloc(heap, block, 160 * ZMM_PAGE_BYTES) == block);
    expect_fenced(heap, block);
    zmm_heap_free(heap, block);
    EXPECT_HEALTHY(heap);
    end_heap(heap);
    ledger_expect_balanced(0);
}

/* A fence that the kernel will not lower is used by nobody: the block moves where it should have grown or shrunk, a freed one
 * leaves a page that waits, and its chunk is not used by the next request. */
CASE_WITH_TRIMS(fences_that_stay_up_are_left_alone) {
    for (volatile uint32_t fails_again = 0; fails_again < 2; fails_again++) {
        ledger_install();
        zmm_heap *const heap = new_heap();
        char *const longer = pages_of(heap, 100);
        ledger.keeps_fences_up = true;
        char *const grown = zmm_heap_realloc(heap, longer, 120 * ZMM_PAGE_BYTES);
        EXPECT(grown != longer && grown != NULL);
        EXPECT_HEALTHY(heap);
        char *const shrunk = zmm_heap_realloc(heap, grown, 90 * ZMM_PAGE_BYTES);
        EXPECT(shrunk != grown && shrunk != NULL);
        EXPECT_HEALTHY(heap);
        zmm_heap_free(heap, pages_of(heap, 300));
        zmm_heap_gc(heap);
        EXPECT_HEALTHY(heap);
        EXPECT_EQUAL(usage_of(heap).size_bytes, (91 + 1 + 3) * ZMM_PAGE_BYTES);
        char *const stranded = longer + 101 * ZMM_PAGE_BYTES;
        EXPECT(!is_readable(stranded));
        REPORT_OF(zmm_heap_free(heap, stranded));
        EXPECT_IN_REPORT("not a live slot");
        EXPECT_IN_REPORT("the block before the address was freed");
        EXPECT_EQUAL(zmm_heap_place(heap, stranded).kind, ZMM_PLACE_NONE);
        expect_no_fence_left(heap);
        ledger.failing = fails_again ? ledger.calls + 1 : 0; /* nor does the next request get a chunk of its own */
        ledger.failing_to = ledger.failing + 2;
        zmm_heap_shutdown(heap, false, true);
        EXPECT_HEALTHY(heap);
        EXPECT_EQUAL(usage_of(heap).size_bytes == 0, !fails_again);
        ledger.failing = 0;
        expect_no_fence_left(heap);
        ledger.keeps_fences_up = false;
        zmm_heap_shutdown(heap, false, true);
        EXPECT_EQUAL(usage_of(heap).size_bytes, 0);
        expect_no_fence_left(heap);
        end_heap(heap);
        ledger_expect_balanced(0);
        EXPECT_EQUAL(fence_raised_count, 0);
    }
}

/* The fence map is what the runs say. */
CASE_WITH_TRIMS(damaged_fence_maps_are_broken) {
    zmm_heap *const heap = new_heap();
    char *const block = pages_of(heap, 100);
    const uint32_t fence = page_of(heap, block) + run_pages_of(heap, block) - 1;
    uint64_t *const map = heap->main_chunk->fence_map;
    bits_assign(map, fence - 1, 1, true);
    EXPECT_BROKEN(heap, "FENCE-1");
    bits_assign(map, fence - 1, 1, false);
    bits_assign(map, fence + 1, 1, true);
    EXPECT_BROKEN(heap, "FENCE-1");
    bits_assign(map, fence + 1, 1, false);
    char *const small = pages_of(heap, 3);
    bits_assign(map, page_of(heap, small) + run_pages_of(heap, small) - 1, 1, true);
    EXPECT_BROKEN(heap, "FENCE-1");
    bits_assign(map, page_of(heap, small) + run_pages_of(heap, small) - 1, 1, false);
    EXPECT_HEALTHY(heap);
    end_heap(heap);
}

#if ZMM_GUARD_MODE
/* Where the handler of faults is installed, the report names the block before the fence. */
CASE_IN_DEBUG(faults_at_a_fence_are_told) {
    if (HAS_ADDRESS_SANITIZER) {
        return; /* it stops the access first */
    }
    zmm_heap *const heap = zmm_heap_startup(&(zmm_options){.guard_every = 1000000});
    zmm_heap_free(heap, alloc_of(heap, 10)); /* the first block is a guarded one */
    char *const block = pages_of(heap, 100);
    volatile char *const behind = block + 101 * ZMM_PAGE_BYTES;
    EXPECT_PANIC("written beyond its end", *behind = 1);
    EXPECT_PANIC("read beyond its end", (void)*behind);
    REPORT_OF(*behind = 1);
    EXPECT(seen_report.block == block && seen_report.block_is_live && !seen_report.has_values);
    EXPECT(seen_report.access_site != NULL && seen_report.alloc_site != NULL);
    EXPECT_IN_REPORT("(asked for 409600), live");
    REPORT_OF((void)*behind);
    EXPECT_IN_REPORT("the address lies behind the bytes that were asked for");
    end_heap(heap);
}
#endif
#endif
