/* allocations.c -- the operations of a script that call the allocator, or another one. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "operations.h"
#include "shared.h"

enum { PAIR_BLOCKS = 256, ALLOCS_MAX = 8192 };

static void need(bool there, const char *what)
{
    if (!there) {
        report_end(FLAG_NOT_APPLICABLE, "the target has no %s", what);
    }
}

static void *as_pointer(const char *expression)
{
    return (void *)(uintptr_t)evaluate(expression);
}

static void remember_size(uint64_t size)
{
    if (detonation_size == 0) {
        detonation_size = size;
    }
}

/* Gives a name to what was handed out; a refused name is 0. */
static void name_it(const char *name, uint32_t index, struct block *block)
{
    name_set(name, index, block != NULL ? block->address : 0, block);
}

/* ---- allocating ---- */

static void op_alloc(uint32_t heap, uint32_t count, char **words)
{
    (void)count;
    uint64_t size = evaluate(words[1]);
    remember_size(size);
    name_it(words[0], 0, block_enter(heap, target->alloc(heap, size), size));
}

static void op_calloc(uint32_t heap, uint32_t count, char **words)
{
    (void)count;
    uint64_t elements = evaluate(words[1]);
    uint64_t size = evaluate(words[2]);
    uint64_t total;
    if (__builtin_mul_overflow(elements, size, &total)) {
        total = UINT64_MAX;
    }
    name_it(words[0], 0, block_enter(heap, target->calloc(heap, elements, size), total));
}

/* elements * size + offset; the most there is when it overflows, as that is what the caller believes to hold. */
static uint64_t product(uint64_t elements, uint64_t size, uint64_t offset)
{
    uint64_t total;
    return __builtin_mul_overflow(elements, size, &total) || __builtin_add_overflow(total, offset, &total) ? UINT64_MAX
                                                                                                          : total;
}

static void op_safe_alloc(uint32_t heap, uint32_t count, char **words)
{
    (void)count;
    need(target->safe_alloc != NULL, "allocation of a product");
    uint64_t elements = evaluate(words[1]);
    uint64_t size = evaluate(words[2]);
    uint64_t offset = evaluate(words[3]);
    name_it(words[0], 0,
            block_enter(heap, target->safe_alloc(heap, elements, size, offset), product(elements, size, offset)));
}

static void op_aligned(uint32_t heap, uint32_t count, char **words)
{
    (void)count;
    need(target->aligned != NULL, "aligned allocation");
    uint64_t alignment = evaluate(words[1]);
    uint64_t size = evaluate(words[2]);
    struct block *block = block_enter(heap, target->aligned(heap, alignment, size), size);
    name_it(words[0], 0, block);
    if (block != NULL && (alignment & (alignment - 1)) != 0) {
        report_evidence(EVIDENCE_SHORT_ALLOC, "an alignment of %" PRIu64 " was granted", alignment);
    }
}

static void op_allocs(uint32_t heap, uint32_t count, char **words)
{
    (void)count;
    uint64_t elements = evaluate(words[1]);
    uint64_t size = evaluate(words[2]);
    remember_size(size);
    if (elements > ALLOCS_MAX) {
        script_error("allocs makes at most %d blocks", ALLOCS_MAX);
    }
    static void *answers[ALLOCS_MAX];
    /* All of them before any is written to, which is when a broken list shows itself most clearly. */
    for (uint32_t index = 0; index < elements; index++) {
        answers[index] = target->alloc(heap, size);
    }
    for (uint32_t index = 0; index < elements; index++) {
        name_it(words[0], index, block_enter(heap, answers[index], size));
    }
}

/* The closest two of 256 blocks, the lower one first; of equally close ones those in the middle. */
static void op_pair(uint32_t heap, uint32_t count, char **words)
{
    (void)count;
    uint64_t size = evaluate(words[2]);
    remember_size(size);
    struct block *blocks[PAIR_BLOCKS];
    for (uint32_t index = 0; index < PAIR_BLOCKS; index++) {
        blocks[index] = block_enter(heap, target->alloc(heap, size), size);
        if (blocks[index] == NULL) {
            report_end(FLAG_BROKEN, "the target refuses 256 blocks of %" PRIu64 " bytes", size);
        }
    }
    struct block *lower = NULL;
    struct block *upper = NULL;
    uint64_t best = UINT64_MAX;
    for (uint32_t turn = 0; turn < PAIR_BLOCKS; turn++) {
        struct block *first = blocks[(turn + PAIR_BLOCKS / 2) % PAIR_BLOCKS];
        for (uint32_t other = 0; other < PAIR_BLOCKS; other++) {
            if (blocks[other]->address > first->address && blocks[other]->address - first->address < best) {
                best = blocks[other]->address - first->address;
                lower = first;
                upper = blocks[other];
            }
        }
    }
    name_it(words[0], 0, lower);
    name_it(words[1], 0, upper);
}

