"""What each level promises of each misuse, written down once more and in another form."""

from __future__ import annotations

import re
from pathlib import Path
from zlib import crc32

import pytest
from zmm_model import AbstractHeap, Accounting, ExactHeap, Operation, Settings, misuse
from zmm_model.misuse import Kind, Promise, known_endings
from zmm_model.outcome import Row
from zmm_model.sizes import LARGE_BYTES_MAX

SMALL, LARGE, HUGE = Kind
RELEASED = "the chunk is not in use"
NOT_OURS = "not a block of this heap; belongs to "
LIVE = "not a live slot; belongs to this heap"
START = "not the start of a block; belongs to this heap"
BORROWED = {"LARGE_BYTES_MAX", "SMALL_BYTES_MAX"}  # of the sizes
FREED = ("misuse.free_freed", "misuse.realloc_freed", "misuse.size_freed")

# word, kind, whether the chunk is gone; the end at release and at hardened, "" for nothing.
ROWS = (
    ("misuse.other_heap", SMALL, False, NOT_OURS + "another heap", NOT_OURS + "another heap"),
    ("misuse.other_heap", LARGE, False, NOT_OURS + "another heap", NOT_OURS + "another heap"),
    ("misuse.other_heap", HUGE, False, NOT_OURS + "a mapping that no heap knows", None),
    ("misuse.free_interior", SMALL, False, LIVE, LIVE),
    ("misuse.free_interior", LARGE, False, START, START),
    ("misuse.free_interior", HUGE, False, NOT_OURS + "this heap", NOT_OURS + "this heap"),
    ("misuse.overflow", SMALL, False, "", "written beyond its end; belongs to this heap"),
    ("misuse.write_freed", SMALL, False, "a free slot was written to; belongs to this heap", None),
    ("misuse.stale_request", SMALL, False, START, START),
    ("misuse.stale_request", LARGE, False, START, START),
    ("misuse.stale_request", SMALL, True, NOT_OURS + "no heap: " + RELEASED, NOT_OURS + "no heap: " + RELEASED),
    ("misuse.free_malloc", SMALL, False, NOT_OURS + "libc", NOT_OURS + "libc"),
    ("misuse.free_stack", SMALL, False, NOT_OURS + "the stack", NOT_OURS + "the stack"),
    *((word, SMALL, False, LIVE, LIVE) for word in FREED),
    *((word, LARGE, False, START, LIVE) for word in FREED),
    *((word, LARGE, True, NOT_OURS + "no heap: " + RELEASED, LIVE) for word in FREED),
    *((word, HUGE, False, NOT_OURS + "a mapping that no heap knows", None) for word in FREED),
)


@pytest.mark.parametrize(("word", "kind", "is_gone", "release", "hardened"), ROWS)
def test_each_misuse_ends_as_its_level_promises(
    word: str, kind: Kind, is_gone: bool, release: str, hardened: str | None
) -> None:
    """The report's first line; None: this table says nothing of that level."""
    for level, expected in (("release", release), ("hardened", hardened)):
        if expected is None:
            continue
        said = Promise(level, "zmm", handlers=False).ending(word, kind, 64, 0, chunk_is_gone=is_gone)
        assert said == (f"panic: zmm: heap corruption: {expected}" if expected else "nothing")
        assert known_endings()[crc32(said.encode())] == said


def test_bounds_are_those_of_the_runner() -> None:
    """A step is skipped by both or by neither: at level hardened a block may have any number of bytes."""
    source = Path(__file__).resolve().parent.parent.parent / "fuzz" / "native" / "misuse.c"
    listed = re.findall(r"([A-Z_]+_BYTES_MAX) = (\d+),", source.read_text())

    assert {name for name, _ in listed} == {name for name in vars(misuse) if name.endswith("_BYTES_MAX")} - BORROWED
    assert all(getattr(misuse, name) == int(number) for name, number in listed)


def test_a_misuse_of_no_block_is_judged_without_one() -> None:
    """It has no label: nothing is known of a block."""
    settings = Settings(storage="kernel")
    exact, abstract = ExactHeap(settings, "zmm", level="hardened"), AbstractHeap(settings, Accounting.OWN, "zmm")
    assert abstract.open(exact.open()) is None
    operation = Operation("misuse.free_malloc", -1, 100)
    assert abstract.step(operation, exact.step(operation)) is None


def test_a_stale_pointer_meets_a_chunk_that_is_gone_where_the_cache_let_go() -> None:
    """Three chunks become one in use, one cached and one given back; the model tells them apart."""
    exact = ExactHeap(Settings(storage="kernel"), "zmm")
    exact.open()
    for label in (1, 2, 3):
        exact.step(Operation("alloc", label, LARGE_BYTES_MAX))
    rows = [Row._make(exact.step(Operation("misuse.stale_request", label))) for label in (1, 2, 3)]
    ends = [known_endings()[row.text_crc] for row in rows]

    assert [RELEASED in end for end in ends].count(True) == 1
    assert [START in end for end in ends].count(True) == 2
