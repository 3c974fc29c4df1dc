/* entry.c -- what engines call: libFuzzer's two functions, or the few that Python calls in their place. */
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include "harness.h"
#include "mutate.h"

static struct play play;

static int prepare(void) {
    if (harness_target.whole == NULL) {
        play_prepare();
    }
    return 0;
}

static int take(const uint8_t *bytes, size_t byte_count) {
    if (harness_target.whole != NULL) {
        return harness_target.whole(bytes, byte_count);
    }
    return play_tape(bytes, byte_count, &play) ? 0 : -1;
}

#ifndef ZMM_HARNESS_LIBRARY

int LLVMFuzzerInitialize(int *argument_count, char ***arguments);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t byte_count);

int LLVMFuzzerInitialize(int *argument_count, char ***arguments) {
    (void)argument_count, (void)arguments;
    return prepare();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t byte_count) {
    return take(bytes, byte_count);
}

#else

/* For Python. libFuzzer's names belong to the runtime that Atheris preloads, so these are others. */
#define EXPORTED __attribute__((visibility("default")))

int zmm_harness_prepare(void);
int zmm_harness_take(const uint8_t *bytes, size_t byte_count);
int zmm_harness_take_exactly(const uint8_t *bytes, size_t byte_count);
const struct row *zmm_harness_rows(size_t *row_count);
uint32_t zmm_harness_words(void);
uint8_t zmm_harness_settings(void);
const char *zmm_harness_judge(const uint8_t *body, size_t byte_count, const struct row *rows, size_t row_count);
size_t zmm_harness_mutate(uint8_t *body, size_t byte_count, size_t bytes_max, uint32_t seed);
size_t zmm_harness_cross(const uint8_t *one, size_t one_bytes, const uint8_t *other, size_t other_bytes, uint8_t *into,
                         size_t bytes_max, uint32_t seed);

EXPORTED int zmm_harness_prepare(void) {
    return prepare();
}

/* -1: not wanted. 1: it reached something new. */
EXPORTED int zmm_harness_take(const uint8_t *bytes, size_t byte_count) {
    int answer = take(bytes, byte_count);
    return answer == 0 && harness_target.whole == NULL && play.is_new ? 1 : answer;
}

/* The same with everything in its rows that the runner would write there. */
EXPORTED int zmm_harness_take_exactly(const uint8_t *bytes, size_t byte_count) {
    play_with_digests = true;
    int answer = take(bytes, byte_count);
    play_with_digests = false;
    return answer;
}

/* The rows of the last play: opening, steps, closing. */
EXPORTED const struct row *zmm_harness_rows(size_t *row_count) {
    *row_count = play.played;
    return play.rows;
}

/* The target's taste, for a mutator that lives elsewhere. */
EXPORTED uint32_t zmm_harness_words(void) {
    return harness_target.words;
}

EXPORTED uint8_t zmm_harness_settings(void) {
    return harness_target.settings;
}

/* What the shadow model says of rows that somebody else made: NULL, or the line without "zmm-fuzz: ". */
EXPORTED const char *zmm_harness_judge(const uint8_t *body, size_t byte_count, const struct row *rows,
                                       size_t row_count) {
    static char said[640];
    jmp_buf back;
    report_to(said, sizeof said, &back);
    if (setjmp(back) == 0) {
        play_rows(body, byte_count, rows, row_count);
        said[0] = 0;
    }
    report_to(NULL, 0, NULL);
    return said[0] != 0 ? said : NULL;
}

EXPORTED size_t zmm_harness_mutate(uint8_t *body, size_t byte_count, size_t bytes_max, uint32_t seed) {
    return mutate_tape(body, byte_count, bytes_max, seed);
}

EXPORTED size_t zmm_harness_cross(const uint8_t *one, size_t one_bytes, const uint8_t *other, size_t other_bytes,
                                  uint8_t *into, size_t bytes_max, uint32_t seed) {
    return cross_tapes(one, one_bytes, other, other_bytes, into, bytes_max, seed);
}

#endif
