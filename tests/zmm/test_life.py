"""The life of a heap: requests, closing, threads, forks, and damage."""

from __future__ import annotations

import copy
import ctypes
import gc
import os
import pickle
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest

import zmm


def _every_use(heap: zmm.Heap) -> dict[str, Any]:
    return {
        "alloc": lambda: heap.alloc(8),
        "calloc": lambda: heap.calloc(1, 8),
        "safe_alloc": lambda: heap.safe_alloc(1, 8, 0),
        "realloc": lambda: heap.realloc(0, 8),
        "realloc2": lambda: heap.realloc2(0, 8, 8),
        "safe_realloc": lambda: heap.safe_realloc(0, 1, 8, 0),
        "strdup": lambda: heap.strdup(b""),
        "strndup": lambda: heap.strndup(b"", 0),
        "free": lambda: heap.free(0),
        "block_size": lambda: heap.block_size(8),
        "block": lambda: heap.block(8),
        "read": lambda: heap.read(8, 0),
        "write": lambda: heap.write(8, b""),
        "owns": lambda: heap.owns(8),
        "place": lambda: heap.place(8),
        "gc": heap.gc,
        "set_limit": lambda: heap.set_limit("8M"),
        "reset_peak": heap.reset_peak,
        "request_end": heap.request_end,
        "check": heap.check,
        "usage": heap.usage,
        "snapshot": heap.snapshot,
        "edition": lambda: heap.edition,
    }


def test_leaving_the_with_statement_closes_the_heap(heap: zmm.Heap) -> None:
    """Every use of a closed heap raises the same error; closing again does nothing."""
    heap.alloc(40)
    heap.close()
    heap.close()

    assert heap.closed
    assert repr(heap) == "<zmm.Heap, closed>"
    for name, use in _every_use(heap).items():
        with pytest.raises(zmm.ClosedHeapError, match="the heap is closed"):
            pytest.fail(f"{name} returned {use()}")


def test_the_list_of_uses_is_complete() -> None:
    """Whatever a heap offers is in the list above, but for what may be asked of a closed one."""
    with zmm.Heap() as heap:
        public = {name for name in dir(heap) if not name.startswith("_")}

        assert public - {"close", "closed", "level"} == set(_every_use(heap))


def test_a_request_starts_where_the_first_one_started(zend_heap: zmm.Heap) -> None:
    """After its end nothing is in use, the limit is kept, and places repeat."""
    zend_heap.set_limit("64M")
    first = [zend_heap.place(zend_heap.alloc(size)) for size in (8, 40, 5000, 3072)]
    zend_heap.request_end()
    usage = zend_heap.usage()

    assert (usage.size_bytes, usage.real_size_bytes, usage.limit_bytes) == (0, zmm.CHUNK_BYTES, 64 * 2**20)
    assert [zend_heap.place(zend_heap.alloc(size)) for size in (8, 40, 5000, 3072)] == first


def test_heaps_are_independent(heap: zmm.Heap) -> None:
    """Closing one leaves the others as they are."""
    heaps = [zmm.Heap() for _ in range(20)]
    blocks = [other.strdup(b"%d" % number) for number, other in enumerate(heaps)]
    for other in heaps[::2]:
        other.close()

    for number in range(1, 20, 2):
        assert heaps[number].read(blocks[number], 2).rstrip(b"\0") == b"%d" % number
        heaps[number].close()


def test_a_heap_nobody_holds_is_closed() -> None:
    """Without a with statement, and in a cycle, too: a thousand heaps need the addresses of one."""

    class Node:
        heap: zmm.Heap
        node: Node

    for _ in range(1000):
        node = Node()
        node.heap, node.node = zmm.Heap(), node
        node.heap.alloc(1_000_000)
        gone = weakref.ref(node.heap)
        del node
        gc.collect(0)
    gc.collect()

    assert gone() is None


