"""Every transition of realloc: what stays, what moves, what it does to size and peaks."""

from __future__ import annotations

import pytest
from zmm_model.outcome import DONE, REFUSED_LIMIT, REFUSED_OVERFLOW

from tests.model.conftest import CHUNK, MIB, PAGE, Make

SIZE_MAX = 2**64 - 1


@pytest.mark.parametrize(("old", "new"), [(3072, 2560), (3072, 3072), (16, 8), (8, 0), (8, 8), (100, 97), (2560, 2049)])
def test_a_small_block_stays_in_its_slot(make: Make, old: int, new: int) -> None:
    """Down to the size of the next smaller bin, inclusive; nothing is counted."""
    heap = make()
    before = heap.alloc(1, old)
    after = heap.realloc(1, new)
    assert (before.mapping, before.offset) == (after.mapping, after.offset)
    assert (before.size, before.peak, before.block_bytes) == (
        after.size,
        after.peak,
        after.block_bytes,
    )


@pytest.mark.parametrize(("old", "new"), [(3072, 2559), (16, 7), (40, 0), (128, 60)])
def test_a_small_block_moves_to_a_smaller_bin_and_may_leave_the_peak_raised(make: Make, old: int, new: int) -> None:
    """Allocated first, freed after: for a moment both lived, and the peak keeps that."""
    heap = make()
    before = heap.alloc(1, old)
    after = heap.realloc(1, new)
    assert after.offset != before.offset
    assert after.block_bytes == after.size
    assert before.block_bytes + after.block_bytes == after.peak


def test_the_observed_small_shrink(make: Make) -> None:
    """Usage 11264, 3072 -> 100: usage 8304, peak 11376."""
    heap = make()
    heap.alloc(0, 8192)
    assert heap.alloc(1, 3072).size == 11264
    row = heap.realloc(1, 100)
    assert (row.size, row.peak) == (8304, 11376)


def test_a_small_block_grows_by_moving_and_the_peak_is_restored(make: Make) -> None:
    """The old slot is freed after the new one is taken, and is the next one handed out."""
    heap = make()
    old = heap.alloc(1, 40)
    row = heap.realloc(1, 41)
    assert (row.block_bytes, row.size, row.peak) == (48, 48, 48)
    assert old.offset == heap.alloc(2, 40).offset


def test_small_to_large_moves(make: Make) -> None:
    """3073 bytes leave the bins."""
    heap = make()
    heap.alloc(1, 3072)
    row = heap.realloc(1, 3073)
    assert (row.block_bytes, row.size, row.peak) == (4096, 4096, 4096)
    assert row.offset == 4 * PAGE


def test_small_to_huge_moves(make: Make) -> None:
    """A mapping of its own, and a node of 24 bytes."""
    heap = make()
    heap.alloc(1, 100)
    row = heap.realloc(1, 3 * MIB)
    assert (row.mapping, row.offset, row.block_bytes) == (1, 0, 3 * MIB)
    assert row.size == 3 * MIB + 24


def test_a_large_block_with_as_many_pages_stays(make: Make) -> None:
    """Nothing is counted."""
    heap = make()
    before = heap.alloc(1, 3 * PAGE)
    assert before[2:] == heap.realloc(1, 2 * PAGE + 1)[2:]


def test_a_large_block_shrinks_in_place(make: Make) -> None:
    """Its last pages are free at once."""
    heap = make()
    before = heap.alloc(1, 5 * PAGE)
    row = heap.realloc(1, 3073)
    assert (before.offset, PAGE, PAGE) == (row.offset, row.block_bytes, row.size)
    assert before.offset + PAGE == heap.alloc(2, PAGE).offset


def test_a_large_block_grows_over_free_pages_without_a_look_at_the_limit(make: Make) -> None:
    """The pages right behind it are free, so the limit, which is reached, does not matter."""
    heap = make(limit_bytes=CHUNK)
    heap.alloc(1, PAGE)
    row = heap.realloc(1, 511 * PAGE)
    assert (row.status, row.offset, row.block_bytes) == (DONE, PAGE, 511 * PAGE)
    assert (row.size, row.size) == (511 * PAGE, row.peak)


def test_a_large_block_with_a_neighbour_moves(make: Make) -> None:
    """The old pages are never part of the new place; peak is as if they had not lived together."""
    heap = make()
    heap.alloc(1, 2 * PAGE)
    heap.alloc(2, PAGE)
    row = heap.realloc(1, 3 * PAGE)
    assert row.offset == 4 * PAGE
    assert (row.size, row.peak) == (4 * PAGE, 4 * PAGE)
    assert heap.alloc(3, 2 * PAGE).offset == PAGE


def test_a_large_block_at_the_end_of_its_chunk_moves(make: Make) -> None:
    """First page plus pages may not pass 512; the chunk it leaves behind empty is not the main one."""
    heap = make()
    heap.alloc(0, 500 * PAGE)
    heap.alloc(1, 11 * PAGE)
    row = heap.realloc(1, 12 * PAGE)
    assert (row.mapping, row.offset) == (1, PAGE)


@pytest.mark.parametrize(("new", "block"), [(3072, 3072), (0, 8), (100, 112)])
def test_large_to_small_moves(make: Make, new: int, block: int) -> None:
    """A size of 0 is not a free: it asks for the smallest block."""
    heap = make()
    heap.alloc(1, 20000)
    row = heap.realloc(1, new)
    assert (block, block, 20480) == (row.block_bytes, row.size, row.peak)


def test_large_to_huge_moves(make: Make) -> None:
    """Past 2093056 bytes a chunk cannot hold it."""
    heap = make()
    heap.alloc(1, 2093056)
    row = heap.realloc(1, 2093057)
    assert (row.mapping, row.offset, row.block_bytes) == (1, 0, CHUNK)


