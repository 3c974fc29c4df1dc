/* reports.c -- what a panic says: whose the address is, which block it lies in, what to do about it. */
#include "../storage.h"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>

#if ZMM_LEVEL > ZMM_LEVEL_FAST
static zmm_panic seen_report;
static char seen_text[1024];

/* What the panic of a call would say, without dying: the hook leaves by longjmp. */
#include <setjmp.h>
static jmp_buf report_target;
static void report_and_leave(zmm_heap *heap, const char *reason, const void *address, void *context) {
    (void)heap;
    (void)context;
    zmm_panic_report(&seen_report);
    EXPECT(seen_report.reason == reason && (seen_report.address == address || seen_report.address == NULL));
    zmm_panic_text(&seen_report, seen_text, sizeof(seen_text));
    longjmp(report_target, 1);
}
#define REPORT_OF(...)                                                                                                 \
    do {                                                                                                               \
        memset(&seen_report, 0, sizeof(seen_report));                                                                  \
        zmm_set_panic_hook(report_and_leave, NULL);                                                                    \
        if (setjmp(report_target) == 0) {                                                                              \
            __VA_ARGS__;                                                                                               \
            test_fail(__FILE__, __LINE__, "no panic");                                                                 \
        }                                                                                                              \
        zmm_set_panic_hook(NULL, NULL);                                                                                \
    } while (0)
#define EXPECT_IN_REPORT(part)                                                                                         \
    do {                                                                                                               \
        if (strstr(seen_text, part) == NULL) {                                                                         \
            test_fail(__FILE__, __LINE__, "\"%s\" is not in the report:\n%s", part, seen_text);                        \
        }                                                                                                              \
    } while (0)

/* For loops: what a loop counts is not kept across a jump into the same function. */
__attribute__((noinline)) static void report_of_panic(zmm_heap *heap, panic_reason reason, const void *address) {
    REPORT_OF(panic(heap, reason, address));
}
__attribute__((noinline)) static void report_of_free(zmm_heap *heap, void *block) {
    REPORT_OF(zmm_heap_free(heap, block));
}

/* Addresses that are not the allocator's are named by what is mapped there. */
CASE_WITH_GUARDS(reports_name_the_owner_of_foreign_addresses) {
    zmm_heap *const heap = new_heap();
    static char initialised[] = "written to the program's file";
    char on_the_stack[16];
    REPORT_OF(zmm_heap_free(heap, (void *)(uintptr_t)"constant"));
    EXPECT_IN_REPORT("a file's mapping");
    EXPECT_IN_REPORT("a constant is not freed");
    REPORT_OF(zmm_heap_free(heap, initialised));
    EXPECT_IN_REPORT("a static variable is not freed");
    REPORT_OF(zmm_heap_free(heap, (void *)(uintptr_t)64));
    EXPECT_IN_REPORT("nobody: nothing is mapped there");
    char *const mapped = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REPORT_OF(zmm_heap_free(heap, mapped));
    EXPECT_IN_REPORT("a mapping that no heap knows");
    REPORT_OF(zmm_heap_free(heap, mapped + 16));
    EXPECT_IN_REPORT("libc, by the look of it");
    if (!HAS_ADDRESS_SANITIZER) { /* it has a stack and a malloc of its own */
        REPORT_OF(zmm_heap_free(heap, on_the_stack));
        EXPECT_IN_REPORT("the stack");
        char *const from_libc = malloc(100);
        REPORT_OF(zmm_heap_free(heap, from_libc));
        EXPECT_IN_REPORT("this block came from libc malloc: free() it");
        free(from_libc);
    }
    char name[250];
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    const int file = memfd_create(name, 0); /* a line of the list of mappings that is longer than the reader's */
    EXPECT(file >= 0 && ftruncate(file, 4096) == 0);
    char *const long_name = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, file, 0);
    REPORT_OF(zmm_heap_free(heap, long_name));
    EXPECT_IN_REPORT("a file's mapping");
    struct rlimit files;
    EXPECT(getrlimit(RLIMIT_NOFILE, &files) == 0);
    const struct rlimit none = {0, files.rlim_max};
    EXPECT(setrlimit(RLIMIT_NOFILE, &none) == 0); /* the list cannot even be opened */
    REPORT_OF(zmm_heap_free(heap, mapped));
    EXPECT(setrlimit(RLIMIT_NOFILE, &files) == 0);
    EXPECT_IN_REPORT("nobody: nothing is mapped there");
}