/* Allocates until a block comes to the address, which it usually does when the slot was just freed. */
static void op_until(uint32_t heap, uint32_t count, char **words)
{
    (void)count;
    uint64_t size = evaluate(words[1]);
    uint64_t wanted = evaluate(words[2]);
    uint64_t tries = evaluate(words[3]);
    for (uint64_t done = 0; done < tries; done++) {
        struct block *block = block_enter(heap, target->alloc(heap, size), size);
        name_it(words[0], 0, block);
        if (block != NULL && block->address == wanted) {
            return;
        }
    }
}

/* COUNT allocations of SIZE, freed again at once, for a heap that has moved on. */
static void op_churn(uint32_t heap, uint32_t count, char **words)
{
    (void)count;
    uint64_t turns = evaluate(words[0]);
    uint64_t size = evaluate(words[1]);
    for (uint64_t turn = 0; turn < turns; turn++) {
        void *first = target->alloc(heap, size);
        void *second = target->alloc(heap, size);
        target->free(heap, first);
        target->free(heap, second);
    }
}

/* Many small blocks that are not watched one by one: their sum is. */
static void op_grow(uint32_t heap, uint32_t count, char **words)
{
    (void)count;
    uint64_t blocks = evaluate(words[0]);
    uint64_t size = evaluate(words[1]);
    uint64_t total = 0;
    for (uint64_t index = 0; index < blocks; index++) {
        if (target->alloc(heap, size) == NULL) {
            report->refused_count++;
            report->flags |= FLAG_REFUSED;
            return;
        }
        total += size;
        if (blocks_limit() != 0 && total > blocks_limit()) {
            report_evidence(EVIDENCE_LIMIT_BYPASS, "%" PRIu64 " bytes are live under a limit of %" PRIu64, total,
                            blocks_limit());
            return;
        }
    }
}

/* ---- resizing ---- */

/* What lies behind a block and belongs to another one must not come along in a copy. */
static void check_copied(const struct block *block, const struct block *old, uint64_t from, uint64_t to)
{
    uint64_t candidates = 0;
    uint64_t equal = 0;
    for (uint64_t offset = from; offset < to; offset++) {
        const struct block *owner = block_at(old->address + offset);
        if (owner != NULL && owner != old && owner != block) {
            const uint8_t *byte = (const uint8_t *)(uintptr_t)(block->address + offset);
            candidates++;
            equal += *byte == block_byte(owner, old->address + offset - owner->address);
        }
    }
    if (equal * 2 > candidates) {
        report_evidence(EVIDENCE_LEAK, "%" PRIu64 " bytes of other blocks were copied", equal);
    }
}

static struct block *finish_realloc(uint32_t heap, void *answer, uint64_t size, struct block *old, bool old_was_live)
{
    struct block *block = block_enter_bare(heap, answer, size);
    if (block == NULL) {
        if (old != NULL && old_was_live) {
            old->live = true;
        }
        return NULL;
    }
    if (old_was_live) {
        /* The contents must have come along. */
        struct block moved = *old;
        moved.address = block->address;
        moved.size = old->size < block->size ? old->size : block->size;
        block_check(&moved);
    }
    return block;
}

static void op_realloc(uint32_t heap, uint32_t count, char **words)
{
    (void)count;
    void *place = as_pointer(words[1]);
    uint64_t size = evaluate(words[2]);
    struct block *old = name_block(words[1]);
    bool old_was_live = old != NULL && old->live;
    void *answer = target->realloc(heap, place, size);
    if (old != NULL) {
        old->live = false;
    }
    struct block *block = finish_realloc(heap, answer, size, old, old_was_live);
    if (block != NULL) {
        block_fill(block);
    }
    name_it(words[0], 0, block);
}

