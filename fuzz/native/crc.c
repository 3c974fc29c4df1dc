/* crc.c -- CRC-32 (zlib's polynomial): eight tables, or carry-less multiplication where the processor has it. */
#include "crc.h"

#include <stdbool.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

static uint32_t tables[8][256];
static bool has_multiplication;

void crc_prepare(void) {
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xEDB88320U : 0);
        }
        tables[0][byte] = crc;
    }
    for (uint32_t byte = 0; byte < 256; byte++) {
        for (int table = 1; table < 8; table++) {
            uint32_t crc = tables[table - 1][byte];
            tables[table][byte] = (crc >> 8) ^ tables[0][crc & 255];
        }
    }
#if defined(__x86_64__)
    __builtin_cpu_init();
    has_multiplication = __builtin_cpu_supports("pclmul") != 0 && __builtin_cpu_supports("sse4.1") != 0;
#endif
}

/* `crc` is inverted already, as in all helpers here. */
static uint32_t extend_by_table(uint32_t crc, const uint8_t *bytes, size_t byte_count) {
    while (byte_count >= 8) {
        uint64_t word;
        memcpy(&word, bytes, 8);
        word ^= crc;
        crc = tables[7][word & 255] ^ tables[6][(word >> 8) & 255] ^ tables[5][(word >> 16) & 255] ^
              tables[4][(word >> 24) & 255] ^ tables[3][(word >> 32) & 255] ^ tables[2][(word >> 40) & 255] ^
              tables[1][(word >> 48) & 255] ^ tables[0][word >> 56];
        bytes += 8;
        byte_count -= 8;
    }
    while (byte_count > 0) {
        crc = (crc >> 8) ^ tables[0][(crc ^ *bytes) & 255];
        bytes++;
        byte_count--;
    }
    return crc;
}

#if defined(__x86_64__)
#define FOLDED __attribute__((target("pclmul,sse4.1")))

FOLDED static inline __m128i fold(__m128i value, __m128i next, __m128i factors) {
    __m128i low = _mm_clmulepi64_si128(value, factors, 0x00);
    __m128i high = _mm_clmulepi64_si128(value, factors, 0x11);
    return _mm_xor_si128(_mm_xor_si128(low, high), next);
}

FOLDED static inline __m128i load(const uint8_t *bytes) {
    __m128i value;
    memcpy(&value, bytes, 16);
    return value;
}

/* The folding method of Intel's white paper, bits reflected; byte_count is a multiple of 64, at least 64. */
FOLDED static uint32_t extend_by_multiplication(uint32_t crc, const uint8_t *bytes, size_t byte_count) {
    const __m128i by_four = _mm_set_epi64x(0x01c6e41596, 0x0154442bd4);
    const __m128i by_one = _mm_set_epi64x(0x00ccaa009e, 0x01751997d0);
    const __m128i last = _mm_set_epi64x(0, 0x0163cd6124);
    const __m128i barrett = _mm_set_epi64x(0x01f7011641, 0x01db710641);
    const __m128i low_halves = _mm_setr_epi32(~0, 0, ~0, 0);

    __m128i a = _mm_xor_si128(load(bytes), _mm_cvtsi32_si128((int)crc));
    __m128i b = load(bytes + 16);
    __m128i c = load(bytes + 32);
    __m128i d = load(bytes + 48);
    for (bytes += 64, byte_count -= 64; byte_count >= 64; bytes += 64, byte_count -= 64) {
        a = fold(a, load(bytes), by_four);
        b = fold(b, load(bytes + 16), by_four);
        c = fold(c, load(bytes + 32), by_four);
        d = fold(d, load(bytes + 48), by_four);
    }
    a = fold(a, b, by_one);
    a = fold(a, c, by_one);
    a = fold(a, d, by_one);

    __m128i b64 = _mm_xor_si128(_mm_srli_si128(a, 8), _mm_clmulepi64_si128(a, by_one, 0x10));
    __m128i rest = _mm_srli_si128(b64, 4);
    b64 = _mm_xor_si128(_mm_clmulepi64_si128(_mm_and_si128(b64, low_halves), last, 0x00), rest);
    __m128i quotient = _mm_and_si128(b64, low_halves);
    quotient = _mm_and_si128(_mm_clmulepi64_si128(quotient, barrett, 0x10), low_halves);
    quotient = _mm_clmulepi64_si128(quotient, barrett, 0x00);
    return (uint32_t)_mm_extract_epi32(_mm_xor_si128(b64, quotient), 1);
}
#endif

uint32_t crc_extend(uint32_t previous, const void *bytes, size_t byte_count) {
    const uint8_t *next = bytes;
    uint32_t crc = ~previous;
#if defined(__x86_64__)
    if (has_multiplication && byte_count >= 64) {
        size_t folded = byte_count & ~(size_t)63;
        crc = extend_by_multiplication(crc, next, folded);
        next += folded;
        byte_count -= folded;
    }
#endif
    return ~extend_by_table(crc, next, byte_count);
}