/* Before there is any heap a foreign address is named all the same, and no heap is claimed to be concerned. */
CASE_WITH_GUARDS(reports_need_no_heap) {
    static char initialised[] = "written to the program's file";
    REPORT_OF(zmm_efree(initialised));
    EXPECT(seen_report.heap == NULL && ground.base == 0);
    EXPECT_IN_REPORT("not a block of this heap");
    EXPECT_IN_REPORT("a file's mapping");
    EXPECT(strstr(seen_text, "heap:   ") == NULL);
    REPORT_OF(zmm_efree((void *)(uintptr_t)64));
    EXPECT_IN_REPORT("nobody: nothing is mapped there");
    if (!HAS_ADDRESS_SANITIZER) {
        char *const from_libc = malloc(100);
        REPORT_OF(zmm_efree(from_libc));
        EXPECT_IN_REPORT("this block came from libc malloc: free() it");
        free(from_libc);
    }
    char *const block = alloc_of(new_heap(), 100);
    REPORT_OF(zmm_efree(block)); /* now there is a heap, but not this thread's current one */
    EXPECT(seen_report.heap == NULL);
    EXPECT_IN_REPORT("belongs to a heap 0x"); /* there is no current one that it could be another than */
    EXPECT_IN_REPORT("free it with the heap that it was allocated from");
}

static void *block_of_another_thread(void *size_bytes) {
    return malloc((size_t)size_bytes);
}

/* Blocks of libc that lie elsewhere than its first heap: another thread's, and aligned ones with a mapping of their own. What
 * only begins where such a heap would is not taken for one. */
CASE_WITH_GUARDS(reports_know_libc_s_blocks_outside_its_heap) {
    if (HAS_ADDRESS_SANITIZER) {
        return;
    }
    zmm_heap *const heap = new_heap();
    pthread_t thread;
    void *block;
    EXPECT(pthread_create(&thread, NULL, block_of_another_thread, (void *)(uintptr_t)40) == 0);
    EXPECT(pthread_join(thread, &block) == 0);
    report_of_free(heap, block);
    EXPECT_IN_REPORT("belongs to libc, by the look of it");
    EXPECT_IN_REPORT("this block came from libc malloc: free() it");
    char *aligned[12]; /* freed at the end, because glibc gives blocks of sizes that were freed no mapping any more */
    for (size_t index = 0; index < 12; index++) {
        aligned[index] = aligned_alloc((size_t)32 << index, 1u << 20);
        report_of_free(heap, aligned[index]);
        EXPECT_IN_REPORT("belongs to libc, by the look of it");
        EXPECT_IN_REPORT("a large block of libc malloc has a mapping of its own: free() it");
        report_of_free(heap, aligned[index] + 64);
        EXPECT_IN_REPORT("belongs to a mapping that no heap knows");
    }
    for (size_t index = 0; index < 12; index++) {
        free(aligned[index]);
    }
    uint64_t *const mapping = kernel_map_aligned(64 * MEBIBYTE, 64 * MEBIBYTE, PROT_READ | PROT_WRITE, MAP_NORESERVE);
    static const uint64_t heads[][4] = {{0, 0, 0, 0},        {0, 0, 8192, 8192},      {64, 0, 4096, 8192},
                                        {64, 0, 8192, 4096}, {64, 0, 8192, 68 << 20}, {64, 0, 8192, 8200}};
    for (size_t index = 0; index < sizeof(heads) / sizeof(heads[0]); index++) {
        memcpy(mapping, heads[index], sizeof(heads[0]));
        report_of_free(heap, (char *)mapping + 4096);
        EXPECT_IN_REPORT("belongs to a mapping that no heap knows");
    }
    static const uint64_t own_heads[][2] = {{0, 2},    {UINT64_MAX, 2}, {4081, 18}, {4080, 16},
                                            {4080, 2}, {4080, 26},      {4080, 18}};
    for (size_t index = 0; index < 7; index++) {
        memcpy(mapping, heads[0], sizeof(heads[0]));
        memcpy((char *)mapping + 8192 - 16, own_heads[index], 16);
        report_of_free(heap, (char *)mapping + 8192);
        EXPECT_IN_REPORT(index < 6 ? "belongs to a mapping that no heap knows" : "belongs to libc, by the look of it");
    }
    static const uint64_t odd_head[] = {4088, 10}; /* fits, but libc's blocks begin at multiples of 16 */
    memcpy((char *)mapping + 8192 - 8, odd_head, 16);
    report_of_free(heap, (char *)mapping + 8192 + 8);
    EXPECT_IN_REPORT("belongs to a mapping that no heap knows");
    munmap(mapping, 64 * MEBIBYTE);
}

