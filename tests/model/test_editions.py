"""The two editions differ exactly where the list of differences says so."""

from __future__ import annotations

import pytest
from zmm_model import ExactHeap, Operation, Settings
from zmm_model.outcome import DONE, REFUSED_LIMIT, REFUSED_SYSTEM

from tests.model.conftest import CHUNK, MIB, PAGE, Driven, Make, operations_from

FULL = 511 * PAGE


def test_an_unknown_edition_is_an_error() -> None:
    """The message names the editions there are."""
    with pytest.raises(ValueError, match=r"php-8\.2, zmm"):
        ExactHeap(Settings(), "php-9")


@pytest.mark.parametrize("seed", range(8))
def test_without_refusals_and_bin_0_the_editions_are_one(seed: int) -> None:
    """
    The same rows, step by step, over random programs.

    Method: limits, sizes that must be refused and sizes of bin 0 are taken out of the programs.
    """
    php = ExactHeap(Settings(storage="kernel"), "php-8.2")
    zmm = ExactHeap(Settings(storage="kernel"), "zmm")
    assert php.open() == zmm.open()
    compared = 0
    for operation in operations_from(seed, 1500):
        word, size = operation.word, operation.a
        if word in ("alloc", "realloc", "realloc2"):
            if not 9 <= size < 16 * MIB:
                continue
        elif word in ("limit", "calloc", "strdup", "strndup") or word.startswith("safe"):
            continue
        assert php.step(operation) == zmm.step(operation)
        compared += 1
    assert php.close() == zmm.close()
    assert compared > 500


def test_a_limit_that_makes_room_is_forgotten_by_php(make: Make) -> None:
    """Cached chunks are given back in both; only zmm stores the limit."""
    for edition, limit in (("php-8.2", 2**63 - 1), ("zmm", 3 * MIB)):
        heap = make(edition)
        heap.alloc(0, FULL)
        heap.alloc(1, FULL)
        heap.free(1)
        row = heap.do("limit", a=3 * MIB)
        assert (1, CHUNK, 0, limit) == (row.value, row.real_size, row.cached_count, row.limit)


def collectable(heap: Driven) -> None:
    """A main chunk in which a gc would free 400 pages in one piece; its other pages are used."""
    for label in range(800):
        heap.alloc(label, 2048)
    heap.alloc(1000, 111 * PAGE)
    heap.free(*range(800))


def test_after_its_gc_zmm_searches_the_old_chunks(make: Make) -> None:
    """With the limit reached, gc makes room in the main chunk: php refuses, zmm finds it."""
    for edition, status in (("php-8.2", REFUSED_LIMIT), ("zmm", DONE)):
        heap = make(edition, limit_bytes=CHUNK)
        collectable(heap)
        row = heap.alloc(2000, 350 * PAGE)
        assert status == row.status
        assert row.real_size == CHUNK


def test_after_a_failed_map_zmm_searches_the_old_chunks(make: Make) -> None:
    """Edition php maps once more instead; when that fails too, it refuses."""
    for edition, status, calls in (("php-8.2", REFUSED_SYSTEM, 3), ("zmm", DONE, 2)):
        heap = make(edition, failing_calls=(2, 3))
        collectable(heap)
        row = heap.alloc(2000, 350 * PAGE)
        assert (status, calls) == (row.status, row.storage_calls)


def test_after_a_failed_map_php_maps_once_more(make: Make) -> None:
    """The second try succeeds, and the block lies in the new chunk."""
    heap = make(failing_calls=(2,))
    collectable(heap)
    row = heap.alloc(2000, 350 * PAGE)
    assert (row.status, row.mapping, row.storage_calls) == (DONE, 1, 3)


def test_zmm_gives_cached_chunks_back_to_make_room_for_a_huge_block(make: Make) -> None:
    """4 MiB of which 2 are cached, limit 4 MiB: php refuses 2 MiB more, zmm serves them."""
    for edition, status in (("php-8.2", REFUSED_LIMIT), ("zmm", DONE)):
        heap = make(edition, limit_bytes=2 * CHUNK)
        heap.alloc(0, PAGE)
        heap.alloc(1, FULL)
        heap.free(1)
        row = heap.alloc(2, CHUNK)
        assert (status, 2 * CHUNK) == (row.status, row.real_size)


