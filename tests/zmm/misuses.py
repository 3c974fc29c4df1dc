"""
Misuses of zmm through its two faces, C's and Python's: what test_reports.py compares the reports of.

Run as a program, this file makes them, each in a process of its own.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zmm
from tests.zmm.faces import ROOT, CFace, Face, PythonFace
from zmm import _core

FACTOR = int(re.search(r"LINK_FACTOR UINT64_C\((\w+)\)", (ROOT / "zmm/core/link.h").read_text())[1], 16)  # type: ignore[index]
SIZE_MAX = 2**64 - 1
MEBIBYTE = 1 << 20


@dataclass
class Misuse:
    """What a misuse works with: faces of its level, and names for the numbers it knows."""

    make: Callable[[], Face]
    names: int  # a file
    kept: list[Face] = field(default_factory=list)

    def heap(self) -> Face:
        """A heap; its address has a name."""
        face = self.make()
        self.kept.append(face)
        self.name(**{"heap" if len(self.kept) == 1 else "other": face.handle})
        return face

    def name(self, **numbers: int) -> None:
        """Tell the numbers' names, before the process dies."""
        os.write(self.names, "".join(f"{name} {number}\n" for name, number in numbers.items()).encode())


def word(address: int) -> ctypes.c_uint64:
    """The word at an address."""
    return ctypes.c_uint64.from_address(address)


def byte(address: int) -> ctypes.c_ubyte:
    """The byte at an address."""
    return ctypes.c_ubyte.from_address(address)


# ---- the rows --------------------------------------------------------------------------------------------------------

RAISES = "raises HeapCorruptedError"
REFUSES = "finds the mistake before the core is asked: InvalidBlockError"
DIES = "is stopped by the machine outside of any call, so nobody is there to raise: it dies as C does"
HAS_NO_SUCH_CALL = "has no call that takes such an argument"


@dataclass(frozen=True)
class Row:
    """A misuse, the level and options it needs, and what Python does.  What C prints is in ``reports.toml``."""

    phrase: str
    level: str
    provoke: Callable[[Misuse], object]
    python: str
    edition: str = "zmm"
    guard: int = 0
    check_every: int = 0
    preload: bool = False

    @property
    def name(self) -> str:
        """The misuse and the level."""
        return f"{self.provoke.__name__}-{self.level}"


ROWS: list[Row] = []


def row(
    phrase: str, level: str, python: str = RAISES, **options: Any
) -> Callable[[Callable[[Misuse], object]], Callable[[Misuse], object]]:
    """Enter a misuse into the table."""

    def enter(provoke: Callable[[Misuse], object]) -> Callable[[Misuse], object]:
        ROWS.append(Row(phrase, level, provoke, python, **options))
        return provoke

    return enter


def freed(misuse: Misuse, size_bytes: int) -> tuple[Face, int]:
    """A heap and a slot of it that was freed."""
    heap = misuse.heap()
    heap.alloc(size_bytes)  # keeps the run
    block = heap.alloc(size_bytes)
    heap.free(block)
    misuse.name(block=block)
    return heap, block


@row("not a block of this heap", "release", REFUSES)
def block_of_another_heap(misuse: Misuse) -> object:
    other = misuse.heap()
    block = other.alloc(64)
    misuse.name(block=block)
    return misuse.heap().free(block)


@row("not a block of this heap", "release", REFUSES, edition="php-8.2")
@row("not a block of this heap", "fast", REFUSES)
def wild_address(misuse: Misuse) -> object:
    misuse.name(wild=64)
    return misuse.heap().free(64)


@row("not a block of this heap", "release", REFUSES)
@row("not a block of this heap", "hardened", REFUSES)
@row("not a block of this heap", "debug", REFUSES)
def chunk_whose_record_names_no_heap(misuse: Misuse) -> object:
    heap = misuse.heap()
    block = heap.alloc(8192)
    misuse.name(block=block)
    word(heap.meta("chunk_heap", block)).value = 0x4141414141414141
    return heap.free(block)


@row("not the start of a block", "release", REFUSES)
def address_inside_a_block(misuse: Misuse) -> object:
    heap = misuse.heap()
    block = heap.alloc(8192)
    misuse.name(block=block, inside=block + 8)
    return heap.free(block + 8)


