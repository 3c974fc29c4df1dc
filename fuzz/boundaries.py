"""The sizes at which a ZendMM-like allocator changes its mind: the raw material of generator, tape and shrinker."""

from __future__ import annotations

PAGE_BYTES = 4096
CHUNK_BYTES = 2 * 1024 * 1024
SIZE_MAX = 2**64 - 1

# The block sizes of the 30 bins.
BIN_BYTES = (
    *(8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256),
    *(320, 384, 448, 512, 640, 768, 896, 1024, 1280, 1536, 1792, 2048, 2560, 3072),
)
SMALL_BYTES_MAX = BIN_BYTES[-1]
LARGE_BYTES_MAX = CHUNK_BYTES - PAGE_BYTES
# Without a limit of its own a heap has this one.
LIMIT_BYTES_NONE = SIZE_MAX >> 1


def _around(*sizes: int) -> tuple[int, ...]:
    return tuple(size + delta for size in sizes for delta in (-1, 0, 1) if 0 <= size + delta <= SIZE_MAX)


BIN_EDGES = _around(*BIN_BYTES)
PAGE_EDGES = _around(*(pages * PAGE_BYTES for pages in range(1, 25)))
RUN_EDGES = _around(*(pages * PAGE_BYTES for pages in (32, 63, 64, 65, 100, 127, 128, 170, 255, 256, 340, 384, 448)))
LARGE_EDGES = _around(*(pages * PAGE_BYTES for pages in (503, 504, 508, 509, 510, 511)))
HUGE_EDGES = (
    *_around(*(chunks * CHUNK_BYTES for chunks in (1, 2, 3, 4))),
    *(chunks * CHUNK_BYTES + PAGE_BYTES for chunks in (1, 2, 3)),
    *(chunks * CHUNK_BYTES - PAGE_BYTES for chunks in (2, 3, 4)),
    LARGE_BYTES_MAX + 1,
    CHUNK_BYTES + PAGE_BYTES + 1,
)
# Sizes above every limit that the generator sets: each ends in a refusal (or in an overflow on the way to one), so
# that no answer depends on how much the system would map.
EXTREMES = (
    SIZE_MAX,
    SIZE_MAX - 1,
    SIZE_MAX - 4094,
    SIZE_MAX - 4095,
    SIZE_MAX - 4096,
    SIZE_MAX - CHUNK_BYTES,
    LIMIT_BYTES_NONE,
    LIMIT_BYTES_NONE + 1,
    LIMIT_BYTES_NONE - CHUNK_BYTES,
    LIMIT_BYTES_NONE - CHUNK_BYTES + 1,
)

# Every size at which a shrinker should try to stop, in ascending order.
LANDMARKS = tuple(
    sorted(
        {
            0,
            1,
            *BIN_EDGES,
            *PAGE_EDGES,
            *RUN_EDGES,
            *LARGE_EDGES,
            *HUGE_EDGES,
            *EXTREMES,
            2**32,
            2**48,
            2**62,
            2**63,
        }
    )
)
