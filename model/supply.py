"""Where the next run, slot or huge block comes from, and where it goes back to.  Imports gc, ring, state."""

from __future__ import annotations

from .gc import collect
from .pages import LARGE_RUN, SMALL_RUN, Chunk
from .ring import add_chunk, delete_chunk, drop_cached
from .sizes import (
    BIN_BYTES,
    BIN_ELEMENTS,
    BIN_OF,
    BIN_PAGES,
    CHUNK_BYTES,
    FIRST_PAGE,
    HUGE_NODE_BIN,
    HUGE_NODE_BYTES,
    LARGE_BYTES_MAX,
    PAGE_BYTES,
    SMALL_BYTES_MAX,
    USABLE_PAGES,
    huge_overflows,
    pages_for,
    round_up,
)
from .state import (
    OFFSET_MASK,
    PAGE_SHIFT,
    PLACE_SHIFT,
    HeapState,
    Refusal,
    limit_refusal,
    overflow_refusal,
    system_refusal,
)

# Searches for fewer pages than this move a chunk far down the ring to its front.
SHORT_RUN_PAGES = 8
FAR_STEPS = 2


def take_pages(state: HeapState, pages: int, run: int) -> int:
    """The place of a run of pages: from the ring, else from a chunk added to it."""
    steps = 0
    for chunk in state.chunks:
        if chunk.free_pages >= pages and chunk.hopeless_pages > pages:
            page = chunk.find(pages)
            if page:
                break
        steps += 1
    else:
        steps -= 1
        found = _chunk_for(state, pages)
        if found is None:  # gc made room: only edition zmm looks again
            return take_pages(state, pages, run)
        chunk = found
        add_chunk(state, chunk)
        page = FIRST_PAGE
        chunk.free_tail = FIRST_PAGE
    if steps > FAR_STEPS and pages < SHORT_RUN_PAGES:
        state.chunks.remove(chunk)
        state.chunks.insert(1, chunk)
    chunk.take(page, pages, run)
    return chunk.mapping << PLACE_SHIFT | page << PAGE_SHIFT


def _chunk_for(state: HeapState, pages: int) -> Chunk | None:
    """A chunk out of the cache or from the storage; None when gc collected something and the ring is worth a look."""
    while True:
        if state.cached:
            return state.cached.pop()
        if not state.over_limit(CHUNK_BYTES):
            break
        if not collect(state):
            raise limit_refusal(state.limit, pages * PAGE_BYTES)
        if not state.is_php:
            return None
    mapping = state.storage.alloc(CHUNK_BYTES)
    if mapping < 0:
        if collect(state):
            if not state.is_php:
                return None
            mapping = state.storage.alloc(CHUNK_BYTES)
        if mapping < 0:
            raise system_refusal(state.real_size, pages * PAGE_BYTES)
    state.acquired(CHUNK_BYTES)
    return Chunk(mapping, 0)


def alloc(state: HeapState, size_bytes: int) -> tuple[int, int]:
    """A block for a request: its place and its usable bytes.  Raises :class:`Refusal`."""
    if size_bytes <= SMALL_BYTES_MAX:
        bin_index = BIN_OF[size_bytes]
        return alloc_small(state, bin_index), BIN_BYTES[bin_index]
    if size_bytes <= LARGE_BYTES_MAX:
        return alloc_large(state, pages_for(size_bytes))
    return alloc_huge(state, size_bytes)


def alloc_small(state: HeapState, bin_index: int) -> int:
    """The place of a slot: the head of the bin's list, else the first of a new run, whose others become the list."""
    slots = state.free[bin_index]
    if slots:
        place = slots.pop()
        _count(state, BIN_BYTES[bin_index])
        return place
    slot_bytes = BIN_BYTES[bin_index]
    if state.is_php:  # counted before the run is found, and so even when it is refused
        _count(state, slot_bytes)
        place = take_pages(state, BIN_PAGES[bin_index], SMALL_RUN | bin_index)
    else:
        place = take_pages(state, BIN_PAGES[bin_index], SMALL_RUN | bin_index)
        _count(state, slot_bytes)
    last = place + (BIN_ELEMENTS[bin_index] - 1) * slot_bytes
    # Looked up anew: a gc on the way may have put another list in its place.
    state.free[bin_index].extend(range(last, place, -slot_bytes))
    return place


def alloc_large(state: HeapState, pages: int) -> tuple[int, int]:
    """The place and the bytes of a run of whole pages."""
    place = take_pages(state, pages, LARGE_RUN | pages)
    size_bytes = pages * PAGE_BYTES
    _count(state, size_bytes)
    return place, size_bytes


def alloc_huge(state: HeapState, size_bytes: int) -> tuple[int, int]:
    """
    The place and the bytes of a mapping of its own.

    The mapping comes first, its list node (a small block of this heap) second; real_size grows
    last, so a chunk that the node needs is weighed against the limit as if the mapping were not
    there.
    """
    rounded_bytes = round_up(size_bytes, PAGE_BYTES)
    if huge_overflows(size_bytes):
        raise overflow_refusal(f"{size_bytes} + {PAGE_BYTES}")
    make_room(state, rounded_bytes, size_bytes)
    mapping = state.storage.alloc(rounded_bytes)
    if mapping < 0:
        if collect(state):
            mapping = state.storage.alloc(rounded_bytes)
        if mapping < 0:
            raise system_refusal(state.real_size, size_bytes)
    try:
        node = alloc_small(state, HUGE_NODE_BIN)
    except Refusal:
        if not state.is_php:
            state.storage.free(mapping)
        raise
    state.huge[mapping] = (rounded_bytes, node)
    state.acquired(rounded_bytes)
    _count(state, rounded_bytes)
    return mapping << PLACE_SHIFT, rounded_bytes


def make_room(state: HeapState, more_bytes: int, size_bytes: int) -> None:
    """Lets a huge block come or grow within the limit, or refuses; the refusal names the raw request."""
    if not state.over_limit(more_bytes):
        return
    if state.is_php:
        if collect(state) and not state.over_limit(more_bytes):
            return
    else:
        collect(state)
        while state.over_limit(more_bytes):
            if not state.cached:
                raise limit_refusal(state.limit, size_bytes)
            drop_cached(state)
        return
    raise limit_refusal(state.limit, size_bytes)


def free(state: HeapState, place: int, block_bytes: int) -> None:
    """Takes a block back."""
    if block_bytes <= SMALL_BYTES_MAX:
        state.free[BIN_OF[block_bytes]].append(place)
    elif block_bytes <= LARGE_BYTES_MAX:
        chunk = state.chunk_of[place >> PLACE_SHIFT]
        chunk.give_back((place & OFFSET_MASK) >> PAGE_SHIFT, block_bytes // PAGE_BYTES)
        if chunk.free_pages == USABLE_PAGES and chunk is not state.chunks[0]:
            delete_chunk(state, chunk)
    else:
        mapping = place >> PLACE_SHIFT
        _, node = state.huge.pop(mapping)
        state.free[HUGE_NODE_BIN].append(node)
        state.size -= HUGE_NODE_BYTES
        state.storage.free(mapping)
        state.real_size -= block_bytes
    state.size -= block_bytes


def _count(state: HeapState, size_bytes: int) -> None:
    """Raises size and, with it, its peak."""
    state.size += size_bytes
    state.peak = max(state.peak, state.size)