static void op_realloc2(uint32_t heap, uint32_t count, char **words)
{
    (void)count;
    need(target->realloc2 != NULL, "realloc with a copy size");
    void *place = as_pointer(words[1]);
    uint64_t size = evaluate(words[2]);
    uint64_t copy = evaluate(words[3]);
    struct block *old = name_block(words[1]);
    if (old == NULL) {
        script_error("%s is no block", words[1]);
    }
    uint64_t usable = old->usable;
    void *answer = target->realloc2(heap, place, size, copy);
    old->live = false;
    struct block *block = block_enter_bare(heap, answer, size);
    if (block != NULL) {
        check_copied(block, old, usable, copy < size ? copy : size);
        block_fill(block);
    }
    name_it(words[0], 0, block);
}

static void op_safe_realloc(uint32_t heap, uint32_t count, char **words)
{
    (void)count;
    need(target->safe_realloc != NULL, "reallocation of a product");
    void *place = as_pointer(words[1]);
    struct block *old = name_block(words[1]);
    bool old_was_live = old != NULL && old->live;
    uint64_t elements = evaluate(words[2]);
    uint64_t size = evaluate(words[3]);
    uint64_t offset = evaluate(words[4]);
    void *answer = target->safe_realloc(heap, place, elements, size, offset);
    if (old != NULL) {
        old->live = false;
    }
    struct block *block = finish_realloc(heap, answer, product(elements, size, offset), old, old_was_live);
    if (block != NULL) {
        block_fill(block);
    }
    name_it(words[0], 0, block);
}

static void op_strndup(uint32_t heap, uint32_t count, char **words)
{
    (void)count;
    need(target->strndup != NULL, "strndup of its own");
    const struct block *old = name_block(words[1]);
    uint64_t length = evaluate(words[2]);
    void *answer = target->strndup(heap, as_pointer(words[1]), length);
    struct block *block = block_enter_bare(heap, answer, length);
    if (block != NULL) {
        if (old != NULL && block->size == length) {
            check_copied(block, old, old->usable, length);
        }
        block_fill(block);
    }
    name_it(words[0], 0, block);
}

/* ---- freeing ---- */

/* A block dies by its own name only: freed through a stale or crooked pointer, its owner still believes in it. */
static void forget(const char *expression)
{
    struct block *block = name_block(expression);
    if (block != NULL) {
        block->live = false;
    }
}

static void op_free(uint32_t heap, uint32_t count, char **words)
{
    (void)count;
    void *place = as_pointer(words[0]);
    forget(words[0]);
    target->free(heap, place);
}

static void op_free_all(uint32_t heap, uint32_t count, char **words)
{
    (void)count;
    uint32_t elements = name_count(words[0]);
    for (uint32_t index = 0; index < elements; index++) {
        char element[2 * NAME_BYTES];
        (void)snprintf(element, sizeof element, "%.20s[%u]", words[0], index);
        struct block *block = name_block(element);
        if (block != NULL && block->live) {
            block->live = false;
            target->free(heap, (void *)(uintptr_t)block->address);
        }
    }
}

static void op_free_sized(uint32_t heap, uint32_t count, char **words)
{
    (void)count;
    need(target->free_sized != NULL, "sized free");
    void *place = as_pointer(words[0]);
    uint64_t size = evaluate(words[1]);
    forget(words[0]);
    target->free_sized(heap, place, size);
}

static void op_free_large(uint32_t heap, uint32_t count, char **words)
{
    (void)count;
    need(target->free_large != NULL, "sized free of large blocks");
    void *place = as_pointer(words[0]);
    uint64_t size = evaluate(words[1]);
    forget(words[0]);
    target->free_large(heap, place, size);
}

static void op_block_size(uint32_t heap, uint32_t count, char **words)
{
    (void)count;
    need(target->block_size != NULL, "size query");
    const struct block *block = name_block(words[0]);
    uint64_t size = target->block_size(heap, as_pointer(words[0]));
    if (block != NULL && !block->live && size > 0) {
        report_evidence(EVIDENCE_SIZE_OF_FREED, "a freed block is said to have %" PRIu64 " bytes", size);
    }
}

/* ---- the heap ---- */

static void op_heap(uint32_t heap, uint32_t count, char **words)
{
    (void)count;
    (void)words;
    need(target->zendmm, "heaps");
    target->open(heap);
}

static void op_heap_end(uint32_t heap, uint32_t count, char **words)
{
    (void)count;
    (void)words;
    need(target->zendmm, "heaps");
    target->close(heap);
    for (uint32_t index = 0; index < blocks_count(); index++) {
        struct block *block = blocks_first() + index;
        block->live = block->live && block->heap != heap;
    }
}

