/* stand_in.c -- An engine that stands in for the real ones: a libFuzzer target with rules that short inputs break. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

/* Which rules the inputs may break, from STAND_IN: "" none, "a" the first, "ab" both, "h" hangs, "n" no line. */
static const char *planted = "";

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    const char *named = getenv("STAND_IN");
    planted = named != NULL ? named : "";
    if (strchr(planted, '0') != NULL) {
        fprintf(stderr, "stand_in: told to fail at once\n");
        exit(9);
    }
    return 0;
}

static void violate(const char *line) {
    fprintf(stderr, "zmm-fuzz: %s\n", line);
    abort();
}

/* Many small branches, so that coverage grows for a while. */
static unsigned shape(const uint8_t *data, size_t size) {
    unsigned found = 0;
    for (size_t at = 0; at < size && at < 64; at++) {
        switch (data[at] & 15) {
        case 0:
            found += 1;
            break;
        case 1:
            found ^= 2;
            break;
        case 2:
            found += at > 3 ? 4 : 5;
            break;
        case 3:
            found |= 8;
            break;
        case 4:
            found += data[at] > 128 ? 16 : 17;
            break;
        case 5:
            found ^= size > 10 ? 32 : 33;
            break;
        default:
            found += 64;
            break;
        }
    }
    return found;
}

/* Whether three bytes stand anywhere in the input, one branch for each. */
static int contains(const uint8_t *data, size_t size, const char *word) {
    for (size_t at = 0; at + 3 <= size; at++) {
        if (data[at] == (uint8_t)word[0]) {
            if (data[at + 1] == (uint8_t)word[1]) {
                if (data[at + 2] == (uint8_t)word[2])
                    return 1;
            }
        }
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    volatile unsigned sink = shape(data, size);
    (void)sink;
    if (contains(data, size, "BUG")) {
        if (strchr(planted, 'a') != NULL)
            violate("ABS-3: step 1 (strdup): live blocks never share a byte");
        if (strchr(planted, 'n') != NULL)
            abort();
    }
    if (contains(data, size, "OUT")) {
        if (strchr(planted, 'b') != NULL)
            violate("INVARIANT: step 1 (strdup): RUN-2 is broken");
        if (strchr(planted, 'h') != NULL) {
            for (;;)
                pause();
        }
    }
    return 0;
}
