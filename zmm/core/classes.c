/* classes.c -- the thirty size classes: the only place where their numbers stand.
 *
 * Asks: nobody. Serves: everybody. They are zendmm.md section 2: steps of 8 up to 64, then four classes to each power of
 * two. */
#include "core.h"

/* bin, size, elements of a run, pages of a run */
#define BIN_TABLE(BIN)                                                                                                 \
    BIN(0, 8, 512, 1)                                                                                                  \
    BIN(1, 16, 256, 1)                                                                                                 \
    BIN(2, 24, 170, 1)                                                                                                 \
    BIN(3, 32, 128, 1)                                                                                                 \
    BIN(4, 40, 102, 1)                                                                                                 \
    BIN(5, 48, 85, 1)                                                                                                  \
    BIN(6, 56, 73, 1)                                                                                                  \
    BIN(7, 64, 64, 1)                                                                                                  \
    BIN(8, 80, 51, 1)                                                                                                  \
    BIN(9, 96, 42, 1)                                                                                                  \
    BIN(10, 112, 36, 1)                                                                                                \
    BIN(11, 128, 32, 1)                                                                                                \
    BIN(12, 160, 25, 1)                                                                                                \
    BIN(13, 192, 21, 1)                                                                                                \
    BIN(14, 224, 18, 1)                                                                                                \
    BIN(15, 256, 16, 1)                                                                                                \
    BIN(16, 320, 64, 5)                                                                                                \
    BIN(17, 384, 32, 3)                                                                                                \
    BIN(18, 448, 9, 1)                                                                                                 \
    BIN(19, 512, 8, 1)                                                                                                 \
    BIN(20, 640, 32, 5)                                                                                                \
    BIN(21, 768, 16, 3)                                                                                                \
    BIN(22, 896, 9, 2)                                                                                                 \
    BIN(23, 1024, 8, 2)                                                                                                \
    BIN(24, 1280, 16, 5)                                                                                               \
    BIN(25, 1536, 8, 3)                                                                                                \
    BIN(26, 1792, 16, 7)                                                                                               \
    BIN(27, 2048, 8, 4)                                                                                                \
    BIN(28, 2560, 8, 5)                                                                                                \
    BIN(29, 3072, 4, 3)

#define BIN_BYTES(bin, bytes, elements, pages) bytes,
#define BIN_ELEMENTS(bin, bytes, elements, pages) elements,
#define BIN_PAGES(bin, bytes, elements, pages) pages,
ZMM_INTERNAL const uint16_t bin_bytes[ZMM_BIN_COUNT] = {BIN_TABLE(BIN_BYTES)};
ZMM_INTERNAL const uint16_t bin_elements[ZMM_BIN_COUNT] = {BIN_TABLE(BIN_ELEMENTS)};
ZMM_INTERNAL const uint8_t bin_pages[ZMM_BIN_COUNT] = {BIN_TABLE(BIN_PAGES)};

#define BIN_WIPE(bin, bytes, elements, pages) (uint8_t)((bytes) >= 32 ? 16 : (bytes) >= 16 ? (bytes) - 16 : 0),
ZMM_INTERNAL const uint8_t bin_wipe[ZMM_BIN_COUNT] = {BIN_TABLE(BIN_WIPE)};

#if ZMM_TRIMS
/* min(step, what the slot holds before its tail - 16) */
#define BIN_TRIM_ROOM(bytes) ((bytes) - ((bytes) < TRIM_INNER_BYTES_MIN ? 8 : TRIM_TAIL_BYTES) - 16)
#define BIN_TRIM_OFFSET(bytes, step)                                                                                   \
    (uint8_t)((bytes) < 24 ? 0 : BIN_TRIM_ROOM(bytes) < (step) ? BIN_TRIM_ROOM(bytes) : (step))
#define BIN_TRIM(bin, bytes, elements, pages)                                                                          \
    {bytes, BIN_TRIM_OFFSET(bytes, 16), BIN_TRIM_OFFSET(bytes, 32), BIN_TRIM_OFFSET(bytes, TRIM_FREE_BYTES - 16), {0}},
ZMM_INTERNAL const trim_bin trim_bins[ZMM_BIN_COUNT] = {BIN_TABLE(BIN_TRIM)};
#endif

#define BIN_FITS(bin, bytes, elements, pages)                                                                          \
    static_assert((size_t)(bytes) * (elements) <= (pages) * ZMM_PAGE_BYTES &&                                          \
                      (size_t)(bytes) * ((elements) + 1) > (pages) * ZMM_PAGE_BYTES,                                   \
                  "a run holds all its elements and no more would fit");
BIN_TABLE(BIN_FITS)

/* Indexed by ceil(size / 8): one table look-up serves every small size. Each entry is one bin's class word. */
#define BIN_CLASS(bin, bytes, elements, pages) CLASS_##bin = (bin) | (bytes) << CLASS_BYTES_SHIFT,
enum { BIN_TABLE(BIN_CLASS) };
#define TIMES1(bin) CLASS_##bin
#define TIMES2(bin) TIMES1(bin), TIMES1(bin)
#define TIMES4(bin) TIMES2(bin), TIMES2(bin)
#define TIMES8(bin) TIMES4(bin), TIMES4(bin)
#define TIMES16(bin) TIMES8(bin), TIMES8(bin)
#define TIMES32(bin) TIMES16(bin), TIMES16(bin)
#define TIMES64(bin) TIMES32(bin), TIMES32(bin)
ZMM_INTERNAL _Alignas(ZMM_PAGE_BYTES) const class_words class_table = {
    .by_eighth = {
        TIMES1(0), /* size 0 asks for the smallest block */
        TIMES1(0),   TIMES1(1),   TIMES1(2),   TIMES1(3),   TIMES1(4),   TIMES1(5),   TIMES1(6),   TIMES1(7),
        TIMES2(8),   TIMES2(9),   TIMES2(10),  TIMES2(11),  TIMES4(12),  TIMES4(13),  TIMES4(14),  TIMES4(15),
        TIMES8(16),  TIMES8(17),  TIMES8(18),  TIMES8(19),  TIMES16(20), TIMES16(21), TIMES16(22), TIMES16(23),
        TIMES32(24), TIMES32(25), TIMES32(26), TIMES32(27), TIMES64(28), TIMES64(29),
    }};
