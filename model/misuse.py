"""How a misuse of the heap ends: the words that no correct program says, and what each level promises for them.

Imports sizes.  A step of misuse is performed in a child of its own (``fuzz/native/misuse.c``), so the heap goes on as
if nothing had been.  What is seen of it is how the child ended: a report's first line with the true owner of the
address, or nothing, where a level does not promise to notice.
"""

from __future__ import annotations

from enum import Enum, auto
from zlib import crc32

from .sizes import CHUNK_BYTES, LARGE_BYTES_MAX, SMALL_BYTES_MAX

# Bounds of what the words may say: beyond them the step is skipped (fuzz/native/abi.h).
MALLOC_BYTES_MAX = 65536
OVERFLOW_BYTES_MAX = 64
WRITTEN_BLOCK_BYTES_MAX = 3008
WRITTEN_BYTES = 8

NOTHING = "nothing"
FREE_WORDS = frozenset(("misuse.free_freed", "misuse.realloc_freed", "misuse.size_freed"))
_OTHER_WORDS = frozenset(
    ("misuse.free_interior", "misuse.other_heap", "misuse.stale_request", "misuse.overflow", "misuse.write_freed")
)

# The phrases of a report's first line, and what it calls an owner.
_NOT_OURS = "not a block of this heap"
_NOT_START = "not the start of a block"
_NOT_LIVE = "not a live slot"
_FREE_SLOT = "a free slot was written to"
_OVERRUN = "written beyond its end"
_FREED_WRITTEN = "a freed block was written to"
_THIS_HEAP = "this heap"
_OTHER_HEAP = "another heap"
_NO_HEAP = "no heap: the chunk is not in use"
_UNKNOWN = "a mapping that no heap knows"
_FOREIGN = {
    "misuse.free_malloc": "libc",
    "misuse.free_stack": "the stack",
    "misuse.free_static": "a file's mapping",
    "misuse.free_wild": "nobody: nothing is mapped there",
}
# A link of a free slot: what level release looks at when it hands the slot out.
_LINK_BYTES = 8
# What levels with trims look at: a free slot's first bytes.
_REPEATED_BYTES = 64


class Kind(Enum):
    """What a block lies in."""

    SMALL = auto()
    LARGE = auto()
    HUGE = auto()


