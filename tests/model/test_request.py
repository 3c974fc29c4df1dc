"""Beginning and end: the storage record, what request_end keeps, and what closing gives back."""

from __future__ import annotations

import pytest
from zmm_model import ExactHeap, Operation, Row, Settings
from zmm_model.outcome import REFUSED_SYSTEM
from zmm_model.storage import Storage

from tests.model.conftest import CHUNK, MIB, PAGE, Make

FULL = 511 * PAGE


@pytest.mark.parametrize(("data", "size"), [(0, 40), (20, 64), (3033, 4096)])
def test_the_storage_record_is_the_first_block(make: Make, data: int, size: int) -> None:
    """40 bytes and the data behind it, counted in size and peak."""
    heap = make(storage="handlers", data_bytes=data)
    assert (size, size, CHUNK) == (heap.opened.size, heap.opened.peak, heap.opened.real_size)
    assert heap.alloc(1, 100).offset == 2 * PAGE


def test_a_record_that_finds_no_memory_leaves_no_heap() -> None:
    """Its data is so large that it needs a mapping of its own, which is refused; everything is given back."""
    heap = ExactHeap(Settings(data_bytes=3 * MIB, failing_calls=(2,)), "zmm")
    row = Row._make(heap.open())
    assert (row.status, row.storage_calls, row.real_size) == (REFUSED_SYSTEM, 3, 0)
    assert not heap.storage.live


def test_a_heap_on_the_kernel_begins_empty(make: Make) -> None:
    """No record, one chunk."""
    opened = make().opened
    assert (
        opened.value,
        opened.size,
        opened.peak,
        opened.real_size,
        opened.chunk_count,
        opened.chunk_average,
    ) == (1, 0, 0, CHUNK, 1, 1.0)


def test_the_next_request_begins_at_the_same_places(make: Make) -> None:
    """Lists, runs and counters are as new; the limit is kept."""
    heap = make(limit_bytes=10 * MIB)
    first = heap.offsets(0, [100, 5000, 24])
    heap.alloc(9, 3 * MIB)
    row = heap.do("request_end")
    assert (
        row.size,
        row.peak,
        row.real_size,
        row.real_peak,
        row.limit,
    ) == (0, 0, CHUNK, CHUNK, 10 * MIB)
    assert first == heap.offsets(0, [100, 5000, 24])


def test_the_cache_decays_with_the_average(make: Make) -> None:
    """After a request of ten chunks: averages 5.5, 3.25, 2.125, 1.5625; cached 4, 2, 1, 0."""
    heap = make()
    for label in range(10):
        heap.alloc(label, FULL)
    rows = [heap.do("request_end") for _ in range(5)]
    assert [row.chunk_average for row in rows] == [5.5, 3.25, 2.125, 1.5625, 1.28125]
    assert [row.cached_count for row in rows] == [4, 2, 1, 0, 0]
    assert [row.real_size for row in rows] == [5 * CHUNK, 3 * CHUNK, 2 * CHUNK, CHUNK, CHUNK]
    assert [row.chunk_count_peak for row in rows] == [1] * 5


def test_a_cached_chunk_stays_from_nine_tenths_below_the_average(make: Make) -> None:
    """Requests of two chunks each: averages 1.5, 1.75, 1.875, 1.9375, of which only the last keeps one."""
    heap = make()
    cached = []
    for _ in range(4):
        heap.alloc(0, FULL)
        heap.alloc(1, FULL)
        cached.append(heap.do("request_end").cached_count)
    assert cached == [0, 0, 0, 1]


def test_the_last_chunk_of_the_ring_becomes_the_head_of_the_cache(make: Make) -> None:
    """Heads go first when there are too many, so the oldest chunks are the ones that stay."""
    heap = make()
    for label in range(5):
        heap.alloc(label, FULL)
    heap.do("request_end")
    assert heap.heap.image().cached == (2, 1)


class Recorder(Storage):
    """A storage that remembers what it took back."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.freed: list[int] = []

    def free(self, mapping: int) -> None:
        self.freed.append(mapping)
        super().free(mapping)


def test_closing_frees_huge_blocks_newest_first_then_chunks_then_the_main_chunk() -> None:
    """Huge A, huge B, one extra chunk: B, A, the chunk, the main chunk."""
    settings = Settings()
    heap = ExactHeap(settings, "php-8.2")
    recorder = Recorder(settings)
    heap.storage = recorder
    heap.open()
    for label, size in enumerate((3 * MIB, 4 * MIB, FULL)):
        heap.step(Operation("alloc", label, size))
    row = Row._make(heap.close())
    assert recorder.freed == [2, 1, 3, 0]
    assert (row.value, row.size, row.storage_calls) == (0, 0, 8)


def test_steps_after_closing_are_skipped(make: Make) -> None:
    """With rows that say nothing."""
    heap = make()
    heap.alloc(1, 100)
    heap.close()
    assert (heap.alloc(2, 8).status, heap.do("gc").storage_calls) == (5, 0)


def test_the_record_is_handed_out_again_after_a_request_in_php(make: Make) -> None:
    """With handlers that makes PHP's further behaviour undefined; zmm works with a copy."""
    for edition, is_hazard in (("php-8.2", True), ("zmm", False)):
        heap = make(edition, storage="handlers")
        heap.do("request_end")
        assert is_hazard == (heap.heap.hazard is not None)
        assert heap.alloc(1, 40).offset == PAGE


def test_a_label_beyond_the_table_is_skipped(make: Make) -> None:
    """2**24 labels are kept."""
    heap = make()
    assert (heap.alloc(2**24, 8).status, heap.alloc(2**24 - 1, 8).status) == (5, 1)