def test_zmm_gives_back_no_more_cached_chunks_than_it_needs(make: Make) -> None:
    """Head first, and only as long as the huge block does not fit."""
    heap = make("zmm", limit_bytes=14 * MIB)
    for label in range(7):
        heap.alloc(label, FULL)
    heap.do("request_end")
    assert heap.alloc(0, PAGE).cached_count == 3
    row = heap.alloc(2, 8 * MIB)
    assert (row.status, row.cached_count, row.real_size) == (DONE, 2, 14 * MIB)


def test_the_same_holds_for_huge_growth(make: Make) -> None:
    """The difference is weighed, cached chunks make room in zmm only."""
    for edition, status in (("php-8.2", REFUSED_LIMIT), ("zmm", DONE)):
        heap = make(edition, limit_bytes=8 * MIB)
        heap.alloc(0, PAGE)
        heap.alloc(1, FULL)
        heap.alloc(2, 4 * MIB)
        heap.free(1)
        row = heap.realloc(2, 6 * MIB)
        assert (status, 8 * MIB) == (row.status, row.real_size)


def test_php_goes_on_after_a_gc_that_made_room_for_a_huge_block(make: Make) -> None:
    """Three chunks are emptied: one is cached, two are really given back, so 2 MiB fit again."""
    heap = make(limit_bytes=8 * MIB)
    heap.alloc(0, PAGE)
    for label in range(1, 2721):  # 170 runs of 3 pages a chunk
        heap.alloc(label, 3072)
    full = heap.free(*range(1, 2721))
    assert (full.chunk_count, full.real_size) == (4, 8 * MIB)
    row = heap.alloc(1, CHUNK)
    assert (row.status, row.chunk_count, row.cached_count, row.real_size) == (DONE, 1, 1, 6 * MIB)


def test_a_refused_small_block_stays_counted_in_php(make: Make) -> None:
    """Both size and peak are raised by the slot; in zmm nothing changes."""
    for edition, raised in (("php-8.2", 320), ("zmm", 0)):
        heap = make(edition, limit_bytes=CHUNK)
        before = heap.alloc(0, FULL)
        row = heap.alloc(1, 300)
        assert (row.status, row.refused_bytes) == (REFUSED_LIMIT, 20480)
        assert (before.size + raised, before.peak + raised) == (row.size, row.peak)


def test_a_huge_block_without_a_node_is_left_behind_by_php(make: Make) -> None:
    """The mapping is there, the node is refused: php forgets the mapping, zmm gives it back."""
    for edition, left, raised in (("php-8.2", 1, 24), ("zmm", 0, 0)):
        heap = make(edition, failing_calls=(3,))
        before = heap.alloc(0, FULL)
        row = heap.alloc(1, 3 * MIB)
        assert (row.status, row.refused_bytes) == (REFUSED_SYSTEM, 4096)
        assert (before.size + raised, before.real_size) == (row.size, row.real_size)
        assert left == heap.close().value


def test_operations_are_the_same_words_in_both(make: Make) -> None:
    """Every word of the alphabet is understood by both editions."""
    for edition in ("php-8.2", "zmm"):
        heap = ExactHeap(Settings(), edition)
        heap.open()
        for operation in (
            Operation("alloc", 1, 10),
            Operation("calloc", 2, 3, 4),
            Operation("safe_alloc", 3, 2, 3, 4),
            Operation("realloc", 1, 20),
            Operation("realloc2", 1, 30, 5),
            Operation("safe_realloc", 1, 2, 8, 1),
            Operation("strdup", 4, text=b"hello"),
            Operation("strndup", 5, 3, text=b"hello"),
            Operation("write", 1, 0, 4, 7),
            Operation("free", 1),
            Operation("limit", a=8 * MIB),
            Operation("gc"),
            Operation("reset_peak"),
            Operation("check"),
            Operation("request_end"),
        ):
            assert heap.step(operation)[0] == DONE
