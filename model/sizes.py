"""
Size arithmetic: which class, how many bytes and pages a request costs.  Imports nothing of ours.

The contracts are PEP 316 docstrings (``pre:``, ``post:``), which CrossHair confirms for every size
up to 2**64 - 1. Everything is written with ``//``, ``%`` and ``bit_length``, the forms that it can
reason about.
"""

from __future__ import annotations

SIZE_MAX = 2**64 - 1
PAGE_BYTES = 4096
CHUNK_BYTES = 2 * 1024 * 1024
CHUNK_PAGES = CHUNK_BYTES // PAGE_BYTES
FIRST_PAGE = 1
USABLE_PAGES = CHUNK_PAGES - FIRST_PAGE
BIN_COUNT = 30
SMALL_BYTES_MAX = 3072
LARGE_BYTES_MAX = CHUNK_BYTES - PAGE_BYTES
LIMIT_DEFAULT_BYTES = SIZE_MAX // 2
STORAGE_RECORD_BYTES = 40
HUGE_NODE_BYTES = 24
HUGE_NODE_BIN = 2

# Pages per run of each bin: chosen, not derived; all else about a bin follows from its number.
_RUN_PAGES = (1,) * 16 + (5, 3, 1, 1, 5, 3, 2, 2, 5, 3, 7, 4, 5, 3)


def bin_of(size_bytes: int) -> int:
    """
    Number of the smallest bin that holds a small request: steps of 8 up to 64, then four classes
    per power of two.

    pre: 0 <= size_bytes <= 3072
    post: 0 <= __return__ < 30
    post: bin_bytes(__return__) >= size_bytes
    post: __return__ == 0 or bin_bytes(__return__ - 1) < size_bytes
    """
    if size_bytes <= 8:
        return 0
    if size_bytes <= 64:
        return (size_bytes - 1) // 8
    group = (size_bytes - 1).bit_length() - 7
    step_bytes: int = 16 * 2**group
    return (size_bytes - 1) // step_bytes + 4 + 4 * group


def bin_bytes(bin_index: int) -> int:
    """
    Bytes of one slot of a bin.

    pre: 0 <= bin_index < 30
    post: 8 <= __return__ <= 3072
    post: __return__ % 8 == 0
    post: bin_index == 0 or __return__ > bin_bytes(bin_index - 1)
    post: bin_of(__return__) == bin_index
    """
    if bin_index < 8:
        return 8 * (bin_index + 1)
    group = (bin_index - 8) // 4
    step_bytes: int = 16 * 2**group
    return (5 + (bin_index - 8) % 4) * step_bytes


def bin_pages(bin_index: int) -> int:
    """
    Pages of one run of a bin.

    pre: 0 <= bin_index < 30
    post: 1 <= __return__ <= 7
    """
    return _RUN_PAGES[bin_index]


def bin_elements(bin_index: int) -> int:
    """
    Slots in one run of a bin: as many as fit whole.

    pre: 0 <= bin_index < 30
    post: __return__ * bin_bytes(bin_index) <= bin_pages(bin_index) * 4096
    post: (__return__ + 1) * bin_bytes(bin_index) > bin_pages(bin_index) * 4096
    post: 4 <= __return__ <= 512
    """
    return bin_pages(bin_index) * PAGE_BYTES // bin_bytes(bin_index)


def bin_waste(bin_index: int) -> int:
    """
    Bytes at the end of a bin's run that belong to no slot.

    pre: 0 <= bin_index < 30
    post: 0 <= __return__ < bin_bytes(bin_index)
    """
    return bin_pages(bin_index) * PAGE_BYTES - bin_elements(bin_index) * bin_bytes(bin_index)


def round_up(size_bytes: int, unit_bytes: int) -> int:
    """
    The least multiple of a unit that is not below the size, as an exact number (it may exceed 2**64
    - 1).

    pre: 0 <= size_bytes < 2**64
    pre: unit_bytes in (8, 4096, 2097152)
    post: __return__ % unit_bytes == 0
    post: size_bytes <= __return__ < size_bytes + unit_bytes
    """
    return (size_bytes + unit_bytes - 1) // unit_bytes * unit_bytes


def pages_for(size_bytes: int) -> int:
    """
    Pages that hold the size.

    pre: 0 <= size_bytes < 2**64
    post: __return__ * 4096 >= size_bytes
    post: (__return__ - 1) * 4096 < size_bytes
    """
    return (size_bytes + PAGE_BYTES - 1) // PAGE_BYTES


def is_small(size_bytes: int) -> bool:
    """
    Whether a request is served from a bin.

    pre: 0 <= size_bytes < 2**64
    post: __return__ == (size_bytes < 3073)
    """
    return size_bytes <= SMALL_BYTES_MAX


def is_huge(size_bytes: int) -> bool:
    """
    Whether a request gets a mapping of its own: it does not fit beside a chunk's first page.

    pre: 0 <= size_bytes < 2**64
    post: __return__ == (pages_for(size_bytes) > 511)
    """
    return size_bytes > LARGE_BYTES_MAX


def huge_overflows(size_bytes: int) -> bool:
    """
    Whether rounding a huge request up to a page leaves the range of a size.

    pre: 0 <= size_bytes < 2**64
    post: __return__ == (size_bytes > 2**64 - 4096)
    """
    return round_up(size_bytes, PAGE_BYTES) > SIZE_MAX


def block_bytes(size_bytes: int) -> int:
    """
    Usable bytes of the block that serves a request.

    pre: 0 <= size_bytes <= 2**64 - 4096
    post: __return__ >= size_bytes
    post: __return__ % 8 == 0
    post: size_bytes <= 3072 or __return__ - size_bytes < 4096
    post: size_bytes > 3072 or __return__ <= 3072
    """
    if size_bytes <= SMALL_BYTES_MAX:
        return bin_bytes(bin_of(size_bytes))
    return round_up(size_bytes, PAGE_BYTES)


def safe_size(count: int, size_bytes: int, offset_bytes: int) -> int | None:
    """
    ``count * size_bytes + offset_bytes``, or None when the exact value is not a size.

    pre: 0 <= count < 2**64
    pre: 0 <= size_bytes < 2**64
    pre: 0 <= offset_bytes < 2**64
    post: __return__ is None or __return__ == count * size_bytes + offset_bytes
    post: __return__ is None or __return__ < 2**64
    post: __return__ is not None or count * size_bytes + offset_bytes >= 2**64
    """
    total = count * size_bytes + offset_bytes
    return total if total <= SIZE_MAX else None


def stays_in_bin(bin_index: int, size_bytes: int) -> bool:
    """
    Whether a resized small block keeps its slot: it fits, and the next smaller bin would not hold
    it with room to spare.

    pre: 0 <= bin_index < 30
    pre: 0 <= size_bytes < 2**64
    post: not __return__ or size_bytes <= bin_bytes(bin_index)
    post: __return__ or size_bytes > bin_bytes(bin_index) or size_bytes < bin_bytes(bin_index - 1)
    post: __return__ or bin_index > 0 or size_bytes > 8
    """
    if size_bytes > bin_bytes(bin_index):
        return False
    return bin_index == 0 or size_bytes >= bin_bytes(bin_index - 1)


# The same as tables, for the paths that run a hundred thousand times a second.
BIN_OF = bytes(bin_of(size) for size in range(SMALL_BYTES_MAX + 1))
BIN_BYTES = tuple(bin_bytes(index) for index in range(BIN_COUNT))
BIN_PAGES = _RUN_PAGES
BIN_ELEMENTS = tuple(bin_elements(index) for index in range(BIN_COUNT))
