/* gc.c -- target `gc`: collection. It collects all at once, and leaves every live block where it is, as it is. */
#include "../../labels.h"
#include "../../target.h"
#include "../harness.h"

#define BIT(op) (1U << ((op) - 1))

static bool wants(const struct step *steps, size_t step_count) {
    for (size_t index = 1; index < step_count; index++) {
        if (steps[index].op == STEP_GC) {
            return true;
        }
    }
    return false;
}

static void after(const struct step *step, const struct row *row) {
    (void)row;
    if (step->op != STEP_GC) {
        return;
    }
    if (target_zmm.gc() != 0) {
        report("GC-1", "a second gc collects more");
    }
    for (uint32_t index = 0; index < labels_end(); index++) {
        const struct label *label = labels_at(index);
        uint64_t difference;
        if (label->block != NULL && !contents_hold(label, label->block, label->requested_bytes, &difference)) {
            report("GC-2", "gc changed byte %llu of a live block", (unsigned long long)difference);
        }
        if (label->block != NULL && target_zmm.check_place(label->block, label->block_bytes) != NULL) {
            report("GC-3", "a live block has no place after gc");
        }
    }
}

const struct harness_target harness_target = {
    .name = "gc",
    .words = BIT(STEP_ALLOC) | BIT(STEP_FREE) | BIT(STEP_GC) | BIT(STEP_REALLOC),
    .wants = wants,
    .after = after,
};
