/* play.c -- plays one tape on a fresh heap of this process, judges every row, and leaves no trace.
 *
 * A play ends early when its work budget is used up: the rest of the tape is as if it were not there. Now and then a tape
 * is played once more on memory that was never used; both plays must be the same, row by row: so what one input left
 * behind can never help or hinder the next. One that reaches something new is played once more on memory that is full of
 * what others wrote. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../crc.h"
#include "../labels.h"
#include "../perform.h"
#include "../storage.h"
#include "../tape.h"
#include "../target.h"
#include "harness.h"
#include "spare.h"

/* Bytes filled, compared or walked over by one play. */
#define WORK_BYTES_MAX ((uint64_t)4 << 20)
/* And by all plays since memory was last given back: what is resident must not grow for ever. */
#define RESIDENT_BYTES_MAX ((uint64_t)1 << 30)
enum { CHECK_EVERY = 16384 };
/* The heap's own check, and a look at what it leaves behind, cost as much as all the rest. They are made in the first
 * play of a process and in every one that reaches something new, which are those that are kept, and now and then. */
enum { CLOSE_LOOK_EVERY = 256 };
/* What is soiled of each area for a second play (play_soiled): the front that short tapes use; in the first plays of a
 * process, which may be somebody's replay of a finding, as much as a chunk. */
enum { SOILED_BYTES = 128 << 10, SOILED_WHOLE_BYTES = 2 << 20, SOILED_WHOLE_PLAYS = 16 };

bool play_with_digests;
const struct step *running_step;
size_t running_number;

static struct step steps[TAPE_STEPS(TAPE_BYTES_MAX)];
static struct row rows[PLAY_STEPS_MAX + 2];
static struct row again[PLAY_STEPS_MAX + 2];
static uint64_t text_area[TAPE_TEXT_BYTES(TAPE_BYTES_MAX) / 8 + 1];
static uint64_t work_bytes, resident_bytes, plays, check_every = CHECK_EVERY;
static uint32_t first_digest;
static bool is_new, looks_closely;

/* ---- reporting --------------------------------------------------------------------------------------------------------- */

static const char *word_of(const struct step *step) {
    static const char *const words[] = {
        "?",       "alloc", "calloc", "safe_alloc", "realloc", "realloc2",   "safe_realloc", "strdup",
        "strndup", "free",  "write",  "limit",      "gc",      "reset_peak", "request_end",  "check"};
    if (step == NULL) {
        return "reset";
    }
    return step->op < 16 ? words[step->op] : step->op == STEP_OPEN ? "open" : "close";
}

static char *report_text;
static size_t report_bytes;
static jmp_buf *report_back;

void report_to(char *text, size_t text_bytes, jmp_buf *back) {
    report_text = text;
    report_bytes = text_bytes;
    report_back = back;
}

void report(const char *rule, const char *format, ...) {
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (report_back != NULL) {
        (void)snprintf(report_text, report_bytes, "%s: step %zu (%s): %s", rule, running_number, word_of(running_step),
                       text);
        longjmp(*report_back, 1);
    }
    (void)fprintf(stderr, "\nzmm-fuzz: %s: step %zu (%s): %s\n", rule, running_number, word_of(running_step), text);
    (void)fflush(stderr);
    abort();
}

/* ---- the target --------------------------------------------------------------------------------------------------------- */

/* The digest of a whole heap is for those who compare it with another one. */
static struct target target_quick;

static uint32_t no_digest(void) {
    return 0;
}

/* A tape may say `check` at every step: the heap's own check is for plays that are looked at closely. */
static const char *seldom_check(void) {
    return looks_closely ? target_zmm.check() : NULL;
}

/* ---- labels ------------------------------------------------------------------------------------------------------------- */

/* Numbers a tape's labels anew, in order of first use: nothing depends on their numbers but the length of tables. */
static void number_labels(size_t step_count, size_t label_count) {
    static uint32_t numbers[TAPE_LABEL_MAX];
    if (label_count <= 64) {
        return;
    }
    uint32_t next = 0;
    memset(numbers, 0, sizeof numbers[0] * label_count);
    for (size_t index = 1; index < step_count; index++) {
        if (steps[index].op <= STEP_WRITE) {
            uint32_t *number = &numbers[steps[index].label];
            *number = *number != 0 ? *number : ++next;
            steps[index].label = *number - 1;
        }
    }
}

/* A child for each step of misuse would cost a thousand plays: tapes that may have any are not played. */
static bool has_misuse(const uint8_t *body, size_t byte_count) {
    enum { FLAG_MISUSE = 64 };
    return byte_count > 0 && (body[0] & FLAG_MISUSE) != 0;
}

