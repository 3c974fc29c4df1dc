"""The Python API of zmm as a target: performs operations on a `zmm.Heap` and tells them as rows."""

from __future__ import annotations

import ctypes
import mmap
from typing import cast
from zlib import crc32

from zmm_model.contents import pattern
from zmm_model.image import HeapImage
from zmm_model.op import Operation, Settings
from zmm_model.outcome import (
    DONE,
    NO_MAPPING,
    REFUSED_LIMIT,
    REFUSED_OVERFLOW,
    REFUSED_SYSTEM,
    SKIPPED,
    Row,
)
from zmm_model.storage import Storage

import zmm

_CHUNK_BYTES = 2 * 1024 * 1024
# Every mapping is a window into reserved addresses of this size, the most that the model's storage grants: so each can
# grow where it is, however far. Pages that nobody touches cost nothing.
_WINDOW_BYTES = 8 << 30
# Bytes of a block that carry a pattern: its first ones, and as many before its end.
_EDGE_BYTES = 64
_MAP_NORESERVE = 0x4000
_STRNDUP_ABSURD = 2**48


class PythonStorage:
    """Storage handlers in Python: real memory, with numbers, answers and failures as the model's storage has them."""

    def __init__(self, settings: Settings) -> None:
        self.record = Storage(settings)
        self._windows: dict[int, tuple[int, mmap.mmap, ctypes.c_char]] = {}

    def chunk_alloc(self, size_bytes: int, alignment_bytes: int, /) -> int | None:
        """Aligned zeroed memory, or None when this call is to fail."""
        mapping = self.record.alloc(size_bytes)
        if mapping < 0:
            return None
        window = mmap.mmap(
            -1, _WINDOW_BYTES + alignment_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
        )
        anchor = ctypes.c_char.from_buffer(window)
        address = -(-ctypes.addressof(anchor) // alignment_bytes) * alignment_bytes
        self._windows[address] = (mapping, window, anchor)
        return address

    def chunk_free(self, address: int, size_bytes: int, /) -> None:
        """Takes a mapping back; its size must be the one it has."""
        mapping, window, anchor = self._windows.pop(address)
        if self.record.live[mapping] != size_bytes:
            raise AssertionError(f"mapping {mapping} has {self.record.live[mapping]} bytes, {size_bytes} are freed")
        self.record.free(mapping)
        del anchor
        window.close()

    def chunk_truncate(self, address: int, old_bytes: int, new_bytes: int, /) -> bool:
        """Takes the tail of a mapping back, if granted."""
        return self._resize(address, old_bytes) and self.record.truncate(self._windows[address][0], new_bytes)

    def chunk_extend(self, address: int, old_bytes: int, new_bytes: int, /) -> bool:
        """Lets a mapping grow where it is, if granted."""
        return self._resize(address, old_bytes) and self.record.extend(self._windows[address][0], new_bytes)

    def _resize(self, address: int, old_bytes: int) -> bool:
        mapping = self._windows[address][0]
        if self.record.live[mapping] != old_bytes:
            raise AssertionError(f"mapping {mapping} has {self.record.live[mapping]} bytes, not {old_bytes}")
        return True


class ApiHeap:
    """
    A `zmm.Heap` that performs the operations of a program.

    Rows have every field that the API shows. The number that `check` gives has no place in the API (0 here): the
    whole snapshot is compared instead.
    """

    def __init__(self, settings: Settings, edition: str, level: str) -> None:
        self.storage = PythonStorage(settings) if settings.storage == "handlers" else None
        self._edition: zmm.heap.Edition = "php-8.2" if edition == "php-8.2" else "zmm"
        self._level = cast("zmm.heap.Level", level)
        self.heap = zmm.Heap(edition=self._edition, level=self._level, storage=self.storage)
        self._blocks: dict[int, tuple[int, int, int]] = {}  # label: address, requested bytes, pattern seed
        self._step = 0
        self.limit_accepted = 1
        if settings.limit_bytes:
            self.limit_accepted = self._set_limit(settings.limit_bytes)

    def close(self) -> None:
        """Ends the heap."""
        self._blocks.clear()
        self.heap.close()

    def another(self) -> zmm.Heap:
        """A second heap of the same edition and level, with memory from the system."""
        return zmm.Heap(edition=self._edition, level=self._level)

    def opening(self) -> Row:
        """What the heap shows before its first operation."""
        return self._row(DONE, -1, 0, self.limit_accepted, 0, 0)

    def labels(self) -> list[int]:
        """The labels that hold a block, in order."""
        return sorted(self._blocks)

    def perform(self, operation: Operation) -> Row:
        """Performs an operation and tells what it did."""
        self._step += 1
        word, label, a, b, _, _ = operation
        status, value, tried, text_crc, contents = DONE, 0, 0, 0, 0
        old = self._blocks.get(label)
        if word == "limit":
            value = self._set_limit(a)
        elif word == "gc":
            value = self.heap.gc()
        elif word == "reset_peak":
            self.heap.reset_peak()
        elif word == "request_end":
            contents = self._damaged_blocks()
            self.heap.request_end()
            self._blocks.clear()
        elif word == "check":
            contents = self._damaged_blocks()
            self.heap.check()
        elif word == "write":
            # One pattern a block is enough here: writes at any offset are the runner's work.
            if old is None or b > 2**20 or a + b > old[1]:
                status = SKIPPED
            else:
                contents = self._damaged(old)
        elif word == "free":
            if old is not None:
                contents = self._damaged(old)
                del self._blocks[label]
                self.heap.free(old[0])
        elif self._is_void(operation, old):
            status = SKIPPED
        else:
            contents = self._damaged(old) if old else 0
            try:
                address, requested = self._allocate(operation, old)
            except zmm.MemoryLimitError as error:
                status, tried, text_crc = REFUSED_LIMIT, error.tried_bytes, crc32(str(error).encode())
            except zmm.SystemRefusalError as error:
                status, tried, text_crc = REFUSED_SYSTEM, error.tried_bytes, crc32(str(error).encode())
            except zmm.SizeOverflowError as error:
                status, text_crc = REFUSED_OVERFLOW, crc32(str(error).encode())
            else:
                contents |= self._arrived(operation, old, address, requested)
        return self._row(status, label, contents, value, tried, text_crc)

    def block_of(self, label: int) -> tuple[int, int] | None:
        """A label's block as address and requested bytes."""
        block = self._blocks.get(label)
        return block[:2] if block else None

    def row_of(self, status: int, label: int) -> Row:
        """The row of a step that changes nothing (it counts as a step all the same)."""
        self._step += 1
        return self._row(status, label, 0, 0, 0, 0)

    # ---- the parts of an operation -------------------------------------------------------------------------------

    def _set_limit(self, limit_bytes: int) -> int:
        try:
            self.heap.set_limit(limit_bytes)
        except (zmm.LimitInUseError, ValueError):
            return 0
        return 1

    def _is_void(self, operation: Operation, old: tuple[int, int, int] | None) -> bool:
        word = operation.word
        if word == "strndup" and len(operation.text) < operation.a < _STRNDUP_ABSURD:
            return True
        return old is not None and word not in ("realloc", "realloc2", "safe_realloc")

    def _allocate(self, operation: Operation, old: tuple[int, int, int] | None) -> tuple[int, int]:
        """Calls the API; returns the block's address and requested bytes."""
        word, _, a, b, c, text = operation
        heap = self.heap
        address = old[0] if old else 0
        if word == "alloc":
            return heap.alloc(a), a
        if word == "calloc":
            return heap.calloc(a, b), a * b
        if word == "safe_alloc":
            return heap.safe_alloc(a, b, c), a * b + c
        if word == "realloc":
            return heap.realloc(address, a), a
        if word == "realloc2":
            return heap.realloc2(address, a, b), a
        if word == "safe_realloc":
            return heap.safe_realloc(address, a, b, c), a * b + c
        if word == "strdup":
            return heap.strdup(text), len(text) + 1
        return heap.strndup(text, a), a + 1

    def _arrived(self, operation: Operation, old: tuple[int, int, int] | None, address: int, requested: int) -> int:
        """Checks what a new or resized block holds, then fills its edges; 1 when a byte is wrong."""
        word = operation.word
        wrong = False
        if word == "calloc":
            wrong = any(any(self.heap.read(address, length, at)) for at, length in _edges(requested))
        elif word in ("strdup", "strndup"):
            wrong = self.heap.read(address, requested) != operation.text[: requested - 1] + b"\0"
        elif old is not None:
            kept = min(old[1], requested, operation.b if word == "realloc2" else requested)
            length = min(kept, _EDGE_BYTES)
            wrong = self.heap.read(address, length) != pattern(old[2], 0, length)
        seed = self._step << 20
        for at, length in _edges(requested):
            self.heap.write(address, pattern(seed, at, at + length), at)
        self._blocks[operation.label] = (address, requested, seed)
        return int(wrong)

    def _damaged(self, block: tuple[int, int, int]) -> int:
        address, requested, seed = block
        return int(
            any(
                self.heap.read(address, length, at) != pattern(seed, at, at + length)
                for at, length in _edges(requested)
            )
        )

    def _damaged_blocks(self) -> int:
        return int(any(self._damaged(block) for block in self._blocks.values()))

    def _row(self, status: int, label: int, contents: int, value: int, tried: int, text_crc: int) -> Row:
        usage = self.heap.usage()
        mapping, offset, block_bytes = NO_MAPPING, 0, 0
        block = self._blocks.get(label)
        if block is not None:
            place = self.heap.place(block[0])
            if place is not None:
                mapping, offset, block_bytes = place.mapping_index, place.offset_bytes, place.block_bytes
        record = self.storage.record if self.storage else None
        return Row(
            status,
            contents,
            mapping,
            offset,
            block_bytes,
            value,
            tried,
            text_crc,
            record.calls if record else 0,
            record.crc if record else 0,
            usage.chunk_count,
            usage.size_bytes,
            usage.peak_bytes,
            usage.real_size_bytes,
            usage.real_peak_bytes,
            usage.limit_bytes,
            usage.chunk_count_peak,
            usage.cached_chunk_count,
            usage.delete_boundary,
            usage.delete_count,
            usage.chunk_count_average,
        )


def _edges(requested: int) -> tuple[tuple[int, int], ...]:
    """Where a block carries its pattern: (offset, length) pairs."""
    if requested <= 2 * _EDGE_BYTES:
        return ((0, requested),)
    return ((0, _EDGE_BYTES), (requested - _EDGE_BYTES, _EDGE_BYTES))


def snapshot_difference(snapshot: zmm.Snapshot, image: HeapImage) -> tuple[str, str, str] | None:
    """What differs first between the API's snapshot and the model's image: its name, expected, actual."""
    expected_chunks = [
        (
            chunk.mapping,
            chunk.number,
            chunk.free_pages,
            chunk.free_tail,
            chunk.free_map,
            tuple((run.page_index, run.pages, run.bin_index) for run in chunk.runs),
        )
        for chunk in image.chunks
    ]
    actual_chunks = [
        (
            chunk.mapping_index,
            chunk.number,
            chunk.free_pages,
            chunk.free_tail,
            chunk.used_map,
            tuple((run.page_index, run.page_count, run.bin_index) for run in chunk.runs),
        )
        for chunk in snapshot.chunks
    ]
    if len(expected_chunks) != len(actual_chunks):
        return "chunks", str(len(expected_chunks)), str(len(actual_chunks))
    for expected, actual in zip(expected_chunks, actual_chunks, strict=True):
        if expected != actual:
            return f"chunk {expected[0]}", str(expected), str(actual)
    cached = tuple(chunk.mapping_index for chunk in snapshot.cached_chunks)
    if cached != image.cached:
        return "cached chunks", str(image.cached), str(cached)
    for bin_index, (slots, free) in enumerate(zip(image.free_slots, snapshot.bins, strict=True)):
        found = tuple((slot.mapping_index, slot.offset_bytes) for slot in free)
        if found != slots:
            return f"free slots of bin {bin_index}", str(slots[:8]), str(found[:8])
    huge = tuple((block.mapping_index, block.size_bytes) for block in snapshot.huge)
    wanted = tuple((block.mapping, block.block_bytes) for block in image.huge)
    if huge != wanted:
        return "huge blocks", str(wanted), str(huge)
    return None
