"""Where memory comes from when nothing fits: cache, gc, limit, storage; huge blocks; what is deleted and kept."""

from __future__ import annotations

import pytest
from zmm_model.op import Settings
from zmm_model.outcome import DONE, REFUSED_LIMIT, REFUSED_SYSTEM
from zmm_model.storage import Storage

from tests.model.conftest import CHUNK, MIB, PAGE, Driven, Make

FULL = 511 * PAGE


# ---- slots -----------------------------------------------------------------------------------------------------------


def test_slots_ascend_first_and_are_reused_last_in_first_out(make: Make) -> None:
    """A new run is handed out from its beginning; a freed slot is the next one taken."""
    heap = make()
    assert heap.offsets(0, [320, 320, 320]) == [PAGE, PAGE + 320, PAGE + 640]
    heap.free(0, 2)
    assert heap.offsets(3, [320, 320, 320]) == [PAGE + 640, PAGE, PAGE + 960]


def test_one_list_serves_all_runs_of_a_bin(make: Make) -> None:
    """Slots of different runs interleave in the order of their frees."""
    heap = make()
    offsets = heap.offsets(0, [3072] * 5)
    heap.free(4, 0, 3)
    assert [offsets[3], offsets[0], offsets[4]] == heap.offsets(10, [3072] * 3)


def test_freed_slots_give_no_pages_back(make: Make) -> None:
    """Only gc or the end of the request does."""
    heap = make()
    heap.alloc(0, 100)
    heap.free(0)
    assert heap.alloc(1, PAGE).offset == 2 * PAGE


# ---- chunks ----------------------------------------------------------------------------------------------------------


def deep(heap: Driven, chunks: int) -> None:
    """Labels 0 .. chunks - 1 fill a chunk each."""
    for label in range(chunks):
        heap.alloc(label, FULL)


def test_an_emptied_chunk_is_cached_when_the_heap_is_back_to_its_average(make: Make) -> None:
    """1 + 0 < 1.1: the only chunk beside the main one is kept, and counted in real_size."""
    heap = make()
    deep(heap, 2)
    row = heap.free(1)
    assert (row.chunk_count, row.cached_count, row.real_size) == (1, 1, 2 * CHUNK)
    again = heap.alloc(1, FULL)
    assert (again.mapping, again.cached_count, again.storage_calls) == (1, 0, 2)


def test_chunks_above_the_average_are_given_back_until_the_sixth_time(make: Make) -> None:
    """With three chunks kept, a fourth that comes and goes is unmapped five times, then cached."""
    heap = make()
    deep(heap, 3)
    seen = []
    for _ in range(6):
        heap.alloc(9, FULL)
        row = heap.free(9)
        seen.append((row.cached_count, row.delete_boundary, row.delete_count))
    assert seen == [(0, 3, 0), (0, 3, 1), (0, 3, 2), (0, 3, 3), (0, 3, 4), (1, 3, 4)]


def test_an_older_chunk_replaces_a_younger_one_in_the_cache(make: Make) -> None:
    """With cached head number 3, freeing chunk number 1 gives 3 back and caches 1."""
    heap = make()
    deep(heap, 3)
    for _ in range(6):
        heap.alloc(9, FULL)
        heap.free(9)
    assert len(heap.heap.image().cached) == 1
    cached = heap.heap.image().cached[0]
    row = heap.free(1)
    assert heap.heap.image().cached == (1,)
    assert cached not in heap.heap.storage.live
    assert row.cached_count == 1
    assert heap.alloc(9, FULL).mapping == 1


def test_a_younger_chunk_is_given_back_beside_an_older_cached_one(make: Make) -> None:
    """Its number is above the head's."""
    heap = make()
    deep(heap, 3)
    for _ in range(6):
        heap.alloc(9, FULL)
        heap.free(9)
    heap.free(1)
    row = heap.free(2)
    assert heap.heap.image().cached == (1,)
    assert (row.chunk_count, row.real_size) == (1, 2 * CHUNK)


