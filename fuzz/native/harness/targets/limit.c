/* limit.c -- target `limit`: heaps with a limit. What is refused by it could not have been had: gc finds nothing more. */
#include "../../target.h"
#include "../harness.h"

#define BIT(op) (1U << ((op) - 1))

static bool wants(const struct step *steps, size_t step_count) {
    bool limited = steps[0].a != 0;
    for (size_t index = 1; index < step_count && !limited; index++) {
        limited = steps[index].op == STEP_LIMIT;
    }
    return limited;
}

static void after(const struct step *step, const struct row *row) {
    (void)step;
    if (row->status == STATUS_REFUSED_LIMIT && target_zmm.gc() != 0) {
        report("LIMIT-1", "gc finds memory right after a refusal by the limit");
    }
}

const struct harness_target harness_target = {
    .name = "limit",
    .words = BIT(STEP_ALLOC) | BIT(STEP_REALLOC) | BIT(STEP_SAFE_REALLOC) | BIT(STEP_FREE) | BIT(STEP_LIMIT) |
             BIT(STEP_CALLOC) | BIT(STEP_GC),
    .settings = 8,
    .wants = wants,
    .after = after,
};
