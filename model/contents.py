"""What bytes a block must hold: base pattern, one write on top, what a resize keeps.  Imports nothing of ours.

The runner (``fuzz/native/pattern.c``, ``labels.c``) writes and checks the same bytes; tests compare the two.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from struct import pack
from zlib import crc32

WORD_MASK = 2**64 - 1
STRIDE = 0x9E3779B97F4A7C15

# How far from each end patterns reach in a block too large to be filled whole.
EDGE_BYTES = 4096
# The same for recorded traces, where speed matters more.
EDGE_BYTES_TRACE = 64


def mix(value: int) -> int:
    """The 64-bit word of a pattern: splitmix64's output function of ``value * STRIDE``."""
    state = value * STRIDE & WORD_MASK
    state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & WORD_MASK
    state = (state ^ state >> 27) * 0x94D049BB133111EB & WORD_MASK
    return state ^ state >> 31


def pattern(seed: int, start: int, stop: int) -> bytes:
    """Bytes [start, stop) of the region with a seed: byte i is byte ``i % 8`` of ``mix(seed + i // 8)``."""
    first = start // 8
    words = [mix((seed + index) & WORD_MASK) for index in range(first, (stop + 7) // 8)]
    return pack(f"<{len(words)}Q", *words)[start - 8 * first : stop - 8 * first]


def step_seed(step: int) -> int:
    """The seed of the base pattern laid down by a step, counted from the opening of the heap (step 0)."""
    return step << 20


def covered(requested_bytes: int, edge_bytes: int = EDGE_BYTES) -> tuple[tuple[int, int], ...]:
    """The ranges of a block that its base pattern fills: all of it, or as much as an edge at either end."""
    if requested_bytes <= 2 * edge_bytes:
        return ((0, requested_bytes),)
    return ((0, edge_bytes), (requested_bytes - edge_bytes, requested_bytes))


@dataclass(frozen=True, slots=True)
class Write:
    """A write on top of a base pattern: where, how long, with which seed (its pattern begins at its offset)."""

    offset: int
    length_bytes: int
    seed: int


@dataclass(frozen=True, slots=True)
class Contents:
    """What one block must hold; a resize makes a new one, because the resized block is filled anew."""

    requested_bytes: int
    seed: int
    write: Write | None = None
    edge_bytes: int = EDGE_BYTES

    def with_write(self, offset: int, length_bytes: int, seed: int) -> Contents:
        """The same block after a write; the base pattern is put back under an earlier one first."""
        return replace(self, write=Write(offset, length_bytes, seed) if length_bytes else None)

    def pieces(self, kept_bytes: int | None = None) -> tuple[tuple[int, bytes], ...]:
        """
        The bytes that are known, as (offset, bytes) in ascending order without overlap.

        Args:
            kept_bytes: look at no more than the block's first bytes (what a resize has to keep).

        """
        stop = self.requested_bytes if kept_bytes is None else min(kept_bytes, self.requested_bytes)
        known: list[tuple[int, bytes]] = []
        write = self.write
        hole = (write.offset, write.offset + write.length_bytes) if write else (stop, stop)
        for low, high in covered(self.requested_bytes, self.edge_bytes):
            for start, end in ((low, min(high, hole[0])), (max(low, hole[1]), high)):
                if start < min(end, stop):
                    known.append((start, pattern(self.seed, start, min(end, stop))))
        if write and write.offset < stop:
            kept = min(write.length_bytes, stop - write.offset)
            known.append((write.offset, pattern(write.seed, 0, kept)))
        return tuple(sorted(known))

    def holds(self, memory: bytes, kept_bytes: int | None = None) -> bool:
        """Whether memory that begins at the block's first byte shows every known byte."""
        return all(memory[offset : offset + len(expected)] == expected for offset, expected in self.pieces(kept_bytes))

    def crc(self) -> int | None:
        """CRC-32 of the requested bytes; None when some of them are unknown (a large block between its ends)."""
        digest = at = 0
        for offset, expected in self.pieces():
            if offset != at:
                return None
            digest = crc32(expected, digest)
            at += len(expected)
        return digest if at == self.requested_bytes else None


def kept_bytes(old_bytes: int, new_bytes: int, copy_bytes: int | None = None) -> int:
    """
    How many first bytes a resize must keep, by requested sizes; ``copy_bytes`` is realloc2's.

    pre: 0 <= old_bytes < 2**64
    pre: 0 <= new_bytes < 2**64
    pre: copy_bytes is None or 0 <= copy_bytes < 2**64
    post: __return__ <= old_bytes and __return__ <= new_bytes
    post: copy_bytes is None or __return__ <= copy_bytes
    """
    kept = old_bytes if old_bytes < new_bytes else new_bytes
    return kept if copy_bytes is None or kept < copy_bytes else copy_bytes
