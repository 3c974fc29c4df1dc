/* mutator.c -- the mutator as engines ask for it: libFuzzer's two functions, and AFL++'s library of them.
 *
 * Also built by itself, as a library: AFL++ loads it (AFL_CUSTOM_MUTATOR_LIBRARY), and for Atheris it is preloaded before
 * the runtime, which takes these functions then. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "mutate.h"

#ifdef ZMM_MUTATOR_HAS_TARGET
#include "harness.h"
#endif

#define EXPORTED __attribute__((visibility("default")))

size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t byte_count, size_t bytes_max, unsigned int seed);
size_t LLVMFuzzerCustomCrossOver(const uint8_t *one, size_t one_bytes, const uint8_t *other, size_t other_bytes,
                                 uint8_t *into, size_t bytes_max, unsigned int seed);
size_t LLVMFuzzerMutate(uint8_t *bytes, size_t byte_count, size_t bytes_max) __attribute__((weak));

static void take_taste(void) {
#ifdef ZMM_MUTATOR_HAS_TARGET
    mutate_words = harness_target.words;
    mutate_settings = harness_target.settings;
#else
    /* Asked once: the names are looked up among all variables, and strings are read, before each of many short plays. */
    static bool is_known;
    if (is_known) {
        return;
    }
    is_known = true;
    const char *words = getenv("ZMM_FUZZ_WORDS");
    const char *settings = getenv("ZMM_FUZZ_SETTINGS");
    mutate_words = words != NULL ? (uint32_t)strtoul(words, NULL, 0) : 0;
    mutate_settings = settings != NULL ? (uint8_t)strtoul(settings, NULL, 0) : 0;
#endif
}

EXPORTED size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t byte_count, size_t bytes_max, unsigned int seed) {
    take_taste();
    /* Bytes for their own sake now and then: what the mutator does not think of. */
    if (seed % 16 == 0 && LLVMFuzzerMutate != NULL) {
        return LLVMFuzzerMutate(bytes, byte_count, bytes_max);
    }
    return mutate_tape(bytes, byte_count, bytes_max, seed);
}

EXPORTED size_t LLVMFuzzerCustomCrossOver(const uint8_t *one, size_t one_bytes, const uint8_t *other,
                                          size_t other_bytes, uint8_t *into, size_t bytes_max, unsigned int seed) {
    return cross_tapes(one, one_bytes, other, other_bytes, into, bytes_max, seed);
}

/* ---- AFL++ ----------------------------------------------------------------------------------------------------------------- */

#ifndef ZMM_MUTATOR_HAS_TARGET

struct afl_state {
    uint64_t seed;
    size_t room_bytes;
    uint8_t *room;
};

void *afl_custom_init(void *afl, unsigned int seed);
size_t afl_custom_fuzz(void *data, uint8_t *bytes, size_t byte_count, uint8_t **into, uint8_t *other,
                       size_t other_bytes, size_t bytes_max);
void afl_custom_deinit(void *data);

EXPORTED void *afl_custom_init(void *afl, unsigned int seed) {
    (void)afl;
    struct afl_state *state = calloc(1, sizeof *state);
    if (state != NULL) {
        state->seed = seed;
    }
    take_taste();
    return state;
}

EXPORTED size_t afl_custom_fuzz(void *data, uint8_t *bytes, size_t byte_count, uint8_t **into, uint8_t *other,
                                size_t other_bytes, size_t bytes_max) {
    struct afl_state *state = data;
    if (state->room_bytes < bytes_max) {
        free(state->room);
        state->room = malloc(bytes_max);
        state->room_bytes = state->room != NULL ? bytes_max : 0;
    }
    *into = state->room;
    if (state->room == NULL) {
        return 0;
    }
    uint32_t seed = (uint32_t)(state->seed++ * 2654435761U);
    if (other != NULL && other_bytes > 0 && seed % 5 == 0) {
        return cross_tapes(bytes, byte_count, other, other_bytes, state->room, bytes_max, seed);
    }
    size_t taken = byte_count < bytes_max ? byte_count : bytes_max;
    memcpy(state->room, bytes, taken);
    return mutate_tape(state->room, taken, bytes_max, seed);
}

EXPORTED void afl_custom_deinit(void *data) {
    struct afl_state *state = data;
    free(state->room);
    free(state);
}

#endif
