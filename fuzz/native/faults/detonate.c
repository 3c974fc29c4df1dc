/* detonate.c -- the continuation in which hidden damage shows: checks, refill, frees, churn, collection, requests. */
#include <stdint.h>

#include "blocks.h"
#include "detonate.h"
#include "operations.h"
#include "shared.h"

enum {
    REFILL_BLOCKS = 96,
    MORE_BLOCKS = 300,
    CHURN_SMALL_TURNS = 20000,
    CHURN_LARGE_TURNS = 2000,
    CHURN_SMALL_BYTES = 1024,
    ANCHOR_BYTES = 16,
};

static struct block *anchor;
static uint32_t turns_max = UINT32_MAX;

void detonate_briefly(uint32_t turns) {
    turns_max = turns;
}

void detonate_prepare(void) {
    if (target->zendmm) {
        anchor = block_enter(0, target->alloc(0, ANCHOR_BYTES), ANCHOR_BYTES);
    }
}

static void release(struct block *block) {
    if (block != NULL && block->live) {
        block->live = false;
        target->free(block->heap, (void *)(uintptr_t)block->address);
    }
}

static void refill(uint64_t size) {
    struct block *blocks[REFILL_BLOCKS];
    for (uint32_t index = 0; index < REFILL_BLOCKS; index++) {
        blocks[index] = block_enter(0, target->alloc(0, size), size);
    }
    blocks_check_all();
    for (uint32_t index = 0; index < REFILL_BLOCKS; index++) {
        release(blocks[index]);
    }
}

static void free_everything(void) {
    if (anchor != NULL && !anchor->live) {
        detonate_prepare(); /* a request has ended since */
    }
    blocks_check_all();
    uint32_t count = blocks_count();
    for (uint32_t index = 0; index < count; index++) {
        struct block *block = blocks_first() + index;
        if (block != anchor) {
            release(block);
        }
    }
}

static void churn(uint64_t size) {
    uint32_t turns = size <= CHURN_SMALL_BYTES ? CHURN_SMALL_TURNS : CHURN_LARGE_TURNS;
    turns = turns < turns_max ? turns : turns_max;
    for (uint32_t turn = 0; turn < turns; turn++) {
        struct block *block = block_enter_bare(0, target->alloc(0, size), size);
        if (block == NULL) {
            return;
        }
        /* Its first bytes are written, as by any program. */
        *(volatile unsigned char *)(uintptr_t)block->address = 1;
        release(block);
        blocks_forget_last();
    }
}

void detonate(void) {
    uint64_t size = detonation_size > 0 ? detonation_size : 1;
    blocks_set_limit(0);
    report_phase(PHASE_CHECK);
    blocks_check_all();
    report_phase(PHASE_REFILL);
    refill(size);
    report_phase(PHASE_FREE);
    free_everything();
    report_phase(PHASE_CHURN);
    churn(size);
    report_phase(PHASE_GC);
    if (target->zendmm) {
        (void)target->gc(0); /* as a busy process does by itself; a malloc library trims only when told to */
    }
    report_phase(PHASE_MORE);
    for (uint32_t index = 0; index < MORE_BLOCKS; index++) {
        (void)block_enter(0, target->alloc(0, size), size);
    }
    blocks_check_all();
    report_phase(PHASE_REQUEST_END);
    if (target->request_end != NULL) {
        target->request_end(0);
        blocks_forget(true);
    } else {
        free_everything();
    }
    report_phase(PHASE_ONE);
    (void)block_enter(0, target->alloc(0, size), size);
    report_phase(PHASE_SHUTDOWN);
    if (target->zendmm) {
        target->close(0);
    } else {
        free_everything();
    }
    report_phase(PHASE_DONE);
}
