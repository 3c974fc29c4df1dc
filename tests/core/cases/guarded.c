/* guarded.c -- level debug's guard mode: blocks on pages of their own, faults that become reports, checks every N calls. */
#include "../storage.h"

#if ZMM_GUARD_MODE
#include <sys/mman.h>

static zmm_heap *guarded_heap(uint32_t guard_every) {
    zmm_heap *const heap = zmm_heap_startup(&(zmm_options){.guard_every = guard_every});
    EXPECT(heap != NULL);
    return heap;
}
static const size_t guarded_sizes[] = {0, 1, 7, 8, 41, 100, 3072, 3073, 5000, 8192, 2000000, 3 * MEBIBYTE};
#define GUARDED_SIZE_COUNT (sizeof(guarded_sizes) / sizeof(guarded_sizes[0]))
#define OVER "written beyond its end"
#define UNDER "written before its start"

/* An access the compiler cannot foresee. */
static volatile char seen_byte;
static char *touch(char *address) {
    static volatile size_t opaque;
    return address + opaque;
}

/* Blocks are aligned as ever, have the size that was asked for, hold their bytes, and are counted as their class. */
CASE_IN_DEBUG(guarded_blocks_are_blocks) {
    zmm_heap *const heap = guarded_heap(1);
    for (size_t index = 0; index < GUARDED_SIZE_COUNT; index++) {
        const size_t size = guarded_sizes[index];
        const zmm_usage before = usage_of(heap);
        char *const block = alloc_of(heap, size);
        EXPECT(guard_has(block));
        EXPECT_EQUAL((uintptr_t)block % (size > ZMM_LARGE_BYTES_MAX ? ZMM_CHUNK_BYTES : size > 3072 ? 4096 : 8), 0);
        EXPECT_EQUAL(zmm_heap_block_size(heap, block), size);
        fill(block, size, 1);
        const zmm_place place = zmm_heap_place(heap, block);
        EXPECT(place.kind == ZMM_PLACE_HUGE && place.block_bytes == size);
        EXPECT(zmm_heap_place(heap, block + 1).kind == ZMM_PLACE_NONE);
        EXPECT(zmm_heap_owns(heap, block));
        EXPECT_EQUAL(usage_of(heap).size_bytes - before.size_bytes,
                     size <= 3072 ? bin_bytes[bin_of_size(size)] : huge_round(size));
        EXPECT_EQUAL(usage_of(heap).size_bytes - before.size_bytes,
                     usage_of(heap).real_size_bytes - before.real_size_bytes);
        EXPECT_HEALTHY(heap);
        char *const moved = zmm_heap_realloc(heap, block, size + 10);
        EXPECT(moved != block && is_filled(moved, size, 1));
        EXPECT(zmm_heap_realloc2(heap, moved, size + 20, size < 4 ? size : 4) != moved);
        char *const zeros = zmm_heap_calloc(heap, 1, size + 1);
        EXPECT(zeros[0] == 0 && zeros[size] == 0);
        zmm_heap_free(heap, zeros);
        EXPECT(!zmm_heap_owns(heap, zeros));
        zmm_heap_shutdown(heap, false, true);
        EXPECT_HEALTHY(heap);
        EXPECT_EQUAL(usage_of(heap).size_bytes, 0);
    }
    end_heap(heap);
}

static void count_guarded(void *context, const zmm_huge_view *huge) {
    *(size_t *)context += huge->size_bytes;
}

/* The visitor shows guarded blocks as mappings. */
CASE_IN_DEBUG(guarded_blocks_are_visited) {
    zmm_heap *const heap = guarded_heap(1);
    alloc_of(heap, 100);
    zmm_heap_free(heap, alloc_of(heap, 100));
    alloc_of(heap, 5000);
    size_t sum_bytes = 0;
    zmm_heap_visit(heap, &(zmm_visitor){.huge = count_guarded}, &sum_bytes);
    EXPECT_EQUAL(sum_bytes, 112 + 8192);
    EXPECT_BROKEN((heap->guard_count++, heap), "GUARD-1");
    heap->guard_count--;
    end_heap(heap);
}

/* The first byte that is out of bounds faults where the page ends, and is found when the block is freed where it does not. */
CASE_IN_DEBUG(guard_mode_stops_accesses_out_of_bounds) {
    for (size_t index = 0; index < GUARDED_SIZE_COUNT; index++) {
        zmm_heap *const heap = guarded_heap(1);
        const size_t size = guarded_sizes[index];
        char *const block = alloc_of(heap, size);
        EXPECT_PANIC(OVER, *touch(block + size) ^= 1; zmm_heap_free(heap, block));
        EXPECT_PANIC(UNDER, *touch(block - 1) ^= 1; zmm_heap_realloc(heap, block, 9));
        char *const end = (char *)((uintptr_t)(block + size + 4095) / 4096 * 4096);
        EXPECT_PANIC("read beyond its end", seen_byte = *touch(end));
        EXPECT_PANIC("read before its start", seen_byte = *touch((char *)((uintptr_t)block / 4096 * 4096 - 1)));
        EXPECT_PANIC(OVER, *touch(block + size) ^= 1; zmm_heap_shutdown(heap, false, true));
    }
}

