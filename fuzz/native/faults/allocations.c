/* allocations.c -- the operations of a script that allocate, resize and free. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "operations.h"
#include "shared.h"

enum { PAIR_BLOCKS = 256, ALLOCS_MAX = 8192 };

static void remember_size(uint64_t size) {
    if (detonation_size == 0) {
        detonation_size = size;
    }
}

/* Gives a name to what was handed out; a refused name is 0. */
static void name_it(const char *name, uint32_t index, struct block *block) {
    name_set(name, index, block != NULL ? block->address : 0, block);
}

/* ---- allocating ---- */

static void op_alloc(uint32_t heap, uint32_t count, char **words) {
    (void)count;
    uint64_t size = evaluate(words[1]);
    remember_size(size);
    name_it(words[0], 0, block_enter(heap, target->alloc(heap, size), size));
}

static void op_calloc(uint32_t heap, uint32_t count, char **words) {
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
static uint64_t product(uint64_t elements, uint64_t size, uint64_t offset) {
    uint64_t total;
    return __builtin_mul_overflow(elements, size, &total) || __builtin_add_overflow(total, offset, &total) ? UINT64_MAX
                                                                                                           : total;
}

static void op_safe_alloc(uint32_t heap, uint32_t count, char **words) {
    (void)count;
    need(target->safe_alloc != NULL, "allocation of a product");
    uint64_t elements = evaluate(words[1]);
    uint64_t size = evaluate(words[2]);
    uint64_t offset = evaluate(words[3]);
    name_it(words[0], 0,
            block_enter(heap, target->safe_alloc(heap, elements, size, offset), product(elements, size, offset)));
}

static void op_aligned(uint32_t heap, uint32_t count, char **words) {
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

static void op_allocs(uint32_t heap, uint32_t count, char **words) {
    (void)count;
    uint64_t elements = evaluate(words[1]);
    uint64_t size = evaluate(words[2]);
    remember_size(size);
    if (elements > ALLOCS_MAX) {
        script_error("allocs makes at most %d blocks", ALLOCS_MAX);
    }
    for (uint32_t index = 0; index < elements; index++) {
        name_it(words[0], index, block_enter(heap, target->alloc(heap, size), size));
    }
}

/* The closest two of 256 blocks, the lower one first; of equally close ones those in the middle. */
static void op_pair(uint32_t heap, uint32_t count, char **words) {
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
static void op_until(uint32_t heap, uint32_t count, char **words) {
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
static void op_churn(uint32_t heap, uint32_t count, char **words) {
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
static void op_grow(uint32_t heap, uint32_t count, char **words) {
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
static void check_copied(const struct block *block, const struct block *old, uint64_t from, uint64_t to) {
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

static struct block *finish_realloc(uint32_t heap, void *answer, uint64_t size, struct block *old, bool old_was_live) {
    struct block *block = block_enter_bare(heap, answer, size);
    if (block == NULL) {
        if (old != NULL && old_was_live) {
            old->live = true;
        }
        return NULL;
    }
    if (old_was_live) {
        /* The contents must have come along. */
        block_check_moved(old, block->address, old->size < block->size ? old->size : block->size);
    }
    return block;
}

static void op_realloc(uint32_t heap, uint32_t count, char **words) {
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

static void op_realloc2(uint32_t heap, uint32_t count, char **words) {
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

static void op_safe_realloc(uint32_t heap, uint32_t count, char **words) {
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

static void op_strndup(uint32_t heap, uint32_t count, char **words) {
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

static void op_free(uint32_t heap, uint32_t count, char **words) {
    (void)count;
    void *place = as_pointer(words[0]);
    forget(words[0]);
    target->free(heap, place);
}

static void op_free_all(uint32_t heap, uint32_t count, char **words) {
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

static void op_free_sized(uint32_t heap, uint32_t count, char **words) {
    (void)count;
    need(target->free_sized != NULL, "sized free");
    void *place = as_pointer(words[0]);
    uint64_t size = evaluate(words[1]);
    forget(words[0]);
    target->free_sized(heap, place, size);
}

static void op_free_large(uint32_t heap, uint32_t count, char **words) {
    (void)count;
    need(target->free_large != NULL, "sized free of large blocks");
    void *place = as_pointer(words[0]);
    uint64_t size = evaluate(words[1]);
    forget(words[0]);
    target->free_large(heap, place, size);
}

static void op_block_size(uint32_t heap, uint32_t count, char **words) {
    (void)count;
    need(target->block_size != NULL, "size query");
    const struct block *block = name_block(words[0]);
    uint64_t size = target->block_size(heap, as_pointer(words[0]));
    if (block != NULL && !block->live && size > 0) {
        report_evidence(EVIDENCE_SIZE_OF_FREED, "a freed block is said to have %" PRIu64 " bytes", size);
    }
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
    {NULL, 0, 0, NULL},
};
