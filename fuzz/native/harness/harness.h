/* harness.h -- what the parts of the fuzzing harness share: a target, one play of a tape, and the way to report. */
#ifndef ZMM_HARNESS_H
#define ZMM_HARNESS_H

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../abi.h"

#pragma GCC visibility push(hidden)

/* ---- a target: one file of targets/ defines `harness_target` ---------------------------------------------------- */

struct harness_target {
    const char *name;
    bool php; /* edition php-8.2 */
    /* Words of a tape (bit i: code i + 1) that the mutator prefers; 0: all alike. */
    uint32_t words;
    /* The settings byte's bits that the mutator sets in new tapes. */
    uint8_t settings;
    /* False for tapes that are not worth a run: they leave the corpus. NULL: all are. */
    bool (*wants)(const struct step *steps, size_t step_count);
    /* After each step that was judged; reports what the target's own rules find. NULL: nothing. */
    void (*after)(const struct step *step, const struct row *row);
    /* For targets that play no tape at all: takes the bytes as they are. NULL: a tape is played. */
    int (*whole)(const uint8_t *bytes, size_t byte_count);
};
extern const struct harness_target harness_target;

/* ---- playing ------------------------------------------------------------------------------------------------------ */

enum {
    TAPE_BYTES_MAX = 1 << 20, /* longer inputs are not played */
    PLAY_STEPS_MAX = 1 << 16, /* and no tape further than this */
    /* Of each end of a block: what patterns cover, and so what has to be zero where memory counts as new. */
    PLAY_EDGE_BYTES = 128,
};

struct play {
    const struct step *steps;
    struct row *rows;
    size_t step_count; /* decoded, the opening included */
    size_t played;     /* rows: the opening, each step that was performed, the closing */
    bool is_new;       /* it reached what no play of this process has reached before */
};

/* Whether a `check` digests the heap, too, as it does in the runner: for those who compare rows with a prediction. */
extern bool play_with_digests;

/* Once per process. */
void play_prepare(void);
/* Performs a tape up to the end of its budget, judging every row. False when the target does not want it. */
bool play_tape(const uint8_t *body, size_t byte_count, struct play *play);
/* Judges rows that were made elsewhere as if this tape had made them here. */
void play_rows(const uint8_t *body, size_t byte_count, const struct row *rows, size_t row_count);

/* ---- reporting ---------------------------------------------------------------------------------------------------- */

/* The step that is being performed and judged. */
extern const struct step *running_step;
extern size_t running_number;

/* One line on stderr, "zmm-fuzz: RULE: step N (word): ...", then abort. */
__attribute__((format(printf, 2, 3))) _Noreturn void report(const char *rule, const char *format, ...);

/* From now on reports go to a text and back to where `back` was set; NULL: to stderr and the end, as usual. */
void report_to(char *text, size_t text_bytes, jmp_buf *back);

/* ---- the shadow model: the rules of model/rules.py that one row after the other can show --------------------------- */

void shadow_open(const struct step *step, const struct row *row, bool php);
void shadow_step(const struct step *step, const struct row *row);
void shadow_close(const struct row *row);
/* The blocks that live, by the model. */
uint32_t shadow_live_count(void);

/* ---- feedback beyond edges ------------------------------------------------------------------------------------------ */

enum { FEATURE_COUNT = 4096 };
void feature_hit(uint32_t index);
void features_prepare(void);
/* How the heap was opened, what a step did, and what the heap looks like now. */
void features_of_opening(const struct step *step, const struct row *row);
void features_of_step(const struct step *step, const struct row *row, const struct row *last);
void features_of_heap(const struct row *row);
/* Whether this play reached an edge or a feature that no play of this process has reached before. */
bool features_are_new(void);
/* What a second play of the same tape hits counts once: held before it, restored behind it. Else an input would have other
 * features where it is the first to reach something, and a merge, which asks again, would never end. */
void features_hold(void);
void features_restore(void);

/* ---- the core: core.c includes it whole ------------------------------------------------------------------------------ */

/* The open heap, NULL: none. */
struct zmm_heap *core_heap(void);
/* Forgets every chunk record, heap id and address order of heaps that ended: the state before the first heap. */
void core_forget(void);
/* What heaps that ended have left in the core's tables, NULL: nothing. Asked before core_forget. */
const char *core_remains(void);
/* A digest of all that the core keeps between heaps. */
uint32_t core_digest_of_statics(void);
/* Calls `hit` for what the open heap looks like: bins, page maps, cache, limit. */
void core_features(void (*hit)(uint32_t index), uint32_t first, uint32_t count);
/* The bytes of a large or huge block of the open heap; 0 for anything else. */
size_t core_long_bytes(const void *block);
/* The bytes of the block that is about to be resized which a copy must not leave out, besides both ends. */
extern size_t core_kept_from, core_kept_bytes;

/* ---- memory (pages_kept.c) --------------------------------------------------------------------------------------------- */

/* What is mapped from now on is scratch: pages_rewind gives it back. */
void pages_mark(void);
void pages_rewind(void);
/* Writes over the first bytes of each area that was lent since the last rewind: what earlier owners leave behind. */
void pages_soil(uint64_t bytes_max);
/* Drops everything that was ever lent: all memory reads as zero again. */
void pages_forget(void);

#pragma GCC visibility pop
#endif
