"""Storage written in Python: what it is asked, and what becomes of its refusals and exceptions."""

from __future__ import annotations

import ctypes
import gc
import mmap
import sys
import weakref
from typing import Any

import pytest

import zmm
from zmm.heap import Level

CHUNK = zmm.CHUNK_BYTES


class MappedStorage:
    """Chunks from anonymous mappings; remembers every call, and fails where it is told to."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []
        self.mappings: dict[int, mmap.mmap] = {}
        self.raise_in: dict[str, BaseException] = {}
        self.refuse = False

    def _note(self, name: str, number: int) -> None:
        self.calls.append((name, number))
        if name in self.raise_in:
            raise self.raise_in[name]

    def chunk_alloc(self, size_bytes: int, alignment_bytes: int) -> int | None:
        self._note("alloc", size_bytes)
        if self.refuse:
            return None
        mapping = mmap.mmap(-1, size_bytes + alignment_bytes)
        start = ctypes.addressof(ctypes.c_char.from_buffer(mapping))
        address = start + -start % alignment_bytes
        self.mappings[address] = mapping
        return address

    def chunk_free(self, address: int, size_bytes: int) -> None:
        self._note("free", size_bytes)
        del self.mappings[address]


class ResizingStorage(MappedStorage):
    """Also grants truncate, and refuses extend."""

    def chunk_truncate(self, _address: int, _old_bytes: int, new_bytes: int) -> bool:
        self._note("truncate", new_bytes)
        return True

    def chunk_extend(self, _address: int, _old_bytes: int, new_bytes: int) -> bool:
        self._note("extend", new_bytes)
        return False


@pytest.fixture
def storage() -> MappedStorage:
    """A storage without truncate and extend."""
    return MappedStorage()


@pytest.fixture
def resizing_storage() -> ResizingStorage:
    """A storage with truncate and extend."""
    return ResizingStorage()


def test_chunks_and_huge_blocks_come_from_the_storage(level: Level, storage: MappedStorage) -> None:
    """Each is asked for once, and all are given back at the end: the newest huge block first, the main chunk last."""
    with zmm.Heap(level=level, storage=storage) as heap:
        huge = heap.alloc(3_000_000)
        heap.write(huge, b"x", 2_999_999)
        heap.alloc(2_000_000)
        heap.alloc(2_000_000)
        heap.check()
        assert storage.calls == [("alloc", CHUNK), ("alloc", 3_002_368), ("alloc", CHUNK)]

    assert storage.calls[3:] == [("free", 3_002_368), ("free", CHUNK), ("free", CHUNK)]
    assert storage.mappings == {}


def test_the_storage_record_is_the_first_block(storage: MappedStorage) -> None:
    """40 bytes of the heap, as in PHP."""
    with zmm.Heap(storage=storage) as heap:
        assert heap.usage().size_bytes == 40


def test_the_storage_serves_the_next_request_too(level: Level, storage: MappedStorage) -> None:
    """The end of a request keeps it."""
    with zmm.Heap(level=level, storage=storage) as heap:
        heap.alloc(3_000_000)
        heap.request_end()
        assert storage.calls[-1] == ("free", 3_002_368)
        for _ in range(2000):
            heap.alloc(40)
        heap.alloc(3_000_000)

        assert storage.calls[-1] == ("alloc", 3_002_368)


def test_a_huge_block_is_resized_through_the_storage(level: Level, resizing_storage: ResizingStorage) -> None:
    """Truncate is granted and the block stays; extend is refused and the block moves."""
    storage = resizing_storage
    with zmm.Heap(level=level, storage=storage) as heap:
        block = heap.alloc(5_000_000)
        del storage.calls[:]
        assert heap.realloc(block, 3_000_000) == block
        assert heap.realloc(block, 4_000_000) != block

    assert storage.calls[:4] == [
        ("truncate", 3_002_368), ("extend", 4_001_792), ("alloc", 4_001_792), ("free", 3_002_368),
    ]  # fmt: skip


def test_without_truncate_and_extend_a_huge_block_moves(storage: MappedStorage) -> None:
    """Both may be left out, and are never granted then."""
    with zmm.Heap(storage=storage) as heap:
        block = heap.strdup(b"x" * 3_000_000)
        moved = heap.realloc(block, 2_500_000)

        assert moved != block
        assert heap.read(moved, 2_500_000) == b"x" * 2_500_000


def test_a_storage_that_has_no_more_refuses(zend_level: Level, storage: MappedStorage) -> None:
    """None is a refusal by the system, and the heap goes on."""
    with zmm.Heap(level=zend_level, storage=storage) as heap:
        storage.refuse = True
        with pytest.raises(zmm.SystemRefusalError) as caught:
            heap.alloc(3_000_000)
        assert caught.value.tried_bytes == 3_000_000
        storage.refuse = False

        heap.alloc(3_000_000)
        heap.check()


def test_a_storage_without_a_first_chunk_makes_no_heap(
    storage: MappedStorage, capfd: pytest.CaptureFixture[str]
) -> None:
    """PHP's line, and an error."""
    storage.refuse = True
    with pytest.raises(zmm.SystemRefusalError, match="Can't initialize heap"):
        zmm.Heap(storage=storage)

    assert capfd.readouterr().err == "Can't initialize heap\n"