@row("not a live slot", "release", REFUSES)
@row("not a live slot", "debug", REFUSES)
def block_freed_twice(misuse: Misuse) -> object:
    heap, block = freed(misuse, 96)
    return heap.free(block)


@row("a free slot was written to", "release")
def free_slot_written_to(misuse: Misuse) -> object:
    heap, block = freed(misuse, 96)
    misuse.name(was=word(block).value, found=word(block).value ^ 1)
    byte(block).value ^= 1
    return heap.alloc(96)


@row("a free list leads astray", "release")
def list_that_leads_astray(misuse: Misuse) -> object:
    heap, block = freed(misuse, 96)
    misuse.name(wild=64)
    word(heap.meta("bin_head", block)).value = 64
    return heap.alloc(96)


@row("a free list runs in a circle", "release")
def list_that_is_a_circle(misuse: Misuse) -> object:
    heap = misuse.heap()
    block, last = heap.alloc(96), heap.alloc(96)
    heap.free(block)
    heap.free(last)
    word(block).value = word(last).value ^ block ^ last
    word(block + 88).value = (word(block).value * FACTOR - block) % 2**64
    misuse.name(block=block, last=last)
    return heap.gc()


@row("a free list leads to a live slot", "release")
def list_that_leads_to_a_live_slot(misuse: Misuse) -> object:
    heap = misuse.heap()
    block = heap.alloc(96)
    misuse.name(block=block)
    word(heap.meta("bin_head", block)).value = block
    return heap.alloc(96)


@row("a page map was written to", "release")
def page_map_written_to(misuse: Misuse) -> object:
    heap = misuse.heap()
    record = heap.meta("page_word", heap.alloc(8192))
    misuse.name(record=record)
    byte(record).value ^= 1
    return heap.gc()


@row("a page map was written to", "release", REFUSES)
@row("a page map was written to", "hardened", REFUSES)
@row("a page map was written to", "debug", REFUSES)
def length_of_a_run_written_to(misuse: Misuse) -> object:
    heap = misuse.heap()
    block = heap.alloc(8192)
    misuse.name(block=block)
    ctypes.c_uint64.from_address(heap.meta("page_word", block)).value ^= 0x3FF
    return heap.free(block)


@row("a free map was written to", "release")
def free_map_written_to(misuse: Misuse) -> object:
    heap = misuse.heap()
    record = heap.meta("free_map", heap.alloc(96))
    misuse.name(record=record)
    byte(record + 63).value ^= 0x80
    return heap.alloc(8192)


@row("a chunk record was written to", "release")
def chunk_record_written_to(misuse: Misuse) -> object:
    heap = misuse.heap()
    misuse.name(wild=64)
    word(heap.meta("chunk_next", heap.alloc(96))).value = 64
    return heap.gc()


@row("a huge block's record was written to", "release")
def huge_record_written_to(misuse: Misuse) -> object:
    heap = misuse.heap()
    block = heap.alloc(3 * MEBIBYTE)
    misuse.name(block=block)
    word(heap.meta("huge_size", block)).value ^= 4096
    return heap.end()


@row("the limit was written to", "release")
def limit_written_to(misuse: Misuse) -> object:
    heap = misuse.heap()
    record = heap.meta("limit", 0)
    misuse.name(record=record, was=SIZE_MAX >> 1, found=1)
    word(record).value = 1
    return heap.alloc(5 * MEBIBYTE)


@row("freed with a size it does not have", "hardened", HAS_NO_SUCH_CALL)
def wrong_size(misuse: Misuse) -> object:
    heap = misuse.heap()
    block = heap.alloc(41)
    misuse.name(block=block)
    return heap.free_sized(block, 42)


@row("written beyond its end", "hardened")
@row("written beyond its end", "debug")
def overflow(misuse: Misuse) -> object:
    heap = misuse.heap()
    block = heap.alloc(41)
    found = word(block + 41).value
    misuse.name(block=block, was=found, found=found ^ 1)
    byte(block + 41).value ^= 1
    return heap.free(block)


@row("read beyond its end", "release", HAS_NO_SUCH_CALL)
def length_beyond_the_end(misuse: Misuse) -> object:
    heap = misuse.heap()
    block = heap.alloc(100)
    misuse.name(block=block)
    return heap.strndup(block, 113)