static void op_limit(uint32_t heap, uint32_t count, char **words)
{
    (void)count;
    need(target->set_limit != NULL, "limit");
    uint64_t limit = evaluate(words[0]);
    if (!target->set_limit(heap, limit)) {
        report_end(FLAG_BROKEN, "the target refuses a limit of %" PRIu64 " bytes", limit);
    }
    blocks_set_limit(limit);
}

static void op_gc(uint32_t heap, uint32_t count, char **words)
{
    (void)count;
    (void)words;
    need(target->gc != NULL, "collection");
    (void)target->gc(heap);
}

static void op_request_end(uint32_t heap, uint32_t count, char **words)
{
    (void)count;
    (void)words;
    need(target->request_end != NULL, "requests");
    target->request_end(heap);
    blocks_forget(heap == 0);
}

/* ---- the C library's allocator, where the target is another one ---- */

static void need_other_allocator(void)
{
    need(target->zendmm, "second allocator beside it");
}

/* Its blocks are foreign to the target, and the target must not hand them out. */
static void enter_foreign(const char *name, void *answer, uint64_t size)
{
    if (answer == NULL) {
        report_end(FLAG_BROKEN, "the C library refuses %" PRIu64 " bytes", size);
    }
    memset(answer, 0x55, size < 4096 ? size : 4096);
    blocks_add_foreign("a block of the C library", (uint64_t)(uintptr_t)answer, size);
    name_set(name, 0, (uint64_t)(uintptr_t)answer, NULL);
}

static void op_libc_alloc(uint32_t heap, uint32_t count, char **words)
{
    (void)heap;
    (void)count;
    need_other_allocator();
    uint64_t size = evaluate(words[1]);
    enter_foreign(words[0], malloc(size), size);
}

static void op_libc_aligned(uint32_t heap, uint32_t count, char **words)
{
    (void)heap;
    (void)count;
    need_other_allocator();
    void *block = NULL;
    uint64_t size = evaluate(words[2]);
    (void)posix_memalign(&block, evaluate(words[1]), size);
    enter_foreign(words[0], block, size);
}

static void op_libc_strdup(uint32_t heap, uint32_t count, char **words)
{
    (void)heap;
    (void)count;
    need_other_allocator();
    static const char sentence[] = "a sentence that the C library copies";
    enter_foreign(words[0], strdup(sentence), sizeof sentence);
}

/* A block that the C library gives although it belongs to the target. */
static void check_foreign_answer(const void *answer, uint64_t size)
{
    const struct block *owner = answer != NULL ? block_at((uint64_t)(uintptr_t)answer) : NULL;
    if (owner != NULL) {
        report_evidence(EVIDENCE_OVERLAP, "the C library gives %" PRIu64 " bytes inside a live block", size);
    }
}

static void op_libc_probe(uint32_t heap, uint32_t count, char **words)
{
    (void)heap;
    (void)count;
    need_other_allocator();
    uint64_t size = evaluate(words[0]);
    check_foreign_answer(malloc(size), size);
}

static void op_libc_realloc(uint32_t heap, uint32_t count, char **words)
{
    (void)heap;
    (void)count;
    need_other_allocator();
    void *place = as_pointer(words[0]);
    uint64_t size = evaluate(words[1]);
    forget(words[0]);
    void *answer = realloc(place, size);
    check_foreign_answer(answer, size);
}

static void op_libc_free(uint32_t heap, uint32_t count, char **words)
{
    (void)heap;
    (void)count;
    need_other_allocator();
    void *place = as_pointer(words[0]);
    free(place);
}

const struct operation allocations[] = {
    {"alloc", 2, 2, op_alloc},
    {"calloc", 3, 3, op_calloc},
    {"safe_alloc", 4, 4, op_safe_alloc},
    {"aligned", 3, 3, op_aligned},
    {"allocs", 3, 3, op_allocs},
    {"pair", 3, 3, op_pair},
    {"until", 4, 4, op_until},
    {"churn", 2, 2, op_churn},
    {"grow", 2, 2, op_grow},
    {"realloc", 3, 3, op_realloc},
    {"realloc2", 4, 4, op_realloc2},
    {"safe_realloc", 5, 5, op_safe_realloc},
    {"strndup", 3, 3, op_strndup},
    {"free", 1, 1, op_free},
    {"free_all", 1, 1, op_free_all},
    {"free_sized", 2, 2, op_free_sized},
    {"free_large", 2, 2, op_free_large},
    {"block_size", 1, 1, op_block_size},
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