def test_another_thread_is_refused(heap: zmm.Heap) -> None:
    """Every use of a heap or its block from another thread raises, and harms nothing."""
    block = heap.block(40)
    refused: list[str] = []
    uses = {**_every_use(heap), "close": heap.close, "len": lambda: len(block), "view": lambda: memoryview(block)}

    def use_all() -> None:
        for name, use in uses.items():
            try:
                use()
            except zmm.WrongThreadError:
                refused.append(name)

    thread = threading.Thread(target=use_all)
    thread.start()
    thread.join()

    assert refused == list(uses)
    assert len(block) == 40


def test_each_thread_may_have_its_heap() -> None:
    """Four threads, each with a heap of its own, see only their own bytes."""
    wrong: list[int] = []

    def work(number: int) -> None:
        with zmm.Heap() as heap:
            blocks = [heap.alloc(size) for size in range(1, 4000, 7)]
            for block in blocks:
                heap.write(block, bytes([number]))
            wrong.extend(number for block in blocks if heap.read(block, 1) != bytes([number]))
            heap.check()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []


def test_a_memoryview_may_be_used_and_released_in_another_thread(heap: zmm.Heap) -> None:
    """The bytes belong to whoever has the view; the last release frees the block of a closed heap."""
    other = zmm.Heap()
    view = memoryview(other.block(100))
    other.close()

    def work() -> None:
        view[0] = 5
        view.release()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    gone = weakref.ref(other)
    del other

    assert gone() is None


def test_a_forked_child_has_its_own_copy(heap: zmm.Heap) -> None:
    """Both sides go on with the same heap, and neither sees what the other does."""
    block = heap.strdup(b"before")
    child = os.fork()
    if child == 0:
        try:
            heap.write(block, b"child!")
            for _ in range(100):
                heap.alloc(100_000)
            heap.check()
            heap.close()
            os._exit(0)
        finally:
            os._exit(1)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert heap.read(block, 6) == b"before"


def _write_behind_the_back(address: int, number: int) -> None:
    ctypes.c_uint64.from_address(address).value = number


def test_a_panic_is_an_exception_and_the_end_of_the_heap() -> None:
    """A free slot that was written into is found when the core follows it; other heaps go on."""
    heap = zmm.Heap(level="release")
    block, live = heap.alloc(40), heap.alloc(40)
    kept = heap.block(100)
    heap.free(block)
    _write_behind_the_back(block, live)  # the free list now leads to a live slot

    with pytest.raises(zmm.HeapCorruptedError) as caught:
        _ = [heap.alloc(40) for _ in range(3)]
    assert "free" in caught.value.reason
    assert caught.value.address != 0
    assert str(caught.value) == f"zmm: heap corruption: {caught.value.reason} at {caught.value.address:#x}"
    assert heap.closed
    assert kept.closed
    for use in _every_use(heap).values():
        with pytest.raises(zmm.HeapCorruptedError):
            use()
    heap.close()
    with zmm.Heap() as other:
        other.alloc(40)
        other.check()


def test_check_names_the_broken_invariant() -> None:
    """Check walks the whole heap, and what it finds ends the heap."""
    heap = zmm.Heap(level="release")
    block, live = heap.alloc(40), heap.alloc(40)
    heap.check()
    heap.free(block)
    _write_behind_the_back(block, live)

    with pytest.raises(zmm.HeapCorruptedError) as caught:
        heap.check()
    assert caught.value.reason.isupper()
    assert "-" in caught.value.reason
    assert caught.value.address == 0
    assert heap.closed


def test_level_debug_reports_leaks_only_when_asked(capfd: pytest.CaptureFixture[str]) -> None:
    """Ending a request or a heap is silent by default."""
    with zmm.Heap(level="debug") as heap:
        heap.alloc(40)
        heap.request_end()
        heap.alloc(40)

    assert capfd.readouterr() == ("", "")