/* A freed block's pages are inaccessible, in this request and the next, and it is not freed twice. */
CASE_IN_DEBUG(guard_mode_stops_uses_after_free) {
    zmm_heap *const heap = guarded_heap(1);
    for (size_t index = 1; index < GUARDED_SIZE_COUNT; index++) {
        char *const block = alloc_of(heap, guarded_sizes[index]);
        zmm_heap_free(heap, block);
        EXPECT_PANIC("a freed block was written to", *touch(block) = 1);
        EXPECT_PANIC("a freed block was read", seen_byte = *touch(block));
        EXPECT_PANIC("not a live slot", zmm_heap_free(heap, block));
        EXPECT_PANIC("not a live slot", zmm_heap_realloc(heap, block, 10));
        EXPECT_PANIC("not a live slot", zmm_heap_block_size(heap, block));
    }
    char *const last = alloc_of(heap, 100);
    EXPECT_PANIC("not the start of a block", zmm_heap_free(heap, last + 8));
    EXPECT_PANIC("not the start of a block", zmm_heap_free(heap, last + 8192));
    zmm_heap *const other = guarded_heap(1);
    EXPECT_PANIC("not a block of this heap", zmm_heap_free(other, last));
    zmm_heap_shutdown(heap, true, true);
    EXPECT_PANIC("a freed block was read", seen_byte = *touch(last));
    EXPECT_PANIC("not a live slot", zmm_heap_free(other, last));
    end_heap(other);
}

/* The place of an access is told by the report of that access alone: a hook may leave, and the next panic is of a call. */
CASE_IN_DEBUG(the_place_of_an_access_is_not_left_behind) {
    zmm_heap *const heap = guarded_heap(1);
    char *const block = alloc_of(heap, 8192);
    REPORT_OF(*touch(block + 8192) = 1);
    EXPECT(seen_report.access_site != NULL);
    REPORT_OF(zmm_heap_free(heap, block + 8));
    EXPECT(seen_report.access_site == NULL);
    zmm_heap *const plain = guarded_heap(ZMM_OFF);
    char *const text = alloc_of(plain, 40);
    REPORT_OF(zmm_heap_strndup(plain, text, 4000));
    EXPECT(seen_report.access_site == NULL);
    EXPECT_IN_REPORT("the length given to strndup");
}

/* What was written round a block is told, and what was there before. */
CASE_IN_DEBUG(guard_mode_tells_what_was_written) {
    zmm_heap *const heap = guarded_heap(1);
    for (int offset = -1; offset <= 41; offset += 42) {
        char *const block = alloc_of(heap, 41);
        allow_mistakes(block - 1, 48);
        const uint8_t was = (uint8_t)block[offset];
        block[offset] ^= 1;
        report_of_free(heap, block);
        EXPECT(seen_report.has_values && seen_report.expected == was && seen_report.found == (was ^ 1));
        block[offset] ^= 1;
    }
}

/* A chunk whose record was written to tells nothing of a fault in it. */
CASE_IN_DEBUG(faults_in_chunks_of_no_heap_are_passed_on) {
    guarded_heap(1);
    zmm_heap *const heap = guarded_heap(ZMM_OFF);
    heap->main_chunk->heap = (zmm_heap *)0x4141414141414000;
    char *const head = chunk_page(heap->main_chunk, 0);
    allow_mistakes(head, 8);
    IN_CHILD(child, signal(SIGSEGV, SIG_DFL); *touch(head) = 1);
    EXPECT(WIFSIGNALED(child.wait_status));
}

/* Chunks, too: their first pages, and those that are not in use any more. */
CASE_IN_DEBUG(faults_in_chunks_are_reported) {
    guarded_heap(1);
    zmm_heap *const heap = guarded_heap(ZMM_OFF);
    char *const block = alloc_of(heap, 100);
    EXPECT(!guard_has(block));
    char *const head = chunk_page(heap->main_chunk, 0);
    allow_mistakes(head, 8);
    EXPECT_PANIC(OVER, *touch(head) = 1);
    EXPECT_PANIC("read beyond its end", seen_byte = *touch(head));
    zmm_heap_shutdown(heap, true, true);
    allow_mistakes(block, 8);
    EXPECT_PANIC("a freed block was written to", *touch(block) = 1);
    EXPECT_PANIC("a freed block was read", seen_byte = *touch(block));
}

