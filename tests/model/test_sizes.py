"""Size arithmetic: every bin, every boundary, for every size there is."""

from __future__ import annotations

import pytest
from zmm_model import sizes

# bin: bytes, elements, pages, waste -- as published.
TABLE = """
0 8 512 1 0       15 256 16 1 0
1 16 256 1 0      16 320 64 5 0
2 24 170 1 16     17 384 32 3 0
3 32 128 1 0      18 448 9 1 64
4 40 102 1 16     19 512 8 1 0
5 48 85 1 16      20 640 32 5 0
6 56 73 1 8       21 768 16 3 0
7 64 64 1 0       22 896 9 2 128
8 80 51 1 16      23 1024 8 2 0
9 96 42 1 64      24 1280 16 5 0
10 112 36 1 64    25 1536 8 3 0
11 128 32 1 0     26 1792 16 7 0
12 160 25 1 96    27 2048 8 4 0
13 192 21 1 64    28 2560 8 5 0
14 224 18 1 64    29 3072 4 3 0
"""


def test_bins_are_as_published() -> None:
    """Bytes, elements, pages and waste of all thirty bins."""
    numbers = [int(word) for word in TABLE.split()]
    published = sorted(tuple(numbers[at : at + 5]) for at in range(0, len(numbers), 5))

    derived = [
        (
            index,
            sizes.bin_bytes(index),
            sizes.bin_elements(index),
            sizes.bin_pages(index),
            sizes.bin_waste(index),
        )
        for index in range(sizes.BIN_COUNT)
    ]

    assert published == derived


def test_each_small_size_goes_to_the_smallest_bin_that_holds_it() -> None:
    """Exhaustive, against a search of the table."""
    for size_bytes in range(sizes.SMALL_BYTES_MAX + 1):
        smallest = next(i for i in range(30) if sizes.BIN_BYTES[i] >= size_bytes)
        assert smallest == sizes.bin_of(size_bytes) == sizes.BIN_OF[size_bytes]


@pytest.mark.parametrize(
    ("size_bytes", "block_bytes"),
    [
        (0, 8),
        (1, 8),
        (9, 16),
        (257, 320),
        (3072, 3072),
        (3073, 4096),
        (4097, 8192),
        (2093056, 2093056),
        (2093057, 2097152),
    ],
)
def test_block_sizes_at_the_borders(size_bytes: int, block_bytes: int) -> None:
    """Block sizes that PHP was seen to give."""
    assert block_bytes == sizes.block_bytes(size_bytes)


def test_large_sizes_are_whole_pages_and_the_rest_is_huge() -> None:
    """Every size around each page border up to past a chunk."""
    for page in range(1, 514):
        for size_bytes in (page * 4096 - 1, page * 4096, page * 4096 + 1):
            pages = sizes.pages_for(size_bytes)
            assert (pages - 1) * 4096 < size_bytes <= pages * 4096
            assert (pages > sizes.USABLE_PAGES) == sizes.is_huge(size_bytes)
            assert sizes.is_small(size_bytes) == (size_bytes < 3073)


@pytest.mark.parametrize(
    ("factors", "total"),
    [
        ((3, 16, 8), 56),
        ((0, 2**64 - 1, 7), 7),
        ((1, 2**64 - 1, 0), 2**64 - 1),
        ((1, 2**64 - 1, 1), None),
        ((2**32, 2**32, 0), None),
        ((2**32, 2**32 - 1, 2**32 - 1), 2**64 - 1),
        ((2**32, 2**32 - 1, 2**32), None),
    ],
)
def test_products_are_exact_or_refused(factors: tuple[int, int, int], total: int | None) -> None:
    """Multiplication by zero is fine for any factor; 2**64 - 1 is still a size, 2**64 is none."""
    assert total == sizes.safe_size(*factors)


def test_huge_rounding_overflows_in_the_last_page_of_the_range() -> None:
    """2**64 - 4096 rounds to itself, one byte more has no page to round up to."""
    assert not sizes.huge_overflows(2**64 - 4096)
    assert sizes.huge_overflows(2**64 - 4095)
    assert sizes.round_up(2**64 - 4096, 4096) == 2**64 - 4096


def test_a_small_block_stays_down_to_the_next_smaller_bin() -> None:
    """3072 stays for 2560 and moves for 2559; 8 never moves down."""
    assert sizes.stays_in_bin(29, 2560)
    assert not sizes.stays_in_bin(29, 2559)
    assert not sizes.stays_in_bin(29, 3073)
    assert sizes.stays_in_bin(0, 0)
