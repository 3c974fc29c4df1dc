/* entry.c -- the two functions that every engine calls, and what Python reads of a play. */
#include "harness.h"

int LLVMFuzzerInitialize(int *argument_count, char ***arguments);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t byte_count);

static struct play play;

int LLVMFuzzerInitialize(int *argument_count, char ***arguments) {
    (void)argument_count, (void)arguments;
    if (harness_target.whole == NULL) {
        play_prepare();
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t byte_count) {
    if (harness_target.whole != NULL) {
        return harness_target.whole(bytes, byte_count);
    }
    return play_tape(bytes, byte_count, &play) ? 0 : -1;
}
