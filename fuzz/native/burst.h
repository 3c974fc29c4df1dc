/* burst.h -- operations made up from a seed, as plain steps. */
#ifndef ZMM_RUNNER_BURST_H
#define ZMM_RUNNER_BURST_H

#include <stdbool.h>
#include <stdint.h>

#include "abi.h"

#pragma GCC visibility push(hidden)

/* The text that strdup and strndup of a burst copy ends of, with its NUL. */
extern char burst_text[BURST_TEXT_BYTES + 1];

/* Begins the burst that `step` describes; there is one at a time. */
void burst_begin(const struct step *step);
/* The next step; false after the last one (a `check`). */
bool burst_next(struct step *step);

#pragma GCC visibility pop
#endif
