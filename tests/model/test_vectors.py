"""The golden and the first-touch vector: offsets that PHP 8.2 was seen to choose on a fresh heap."""

from __future__ import annotations

import pytest

from tests.model.conftest import Make


@pytest.mark.parametrize("edition", ["php-8.2", "zmm"])
def test_golden_vector(make: Make, edition: str) -> None:
    """
    A fresh heap's first large and small blocks, holes, exact fits, ties and in-place resizes.

    Method: the vector was recorded on PHP 8.2.32; offsets are relative to the chunk.
    """
    heap = make(edition)

    first = heap.offsets(0, [100, 5000, 12000, 40, 8192, 3072, 320, 4096])
    assert first == [0x1000, 0x2000, 0x4000, 0x7000, 0x8000, 0xA000, 0xD000, 0x12000]
    heap.free(1, 4, 7)
    chunk = heap.heap.image().chunks[0]
    assert (chunk.free_tail, chunk.free_pages) == (18, 498)
    assert heap.offsets(10, [4096]) == [0x2000]  # two holes of two pages tie: the lowest
    assert heap.offsets(11, [8192]) == [0x8000]  # an exact fit
    assert heap.offsets(12, [4000]) == [0x3000]  # an exact fit
    assert heap.offsets(13, [20000]) == [0x12000]  # the tail
    assert heap.offsets(14, [30000]) == [0x17000]
    assert heap.realloc(14, 50000).offset == 0x17000
    assert heap.realloc(14, 9000).offset == 0x17000
    last = heap.alloc(15, 4096)
    assert last.offset == 0x1A000
    assert (last.size, last.peak) == (69080, 105944)


def test_first_touch_vector(make: Make) -> None:
    """The first block of each class takes the next free pages; later ones ascend in their run."""
    sizes = [0, 1, 8, 9, 16, 24, 25, 256, 257, 320, 3072, 3073, 4096, 4097, 8192]

    offsets = make().offsets(0, sizes)

    pages = [1, 1, 1, 2, 2, 3, 4, 5, 6, 6, 0xB, 0xE, 0xF, 0x10, 0x12]
    inside = [0, 8, 0x10, 0, 0x10, 0, 0, 0, 0, 0x140, 0, 0, 0, 0, 0]
    assert [page * 4096 + at for page, at in zip(pages, inside, strict=True)] == offsets