def test_of_two_chunks_with_one_number_the_later_deleted_is_cached(make: Make) -> None:
    """Moving a chunk to the front lets its number be given again; only a greater number goes back at once."""
    heap = make()
    for label in range(4):
        heap.alloc(label, FULL if label < 3 else FULL - PAGE)
    heap.alloc(4, PAGE)  # three steps down the ring: chunk 3 moves to the front
    assert heap.chunk_order() == [0, 3, 1, 2]
    for _ in range(6):
        heap.alloc(9, FULL)
        heap.free(9)
    assert len(heap.heap.image().cached) == 1
    heap.free(3, 4)
    assert heap.heap.image().cached == (3,)


def test_numbers_go_on_from_the_last_chunk_of_the_ring(make: Make) -> None:
    """A chunk's number is one more than that of the chunk it is linked behind."""
    heap = make()
    deep(heap, 4)
    heap.free(3)
    heap.alloc(9, FULL)
    assert [chunk.number for chunk in heap.heap.image().chunks] == [0, 1, 2, 3]
    assert heap.chunk_order() == [0, 1, 2, 4]


# ---- the limit -------------------------------------------------------------------------------------------------------


def test_equality_with_the_limit_is_allowed(make: Make) -> None:
    """8 MiB allow a huge block of 6 MiB beside the first chunk, and not a byte more."""
    heap = make(limit_bytes=8 * MIB)
    row = heap.alloc(1, 6 * MIB + 1)
    assert (row.status, row.refused_bytes) == (REFUSED_LIMIT, 6 * MIB + 1)
    assert heap.alloc(1, 6 * MIB).real_size == 8 * MIB
    assert heap.alloc(2, 1_000_000).status == DONE  # inside the main chunk nothing is checked


@pytest.mark.parametrize(("size", "tried"), [(3072, 12288), (8, 4096), (1_200_000, 1200128), (2093056, 2093056)])
def test_a_refused_chunk_is_named_by_the_pages_it_was_for(make: Make, size: int, tried: int) -> None:
    """Bytes of pages, not of the request."""
    heap = make("zmm", limit_bytes=CHUNK)
    heap.alloc(0, FULL)
    row = heap.alloc(1, size)
    assert (REFUSED_LIMIT, tried) == (row.status, row.refused_bytes)


def test_php_does_not_look_at_the_old_chunks_again_after_its_own_gc(make: Make) -> None:
    """A main chunk full of freed runs, limit reached: refused, though gc has just made room."""
    heap = make(limit_bytes=CHUNK)
    for label in range(680):
        heap.alloc(label, 3072)
    heap.alloc(1000, PAGE)
    heap.free(*range(680))
    assert heap.alloc(2000, 1_000_000).status == REFUSED_LIMIT
    assert heap.alloc(2000, 1_000_000).status == DONE


def test_unsigned_arithmetic_forgets_a_limit_that_is_already_exceeded(make: Make) -> None:
    """A huge block whose node needs a chunk passes the limit by that chunk; then nothing is refused."""
    heap = make(limit_bytes=CHUNK + 6 * MIB)
    heap.alloc(0, FULL)
    row = heap.alloc(1, 6 * MIB)
    assert (row.status, row.real_size) == (DONE, 2 * CHUNK + 6 * MIB)
    assert heap.alloc(2, FULL).status == DONE


@pytest.mark.parametrize(("limit", "answer"), [(2097151, 0), (2097152, 1), (2**64 - 1, 1), (0, 0), (4 * MIB, 1)])
def test_limits_below_what_is_in_use_are_not_accepted(make: Make, limit: int, answer: int) -> None:
    """The first chunk alone is 2 MiB; an accepted limit is stored as given."""
    heap = make()
    row = heap.do("limit", a=limit)
    assert answer == row.value
    assert (limit if answer else 2**63 - 1) == row.limit