@row("a freed block was written to", "hardened")
def freed_block_written_to(misuse: Misuse) -> object:
    heap, block = freed(misuse, 96)
    was = word(block + 40).value
    misuse.name(was=was, found=was ^ 1)
    byte(block + 40).value ^= 1
    for _ in range(1000):
        heap.free(heap.alloc(96))
    return None


@row("a freed block was written to", "debug", DIES, guard=1)
def freed_block_written_to_in_guard_mode(misuse: Misuse) -> object:
    _, block = freed(misuse, 96)
    ctypes.memset(block, 1, 1)
    return None


@row("written before its start", "debug", RAISES, guard=1)
def underflow(misuse: Misuse) -> object:
    heap = misuse.heap()
    block = heap.alloc(41)
    was = byte(block - 1).value
    misuse.name(block=block, was=was, found=was ^ 1)
    byte(block - 1).value ^= 1
    return heap.free(block)


@row("read before its start", "debug", DIES, guard=1)
def read_before_the_start(misuse: Misuse) -> object:
    block = misuse.heap().alloc(8192)
    misuse.name(block=block, before=block - 1)
    return ctypes.string_at(block - 1, 1)


@row("read beyond its end", "debug", DIES, guard=1)
def read_beyond_the_end(misuse: Misuse) -> object:
    block = misuse.heap().alloc(8192)
    misuse.name(block=block, behind=block + 8192)
    return ctypes.string_at(block + 8192, 1)


@row("a freed block was read", "debug", DIES, guard=1)
def freed_block_read(misuse: Misuse) -> object:
    _, block = freed(misuse, 96)
    return ctypes.string_at(block, 1)


@row("given to the C library", "release", HAS_NO_SUCH_CALL, preload=True)
@row("given to the C library", "debug", HAS_NO_SUCH_CALL, preload=True)
def block_given_to_libc(misuse: Misuse) -> object:
    block = misuse.heap().alloc(64)
    misuse.name(block=block)
    return ctypes.CDLL(None).free(ctypes.c_void_p(block))


@row("the heap is broken", "debug", RAISES, check_every=3)
def count_that_is_wrong(misuse: Misuse) -> object:
    heap = misuse.heap()
    block = heap.alloc(96)
    word(heap.meta("chunk_free_pages", block)).value -= 1
    return [heap.alloc(96) for _ in range(3)]


@row("assertion failed", "debug")
def fewer_bytes_than_were_handed_out(misuse: Misuse) -> object:
    heap = misuse.heap()
    block = heap.alloc(3 * MEBIBYTE)
    below_peak = heap.handle + 8 * _core.BIN_COUNT  # behind the lists of the bins, and before the peak
    word(below_peak).value = word(below_peak + 8).value
    return heap.free(block)


# ---- the program: one process for each misuse -----------------------------------------------------------------------


def run_row(entry: Row, face: str, folder: Path) -> None:
    """Make a misuse; what is known of it is in the folder's files."""
    for descriptor, name in ((2, "stderr"), (1, "stdout")):
        os.dup2(os.open(folder / name, os.O_CREAT | os.O_WRONLY, 0o600), descriptor)
    faces: dict[str, Callable[[str, str, int, int], Face]] = {"c": CFace, "python": PythonFace}
    make = lambda: faces[face](entry.level, entry.edition, entry.guard, entry.check_every)  # noqa: E731
    names = os.open(folder / "names", os.O_CREAT | os.O_WRONLY, 0o600)
    try:
        entry.provoke(Misuse(make, names))
    except zmm.ZmmError as error:
        (folder / "error").write_text(json.dumps({**vars(error), "type": type(error).__name__, "str": str(error)}))


def main(face: str, folder: str, preloaded: str) -> None:
    """Make all misuses of a face."""
    for entry in ROWS:
        if (face == "python" and entry.python == HAS_NO_SUCH_CALL) or entry.preload != bool(preloaded):
            continue
        place = Path(folder) / face / entry.name
        place.mkdir(parents=True)
        child = os.fork()
        if child == 0:
            try:
                run_row(entry, face, place)
            finally:
                os._exit(0)
        (place / "status").write_text(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])))


if __name__ == "__main__":
    main(*sys.argv[1:])
