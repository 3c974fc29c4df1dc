"""Looking at a heap: counters, places, and the whole heap at one moment."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest

import zmm
from tests.zmm.faces import ROOT

FENCES_MAX = int(re.search(r"ZMM_FENCES_MAX (\d+)u", (ROOT / "zmm/core/config.h").read_text())[1])  # type: ignore[index]


def test_usage_counts_blocks_and_chunks(zend_heap: zmm.Heap) -> None:
    """Size is what was handed out, real_size what the system gave, peaks the most of both."""
    block = zend_heap.alloc(3_000_000)
    zend_heap.alloc(40)
    zend_heap.free(block)
    usage = zend_heap.usage()

    # The list node of a huge block is a block of 24 bytes.
    assert (usage.size_bytes, usage.peak_bytes) == (40, 3_002_368 + 24 + 40)
    assert (usage.real_size_bytes, usage.real_peak_bytes) == (2_097_152, 2_097_152 + 3_002_368)
    assert (usage.chunk_count, usage.chunk_count_peak, usage.cached_chunk_count) == (1, 1, 0)
    assert usage.chunk_count_average == 1.0
    assert usage.missing_fence_count == 0
    zend_heap.reset_peak()
    assert zend_heap.usage().peak_bytes == 40


def test_usage_counts_fences_that_could_not_be_had() -> None:
    """Long blocks have an inaccessible page behind them, but for those beyond what the process may have of them."""
    heap = zmm.Heap(level="hardened")
    for _ in range(FENCES_MAX + 3):
        heap.alloc(65 * 4096)
    assert heap.usage().missing_fence_count == 3


def test_gc_gives_back_completely_free_runs(zend_heap: zmm.Heap) -> None:
    """One page of sixteen-byte slots, empty again."""
    zend_heap.alloc(40)
    zend_heap.free(zend_heap.alloc(16))

    assert zend_heap.gc() == 4096
    assert zend_heap.gc() == 0


def test_places_have_no_addresses(zend_heap: zmm.Heap) -> None:
    """A slot, a run and a huge block, numbered in order of acquisition."""
    blocks = [zend_heap.alloc(size) for size in (40, 40, 5000, 3_000_000)]

    assert [zend_heap.place(block) for block in blocks] == [
        zmm.Place("small", 0, 1, 0, 40, 4096),
        zmm.Place("small", 0, 1, 1, 40, 4096 + 40),
        zmm.Place("large", 0, 2, 0, 8192, 8192),
        zmm.Place("huge", 1, 0, 0, 3_002_368, 0),
    ]


def test_the_golden_vector(zend_heap: zmm.Heap) -> None:
    """Offsets, counters and page map after a sequence whose result PHP 8.2 has shown."""
    sizes = (100, 5000, 12000, 40, 8192, 3072, 320, 4096)
    blocks = {size: zend_heap.alloc(size) for size in sizes}
    base = blocks[100] - 0x1000
    offsets = [0x1000, 0x2000, 0x4000, 0x7000, 0x8000, 0xA000, 0xD000, 0x12000]
    assert [blocks[size] - base for size in sizes] == offsets

    for size in (5000, 8192, 4096):
        zend_heap.free(blocks[size])
    chunk = zend_heap.snapshot().chunks[0]
    assert (chunk.free_tail, chunk.free_pages) == (18, 498)

    assert [zend_heap.alloc(size) - base for size in (4096, 8192, 4000, 20000)] == [0x2000, 0x8000, 0x3000, 0x12000]
    block = zend_heap.alloc(30000)
    assert block - base == 0x17000
    assert zend_heap.realloc(block, 50000) == block
    assert zend_heap.realloc(block, 9000) == block
    assert zend_heap.alloc(4096) - base == 0x1A000
    assert (zend_heap.usage().size_bytes, zend_heap.usage().peak_bytes) == (69080, 105944)


def test_a_snapshot_shows_runs_free_slots_and_huge_blocks(zend_heap: zmm.Heap) -> None:
    """Three blocks of three kinds, and the slots of their bins that are free."""
    first = zend_heap.alloc(3072)
    zend_heap.alloc(3072)
    zend_heap.alloc(10_000)
    zend_heap.alloc(3_000_000)
    zend_heap.free(first)
    snapshot = zend_heap.snapshot()

    assert (snapshot.level, snapshot.edition, snapshot.usage) == (zend_heap.level, zend_heap.edition, zend_heap.usage())
    (chunk,) = snapshot.chunks
    assert chunk.runs == (zmm.Run(1, 3, 29, 3), zmm.Run(4, 3, None, 0), zmm.Run(7, 1, 2, 169))
    assert (chunk.mapping_index, chunk.free_pages, chunk.free_tail, chunk.cached) == (0, 504, 8, False)
    assert chunk.used_map == 0b11111111
    assert [chunk.is_used(page) for page in (0, 7, 8, 511)] == [True, True, False, False]
    assert [slot.offset_bytes - 4096 for slot in snapshot.bins[29]] == [0, 2 * 3072, 3 * 3072]
    assert len(snapshot.bins) == zmm.BIN_COUNT
    assert len(snapshot.bins[2]) == 169
    assert snapshot.huge == (zmm.Huge(1, 3_002_368),)


def test_a_snapshot_agrees_with_itself(heap: zmm.Heap) -> None:
    """At every level: used pages are those of the runs, free slots are counted alike, huge blocks are all there."""
    blocks = [heap.alloc(size) for size in range(1, 400_000, 971)] + [heap.alloc(3_000_000) for _ in range(3)]
    for block in blocks[::3]:
        heap.free(block)
    snapshot = heap.snapshot()

    for chunk in snapshot.chunks:
        used = {0} | {page for run in chunk.runs for page in range(run.page_index, run.page_index + run.page_count)}
        assert [page for page in range(512) if chunk.is_used(page)] == sorted(used)
        assert chunk.free_pages == 512 - len(used)
    runs = [run for chunk in snapshot.chunks for run in chunk.runs]
    for index, slots in enumerate(snapshot.bins):
        assert len(slots) == sum(run.free_slots for run in runs if run.bin_index == index)
    assert len(snapshot.chunks) == snapshot.usage.chunk_count
    assert len(snapshot.huge) == 2


def test_a_snapshot_shows_cached_chunks(zend_heap: zmm.Heap) -> None:
    """A request of three chunks makes the average 2: one chunk waits for the next request."""
    for _ in range(3):
        zend_heap.alloc(2_000_000)
    zend_heap.request_end()
    snapshot = zend_heap.snapshot()

    assert [chunk.mapping_index for chunk in snapshot.chunks] == [0]
    assert [(chunk.mapping_index, chunk.cached, chunk.runs) for chunk in snapshot.cached_chunks] == [(1, True, ())]
    assert snapshot.usage.chunk_count_average == 2.0


def test_snapshots_are_frozen_values(zend_heap: zmm.Heap) -> None:
    """Equal when the heap is as it was, and nothing in them can be changed."""
    zend_heap.alloc(40)
    snapshot = zend_heap.snapshot()
    zend_heap.free(zend_heap.alloc(40))

    assert zend_heap.snapshot() != snapshot  # the peak
    assert zend_heap.snapshot() == zend_heap.snapshot()
    part: Any
    for part in (snapshot, snapshot.usage, snapshot.chunks[0], snapshot.chunks[0].runs[0], snapshot.bins[4][0]):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(part, dataclasses.fields(part)[0].name, 1)
    hash(snapshot)
