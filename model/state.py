"""What a heap is between two operations: counters, ring, cache, lists, labels.  Imports pages, storage."""

from __future__ import annotations

from .op import Settings
from .outcome import REFUSED_LIMIT, REFUSED_OVERFLOW, REFUSED_SYSTEM
from .pages import Chunk
from .sizes import BIN_COUNT, CHUNK_BYTES, LIMIT_DEFAULT_BYTES
from .storage import Storage

EDITIONS = ("php-8.2", "zmm")

# A place is one number: mapping << PLACE_SHIFT | offset.
PLACE_SHIFT = 32
OFFSET_MASK = 2**PLACE_SHIFT - 1
PAGE_SHIFT = 12
SIZE_MASK = 2**64 - 1


class Refusal(Exception):
    """A "no" on its way up to the operation that asked: its status, the bytes tried, its exact
    text.
    """

    def __init__(self, status: int, tried_bytes: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.tried_bytes = tried_bytes
        self.text = text


def limit_refusal(limit_bytes: int, tried_bytes: int) -> Refusal:
    """The limit would be exceeded."""
    text = f"Allowed memory size of {limit_bytes} bytes exhausted"
    return Refusal(REFUSED_LIMIT, tried_bytes, f"{text} (tried to allocate {tried_bytes} bytes)")


def system_refusal(real_size_bytes: int, tried_bytes: int) -> Refusal:
    """The storage has nothing to give."""
    text = f"Out of memory (allocated {real_size_bytes} bytes)"
    return Refusal(REFUSED_SYSTEM, tried_bytes, f"{text} (tried to allocate {tried_bytes} bytes)")


def overflow_refusal(arithmetic: str) -> Refusal:
    """The size asked for is not a size; ``arithmetic`` shows how it came about."""
    return Refusal(REFUSED_OVERFLOW, 0, f"Possible integer overflow in memory allocation ({arithmetic})")


class HeapState:
    """
    The state that every part of the exact model works on.

    ``chunks`` is the ring in list order, the main chunk first; ``cached`` is a stack whose last
    item is the cache's head; ``free`` has one stack of places for each bin, whose last item is the
    list's head; ``huge`` maps a huge block's mapping to its bytes and its list node's place, oldest
    first.  ``blocks`` maps a label to its block: place, usable bytes, requested bytes.
    """

    __slots__ = (
        "average",
        "blocks",
        "cached",
        "chunk_count",
        "chunk_count_peak",
        "chunk_of",
        "chunks",
        "delete_boundary",
        "delete_count",
        "free",
        "hazard",
        "huge",
        "is_php",
        "limit",
        "peak",
        "real_peak",
        "real_size",
        "size",
        "storage",
    )

    def __init__(self, settings: Settings, edition: str) -> None:
        if edition not in EDITIONS:
            raise ValueError(f"unknown edition {edition!r}: use one of {', '.join(EDITIONS)}")
        self.is_php = edition == "php-8.2"
        self.storage = Storage(settings)
        self.chunks: list[Chunk] = []
        self.chunk_of: dict[int, Chunk] = {}
        self.cached: list[Chunk] = []
        self.free: list[list[int]] = [[] for _ in range(BIN_COUNT)]
        self.huge: dict[int, tuple[int, int]] = {}
        self.blocks: dict[int, tuple[int, int, int]] = {}
        self.hazard: str | None = None
        self.limit = LIMIT_DEFAULT_BYTES
        self.size = 0
        self.peak = 0
        self.real_size = CHUNK_BYTES
        self.real_peak = CHUNK_BYTES
        self.chunk_count = 1
        self.chunk_count_peak = 1
        self.average = 1.0
        self.delete_boundary = 0
        self.delete_count = 0

    def over_limit(self, more_bytes: int) -> bool:
        """
        Whether acquiring more would pass the limit.

        The difference is unsigned, as in ZendMM: once real_size is above the limit (a huge block
        whose list node needed a chunk of its own can do that), nothing is over the limit any more.
        """
        return more_bytes > (self.limit - self.real_size) & SIZE_MASK

    def acquired(self, more_bytes: int) -> None:
        """Counts memory that came from the storage."""
        self.real_size += more_bytes
        self.real_peak = max(self.real_peak, self.real_size)
