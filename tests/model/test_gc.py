"""Collection: what is given back, in which order, and what is left alone."""

from __future__ import annotations

import pytest
from zmm_model.gc import HAZARD_EMPTY_MAIN

from tests.model.conftest import CHUNK, PAGE, Make

FULL = 511 * PAGE


@pytest.mark.parametrize(("size", "collected"), [(16, 4096), (320, 20480), (3072, 12288)])
def test_a_run_whose_slots_are_all_free_is_collected(make: Make, size: int, collected: int) -> None:
    """Its pages are gc's answer; size and peak do not change."""
    heap = make()
    heap.alloc(0, PAGE)
    before = heap.alloc(1, size)
    heap.free(1)
    row = heap.do("gc")
    assert collected == row.value
    assert (before.size - before.block_bytes, before.peak) == (row.size, row.peak)
    assert heap.do("gc").value == 0


def test_a_run_with_a_live_slot_stays_and_so_does_the_order_of_the_others(make: Make) -> None:
    """The slots of collected runs leave the list, the rest keep their places in it."""
    heap = make()
    offsets = heap.offsets(0, [3072] * 12)  # three runs of four
    heap.free(0, 4, 1, 5, 2, 6, 7)  # the second run is free, of the first one slot lives
    assert heap.do("gc").value == 12288
    assert [offsets[2], offsets[1], offsets[0]] == heap.offsets(20, [3072] * 3)


def test_large_blocks_are_not_collected(make: Make) -> None:
    """They are freed at once, or live."""
    heap = make()
    heap.alloc(0, 50000)
    assert heap.do("gc").value == 0


def test_a_chunk_that_gc_empties_is_deleted_by_the_usual_rule(make: Make) -> None:
    """The second chunk goes to the cache; a further one goes back to the storage."""
    heap = make()
    for label in range(3):
        heap.alloc(label, FULL - PAGE if label else FULL)
    heap.alloc(10, 100)
    heap.alloc(11, 200)
    heap.free(10, 11)
    heap.free(1, 2)
    row = heap.do("gc")
    assert (
        row.value,
        row.chunk_count,
        row.cached_count,
        row.real_size,
    ) == (2 * PAGE, 1, 1, 2 * CHUNK)


def test_bin_0_is_collected_in_edition_zmm_only(make: Make) -> None:
    """In PHP 8.2 its 512 free slots overflow a counter of nine bits."""
    for edition, collected in (("php-8.2", 0), ("zmm", 4096)):
        heap = make(edition)
        heap.alloc(0, PAGE)
        heap.alloc(1, 8)
        heap.free(1)
        assert collected == heap.do("gc").value


def test_an_empty_main_chunk_is_kept_and_php_is_said_to_be_undefined(make: Make) -> None:
    """PHP 8.2 would delete it; no edition does."""
    heap = make()
    heap.alloc(0, 100)
    heap.free(0)
    assert (heap.do("gc").value, heap.do("check").chunk_count) == (4096, 1)
    assert heap.heap.hazard == HAZARD_EMPTY_MAIN
    assert make("zmm").heap.hazard is None


def test_free_tail_falls_only_when_the_run_ends_at_it(make: Make) -> None:
    """A collected run before a live block leaves free_tail where it is."""
    heap = make()
    heap.alloc(0, 100)
    heap.alloc(1, PAGE)
    heap.alloc(2, 200)
    heap.free(0, 2)
    assert heap.do("gc").value == 2 * PAGE
    assert heap.heap.image().chunks[0].free_tail == 3


def test_an_empty_main_chunk_is_a_hazard_in_php_only(make: Make) -> None:
    """PHP 8.2 deletes it, whatever else there is; a main chunk in use is none in any edition."""
    for edition, expected in (("zmm", None), ("php-8.2", HAZARD_EMPTY_MAIN)):
        heap = make(edition)
        heap.alloc(0, 50000)
        heap.do("gc")
        assert heap.heap.hazard is None
        heap.free(0)
        heap.do("gc")
        assert heap.heap.hazard == expected
