"""The life of a heap: its first chunk, the end of a request, its own end, its limit.  Imports ring, supply, state."""

from __future__ import annotations

from .op import Settings
from .pages import Chunk
from .ring import drop_cached
from .sizes import BIN_COUNT, CHUNK_BYTES, STORAGE_RECORD_BYTES
from .state import HeapState, Refusal
from .supply import alloc

# A request shutdown keeps no more cached chunks than the average number of chunks, less this
# allowance.
CACHE_ALLOWANCE = 0.9


def begin(state: HeapState, settings: Settings) -> bool:
    """Maps the main chunk; with handlers the storage record becomes the first block.  False when there is no memory."""
    mapping = state.storage.alloc(CHUNK_BYTES)
    if mapping < 0:
        return False
    main = Chunk(mapping, 0)
    state.chunks.append(main)
    state.chunk_of[mapping] = main
    if settings.storage == "handlers":
        try:
            alloc(state, STORAGE_RECORD_BYTES + settings.data_bytes)
        except Refusal:  # data so large that it needs memory of its own
            end(state)
            return False
    return True


def set_limit(state: HeapState, limit_bytes: int) -> bool:
    """
    Sets the limit if no more than it is in use; cached chunks are given back to get there.

    Edition php-8.2 forgets to store a limit that was reached by giving chunks back.
    """
    if limit_bytes < state.real_size:
        if limit_bytes < state.real_size - len(state.cached) * CHUNK_BYTES:
            return False
        while limit_bytes < state.real_size:
            drop_cached(state)
        if state.is_php:
            return True
    state.limit = limit_bytes
    return True


def end_request(state: HeapState) -> None:
    """Drops every block; some chunks stay cached for the next request, by the average of the requests so far."""
    _drop_huge(state)
    _cache_all(state)
    cached = state.cached
    state.average = (state.average + state.chunk_count_peak) / 2.0
    while cached and len(cached) + CACHE_ALLOWANCE > state.average:
        state.storage.free(cached.pop().mapping)
    for chunk in cached:
        chunk.reset()
        chunk.number = 0
    state.chunks[0].reset()
    state.blocks.clear()
    state.size = state.peak = 0
    state.real_size = state.real_peak = (len(cached) + 1) * CHUNK_BYTES
    state.chunk_count = state.chunk_count_peak = 1
    state.delete_boundary = state.delete_count = 0


def end(state: HeapState) -> int:
    """Gives everything back; the number of mappings that nobody gave back."""
    _drop_huge(state)
    _cache_all(state)
    while state.cached:
        state.storage.free(state.cached.pop().mapping)
    state.storage.free(state.chunks.pop().mapping)
    state.chunk_of.clear()
    state.blocks.clear()
    return len(state.storage.live)


def _drop_huge(state: HeapState) -> None:
    for mapping in reversed(state.huge):
        state.storage.free(mapping)
    state.huge.clear()


def _cache_all(state: HeapState) -> None:
    """Moves every chunk but the main one to the cache; the last of the ring becomes its head."""
    for chunk in state.chunks[1:]:
        state.cached.append(chunk)
        del state.chunk_of[chunk.mapping]
    del state.chunks[1:]
    state.free = [[] for _ in range(BIN_COUNT)]
