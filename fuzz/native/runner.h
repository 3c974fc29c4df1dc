/* runner.h -- what the parts of the runner ask of its process. */
#ifndef ZMM_RUNNER_RUNNER_H
#define ZMM_RUNNER_RUNNER_H

#include "abi.h"

#pragma GCC visibility push(hidden)

/* Appends a message about the running step to the message area; one that does not fit is counted as lost. */
void runner_message(enum message_kind kind, const char *text);

/* In a child of the runner: nothing it does reaches the driver any more. */
void runner_detach(void);

#pragma GCC visibility pop
#endif