/* Lines of the list of mappings, as the kernel writes them and cut short. */
CASE_WITH_GUARDS(lines_of_the_list_of_mappings_are_read) {
    diagnose_mapping mapping = {.found = false};
    EXPECT(!diagnose_line("1000-2000 rw-p 00000000 00:00 0    [heap]", 0x2000, &mapping));
    EXPECT(!diagnose_line("1000-2000 rw-p 00000000 00:00 0    [heap]", 0xfff, &mapping));
    EXPECT(diagnose_line("1000-2000 rw-p 00000000 00:00 0    [heap]", 0x1fff, &mapping));
    EXPECT(mapping.found && mapping.is_writable);
    EXPECT_TEXT(mapping.name, "[heap]");
    EXPECT(diagnose_line("1000-2000 r--p 00000000 00:00 0", 0x1000, &mapping));
    EXPECT(!mapping.is_writable);
    EXPECT_TEXT(mapping.name, "");
    EXPECT(diagnose_line("1000-2000 -w-p 0 0 0 /x", 0x1000, &mapping) && !mapping.is_writable);
    EXPECT(diagnose_line("1000-abcdef", 0x1000, &mapping) && !mapping.is_writable);
    EXPECT(diagnose_line("1000-2000~", 0x1000, &mapping));
    EXPECT(diagnose_line(
        "1000-2000 rw-p 0 0 0 /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 0x1000,
        &mapping));
    EXPECT_EQUAL(strlen(mapping.name), sizeof(mapping.name) - 1);
}

/* Addresses in a heap: the block they lie in, live or free, and a hint that fits. */
CASE_AT_RELEASE(reports_name_the_block_an_address_lies_in) {
    zmm_heap *const heap = new_heap();
    zmm_heap *const other = new_heap();
    char *const slot = alloc_of(heap, 24);
    char *const large = pages_of(heap, 3);
    char *const first = alloc_of(heap, 3 * MEBIBYTE);
    char *const second = alloc_of(heap, 4 * MEBIBYTE);
    REPORT_OF(zmm_heap_free(heap, slot + 8));
    EXPECT(seen_report.block == slot && seen_report.block_is_live && seen_report.bin_index == 2);
    EXPECT_IN_REPORT("the address lies inside a slot");
    EXPECT_IN_REPORT("page 1, slot 0 of bin 2; the address is 8 bytes behind its start");
    REPORT_OF(zmm_heap_free(heap, slot + 24 * 9));
    EXPECT(!seen_report.block_is_live && seen_report.slot_index == 9);
    EXPECT_IN_REPORT("a double free");
    REPORT_OF(zmm_heap_free(heap, slot + 24 * 170));
    EXPECT_IN_REPORT("behind the last slot of its run");
    REPORT_OF(zmm_heap_free(heap, large + 5000));
    EXPECT(seen_report.block == large && seen_report.block_bytes == 12288);
    EXPECT_EQUAL(seen_report.bin_index, -1);             /* what is no slot is of no bin */
    EXPECT_EQUAL(seen_report.requested_bytes, SIZE_MAX); /* this level does not keep what was asked for */
    EXPECT_IN_REPORT("; the address is 5000 bytes behind its start");
    EXPECT_EQUAL(seen_report.page_index, page_of(heap, large)); /* the block's first, not the address's own */
    EXPECT_IN_REPORT("inside a large block");
    REPORT_OF(zmm_heap_free(heap, large + 20000));
    EXPECT_IN_REPORT("the page is free");
    REPORT_OF(zmm_heap_free(heap, chunk_page(heap->main_chunk, 0)));
    EXPECT_IN_REPORT("the first page of a chunk holds no blocks");
    REPORT_OF(zmm_heap_free(heap, first + 4096));
    EXPECT(seen_report.block == first && seen_report.block_bytes == 3 * MEBIBYTE);
    REPORT_OF(zmm_heap_free(heap, second + 4096));
    EXPECT(seen_report.block == second && seen_report.mapping_index == 2);
    EXPECT_IN_REPORT("inside a huge block");
    REPORT_OF(zmm_heap_free(other, slot));
    EXPECT(seen_report.owner_heap == heap);
    EXPECT_IN_REPORT("belongs to another heap");
    EXPECT_IN_REPORT("free it with the heap that it was allocated from");
    char *const gone = alloc_of(other, 40);
    zmm_heap_shutdown(other, true, true);
    REPORT_OF(zmm_heap_free(heap, gone));
    EXPECT_IN_REPORT("no heap: the chunk is not in use");
    const page_word word = *word_at(heap, slot);
    REPORT_OF(*word_at(heap, slot) |= 0x1f; zmm_heap_free(heap, slot));
    EXPECT(seen_report.block == NULL); /* the page map is not believed */
    allow_mistakes(slot, 200);
    EXPECT(zmm_heap_strndup(heap, slot, 200) != NULL); /* nor is it asked for room */
    *word_at(heap, slot) = word;
    REPORT_OF(*word_at(heap, slot) |= PAGE_WORD_BACK_MASK; zmm_heap_block_size(heap, slot + 1));
    EXPECT(seen_report.block == NULL);
}

