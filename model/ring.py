"""The ring of chunks and the cache of spare ones: adding, deleting, keeping.  Imports state, pages."""

from __future__ import annotations

from .pages import Chunk
from .sizes import CHUNK_BYTES
from .state import HeapState

# A deletion that would repeat for the fifth time at one chunk count keeps its chunk instead.
REPEATED_DELETIONS = 4


def add_chunk(state: HeapState, chunk: Chunk) -> None:
    """Appends a fresh or reused chunk to the ring and numbers it after the last one."""
    state.chunk_count += 1
    state.chunk_count_peak = max(state.chunk_count_peak, state.chunk_count)
    chunk.number = state.chunks[-1].number + 1
    state.chunks.append(chunk)
    state.chunk_of[chunk.mapping] = chunk


def delete_chunk(state: HeapState, chunk: Chunk) -> None:
    """
    Takes an empty chunk out of the ring; caches it or gives it back.

    It is kept while the heap has fewer chunks than its average, or when deletions repeat at one
    chunk count. When it is not kept but the cache's head is younger, the head goes back in its
    place.
    """
    state.chunks.remove(chunk)
    del state.chunk_of[chunk.mapping]
    state.chunk_count -= 1
    cached = state.cached
    if state.chunk_count + len(cached) < state.average + 0.1 or (
        state.chunk_count == state.delete_boundary and state.delete_count >= REPEATED_DELETIONS
    ):
        chunk.reset()
        cached.append(chunk)
        return
    state.real_size -= CHUNK_BYTES
    if not cached:
        if state.chunk_count != state.delete_boundary:
            state.delete_boundary = state.chunk_count
            state.delete_count = 0
        else:
            state.delete_count += 1
    if not cached or chunk.number > cached[-1].number:
        state.storage.free(chunk.mapping)
    else:
        state.storage.free(cached.pop().mapping)
        chunk.reset()
        cached.append(chunk)


def drop_cached(state: HeapState) -> None:
    """Gives the cache's head back to the storage."""
    state.storage.free(state.cached.pop().mapping)
    state.real_size -= CHUNK_BYTES
