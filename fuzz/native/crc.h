/* crc.h -- CRC-32 as zlib computes it, quick enough to run over every row of a burst. */
#ifndef ZMM_RUNNER_CRC_H
#define ZMM_RUNNER_CRC_H

#include <stddef.h>
#include <stdint.h>

#pragma GCC visibility push(hidden)

/* Once, before anything else of this file. */
void crc_prepare(void);
/* The CRC of `previous`'s bytes followed by these; start with 0. */
uint32_t crc_extend(uint32_t previous, const void *bytes, size_t byte_count);

#pragma GCC visibility pop
#endif
