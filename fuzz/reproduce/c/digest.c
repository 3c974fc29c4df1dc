
/* ---- the digest of a whole heap: CRC-32 of 64-bit words ----------------------------------------------------------- */

static uint32_t digest;

static void digest_word(uint64_t word) {
    digest = crc_extend(digest, &word, sizeof word);
}

enum { DIGEST_LARGE = 0x40000000, DIGEST_CACHED = 0xC0, DIGEST_BIN = 0xB000, DIGEST_HUGE = 0xAA, BIN_COUNT = 30 };
#define DIGEST_SMALL 0x80000000U