/* ---- one play ------------------------------------------------------------------------------------------------------------- */

static uint64_t work_of(const struct step *step, const struct row *last) {
    switch (step->op) {
    case STEP_WRITE:
        return step->b <= (uint64_t)1 << 20 ? 2 * step->b : 0;
    case STEP_STRDUP:
    case STEP_STRNDUP:
        return 4 * step->c;
    case STEP_REQUEST_END:
    case STEP_CHECK:
        return ((uint64_t)last->chunk_count + last->cached_count) * 8192 +
               (uint64_t)shadow_live_count() * 4 * PLAY_EDGE_BYTES;
    case STEP_GC:
        return (uint64_t)last->chunk_count * 4096;
    default:
        return (uint64_t)4 * PLAY_EDGE_BYTES;
    }
}

/* What a step will do to the middle of a large block, which the core's own calls leave out (spare.h). */
static void note_middle(const struct step *step) {
    core_kept_bytes = 0;
    if (step->op == STEP_WRITE) {
        const struct label *label = labels_at(step->label);
        bool fits =
            label->block != NULL && step->a <= label->requested_bytes && step->b <= label->requested_bytes - step->a;
        if (fits) {
            spare_open_middle(label->block, step->a, step->a + step->b);
        }
    }
    if (step->op >= STEP_REALLOC && step->op <= STEP_SAFE_REALLOC) {
        const struct label *label = labels_at(step->label);
        core_kept_from = label->block != NULL ? label->write_offset : 0;
        core_kept_bytes = label->block != NULL ? label->write_bytes : 0;
    }
}

static void check_at_the_end(void) {
    const char *what = target_zmm.check();
    for (uint32_t index = 0; what == NULL && index < labels_end(); index++) {
        const struct label *label = labels_at(index);
        what = label->block != NULL ? target_zmm.check_place(label->block, label->block_bytes) : NULL;
    }
    if (what != NULL) {
        report("INVARIANT", "%s, at the end", what);
    }
    (void)target_zmm.digest(); /* nobody compares it here, but all that visitors can see is visited */
}

/* Performs the decoded steps up to the budget, then closes; returns the number of rows. A quiet play is not judged, and
 * goes as far as it is told: its work is not counted, for some of it is what the shadow model says. */
static size_t perform(struct row *into, size_t step_count, bool quiet) {
    static const struct step closing = {.op = STEP_CLOSE, .label = UINT32_MAX};
    const char *text = (const char *)text_area;
    work_bytes = 0;
    is_new = false;
    size_t index = 0;
    for (; index < step_count && index < PLAY_STEPS_MAX; index++) {
        const struct step *step = &steps[index];
        running_step = step;
        running_number = index;
        work_bytes += index > 0 ? work_of(step, &into[index - 1]) : 0;
        if (work_bytes > WORK_BYTES_MAX && !quiet) {
            break;
        }
        note_middle(step);
        perform_step(step, text, &into[index]);
        if (index == 0) {
            contents_set_edge(PLAY_EDGE_BYTES); /* of the blocks to come */
        }
        if (quiet) {
            continue;
        }
        if (index == 0) {
            shadow_open(step, &into[0], harness_target.php);
            features_of_opening(step, &into[0]);
            continue;
        }
        shadow_step(step, &into[index]);
        features_of_step(step, &into[index], &into[index - 1]);
        if (harness_target.after != NULL && perform_is_open()) {
            harness_target.after(step, &into[index]);
        }
    }
    running_step = &closing;
    running_number = index;
    if (!quiet && perform_is_open()) {
        features_of_heap(&into[index - 1]);
        is_new = features_are_new();
        if (is_new || looks_closely) {
            check_at_the_end();
        }
    }
    perform_step(&closing, text, &into[index]);
    if (!quiet) {
        shadow_close(&into[index]);
    }
    return index + 1;
}

/* ---- the reset, and whether it is one ------------------------------------------------------------------------------------ */

static void forget(bool looks) {
    const char *what = looks ? core_remains() : NULL;
    if (what != NULL) {
        running_step = NULL;
        char rule[8] = {0};
        memcpy(rule, what, 7);
        report(rule, "%s", what + 9);
    }
    core_forget();
    pages_rewind();
    spare_forget();
}

/* In edition php-8.2 a mapping may be left behind on purpose: there the storage forgets it with the next opening. */
static void verify_reset(void) {
    running_step = NULL;
    if (core_digest_of_statics() != first_digest) {
        report("RESET-8", "the core's tables are not what they were before the first heap");
    }
}

