"""What the levels do to places and sizes: the plain ones nothing, those with trims what they must."""

from __future__ import annotations

import pytest

import zmm
from zmm.heap import Level


@pytest.mark.parametrize("level", ["fast", "release"])
def test_plain_levels_place_blocks_as_php_does(level: Level) -> None:
    """The second 40-byte slot lies behind the first, a freed one is the next to be used, and nothing is added."""
    with zmm.Heap(level=level) as heap:
        first, second = heap.alloc(40), heap.alloc(40)
        assert second == first + 40
        assert heap.usage().size_bytes == 80
        heap.free(first)
        assert heap.alloc(40) == first


@pytest.mark.parametrize("level", ["hardened", "debug"])
def test_levels_with_trims_take_more_and_wait(level: Level) -> None:
    """The usable size is what was asked for, the block costs more, and a freed one is not the next to be used."""
    with zmm.Heap(level=level) as heap:
        address = heap.alloc(40)
        assert heap.block_size(address) == 40
        assert heap.usage().size_bytes > 40
        heap.free(address)
        assert heap.alloc(40) != address
