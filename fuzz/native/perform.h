/* perform.h -- performs one step on the target and describes what happened in its row. */
#ifndef ZMM_RUNNER_PERFORM_H
#define ZMM_RUNNER_PERFORM_H

#include <stdbool.h>

#include "abi.h"
#include "target.h"

#pragma GCC visibility push(hidden)

void perform_prepare(const struct target *target);
bool perform_is_open(void);
/* `text` is the text area that the step's offsets refer to. Writes the whole row. */
void perform_step(const struct step *step, const char *text, struct row *row);

#pragma GCC visibility pop
#endif