def test_a_heap_is_made_once() -> None:
    """Calling __init__ again must not lose the first heap."""
    with zmm.Heap() as heap:
        with pytest.raises(TypeError, match="made once"):
            heap.__init__()  # type: ignore[misc]
        heap.alloc(8)


def test_a_heap_never_made_is_closed() -> None:
    """A subclass that forgets __init__ gets an error, not a crash."""
    heap = zmm.Heap.__new__(zmm.Heap)

    assert heap.closed
    for use in _every_use(heap).values():
        with pytest.raises(zmm.ClosedHeapError):
            use()
    with pytest.raises(zmm.ClosedHeapError):
        assert heap.level
    heap.close()


def test_arguments_that_close_the_heap_are_survived() -> None:
    """An argument's own methods run before the heap is looked at."""

    class Closing:
        def __init__(self, heap: zmm.Heap) -> None:
            self.heap = heap

        def __index__(self) -> int:
            self.heap.close()
            return 8

        def __bool__(self) -> bool:
            self.heap.close()
            return True

        def __eq__(self, other: object) -> bool:
            self.heap.close()
            return True

        __hash__ = None  # type: ignore[assignment]

    calls: list[Callable[[zmm.Heap, Any], object]] = [
        lambda heap, bad: heap.alloc(bad),
        lambda heap, bad: heap.calloc(bad, bad),
        lambda heap, bad: heap.safe_alloc(1, 1, bad),
        lambda heap, bad: heap.realloc(heap.alloc(8), bad),
        lambda heap, bad: heap.realloc2(heap.alloc(8), 8, bad),
        lambda heap, bad: heap.safe_realloc(heap.alloc(8), 1, bad, 0),
        lambda heap, bad: heap.strndup(b"12345678", bad),
        lambda heap, bad: heap.block(bad),
        lambda heap, bad: heap.read(heap.alloc(8), 1, bad),
        lambda heap, bad: heap.write(heap.alloc(8), b"", bad),
        lambda heap, bad: heap.request_end(bad),
    ]
    for call in calls:
        heap = zmm.Heap()
        with pytest.raises(zmm.ClosedHeapError):
            call(heap, Closing(heap))
    for use in (zmm.Heap.free, zmm.Heap.block_size, zmm.Heap.owns, zmm.Heap.place):
        with zmm.Heap() as heap, pytest.raises(TypeError):
            use(heap, Closing(heap))  # type: ignore[arg-type]
    heap = zmm.Heap()
    heap.close(Closing(heap))  # type: ignore[arg-type]


def test_overriding_a_method_does_not_lead_astray() -> None:
    """What a subclass makes of alloc and check is its own business: block and snapshot do not ask them."""

    class Odd(zmm.Heap):
        def alloc(self, size_bytes: int, /) -> int:
            return size_bytes + 4096

        def check(self) -> None:
            raise AssertionError

    with Odd() as heap:
        assert bytes(memoryview(heap.block(0))) == b""
        assert heap.block(40).address != 4136
        heap.snapshot()


def test_garbage_found_during_a_snapshot_waits() -> None:
    """Blocks that die while the heap is walked are freed afterwards."""
    with zmm.Heap() as heap:
        kept = [heap.alloc(size) for size in range(8, 3072, 8)]
        before = heap.usage().size_bytes
        thresholds = gc.get_threshold()
        gc.set_threshold(1)
        try:
            for _ in range(20):
                cycle: list[Any] = [heap.block(50)]
                cycle.append(cycle)
                del cycle
                heap.snapshot()
        finally:
            gc.set_threshold(*thresholds)
        gc.collect()
        heap.check()

        assert heap.usage().size_bytes == before
        assert len(kept) == 383


def test_heaps_and_blocks_are_not_copied() -> None:
    """A copy would be a second owner."""
    with zmm.Heap() as heap:
        for thing in (heap, heap.block(8)):
            for copy_of in (copy.copy, copy.deepcopy, pickle.dumps):
                with pytest.raises(TypeError, match="cannot pickle"):
                    copy_of(thing)
