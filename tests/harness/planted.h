/* planted.h -- whether a bug that tests/harness planted is awake in this process: the one that PLANTED names. */
#ifndef ZMM_HARNESS_PLANTED_H
#define ZMM_HARNESS_PLANTED_H

#include <stdbool.h>

/* Declared here: whoever includes this has not said yet which of the system's names it wants (_GNU_SOURCE). In brackets: the
 * harness keeps the environment from the core by a macro of that name. */
extern char *(getenv)(const char *name);

static inline bool planted(const char *name) {
    const char *const awake = (getenv)("PLANTED");
    return awake != 0 && __builtin_strcmp(awake, name) == 0;
}

#endif