def kinds(block_bytes: int, trim_bytes: int = 0) -> tuple[Kind, ...]:
    """What a block of that usable size may lie in, when up to ``trim_bytes`` are added to it."""
    first = SMALL_BYTES_MAX, LARGE_BYTES_MAX
    low = sum(block_bytes + trim_bytes // 2 > most for most in first)
    high = sum(block_bytes + trim_bytes > most for most in first)
    return tuple(Kind)[low : high + 1]


def applies(word: str, block: tuple[int, int, int] | None, a: int, *, takes_label: bool) -> bool:
    """Whether a step is performed at all; ``block`` is the label's: place (offset in its low bits), usable, asked."""
    if not takes_label:
        return word != "misuse.free_malloc" or a <= MALLOC_BYTES_MAX
    if block is None:
        return False
    place, block_bytes, _ = block
    if word == "misuse.free_interior":
        return 0 < a < block_bytes
    if word == "misuse.overflow":
        offset = place % 2**32
        return 0 < a <= OVERFLOW_BYTES_MAX and offset + block_bytes + OVERFLOW_BYTES_MAX <= CHUNK_BYTES
    if word == "misuse.write_freed":
        return block_bytes <= WRITTEN_BLOCK_BYTES_MAX and a + WRITTEN_BYTES <= block_bytes
    return True


class Promise:
    """
    What a level promises: the ending of each step.

    Args:
        level: ``fast``, ``release``, ``hardened`` or ``debug``.
        edition: ``php-8.2`` reports in PHP's words.
        handlers: memory comes from storage handlers.

    """

    __slots__ = ("_gone", "_is_fast", "_is_php", "_waits")

    def __init__(self, level: str, edition: str, *, handlers: bool) -> None:
        self._is_fast = level == "fast"
        self._is_php = edition == "php-8.2"
        self._waits = level in ("hardened", "debug")
        # A chunk of the kernel's keeps its address in the reserved range; one of handlers is forgotten.
        self._gone = _UNKNOWN if handlers else _NO_HEAP

    def ending(self, word: str, kind: Kind, block_bytes: int, a: int, *, chunk_is_gone: bool = False) -> str:
        """
        How the child ends.

        ``kind`` and ``block_bytes`` are the block's, for words with a label.  ``chunk_is_gone`` says that the free,
        or the end of the request, gives the block's chunk back to where it came from.
        """
        owner = _FOREIGN.get(word)
        if owner is not None:
            return self._report(_NOT_OURS, owner)
        if word == "misuse.other_heap":
            return self._report(_NOT_OURS, _UNKNOWN if kind is Kind.HUGE else _OTHER_HEAP)
        if word == "misuse.free_interior":
            return self._interior(kind)
        if word == "misuse.overflow":
            return self._report(_OVERRUN, _THIS_HEAP) if self._waits else NOTHING
        if word == "misuse.write_freed":
            return self._written(block_bytes, a)
        if kind is Kind.HUGE:
            return self._report(_NOT_OURS, _UNKNOWN)
        if word in FREE_WORDS and self._waits:
            return self._report(_NOT_LIVE, _THIS_HEAP)
        if chunk_is_gone:
            return self._report(_NOT_OURS, self._gone)
        if word in FREE_WORDS and kind is Kind.SMALL:
            return NOTHING if self._is_fast else self._report(_NOT_LIVE, _THIS_HEAP)
        return self._report(_NOT_START, _THIS_HEAP)

    def _interior(self, kind: Kind) -> str:
        if kind is Kind.HUGE:
            return self._report(_NOT_OURS, _THIS_HEAP)
        if kind is Kind.LARGE:
            return self._report(_NOT_START, _THIS_HEAP)
        return NOTHING if self._is_fast else self._report(_NOT_LIVE, _THIS_HEAP)

    def _written(self, block_bytes: int, a: int) -> str:
        if self._is_fast:
            return NOTHING
        if self._waits:
            return self._report(_FREED_WRITTEN, _THIS_HEAP) if a < _REPEATED_BYTES else NOTHING
        # A free slot's first word is its link, its last one the link's twin. A slot of 8 bytes has no twin: its link is
        # looked at when the slot behind it is handed out.
        touched = a < _LINK_BYTES or a + WRITTEN_BYTES > block_bytes - _LINK_BYTES
        return self._report(_FREE_SLOT, _THIS_HEAP) if touched and block_bytes > _LINK_BYTES else NOTHING

    def _report(self, reason: str, owner: str) -> str:
        if self._is_fast:
            return "panic: zend_mm_heap corrupted"
        if self._is_php:
            return f"panic: zend_mm_heap corrupted; belongs to {owner}"
        return f"panic: zmm: heap corruption: {reason}; belongs to {owner}"


def known_endings() -> dict[int, str]:
    """Every ending that any level or edition promises, by the CRC-32 that stands in a row."""
    endings = {NOTHING}
    for level in ("fast", "release", "hardened"):
        for edition in ("php-8.2", "zmm"):
            for handlers in (False, True):
                promise = Promise(level, edition, handlers=handlers)
                endings |= {
                    promise.ending(word, kind, block_bytes, 0, chunk_is_gone=gone)
                    for word in (*_FOREIGN, *FREE_WORDS, *_OTHER_WORDS)
                    for kind in Kind
                    for block_bytes in (_LINK_BYTES, 2 * _LINK_BYTES)
                    for gone in (False, True)
                }
    return {crc32(ending.encode()): ending for ending in endings}
