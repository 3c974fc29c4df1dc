/* tape.c -- target `tape`: the decoder of tapes itself. Any bytes mean legal steps, and what an editor writes means what
 * was meant. */
#include <stdlib.h>
#include <string.h>

#include "../../tape.h"
#include "../harness.h"

enum { BYTES_MAX = 1 << 16 };

enum { FLAG_MISUSE = 64 };

static bool takes_text(const struct step *step) {
    return step->op == STEP_STRDUP || step->op == STEP_STRNDUP;
}

static void judge_step(const struct step *step, const struct tape *tape, const uint8_t *text) {
    bool is_misuse = step->op >= STEP_MISUSE_FREE_FREED && step->op <= STEP_MISUSE_WRITE_FREED;
    if (!is_misuse && (step->op < STEP_ALLOC || step->op > STEP_CHECK)) {
        report("TAPE-1", "a step of an unknown word");
    }
    bool must_have_label = step->op <= STEP_WRITE;
    if (step->label >= tape->label_count && (must_have_label || step->label != UINT32_MAX)) {
        report("TAPE-2", "a label out of bounds");
    }
    if (takes_text(step) && (step->b > tape->text_bytes || step->c >= tape->text_bytes - step->b ||
                             text[step->b + step->c] != 0 || strlen((const char *)text + step->b) != step->c)) {
        report("TAPE-3", "a text out of bounds, or with a NUL inside");
    }
}

static void judge_writing(const struct step *step) {
    uint8_t bytes[1 + TAPE_OPERATION_BYTES_MAX] = {FLAG_MISUSE};
    struct step again;
    size_t length = 1 + tape_put_operation(bytes + 1, step);
    size_t end = tape_operation_end(bytes, length, 1, &again);
    bool same = again.op == step->op && again.label == step->label;
    same = same && (takes_text(step) || (again.a == step->a && again.b == step->b && again.c == step->c));
    /* In a tape with misuse the code 15 is taken; a step that came from one is written as what it is. */
    if (length > sizeof bytes || end != length || !same) {
        report("TAPE-4", "an operation that was written reads as another one");
    }
}

static int whole(const uint8_t *bytes, size_t byte_count) {
    if (byte_count > BYTES_MAX) {
        return -1;
    }
    /* Of exactly the size that is asked for, so that a sanitizer sees a write behind the end. */
    struct step *steps = malloc(sizeof *steps * TAPE_STEPS(byte_count));
    uint8_t *text = malloc(TAPE_TEXT_BYTES(byte_count));
    if (steps == NULL || text == NULL) {
        abort();
    }
    struct tape tape = tape_decode(bytes, byte_count, steps, text);
    size_t offset = tape_settings_end(bytes, byte_count);
    for (size_t index = 1; index < tape.step_count; index++) {
        struct step alone;
        running_step = &steps[index];
        running_number = index;
        judge_step(&steps[index], &tape, text);
        offset = tape_operation_end(bytes, byte_count, offset, &alone);
        if (alone.op != steps[index].op || alone.label != steps[index].label) {
            report("TAPE-5", "an operation alone reads as another one");
        }
        judge_writing(&steps[index]);
    }
    if (offset != byte_count) {
        report("TAPE-6", "operations end %zu bytes before the tape", byte_count - offset);
    }
    free(steps);
    free(text);
    return 0;
}

const struct harness_target harness_target = {.name = "tape", .whole = whole};
