"""Collection: gives completely free runs, then completely free chunks, back.  Imports ring, state."""

from __future__ import annotations

from collections import Counter

from .pages import SMALL_RUN
from .ring import delete_chunk
from .sizes import BIN_COUNT, BIN_ELEMENTS, BIN_PAGES, PAGE_BYTES, USABLE_PAGES
from .state import PAGE_SHIFT, PLACE_SHIFT, HeapState

MAPPING_SHIFT = PLACE_SHIFT - PAGE_SHIFT
PAGE_MASK = 2**MAPPING_SHIFT - 1

HAZARD_EMPTY_MAIN = "gc while the main chunk is completely empty: PHP 8.2 deletes it and corrupts its heap"


def collect(state: HeapState) -> int:
    """
    Frees every run whose slots are all free, deletes chunks that become empty; returns the bytes of
    the pages freed.

    Edition php-8.2 passes bin 0 by: 512 free slots overflow its counter of 9 bits to 0.  The main
    chunk is never deleted; where PHP 8.2 would do that the state's hazard says so.
    """
    whole = _unlink_whole_runs(state)
    collected = 0
    if whole:
        for chunk in tuple(state.chunks):
            pages = whole.get(chunk.mapping)
            if pages is None:
                continue
            for page in sorted(pages):
                count = BIN_PAGES[chunk.runs[page] ^ SMALL_RUN]
                chunk.give_back(page, count)
                collected += count
            if chunk.free_pages == USABLE_PAGES and chunk is not state.chunks[0]:
                delete_chunk(state, chunk)
    if state.is_php and state.hazard is None and state.chunks[0].free_pages == USABLE_PAGES:
        state.hazard = HAZARD_EMPTY_MAIN
    return collected * PAGE_BYTES


def _unlink_whole_runs(state: HeapState) -> dict[int, list[int]]:
    """Takes the slots of completely free runs off their lists; the first pages of these runs by mapping."""
    whole: dict[int, list[int]] = {}
    starts: dict[int, int] | None = None
    for bin_index in range(1 if state.is_php else 0, BIN_COUNT):
        slots = state.free[bin_index]
        elements = BIN_ELEMENTS[bin_index]
        if len(slots) < elements:
            continue
        keys = [place >> PAGE_SHIFT for place in slots]
        if BIN_PAGES[bin_index] > 1:
            if starts is None:
                starts = _starts_of_long_runs(state)
            keys = [starts[key] for key in keys]
        full = {key for key, count in Counter(keys).items() if count == elements}
        if full:
            state.free[bin_index] = [place for place, key in zip(slots, keys, strict=True) if key not in full]
            for key in full:
                whole.setdefault(key >> MAPPING_SHIFT, []).append(key & PAGE_MASK)
    return whole


def _starts_of_long_runs(state: HeapState) -> dict[int, int]:
    """For each page of a small run of several pages the run's first page; both as ``mapping << 20 | page``."""
    starts: dict[int, int] = {}
    for chunk in state.chunks:
        base = chunk.mapping << MAPPING_SHIFT
        for page, run in chunk.runs.items():
            if run & SMALL_RUN:
                first = base | page
                for key in range(first, first + BIN_PAGES[run ^ SMALL_RUN]):
                    starts[key] = first
    return starts
