/* digest.c -- collects words and digests them in batches. */
#include "digest.h"

#include "crc.h"

uint32_t digest_finish(struct digest *digest) {
    digest->crc = crc_extend(digest->crc, digest->words, digest->count * sizeof(uint64_t));
    digest->count = 0;
    return digest->crc;
}

void digest_word(struct digest *digest, uint64_t word) {
    if (digest->count == sizeof digest->words / sizeof digest->words[0]) {
        (void)digest_finish(digest);
    }
    digest->words[digest->count++] = word;
}
