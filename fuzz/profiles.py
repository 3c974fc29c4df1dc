"""What generated programs are made of: size families, hard arithmetic, texts, and the profiles that mix them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .boundaries import (
    BIN_EDGES,
    EXTREMES,
    HUGE_EDGES,
    LARGE_EDGES,
    PAGE_BYTES,
    PAGE_EDGES,
    RUN_EDGES,
    SIZE_MAX,
    SMALL_BYTES_MAX,
)

# Size families. Each is a table, so that a size costs one index; uniform families are tables with a stride.
FAMILIES: dict[str, Sequence[int]] = {
    "tiny": range(65),
    "bins": BIN_EDGES,
    "small": range(1, SMALL_BYTES_MAX + 1, 7),
    "pages": PAGE_EDGES,
    "runs": RUN_EDGES,
    "large": range(SMALL_BYTES_MAX + 1, 40 * PAGE_BYTES, 389),
    "chunk": LARGE_EDGES,
    "huge": HUGE_EDGES,
    "extreme": EXTREMES,
}

# Arithmetic at and over the edge: (count, size, offset).
PRODUCTS = (
    (2**32, 2**32, 0),
    (2**32, 2**32 - 1, 2**32 - 1),
    (1, SIZE_MAX, 0),
    (1, SIZE_MAX, 1),
    (SIZE_MAX, 1, 1),
    (SIZE_MAX, 2, 0),
    (SIZE_MAX, SIZE_MAX, SIZE_MAX),
    (3, SIZE_MAX // 3, 0),
    (3, SIZE_MAX // 3, 1),
    (2**63, 2, 0),
    (0, SIZE_MAX, 40),
    (SIZE_MAX, 0, 3072),
    (0, 0, 0),
    (0, 8, SIZE_MAX),
)

# A request of this many bytes or more is always refused, so its label stays without a block.
HOPELESS_BYTES = 2**40

TEXTS = tuple(
    bytes(33 + (7 * length + i) % 94 for i in range(length))
    for length in (
        0,
        1,
        6,
        7,
        8,
        9,
        15,
        16,
        31,
        32,
        39,
        40,
        63,
        64,
        79,
        127,
        255,
        256,
        319,
        511,
        1023,
        3071,
        3072,
        4095,
    )
)


@dataclass(frozen=True, slots=True)
class Profile:
    """What a kind of program leans towards; swarm weights are drawn around this for each program."""

    words: dict[str, int]
    families: dict[str, int]
    # Live bytes at which the generator stops to allocate, so that a target needs bounded memory.
    live_bytes_max: int = 48 << 20
    limit: bool = False  # every program has a limit
    failing: bool = False  # in every program some storage calls fail
    kernel_of_4: int = 1  # how many programs of four get kernel storage


_CORE = {"alloc": 40, "free": 34, "realloc": 14, "write": 3, "check": 1}
_WALKS = {"realloc": 120, "realloc2": 36, "safe_realloc": 18}
_COPIES = {
    "calloc": 6,
    "safe_alloc": 5,
    "realloc2": 4,
    "safe_realloc": 3,
    "strdup": 3,
    "strndup": 3,
}
_CARE = {"gc": 2, "reset_peak": 1}

PROFILES: dict[str, Profile] = {
    "small": Profile(_CORE | _COPIES | _CARE, {"tiny": 3, "bins": 6, "small": 3}),
    "mixed": Profile(
        _CORE | _COPIES | _CARE | {"limit": 1, "request_end": 1},
        {
            "tiny": 3,
            "bins": 6,
            "small": 3,
            "pages": 4,
            "runs": 1,
            "large": 2,
            "chunk": 1,
            "huge": 1,
            "extreme": 1,
        },
    ),
    "large": Profile(_CORE | _CARE, {"pages": 6, "runs": 4, "large": 5, "chunk": 2, "bins": 1}, 96 << 20),
    "huge": Profile(_CORE | _CARE, {"huge": 8, "chunk": 4, "runs": 1, "bins": 2, "extreme": 1}, 96 << 20),
    "limit": Profile(
        _CORE | _CARE | {"limit": 6, "calloc": 2},
        {"bins": 2, "pages": 2, "runs": 4, "large": 2, "chunk": 4, "huge": 4, "extreme": 1},
        64 << 20,
        limit=True,
    ),
    "realloc": Profile(
        _CORE | _WALKS | {"gc": 1},
        {
            "tiny": 1,
            "bins": 6,
            "small": 1,
            "pages": 4,
            "runs": 2,
            "large": 2,
            "chunk": 2,
            "huge": 2,
        },
        96 << 20,
    ),
    "requests": Profile(
        _CORE | _CARE | {"request_end": 6, "calloc": 3},
        {"bins": 4, "small": 2, "pages": 3, "large": 2, "runs": 2, "chunk": 1, "huge": 1},
        96 << 20,
        kernel_of_4=3,
    ),
    "failing": Profile(
        _CORE | _COPIES | _CARE | {"request_end": 1},
        {"bins": 2, "pages": 1, "runs": 4, "large": 2, "chunk": 4, "huge": 4},
        64 << 20,
        failing=True,
    ),
    "text": Profile(
        {
            "strdup": 20,
            "strndup": 20,
            "alloc": 8,
            "free": 34,
            "realloc": 8,
            "realloc2": 3,
            "write": 4,
            "gc": 1,
            "check": 1,
        },
        {"tiny": 3, "bins": 5, "small": 3, "pages": 1},
    ),
    # Each misuse costs a child process, about three milliseconds: a few in a program.
    "misuse": Profile(
        _CORE | _CARE | {"request_end": 1, "misuse": 24},
        {"tiny": 3, "bins": 6, "small": 2, "pages": 4, "large": 2, "runs": 2, "chunk": 1, "huge": 2},
    ),
}
