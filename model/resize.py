"""Resizing a block: stay, shrink, grow in place, or move.  Imports supply, state."""

from __future__ import annotations

from .sizes import (
    BIN_OF,
    LARGE_BYTES_MAX,
    PAGE_BYTES,
    SMALL_BYTES_MAX,
    huge_overflows,
    pages_for,
    round_up,
    stays_in_bin,
)
from .state import OFFSET_MASK, PAGE_SHIFT, PLACE_SHIFT, HeapState, overflow_refusal
from .supply import alloc, free, make_room

HAZARD_HUGE_WRAP = "huge block resized to a size that wraps: PHP 8.2 truncates it to nothing"


def resize(state: HeapState, place: int, old_bytes: int, size_bytes: int) -> tuple[int, int]:
    """
    The place and usable bytes of a block after its resizing.  Raises :class:`Refusal`, which leaves
    it as it was.

    Every transition of small, large and huge is one of these: in place; move by allocating first,
    copying, freeing.
    """
    if old_bytes <= SMALL_BYTES_MAX:
        bin_index = BIN_OF[old_bytes]
        if size_bytes <= old_bytes:
            if stays_in_bin(bin_index, size_bytes):
                return place, old_bytes
            # A small block that moves to a smaller bin may leave the peak raised: both blocks lived
            # for a moment.
            moved = alloc(state, size_bytes)
            free(state, place, old_bytes)
            return moved
        return _move(state, place, old_bytes, size_bytes)
    if size_bytes <= SMALL_BYTES_MAX:
        return _move(state, place, old_bytes, size_bytes)
    if old_bytes <= LARGE_BYTES_MAX:
        if size_bytes <= LARGE_BYTES_MAX and _resize_large(state, place, old_bytes, size_bytes):
            return place, round_up(size_bytes, PAGE_BYTES)
    elif size_bytes > LARGE_BYTES_MAX and _resize_huge(state, place >> PLACE_SHIFT, old_bytes, size_bytes):
        return place, round_up(size_bytes, PAGE_BYTES)
    return _move(state, place, old_bytes, size_bytes)


def _move(state: HeapState, place: int, old_bytes: int, size_bytes: int) -> tuple[int, int]:
    """Allocates the new block while the old one lives; the peak is then put back as if it had not."""
    peak = state.peak
    moved = alloc(state, size_bytes)
    free(state, place, old_bytes)
    state.peak = max(peak, state.size)
    return moved


def _resize_large(state: HeapState, place: int, old_bytes: int, size_bytes: int) -> bool:
    """Whether a run keeps its first page: its tail is freed, or the free pages behind it are taken."""
    new_pages = pages_for(size_bytes)
    old_pages = old_bytes // PAGE_BYTES
    if new_pages == old_pages:
        return True
    chunk = state.chunk_of[place >> PLACE_SHIFT]
    page = (place & OFFSET_MASK) >> PAGE_SHIFT
    if new_pages < old_pages:
        chunk.shrink(page, old_pages, new_pages)
    elif not chunk.grow(page, old_pages, new_pages):
        return False
    state.size += (new_pages - old_pages) * PAGE_BYTES
    state.peak = max(state.peak, state.size)
    return True


def _resize_huge(state: HeapState, mapping: int, old_bytes: int, size_bytes: int) -> bool:
    """Whether a mapping keeps its place: it is truncated, or extended within the limit, if the storage grants that."""
    new_bytes = round_up(size_bytes, PAGE_BYTES)
    if huge_overflows(size_bytes):
        if state.is_php and state.hazard is None:
            state.hazard = HAZARD_HUGE_WRAP
        raise overflow_refusal(f"{size_bytes} + {PAGE_BYTES}")
    if new_bytes == old_bytes:
        return True
    if new_bytes < old_bytes:
        if not state.storage.truncate(mapping, new_bytes):
            return False
        state.real_size -= old_bytes - new_bytes
    else:
        make_room(state, new_bytes - old_bytes, size_bytes)
        if not state.storage.extend(mapping, new_bytes):
            return False
        state.acquired(new_bytes - old_bytes)
    state.size += new_bytes - old_bytes
    state.peak = max(state.peak, state.size)
    state.huge[mapping] = (new_bytes, state.huge[mapping][1])
    return True
