"""Heaps of every level."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import zmm
from zmm.heap import Level

# Where blocks lie and what they count is ZendMM's at these levels; the others put trims around blocks, let freed ones
# wait, and choose slots at random.
ZEND_LEVELS: tuple[Level, ...] = ("fast", "release")


@pytest.fixture(params=ZEND_LEVELS)
def zend_level(request: pytest.FixtureRequest) -> Level:
    """Each level that places blocks as ZendMM does."""
    name: Level = request.param
    return name


@pytest.fixture
def zend_heap(zend_level: Level) -> Iterator[zmm.Heap]:
    """A heap of each level that places blocks as ZendMM does, checked as a whole when the test is over."""
    with zmm.Heap(level=zend_level) as heap:
        yield heap
        heap.check()


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
