/* request.c -- target `request`: lives of heaps, one request after the other. A new request finds an empty main chunk. */
#include "../../target.h"
#include "../../../../zmm/include/zmm.h"
#include "../harness.h"

#define BIT(op) (1U << ((op) - 1))

__attribute__((visibility("hidden"))) const zmm_api *harness_api(void);

static bool wants(const struct step *steps, size_t step_count) {
    for (size_t index = 1; index < step_count; index++) {
        if (steps[index].op == STEP_REQUEST_END) {
            return true;
        }
    }
    return false;
}

static uint32_t chunks, runs, slots, blocks;

static void on_chunk(void *context, const zmm_chunk_view *chunk) {
    (void)context;
    chunks += chunk->cached ? 0 : 1;
    if (chunk->free_pages != 511 || chunk->number != 0) {
        report("REQUEST-1", "a chunk of a new request has %u free pages and number %u", chunk->free_pages,
               chunk->number);
    }
}

static void on_run(void *context, const zmm_run_view *run) {
    (void)context, (void)run;
    runs++;
}

static void on_free_slot(void *context, const zmm_free_slot_view *slot) {
    (void)context, (void)slot;
    slots++;
}

static void on_huge(void *context, const zmm_huge_view *huge) {
    (void)context, (void)huge;
    blocks++;
}

static void after(const struct step *step, const struct row *row) {
    static const zmm_visitor visitor = {on_chunk, on_run, on_free_slot, on_huge};
    if (step->op != STEP_REQUEST_END || row->status != STATUS_DONE) {
        return;
    }
    chunks = runs = slots = blocks = 0;
    harness_api()->heap_visit(core_heap(), &visitor, NULL);
    if (chunks != 1 || runs + slots + blocks != 0) {
        report("REQUEST-2", "a new request has %u chunks, %u runs, %u free slots, %u huge blocks", chunks, runs, slots,
               blocks);
    }
    if (row->delete_count != 0 || row->delete_boundary != 0) {
        report("REQUEST-3", "a new request remembers %u deletions", row->delete_count);
    }
}

const struct harness_target harness_target = {
    .name = "request",
    .words = BIT(STEP_ALLOC) | BIT(STEP_FREE) | BIT(STEP_REQUEST_END) | BIT(STEP_REALLOC) | BIT(STEP_LIMIT),
    .wants = wants,
    .after = after,
};
