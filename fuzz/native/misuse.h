/* misuse.h -- performs a step that no correct program makes, in a child, and tells how the child ended. */
#ifndef ZMM_RUNNER_MISUSE_H
#define ZMM_RUNNER_MISUSE_H

#include "abi.h"
#include "target.h"

#pragma GCC visibility push(hidden)

/* The step is one from STEP_MISUSE_FREE_FREED to STEP_MISUSE_WRITE_FREED; sets status and text_crc, as abi.h tells. */
void misuse_perform(const struct target *target, const struct step *step, struct row *row);

#pragma GCC visibility pop
#endif