static void compare_rows(size_t count, size_t row_count, const char *where) {
    running_step = NULL;
    if (count != row_count || memcmp(again, rows, sizeof rows[0] * row_count) != 0) {
        for (running_number = 0; running_number < row_count; running_number++) {
            if (memcmp(&again[running_number], &rows[running_number], sizeof rows[0]) != 0) {
                break;
            }
        }
        report("RESET-9", "on memory that was %s this row is another one", where);
    }
}

/* A block shows what was in its memory before, and an engine's memory has seen all its plays. Without this a finding that
 * needs such leftovers would show in the engine that met it, and never again. */
static void play_soiled(size_t step_count, size_t row_count) {
    const bool was_new = is_new;
    features_hold();
    pages_soil(plays < SOILED_WHOLE_PLAYS ? SOILED_WHOLE_BYTES : SOILED_BYTES);
    forget(true);
    const size_t count = perform(again, step_count, false);
    features_restore();
    compare_rows(count, row_count, "used by others");
    is_new = was_new;
}

static void play_again(size_t row_count) {
    verify_reset();
    pages_forget();
    features_hold();
    const size_t count = perform(again, row_count - 1, true); /* the last row is the closing's */
    forget(true);
    features_restore();
    compare_rows(count, row_count, "never used");
}

void play_prepare(void) {
    const char *every = getenv("ZMM_FUZZ_CHECK_EVERY");
    check_every = every != NULL && strtoull(every, NULL, 10) > 0 ? strtoull(every, NULL, 10) : CHECK_EVERY;
    crc_prepare();
    if (!storage_prepare() || !labels_prepare() || !target_zmm.load("")) {
        (void)fputs("zmm-fuzz: this system gives no addresses for the arena (48 TiB, none of it resident)\n", stderr);
        exit(1);
    }
    target_quick = target_zmm;
    target_quick.digest = no_digest;
    target_quick.check = seldom_check;
    perform_prepare(&target_quick);
    /* The first heap makes what all later ones find: tables, hooks. */
    static const uint8_t both[2][2] = {{0, 0}, {1, 0}};
    for (int kind = 0; kind < 2; kind++) {
        (void)tape_decode(both[kind], 2, steps, (uint8_t *)text_area);
        (void)perform(rows, 2, true);
        core_forget();
    }
    pages_mark();
    first_digest = core_digest_of_statics();
    features_prepare();
}

bool play_tape(const uint8_t *body, size_t byte_count, struct play *play) {
    if (byte_count > TAPE_BYTES_MAX || has_misuse(body, byte_count)) {
        return false;
    }
    struct tape tape = tape_decode(body, byte_count, steps, (uint8_t *)text_area);
    if (harness_target.wants != NULL && !harness_target.wants(steps, tape.step_count)) {
        return false;
    }
    number_labels(tape.step_count, tape.label_count);
    steps[0].flag |= harness_target.php ? OPEN_PHP : 0;
    perform_prepare(play_with_digests ? &target_zmm : &target_quick);
    looks_closely = plays % CLOSE_LOOK_EVERY == 0;
    size_t count = perform(rows, tape.step_count, false);
    if (is_new) {
        play_soiled(tape.step_count, count);
    }
    forget(looks_closely || is_new);
    resident_bytes += work_bytes;
    if (++plays % check_every == 0) {
        play_again(count);
        resident_bytes = 0;
    } else if (resident_bytes > RESIDENT_BYTES_MAX) {
        pages_forget();
        resident_bytes = 0;
    }
    *play =
        (struct play){.steps = steps, .rows = rows, .step_count = tape.step_count, .played = count, .is_new = is_new};
    return true;
}

void play_rows(const uint8_t *body, size_t byte_count, const struct row *given, size_t row_count) {
    static const struct step closing = {.op = STEP_CLOSE, .label = UINT32_MAX};
    struct tape tape = tape_decode(body, byte_count, steps, (uint8_t *)text_area);
    number_labels(tape.step_count, tape.label_count);
    for (running_number = 0; running_number < row_count; running_number++) {
        bool closes = running_number == tape.step_count;
        running_step = closes ? &closing : &steps[running_number];
        if (running_number == 0) {
            shadow_open(running_step, &given[0], harness_target.php);
        } else if (!closes) {
            shadow_step(running_step, &given[running_number]);
        } else {
            shadow_close(&given[running_number]);
        }
    }
}