def test_a_huge_block_of_the_same_pages_stays(make: Make) -> None:
    """No call to the storage is made."""
    heap = make()
    before = heap.alloc(1, 3 * MIB)
    assert before[2:] == heap.realloc(1, 3 * MIB - 1)[2:]


def test_a_huge_block_is_truncated_in_place(make: Make) -> None:
    """Both size and real_size fall by the difference."""
    heap = make(storage="handlers")
    before = heap.alloc(1, 5 * MIB)
    row = heap.realloc(1, 3 * MIB)
    assert (before.mapping, 3 * MIB) == (row.mapping, row.block_bytes)
    assert 2 * MIB == before.size - row.size == before.real_size - row.real_size
    assert before.storage_calls + 1 == row.storage_calls


def test_a_refused_truncate_moves_the_block(make: Make) -> None:
    """The storage says no: a new mapping, then the old one is freed."""
    heap = make(storage="handlers", truncate=False)
    before = heap.alloc(1, 5 * MIB)
    row = heap.realloc(1, 3 * MIB)
    assert before.mapping + 1 == row.mapping
    assert before.storage_calls + 3 == row.storage_calls


def test_a_kernel_truncates_whatever_the_setting(make: Make) -> None:
    """Unmapping a tail cannot be refused, not even by a failing call."""
    heap = make(truncate=False, failing_calls=(3,))
    before = heap.alloc(1, 5 * MIB)
    assert before.mapping == heap.realloc(1, 3 * MIB).mapping


def test_a_huge_block_grows_in_place(make: Make) -> None:
    """All of size, peak, real_size and real_peak rise by the difference."""
    heap = make()
    before = heap.alloc(1, 3 * MIB)
    row = heap.realloc(1, 4 * MIB)
    assert (before.mapping, 4 * MIB) == (row.mapping, row.block_bytes)
    assert (row.size - before.size, row.real_size - before.real_size) == (MIB, MIB)
    assert (row.size, row.real_size) == (row.peak, row.real_peak)


def test_a_refused_extend_moves_the_block_and_real_peak_shows_it(make: Make) -> None:
    """extend, alloc, free; the peak is restored, real_peak is not."""
    heap = make(extend=False)
    heap.alloc(1, 3 * MIB)
    row = heap.realloc(1, 4 * MIB)
    assert row.mapping == 2
    assert (row.size, row.peak) == (4 * MIB + 24, 4 * MIB + 24)
    assert (row.real_size, row.real_peak) == (CHUNK + 4 * MIB, CHUNK + 7 * MIB)


def test_a_huge_block_grows_only_within_the_limit(make: Make) -> None:
    """The difference counts, equality is allowed; the refusal names the raw size."""
    heap = make(limit_bytes=CHUNK + 4 * MIB)
    heap.alloc(1, 3 * MIB)
    row = heap.realloc(1, 4 * MIB + 1)
    assert (row.status, row.refused_bytes, row.block_bytes) == (REFUSED_LIMIT, 4 * MIB + 1, 3 * MIB)
    assert heap.realloc(1, 4 * MIB).status == DONE


def test_huge_to_large_and_small_moves(make: Make) -> None:
    """The mapping goes back, its node's slot becomes free."""
    heap = make()
    heap.alloc(1, 3 * MIB)
    row = heap.realloc(1, 2093056)  # 511 pages: the node's page is in the main chunk's way
    assert (row.mapping, row.offset, row.real_size) == (2, PAGE, 2 * CHUNK)
    assert heap.alloc(2, 24).offset == PAGE
    assert 100 < heap.realloc(1, 100).size < 200


def test_a_refused_move_leaves_the_block_as_it_was(make: Make) -> None:
    """Allocation comes first, so nothing of the old block is lost."""
    heap = make(limit_bytes=CHUNK)
    before = heap.alloc(1, 5000)
    row = heap.realloc(1, 3 * MIB)
    assert row.status == REFUSED_LIMIT
    assert (before.mapping, before.offset, before.block_bytes) == (
        row.mapping,
        row.offset,
        row.block_bytes,
    )


def test_realloc_of_nothing_allocates(make: Make) -> None:
    """Even for size 0."""
    assert make().realloc(1, 0).block_bytes == 8


def test_a_huge_size_that_wraps_is_refused_and_undefined_in_php(make: Make) -> None:
    """PHP truncates the block to nothing; both editions refuse, and say that PHP cannot be asked."""
    for edition, is_hazard in (("php-8.2", True), ("zmm", False)):
        heap = make(edition)
        heap.alloc(1, 3 * MIB)
        row = heap.realloc(1, SIZE_MAX)
        assert (row.status, row.block_bytes) == (REFUSED_OVERFLOW, 3 * MIB)
        assert is_hazard == (heap.heap.hazard is not None)


def test_copying_more_than_fits_is_undefined_in_php(make: Make) -> None:
    """realloc2 of a large block into a small one with a copy size beyond it writes past its end."""
    heap = make()
    heap.alloc(1, 5000)
    heap.do("realloc2", 1, 100, 100)
    assert heap.heap.hazard is None
    heap.alloc(2, 5000)
    heap.do("realloc2", 2, 100, 113)
    assert heap.heap.hazard is not None


def test_copying_more_than_there_was_is_defined(make: Make) -> None:
    """A block that grows is copied whole, whatever the copy size says."""
    heap = make()
    heap.alloc(0, 30 * 4096)  # so that the block's place is a larger number than its size
    heap.alloc(1, 5000)
    heap.alloc(2, 5000)
    heap.do("realloc2", 1, 9000, 100_000)
    assert heap.heap.hazard is None
