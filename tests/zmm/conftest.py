"""Heaps of every level."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import zmm
from zmm.heap import Level


@pytest.fixture(params=zmm.LEVELS)
def level(request: pytest.FixtureRequest) -> Level:
    """Each level in turn."""
    name: Level = request.param
    return name


@pytest.fixture
def heap(level: Level) -> Iterator[zmm.Heap]:
    """A heap of each level, checked as a whole when the test is over."""
    with zmm.Heap(level=level) as heap:
        yield heap
        if not heap.closed:
            heap.check()