def test_an_initial_limit_that_is_too_low_is_answered_with_0(make: Make) -> None:
    """The heap lives on without a limit."""
    heap = make(limit_bytes=1000)
    assert (heap.opened.value, heap.opened.limit) == (0, 2**63 - 1)


# ---- the storage -----------------------------------------------------------------------------------------------------


def test_a_heap_without_a_first_chunk_does_nothing(make: Make) -> None:
    """Every step is skipped with an empty row, closing, too."""
    heap = make(failing_calls=(1,))
    assert (
        heap.opened.status,
        heap.opened.storage_calls,
        heap.opened.real_size,
    ) == (REFUSED_SYSTEM, 1, 0)
    for row in (heap.alloc(1, 5), heap.free(1), heap.do("gc"), heap.realloc(1, 9), heap.close()):
        assert (row.status, row.storage_calls, row.size) == (5, 0, 0)


def test_a_failed_call_without_anything_to_collect_is_refused(make: Make) -> None:
    """Nothing was collected, so the storage is not asked again."""
    heap = make(failing_calls=(2,))
    heap.alloc(0, FULL)
    row = heap.alloc(1, 5000)
    assert (row.status, row.refused_bytes, row.storage_calls) == (REFUSED_SYSTEM, 8192, 2)
    assert heap.alloc(1, 5000).status == DONE


def test_a_failed_huge_mapping_is_tried_again_after_a_gc_that_collected(make: Make) -> None:
    """Once: with two failures it is refused, under the raw size."""
    heap = make(failing_calls=(2, 4, 5))
    heap.alloc(0, 100)
    heap.alloc(1, 3000)
    heap.free(0)
    row = heap.alloc(2, 3 * MIB)
    assert (row.status, row.storage_calls) == (DONE, 3)
    heap.free(1)
    refused = heap.alloc(3, 3 * MIB + 5)
    assert (
        refused.status,
        refused.refused_bytes,
        refused.storage_calls,
    ) == (REFUSED_SYSTEM, 3 * MIB + 5, 5)


def test_the_storage_has_no_mapping_beyond_its_slots(make: Make) -> None:
    """8 GiB are served, a page more is not."""
    heap = make()
    assert heap.alloc(1, 8 * 2**30).status == DONE
    assert heap.alloc(2, 8 * 2**30 + 1).status == REFUSED_SYSTEM


# ---- huge blocks -----------------------------------------------------------------------------------------------------


def test_a_huge_block_costs_its_pages_and_a_node(make: Make) -> None:
    """2093057 bytes: size rises by 2097176, real_size by 2097152."""
    row = make().alloc(1, 2093057)
    assert (row.size, row.real_size, row.block_bytes) == (2097176, 2 * CHUNK, CHUNK)


def test_the_node_is_a_slot_of_24_bytes_among_the_callers(make: Make) -> None:
    """24-byte block, huge block, 24-byte block: the second lies behind the node."""
    heap = make()
    assert heap.alloc(0, 24).offset == PAGE
    heap.alloc(1, 3 * MIB)
    assert heap.alloc(2, 24).offset == PAGE + 48
    heap.free(1)
    assert heap.alloc(3, 24).offset == PAGE + 24


def test_huge_blocks_are_listed_newest_first(make: Make) -> None:
    """And leave the list from anywhere."""
    heap = make()
    for label in range(3):
        heap.alloc(label, 3 * MIB)
    assert [huge.mapping for huge in heap.heap.image().huge] == [3, 2, 1]
    heap.free(1)
    assert [huge.mapping for huge in heap.heap.image().huge] == [3, 1]


# ---- the driver's storage --------------------------------------------------------------------------------------------


def test_the_storage_has_6144_mappings_at_a_time() -> None:
    """One more is refused, until one of them is given back."""
    storage = Storage(Settings())
    numbers = [storage.alloc(CHUNK) for _ in range(6145)]
    assert numbers == [*range(6144), -1]
    storage.free(7)
    assert [storage.alloc(CHUNK), storage.alloc(CHUNK)] == [6144, -1]
