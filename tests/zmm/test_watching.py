"""Level debug from Python: guard mode, checks every N calls, environment variables, and all that a report says."""

from __future__ import annotations

import ctypes
import pickle
import re
import subprocess
import sys
from typing import Any

import pytest

import zmm


def poke(address: int, value: int) -> None:
    """Write a byte where the program has no business."""
    ctypes.c_ubyte.from_address(address).value ^= value


def test_a_report_has_all_its_fields() -> None:
    """What the C report says is on the exception, which survives pickling."""
    heap = zmm.Heap(level="debug")
    block = heap.alloc(41)
    poke(block + 41, 1)

    with pytest.raises(zmm.HeapCorruptedError) as caught:
        heap.free(block)

    error = caught.value
    assert (error.reason, error.address) == ("written beyond its end", block)
    assert (error.block, error.block_bytes, error.requested_bytes, error.bin_index) == (block, 80, 41, 8)
    assert error.block_is_live
    assert error.owner == "this heap"
    assert error.heap == error.owner_heap > 0
    assert error.expected is not None
    assert error.found == error.expected ^ 1
    assert error.alloc_site > 0
    assert (error.free_site > 0, error.access_site) == (False, 0) or error.access_site == 0
    assert error.hint.startswith("more was written than the block was asked for")
    assert error.text.startswith("zmm: heap corruption: written beyond its end\n  address:   ")
    assert str(error) == f"zmm: heap corruption: written beyond its end at {block:#x}"
    again = pickle.loads(pickle.dumps(error))
    assert (again.text, again.expected, again.block) == (error.text, error.expected, error.block)
    assert (again.heap, again.owner_heap) == (error.heap, error.owner_heap)


def test_guard_mode_finds_a_write_round_a_block_when_it_is_freed() -> None:
    """Before and behind a block, as far as its page is accessible."""
    for offset, reason in ((41, "written beyond its end"), (-1, "written before its start")):
        heap = zmm.Heap(level="debug", guard="all")
        block = heap.alloc(41)
        poke(block + offset, 1)
        with pytest.raises(zmm.HeapCorruptedError, match=reason):
            heap.free(block)
        assert heap.closed


@pytest.mark.parametrize(("guard", "guarded"), [("all", 50), ("off", 0), (1, 50), (0, 0), ("1/1", 50)])
def test_guard_is_an_option(guard: str | int, guarded: int) -> None:
    """A guarded block is a mapping of its own."""
    heap = zmm.Heap(level="debug", guard=guard)
    places = [heap.place(heap.alloc(24)) for _ in range(50)]
    assert sum(place is not None and place.kind == "huge" for place in places) == guarded


@pytest.mark.parametrize(
    "options",
    [
        {"guard": "1/0"},
        {"guard": "some"},
        {"guard": "1/two"},
        {"guard": "1/ 2"},
        {"guard": -1},
        {"check_every": -1},
        {"check_every": 2**32},
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any]) -> None:
    """With the option and what to write."""
    with pytest.raises(ValueError, match=r"guard|check_every"):
        zmm.Heap(level="debug", **options)


def test_the_heap_is_checked_every_so_often() -> None:
    """Damage is found by a call that has nothing to do with the block."""
    heap = zmm.Heap(level="debug", check_every=5)
    block = heap.alloc(41)
    poke(block + 41, 1)
    for _ in range(3):
        heap.alloc(8)
    with pytest.raises(zmm.HeapCorruptedError, match="written beyond its end"):
        heap.alloc(8)


def test_the_environment_is_asked_where_options_are_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """ZMM_LEVEL and the others; a wrong value names itself and the remedy."""
    monkeypatch.setenv("ZMM_LEVEL", "debug")
    monkeypatch.setenv("ZMM_GUARD", "all")
    heap = zmm.Heap()
    place = heap.place(heap.alloc(24))
    assert heap.level == "debug"
    assert place is not None
    assert place.kind == "huge"
    assert zmm.Heap(level="fast").level == "fast"
    monkeypatch.setenv("ZMM_GUARD", "sometimes")
    with pytest.raises(ValueError, match=r"^zmm: ZMM_GUARD=sometimes: write all, off, or 1/N for one block of N$"):
        zmm.Heap()


def test_a_use_after_free_ends_the_process_with_a_report() -> None:
    """The fault arrives outside of any call, so there is nobody to raise: the report goes to stderr."""
    program = (
        "import ctypes, zmm\n"
        "heap = zmm.Heap(level='debug', guard='all')\n"
        "block = heap.alloc(64)\n"
        "heap.free(block)\n"
        "ctypes.string_at(block, 1)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == -6
    assert re.match(r"zmm: heap corruption: a freed block was read\n  address: ", done.stderr)
    assert "\n  allocated: 0x" in done.stderr
    assert "\n  freed:     0x" in done.stderr


def test_a_fault_in_another_thread_does_not_unwind_this_one() -> None:
    """A thread that has released the GIL faults while this one is inside a call: nobody jumps onto another's stack."""
    program = (
        "import ctypes, os, subprocess, threading, zmm\n"
        "libc = ctypes.CDLL(None)\n"
        "libc.fdopen.restype = ctypes.c_void_p\n"
        "heap = zmm.Heap(level='debug', guard='all')\n"
        "block = heap.alloc(64)\n"
        "heap.free(block)\n"
        "busy = zmm.Heap(level='debug', guard='off')\n"
        "blocks = [busy.alloc(40) for _ in range(20000)]\n"
        "reading, writing = os.pipe()\n"
        "stream = ctypes.c_void_p(libc.fdopen(reading, b'r'))\n"
        "fgets = lambda: libc.fgets(ctypes.c_void_p(block), 64, stream)\n"  # waits without the GIL, then writes
        "threading.Thread(target=fgets, daemon=True).start()\n"
        "subprocess.Popen(['sh', '-c', 'sleep 0.3; echo text'], stdout=writing)\n"
        "while True:\n"
        "    busy.check()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == -6
    assert done.stderr.startswith("zmm: heap corruption: a freed block was written to\n  address: ")
    assert "Traceback" not in done.stderr