static void earlier_handler(int signal_number) {
    static const char text[] = "earlier handler\n";
    const ssize_t written = write(STDERR_FILENO, text, sizeof(text) - 1);
    (void)written;
    _exit(signal_number == SIGSEGV ? 7 : 8);
}
static void earlier_action(int signal_number, siginfo_t *info, void *context) {
    (void)info, (void)context;
    earlier_handler(signal_number);
}

/* A fault that is not ours goes to whoever handled the signal before, or ends the process as it would have. */
CASE_IN_DEBUG(other_faults_are_passed_on) {
    char *const elsewhere = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT_EXIT(7, "earlier handler\n", signal(SIGSEGV, earlier_handler); guarded_heap(1); *touch(elsewhere) = 1);
    EXPECT_EXIT(7, "earlier handler\n", signal(SIGSEGV, earlier_handler); guarded_heap(1); raise(SIGSEGV));
    EXPECT_EXIT(7, "earlier handler\n",
                sigaction(SIGSEGV, &(struct sigaction){.sa_sigaction = earlier_action, .sa_flags = SA_SIGINFO}, NULL);
                guarded_heap(1); *touch(elsewhere) = 1);
    IN_CHILD(child, signal(SIGSEGV, SIG_DFL); guarded_heap(1); *touch(elsewhere) = 1);
    EXPECT(WIFSIGNALED(child.wait_status) && WTERMSIG(child.wait_status) == SIGSEGV);
    IN_CHILD(unused, signal(SIGSEGV, SIG_DFL); guarded_heap(1); alloc_of(guarded_heap(1), 9);
             *touch((char *)guard_range.base + ZMM_PAGE_BYTES * 1000) = 1);
    EXPECT(WIFSIGNALED(unused.wait_status) && WTERMSIG(unused.wait_status) == SIGSEGV);
}

/* One of N, not every Nth; a heap with storage of its own never; the environment asks where the options do not. */
CASE_IN_DEBUG(guard_mode_is_sampled) {
    zmm_heap *const heap = guarded_heap(10);
    uint32_t guarded = 0, gaps[64] = {0}, gap = 0;
    for (uint32_t index = 0; index < 2000; index++) {
        gap++;
        if (guard_has(alloc_of(heap, 24))) {
            guarded++;
            gaps[gap]++;
            gap = 0;
        }
    }
    EXPECT(guarded > 100 && guarded < 400);
    EXPECT(gaps[3] > 0 && gaps[16] > 0);
    end_heap(heap);
    store_prepare();
    zmm_heap *const stored = zmm_heap_startup(&(zmm_options){.handlers = &store_handlers, .guard_every = 1});
    EXPECT(!guard_has(alloc_of(stored, 24)));
    end_heap(stored);
    setenv("ZMM_GUARD", "all", 1);
    zmm_heap *const asked = new_heap();
    EXPECT(guard_has(alloc_of(asked, 24)));
    end_heap(asked);
    zmm_heap *const off = guarded_heap(ZMM_OFF);
    EXPECT(!guard_has(alloc_of(off, 24)));
    end_heap(off);
}

/* Over the limit, and where nothing more can be guarded, blocks are ordinary ones, and refused as ever. */
CASE_IN_DEBUG(guard_mode_keeps_the_limit) {
    zmm_heap *const heap = zmm_heap_startup(&(zmm_options){.guard_every = 1, .limit_bytes = 4 * MEBIBYTE});
    size_t total_bytes = 0;
    while (zmm_heap_alloc(heap, 3000) != NULL) {
        total_bytes += 3072;
    }
    EXPECT(total_bytes > 3 * MEBIBYTE && total_bytes <= 4 * MEBIBYTE);
    EXPECT(usage_of(heap).real_size_bytes <= 4 * MEBIBYTE);
    EXPECT_HEALTHY(heap);
    EXPECT(zmm_heap_alloc(heap, SIZE_MAX - 5) == NULL);
    char *const block = zmm_heap_realloc(heap, NULL, 8);
    EXPECT(block == NULL || zmm_heap_realloc(heap, block, 8 * MEBIBYTE) == NULL);
    end_heap(heap);
}

/* No more live guarded blocks than the kernel has mappings for. */
CASE_IN_DEBUG(guarded_blocks_are_not_without_number) {
    zmm_heap *const heap = guarded_heap(1);
    guard_live_count = ZMM_GUARD_LIVE_MAX - 2;
    char *const first = alloc_of(heap, 24);
    char *const second = alloc_of(heap, 24);
    char *const third = alloc_of(heap, 24);
    EXPECT(guard_has(first) && guard_has(second) && !guard_has(third));
    zmm_heap_free(heap, first);
    EXPECT(guard_has(alloc_of(heap, 24)));
    guard_live_count -= ZMM_GUARD_LIVE_MAX - 2;
    end_heap(heap);
}

