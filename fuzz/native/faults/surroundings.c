/* surroundings.c -- the operations of a script on the heap as a whole, and on the C library's allocator beside it. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "operations.h"
#include "shared.h"

/* ---- the heap ---- */

static void op_heap(uint32_t heap, uint32_t count, char **words) {
    (void)count;
    (void)words;
    need(target->zendmm, "heaps");
    target->open(heap);
}

static void op_heap_end(uint32_t heap, uint32_t count, char **words) {
    (void)count;
    (void)words;
    need(target->zendmm, "heaps");
    target->close(heap);
    for (uint32_t index = 0; index < blocks_count(); index++) {
        struct block *block = blocks_first() + index;
        block->live = block->live && block->heap != heap;
    }
}

static void op_limit(uint32_t heap, uint32_t count, char **words) {
    (void)count;
    need(target->set_limit != NULL, "limit");
    uint64_t limit = evaluate(words[0]);
    if (!target->set_limit(heap, limit)) {
        report_end(FLAG_BROKEN, "the target refuses a limit of %" PRIu64 " bytes", limit);
    }
    blocks_set_limit(limit);
}

static void op_gc(uint32_t heap, uint32_t count, char **words) {
    (void)count;
    (void)words;
    need(target->gc != NULL, "collection");
    (void)target->gc(heap);
}

static void op_request_end(uint32_t heap, uint32_t count, char **words) {
    (void)count;
    (void)words;
    need(target->request_end != NULL, "requests");
    target->request_end(heap);
    blocks_forget(heap == 0);
}

/* ---- the C library's allocator, where the target is another one ---- */

static void need_other_allocator(void) {
    need(target->zendmm, "second allocator beside it");
}

/* Its blocks are foreign to the target, and the target must not hand them out. */
static void enter_foreign(const char *name, void *answer, uint64_t size) {
    if (answer == NULL) {
        report_end(FLAG_BROKEN, "the C library refuses %" PRIu64 " bytes", size);
    }
    memset(answer, 0x55, size < 4096 ? size : 4096);
    blocks_add_foreign("a block of the C library", (uint64_t)(uintptr_t)answer, size);
    name_set(name, 0, (uint64_t)(uintptr_t)answer, NULL);
}

static void op_libc_alloc(uint32_t heap, uint32_t count, char **words) {
    (void)heap;
    (void)count;
    need_other_allocator();
    uint64_t size = evaluate(words[1]);
    enter_foreign(words[0], malloc(size), size);
}

static void op_libc_aligned(uint32_t heap, uint32_t count, char **words) {
    (void)heap;
    (void)count;
    need_other_allocator();
    void *block = NULL;
    uint64_t size = evaluate(words[2]);
    (void)posix_memalign(&block, evaluate(words[1]), size);
    enter_foreign(words[0], block, size);
}

static void op_libc_strdup(uint32_t heap, uint32_t count, char **words) {
    (void)heap;
    (void)count;
    need_other_allocator();
    static const char sentence[] = "a sentence that the C library copies";
    enter_foreign(words[0], strdup(sentence), sizeof sentence);
}

/* A block that the C library gives although it belongs to the target. */
static void check_foreign_answer(const void *answer, uint64_t size) {
    const struct block *owner = answer != NULL ? block_at((uint64_t)(uintptr_t)answer) : NULL;
    if (owner != NULL) {
        report_evidence(EVIDENCE_OVERLAP, "the C library gives %" PRIu64 " bytes inside a live block", size);
    }
}

static void op_libc_probe(uint32_t heap, uint32_t count, char **words) {
    (void)heap;
    (void)count;
    need_other_allocator();
    uint64_t size = evaluate(words[0]);
    check_foreign_answer(malloc(size), size);
}

static void op_libc_realloc(uint32_t heap, uint32_t count, char **words) {
    (void)heap;
    (void)count;
    need_other_allocator();
    void *place = as_pointer(words[0]);
    uint64_t size = evaluate(words[1]);
    forget(words[0]);
    void *answer = realloc(place, size);
    check_foreign_answer(answer, size);
}

static void op_libc_free(uint32_t heap, uint32_t count, char **words) {
    (void)heap;
    (void)count;
    need_other_allocator();
    void *place = as_pointer(words[0]);
    free(place);
}

const struct operation surroundings[] = {
    {"heap", 0, 0, op_heap},
    {"heap_end", 0, 0, op_heap_end},
    {"limit", 1, 1, op_limit},
    {"gc", 0, 0, op_gc},
    {"request_end", 0, 0, op_request_end},
    {"libc_alloc", 2, 2, op_libc_alloc},
    {"libc_aligned", 3, 3, op_libc_aligned},
    {"libc_strdup", 1, 1, op_libc_strdup},
    {"libc_realloc", 2, 2, op_libc_realloc},
    {"libc_free", 1, 1, op_libc_free},
    {"libc_probe", 1, 1, op_libc_probe},
    {NULL, 0, 0, NULL},
};