def test_an_exception_in_chunk_alloc_comes_out_of_the_call(level: Level, storage: MappedStorage) -> None:
    """The call fails cleanly; the heap is as it was."""
    with zmm.Heap(level=level, storage=storage) as heap:
        before = heap.snapshot()
        storage.raise_in["alloc"] = KeyError("no more")
        for call in (
            lambda: heap.alloc(3_000_000),
            lambda: heap.calloc(3, 1_000_000),
            lambda: heap.block(3_000_000),
            lambda: heap.strdup(b"x" * 3_000_000),
        ):
            with pytest.raises(KeyError, match="no more"):
                call()
        del storage.raise_in["alloc"]

        assert heap.snapshot() == before
        heap.alloc(3_000_000)


def test_an_exception_for_the_first_chunk_comes_out_of_the_constructor(storage: MappedStorage) -> None:
    """Also one that is no Exception."""
    storage.raise_in["alloc"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        zmm.Heap(storage=storage)


def test_an_exception_in_chunk_free_comes_out_when_the_work_is_done(storage: MappedStorage) -> None:
    """free, request_end and close finish first."""
    heap = zmm.Heap(storage=storage)
    block = heap.alloc(3_000_000)
    storage.raise_in["free"] = OSError("disk gone")
    with pytest.raises(OSError, match="disk gone"):
        heap.free(block)
    assert heap.place(block) is None
    heap.alloc(3_000_000)
    with pytest.raises(OSError, match="disk gone"):
        heap.request_end()
    assert heap.usage().size_bytes == 0
    with pytest.raises(OSError, match="disk gone"):
        heap.close()

    assert heap.closed


def test_an_exception_in_a_call_that_succeeds_is_reported_only(
    resizing_storage: ResizingStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Raising would lose the block that the call made."""
    seen: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda report: seen.append(report.exc_value))
    with zmm.Heap(storage=resizing_storage) as heap:
        block = heap.alloc(3_000_000)
        resizing_storage.raise_in["extend"] = KeyError("extend")
        moved = heap.realloc(block, 4_000_000)

        assert heap.block_size(moved) == 4_001_792
        assert [repr(error) for error in seen] == ["KeyError('extend')"]


def test_several_exceptions_in_one_call_are_all_heard(storage: MappedStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first is raised, the others are reported."""
    seen: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda report: seen.append(report.exc_value))
    heap = zmm.Heap(storage=storage)
    heap.alloc(3_000_000)
    storage.raise_in["free"] = OSError("disk gone")
    with pytest.raises(OSError, match="disk gone"):
        heap.close()

    assert len(seen) == 1


@pytest.mark.parametrize("answer", [0, CHUNK + 4096, -CHUNK, 2**70, "x", 1.5])
def test_an_address_that_cannot_be_is_refused(
    storage: MappedStorage, answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unaligned, negative, too large or no number: a clear error, and the heap goes on."""
    with zmm.Heap(storage=storage) as heap:
        monkeypatch.setattr(storage, "chunk_alloc", lambda *_: answer)
        with pytest.raises((ValueError, OverflowError, TypeError), match="chunk_alloc"):
            heap.alloc(3_000_000)
        monkeypatch.undo()

        heap.alloc(3_000_000)
        heap.check()


def test_a_storage_must_not_use_its_heap() -> None:
    """Every use inside one of its methods raises; other heaps may be used."""

    class Curious(MappedStorage):
        heap: zmm.Heap | None = None
        found: list[BaseException]

        def chunk_alloc(self, size_bytes: int, alignment_bytes: int) -> int | None:
            self.found = []
            heap = self.heap
            if heap is not None:
                for use in (lambda: heap.alloc(8), heap.close, heap.request_end, heap.gc):
                    try:
                        use()
                    except zmm.ZmmError as error:
                        self.found.append(error)
                with zmm.Heap() as other:
                    other.alloc(5_000_000)
            return super().chunk_alloc(size_bytes, alignment_bytes)

    storage = Curious()
    with zmm.Heap(storage=storage) as heap:
        storage.heap = heap
        heap.alloc(3_000_000)

        assert [type(error) for error in storage.found] == [zmm.HeapBusyError] * 4
        storage.heap = None


def test_blocks_dropped_inside_the_storage_are_freed_afterwards(
    storage: MappedStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Block may die at any time, also while its heap is busy."""
    held: list[zmm.Block] = []
    with zmm.Heap(storage=storage) as heap:
        before = heap.usage().size_bytes
        held.append(heap.block(100))
        plain = storage.chunk_alloc

        def chunk_alloc(size_bytes: int, alignment_bytes: int) -> int | None:
            held.clear()
            return plain(size_bytes, alignment_bytes)

        monkeypatch.setattr(storage, "chunk_alloc", chunk_alloc)
        huge = heap.alloc(3_000_000)
        heap.free(huge)

        assert heap.usage().size_bytes - before in (0, 24)
        heap.check()


def test_a_heap_and_storage_that_know_each_other_are_collected() -> None:
    """A cycle through the storage goes, and all memory has been given back to the storage."""

    class Knowing(MappedStorage):
        heap: zmm.Heap

    storage = Knowing()
    calls = storage.calls
    storage.heap = zmm.Heap(storage=storage)
    storage.heap.alloc(3_000_000)
    gone = weakref.ref(storage)
    del storage
    gc.collect()

    assert gone() is None
    assert calls[-2:] == [("free", 3_002_368), ("free", CHUNK)]