/* Whatever stands in the allocator's records: there is a report, and it tells of no block that it would have to believe in. */
CASE_WITH_GUARDS(reports_believe_no_record_that_was_written_to) {
    zmm_heap *const heap = new_heap();
    zmm_heap *const other = new_heap();
    char *const slot = alloc_of(heap, 900);
    char *const large = pages_of(heap, 3);
    char *const closed = mmap(NULL, 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    static _Alignas(4096) char open[8192];
    static _Alignas(4096) char posing[8192];
    ((zmm_heap *)(void *)posing)->main_chunk = other->main_chunk;
    void *const heaps[] = {(void *)0x4141414141414141, (void *)4096, closed, open, posing, (char *)heap + 8, slot};
    for (size_t index = 0; index < sizeof(heaps) / sizeof(heaps[0]); index++) {
        heap->main_chunk->heap = heaps[index];
        report_of_free(heap, large);
        EXPECT_IN_REPORT("belongs to a chunk whose record names no heap\n");
        EXPECT_IN_REPORT("look for a wild write");
        EXPECT(seen_report.block == NULL && seen_report.owner_heap == NULL);
    }
    heap->main_chunk->heap = heap;
    zmm_heap *const complaining[] = {heap, other, NULL};
    for (size_t index = 0; index < 3; index++) {
        for (page_word bit = 0; bit < 64; bit++) {
            char *const blocks[] = {slot, large};
            for (size_t block = 0; block < 2; block++) {
                *word_at(heap, blocks[block]) ^= (page_word)1 << bit;
                report_of_panic(complaining[index], PANIC_NOT_OURS, blocks[block]);
                const bool fits_by_chance = bit < 12 && walk_is_word(heap, *word_at(heap, blocks[block]));
                EXPECT(seen_report.block == NULL || fits_by_chance);
                EXPECT(seen_report.owner_heap == heap);
                *word_at(heap, blocks[block]) ^= (page_word)1 << bit;
            }
        }
    }
    const page_word slot_word = *word_at(heap, slot);
    *word_at(heap, slot) = page_word_small(heap->id, bin_of_size(320), 4); /* a run that would begin before the chunk */
    REPORT_OF(zmm_heap_block_size(heap, slot + 1));
    EXPECT(seen_report.block == NULL);
    *word_at(heap, slot) = slot_word;
    *word_at(heap, large + 8192) = PAGE_WORD_SMALL; /* in the middle of a run */
    report_of_free(heap, large + 8192);
    EXPECT(seen_report.block == NULL);
    *word_at(heap, large + 8192) = 0;
    *word_at(heap, large) = page_word_large(heap->id, ZMM_CHUNK_PAGES - 1); /* sealed, and beyond the chunk's end */
    report_of_panic(heap, PANIC_NOT_START, large);
    EXPECT(seen_report.block == NULL);
    *word_at(heap, large) = page_word_large(heap->id, 1); /* sealed, and does not reach the address */
    report_of_panic(heap, PANIC_NOT_START, large + 4096);
    EXPECT(seen_report.block == NULL);
    char *const huge = alloc_of(heap, 3 * MEBIBYTE);
    alloc_of(heap, 3 * MEBIBYTE);
    huge_record *const record = heap->huge_list->next;
    record->size_bytes = SIZE_MAX;
    report_of_free(heap, huge);
    EXPECT(seen_report.block == NULL && seen_report.owner_heap == heap);
    EXPECT_IN_REPORT("look for a wild write");
    char *const half = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT(mprotect(half + 4096, 4096, PROT_NONE) == 0);
    void *const nexts[] = {(void *)0x4141414141414140, closed, open + 1, half + 4096 - 8};
    for (size_t index = 0; index < 4; index++) {
        heap->huge_list->next = nexts[index];
        report_of_panic(heap, PANIC_NOT_OURS, huge + 8);
        EXPECT_IN_REPORT("belongs to a mapping that no heap knows");
    }
    report_of_panic(heap, PANIC_NOT_OURS, word_at(heap, slot));
    EXPECT_IN_REPORT("belongs to the allocator's own records\n");
    report_of_panic(heap, PANIC_NOT_OURS, heap->main_chunk->free_map);
    EXPECT_IN_REPORT("belongs to the allocator's own records\n");
}

/* What lies around another heap's block is read with that heap's key; a block that was freed is said to be, whoever gets it. */
CASE_WITH_GUARDS(reports_know_other_heaps_blocks_as_well) {
    zmm_heap *const heap = new_heap();
    zmm_heap *const other = new_heap();
    char *const block = zmm_heap_alloc(heap, 41);
    zmm_heap *const complaining[] = {other, NULL};
    for (size_t index = 0; index < 2; index++) {
        report_of_panic(complaining[index], PANIC_NOT_OURS, block);
        EXPECT(seen_report.block == block && seen_report.requested_bytes == (ZMM_TRIMS ? 41 : SIZE_MAX));
        EXPECT((seen_report.alloc_site != NULL) == ZMM_SITES);
        EXPECT_IN_REPORT(index == 0 ? "belongs to another heap 0x" : "belongs to a heap 0x");
        EXPECT_IN_REPORT("free it with the heap that it was allocated from");
    }
    report_of_panic(other, PANIC_MIXED, block);
    EXPECT_IN_REPORT("free it with efree() or zmm_heap_free()");
    zmm_heap_free(heap, block);
    report_of_panic(other, PANIC_MIXED, block);
    EXPECT((seen_report.free_site != NULL) == ZMM_SITES && !seen_report.block_is_live);
    EXPECT_IN_REPORT("the slot is free: the block was freed before");
    report_of_free(other, block);
    EXPECT_IN_REPORT("the slot is free: the block was freed before");
}

/* Each kind of damage has its hint; the report of a record shows expected and found. */
CASE_AT_RELEASE(reports_explain_each_kind_of_damage) {
    zmm_heap *const heap = new_heap();
    char *const slot = alloc_of(heap, 96);
    char *const tiny = alloc_of(heap, 8);
    char *const huge = alloc_of(heap, 3 * MEBIBYTE);
    static char elsewhere[64];
    report_of_panic(heap, PANIC_OVERRUN, slot);
    EXPECT_IN_REPORT("more was written than the block was asked for");
    report_of_panic(heap, PANIC_FREED_WRITTEN, slot);
    EXPECT_IN_REPORT("a pointer was used after its block was freed");
    report_of_panic(heap, PANIC_SIZE, slot);
    EXPECT_IN_REPORT("the size given to the sized free");
    report_of_panic(heap, PANIC_FREE_SLOT, slot);
    EXPECT(seen_report.has_values && !seen_report.block_is_live);
    EXPECT_IN_REPORT("written to after it was freed");
    EXPECT_IN_REPORT("expected:");
    report_of_panic(heap, PANIC_FREE_SLOT, tiny);
    EXPECT(!seen_report.has_values);
    report_of_panic(heap, PANIC_FREE_SLOT, elsewhere);
    report_of_panic(heap, PANIC_PAGE_MAP, slot);
    EXPECT_IN_REPORT("look for a wild write");
    report_of_panic(heap, PANIC_FREE_MAP, slot);
    EXPECT_IN_REPORT("look for a wild write");
    report_of_panic(heap, PANIC_CHUNK_RECORD, elsewhere);
    EXPECT_IN_REPORT("look for a wild write");
    report_of_panic(heap, PANIC_HUGE_RECORD, huge);
    EXPECT_IN_REPORT("look for a wild write");
    report_of_panic(heap, PANIC_OVERREAD, slot);
    EXPECT_IN_REPORT("the length given to strndup");
    REPORT_OF(heap->limit_bytes = 1; zmm_heap_alloc(heap, 5 * MEBIBYTE));
    EXPECT_EQUAL(seen_report.found, 1);
    EXPECT_EQUAL(seen_report.expected, SIZE_MAX >> 1);
    for (panic_reason reason = PANIC_LIST_ASTRAY; reason <= PANIC_LIST_LIVE; reason++) {
        report_of_panic(heap, reason, slot);
        EXPECT_IN_REPORT("a link was overwritten");
    }
    REPORT_OF(zmm_heap_free_sized(heap, slot, 100));
    EXPECT_IN_REPORT("expected:  96, found 100\n");
    REPORT_OF(zmm_heap_realloc2(heap, slot, 500, 200));
    EXPECT_IN_REPORT("expected:  96, found 200\n");
    report_of_panic(heap, PANIC_OVERRUN, slot); /* values are not left for the next report */
    EXPECT(!seen_report.has_values);
    report_of_panic(heap, PANIC_CHECK, "RUN-1");
    EXPECT_IN_REPORT("RUN-1");
    report_of_panic(NULL, PANIC_ASSERTION, "one == two");
    EXPECT_IN_REPORT("assertion failed");
    EXPECT_IN_REPORT("one == two");
    report_of_panic(NULL, PANIC_NOT_OURS, huge);
    EXPECT(seen_report.block == NULL);
    heap->huge_list->next = heap->huge_list; /* a circle does not hang the report */
    report_of_panic(heap, PANIC_NOT_OURS, elsewhere);
}

/* A list of spare chunks that ends too soon has no chunk to show, one that goes on has. */
CASE_WITH_GUARDS(reports_say_where_the_spare_chunks_end) {
    zmm_heap *const heap = new_heap();
    pages_of(heap, 300);
    heap->cached_count = 1;
    REPORT_OF(pages_of(heap, 300));
    EXPECT(seen_report.address == (const void *)&heap->cached_chunks);
    heap->cached_count = 0;
    heap->cached_chunks = heap->main_chunk;
    REPORT_OF(pages_of(heap, 300));
    EXPECT(seen_report.address == (const void *)heap->main_chunk);
}

/* strndup is given a length; what it would read beyond a block of this heap is a panic. */
CASE_AT_RELEASE(strndup_does_not_read_beyond_its_source) {
    zmm_heap *const heap = new_heap();
    char *const slot = alloc_of(heap, 100);
    char *const large = pages_of(heap, 3);
    char *const huge = alloc_of(heap, 3 * MEBIBYTE);
    memset(slot, 'a', 100);
    memset(large, 'b', 3 * 4096);
    EXPECT_EQUAL(strlen(zmm_heap_strndup(heap, slot, 100)), 100);
    EXPECT_EQUAL(zmm_heap_block_size(heap, slot), 112);
    EXPECT(zmm_heap_strndup(heap, slot + 100, 12) != NULL);
    REPORT_OF(zmm_heap_strndup(heap, slot, 113));
    REPORT_OF(zmm_heap_strndup(heap, slot + 100, 13));
    EXPECT(seen_report.address == slot + 100 && seen_report.has_values);
    EXPECT_EQUAL(seen_report.expected, 12);
    EXPECT_EQUAL(seen_report.found, 13);
    EXPECT(zmm_heap_strndup(heap, large + 4096, 4096) != NULL);
    EXPECT(zmm_heap_strndup(heap, huge + 3 * MEBIBYTE - 100, 100) != NULL);
    REPORT_OF(zmm_heap_strndup(heap, huge + 3 * MEBIBYTE - 100, 101));
    zmm_heap *const other = new_heap();
    allow_mistakes(slot, 150);
    EXPECT(zmm_heap_strndup(other, slot, 150) != NULL); /* another heap's: not ours to judge */
    EXPECT(zmm_heap_strndup(heap, "constant", 8) != NULL);
}
#endif
