/* realloc.c -- target `realloc`: blocks that stay, shrink, grow and move. No other block notices. */
#include "../../labels.h"
#include "../../target.h"
#include "../harness.h"

#define BIT(op) (1U << ((op) - 1))

static bool resizes(const struct step *step) {
    return step->op >= STEP_REALLOC && step->op <= STEP_SAFE_REALLOC;
}

static bool wants(const struct step *steps, size_t step_count) {
    for (size_t index = 1; index < step_count; index++) {
        if (resizes(&steps[index])) {
            return true;
        }
    }
    return false;
}

static void after(const struct step *step, const struct row *row) {
    (void)row;
    if (!resizes(step)) {
        return;
    }
    for (uint32_t index = 0; index < labels_end(); index++) {
        const struct label *label = labels_at(index);
        uint64_t difference;
        if (label->block != NULL && !contents_hold(label, label->block, label->requested_bytes, &difference)) {
            report("REALLOC-1", "byte %llu of %s block is another one after a resize", (unsigned long long)difference,
                   index == step->label ? "the resized" : "another");
        }
    }
}

const struct harness_target harness_target = {
    .name = "realloc",
    .words = BIT(STEP_ALLOC) | BIT(STEP_REALLOC) | BIT(STEP_REALLOC2) | BIT(STEP_SAFE_REALLOC) | BIT(STEP_WRITE) |
             BIT(STEP_FREE),
    .wants = wants,
    .after = after,
};
