/* digest.h -- the digest of `check`: CRC-32 over 64-bit words in abi.h's order. */
#ifndef ZMM_RUNNER_DIGEST_H
#define ZMM_RUNNER_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#pragma GCC visibility push(hidden)

struct digest {
    uint64_t words[64];
    size_t count;
    uint32_t crc;
};

enum { DIGEST_LARGE = 0x40000000, DIGEST_CACHED = 0xC0, DIGEST_BIN = 0xB000, DIGEST_HUGE = 0xAA };
#define DIGEST_SMALL 0x80000000U

void digest_word(struct digest *digest, uint64_t word);
/* The CRC of all words so far. */
uint32_t digest_finish(struct digest *digest);

#pragma GCC visibility pop
#endif