/* When the range is used up its dead addresses serve again, and live blocks keep theirs. */
CASE_IN_DEBUG(guarded_addresses_come_round) {
    ledger_install();
    ledger.reserve_bytes_max = (size_t)120 * MEBIBYTE;
    zmm_heap *const heap = guarded_heap(1);
    EXPECT(guard_range.page_count < ZMM_GUARD_PAGES_MAX);
    char *const kept = alloc_of(heap, 24);
    char *const kept_too = alloc_of(heap, 3 * MEBIBYTE);
    fill(kept, 24, 1);
    zmm_heap *const other = guarded_heap(1);
    char *const of_other = alloc_of(other, 24);
    zmm_heap_free(other, of_other);
    char *const dead = alloc_of(heap, 24);
    zmm_heap_free(heap, dead);
    for (uint32_t count = 0; count < guard_range.page_count; count++) {
        zmm_heap_free(heap, alloc_of(heap, count % 100 == 0 ? 20000 : 24));
    }
    EXPECT(is_filled(kept, 24, 1) && guard_has(alloc_of(heap, 24)));
    EXPECT_HEALTHY(heap);
    EXPECT_HEALTHY(other);
    EXPECT(!guard_has(alloc_of(heap, (size_t)guard_range.page_count * 4096 / 3))); /* too much of the range for one */
    zmm_heap_free(heap, kept_too);
    end_heap(other);
    end_heap(heap);
}

/* Where the kernel gives nothing, guard mode steps aside. */
CASE_IN_DEBUG(guard_mode_steps_aside) {
    ledger_install();
    zmm_heap *const heap = guarded_heap(1);
    ledger.failing = ledger.calls + 1;
    EXPECT(!guard_has(alloc_of(heap, 24))); /* no records */
    EXPECT(guard_has(alloc_of(heap, 24)));
    ledger.failing = ledger.calls + 1;
    EXPECT(!guard_has(alloc_of(heap, 24))); /* no pages */
    EXPECT_HEALTHY(heap);
    end_heap(heap);
    IN_CHILD(child, memset(&guard_range, 0, sizeof(guard_range)); ledger.reserve_bytes_max = 4096;
             EXPECT(!guard_has(alloc_of(guarded_heap(1), 24))));
    EXPECT_EQUAL(child.wait_status, 0);
}

/* Reports have the whole story: what was asked for, who allocated, who freed, who touched it. */
CASE_IN_DEBUG(reports_of_guarded_blocks_have_all_sites) {
    zmm_heap *const heap = guarded_heap(1);
    char *const block = alloc_of(heap, 41);
    zmm_heap_free(heap, block);
    IN_CHILD(child, *touch(block + 3) = 1);
    char expected[600];
    const guard_page *const record = guard_find(block);
    snprintf(
        expected, sizeof(expected),
        "zmm: heap corruption: a freed block was written to\n"
        "  address:   %p, belongs to this heap %p\n"
        "  heap:      %p\n"
        "  block:     %p, 41 bytes (asked for 41), free, mapping 1, page 0; the address is 3 bytes behind its start\n"
        "  allocated: %p\n"
        "  freed:     %p\n"
        "  accessed:  0x",
        (void *)(block + 3), (void *)heap, (void *)heap, (void *)block, record->alloc_site, record->free_site);
    EXPECT(record->alloc_site != NULL && record->free_site != NULL);
    EXPECT(strncmp(child.text, expected, strlen(expected)) == 0);
    EXPECT(strstr(child.text, "\n  hint:      the block was freed before\n") != NULL);
}

/* Every so-manieth call looks at everything; damage is found without the damaged block being touched. */
CASE_IN_DEBUG(the_heap_is_checked_every_so_often) {
    for (uint32_t guard_every = 1; guard_every < 3; guard_every++) {
        zmm_heap *const heap =
            zmm_heap_startup(&(zmm_options){.check_every = 10, .guard_every = guard_every == 1 ? 1 : ZMM_OFF});
        char *const block = alloc_of(heap, 41);
        allow_mistakes(block + 41, 1);
        EXPECT_PANIC(OVER, block[41] ^= 1; for (uint32_t count = 0; count < 9; count++) alloc_of(heap, 8));
        EXPECT_EXIT(0, "", block[41] ^= 1; for (uint32_t count = 0; count < 8; count++) alloc_of(heap, 8));
        EXPECT_PANIC("the heap is broken", heap->guard_count++;
                     for (uint32_t count = 0; count < 9; count++) zmm_heap_free(heap, NULL));
    }
}
#endif
