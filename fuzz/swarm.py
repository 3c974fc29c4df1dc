"""What one generated program is like: settings, words and sizes drawn anew around a profile (swarm testing)."""

from __future__ import annotations

import itertools
import random
import struct
import zlib
from collections.abc import Sequence

from zmm_model.op import Settings

from .boundaries import BIN_BYTES, CHUNK_BYTES, PAGE_BYTES
from .profiles import FAMILIES, HOPELESS_BYTES, Profile

# The words by their number in the tables that :func:`draw_kinds` makes.
KINDS = (
    *("alloc", "free", "realloc", "write", "calloc", "safe_alloc", "realloc2", "safe_realloc"),
    *("strdup", "strndup", "limit", "gc", "reset_peak", "request_end", "check"),
    "misuse",  # one of the words of misuse
)
# Words that swarm testing never switches off: without them nothing happens.
_NEEDED = frozenset({"alloc", "free"})


class Draws:
    """Small numbers from one stream of bits: only ``getrandbits`` is used, which no Python version changes."""

    def __init__(self, seed: int, salt: str) -> None:
        self.bits = random.Random((seed << 32) ^ zlib.crc32(salt.encode())).getrandbits

    def below(self, bound: int) -> int:
        """A number in [0, bound), as good as uniform for the small bounds in use here."""
        return self.bits(32) * bound >> 32

    def chance(self, one_in: int) -> bool:
        return self.below(one_in) == 0

    def table(self, weights: Sequence[tuple[int, int]], length: int = 256) -> bytes:
        """``length`` values (a power of two) in proportion to their weights, every weight above 0 at least once."""
        total = sum(weight for _, weight in weights)
        parts = [bytes((value,)) * max(1, weight * length // total) for value, weight in weights if weight]
        table = b"".join(parts)
        heaviest = max(weights, key=lambda pair: pair[1])[0]
        return (table + bytes((heaviest,)) * length)[:length] if len(table) <= length else table[-length:]

    def words(self, count: int) -> tuple[int, ...]:
        """``count`` numbers of 64 bits."""
        return struct.unpack(f"<{count}Q", self.bits(64 * count).to_bytes(8 * count, "little")) if count else ()


def draw_settings(draws: Draws, shape: Profile, storage: str | None) -> Settings:
    """The heap of one program; ``storage`` fixes its storage."""
    kernel = draws.below(4) < shape.kernel_of_4
    if storage is None:
        storage = "kernel" if kernel else "handlers"
    limit_bytes = None
    if shape.limit or draws.chance(8):
        delta = (0, -PAGE_BYTES, PAGE_BYTES, 1, CHUNK_BYTES // 2)[draws.below(5)]
        limit_bytes = max(CHUNK_BYTES, CHUNK_BYTES * (1 + draws.below(6)) + delta)
    data_bytes = 0
    if storage == "handlers" and draws.chance(4):
        data_bytes = (1, 8, 20, 24, 216, 3032, 3033, 8000)[draws.below(8)]
    failing: tuple[int, ...] = ()
    if shape.failing or draws.chance(16):
        # The first call makes the first chunk: without it there is no heap and nothing else to see.
        first = 1 if draws.chance(32) else 2
        calls = {first + draws.below(12 << draws.below(4)) for _ in range(1 + draws.below(4))}
        if draws.chance(2):
            # A system that is really out of memory says no again and again.
            start = 2 + draws.below(16)
            calls |= set(range(start, start + 2 + draws.below(8 << draws.below(5))))
        failing = tuple(sorted(calls))
    return Settings(limit_bytes, storage, not draws.chance(3), not draws.chance(3), data_bytes, failing)


def draw_words(draws: Draws, shape: Profile) -> dict[str, int]:
    """The word weights of one program: a random subset of the profile's words, each with a weight of its own."""
    if draws.chance(8):
        return dict(shape.words)
    words = {}
    for word, weight in shape.words.items():
        if word in _NEEDED or not draws.chance(3):
            words[word] = weight * (1, 2, 2, 4)[draws.below(4)]
    if "alloc" not in words:
        words["alloc"] = 8
    return words


def draw_sizes(draws: Draws, shape: Profile, operations: int) -> list[int]:
    """The sizes that one program draws from, a power of two of them, out of a random subset of the size families."""
    families = [(name, weight) for name, weight in shape.families.items() if draws.chance(2)]
    if not families:
        names = list(shape.families.items())
        families = [names[draws.below(len(names))]]
    if [name for name, _ in families] == ["extreme"]:
        families.append(("bins", 4))
    total = sum(weight for _, weight in families)
    # Few distinct sizes fill runs and meet their own free slots again; many sizes cut chunks to pieces.
    length = 64 if operations < 512 else 256
    distinct = (2, 4, 12, length, length, length)[draws.below(6)]
    pool = []
    for _ in range(distinct):
        position = draws.below(total)
        for name, weight in families:
            position -= weight
            if position < 0:
                table = FAMILIES[name]
                pool.append(table[draws.below(len(table))])
                break
    # One hopeless size among few would refuse half of the program.
    usable = [size for size in pool if size < HOPELESS_BYTES] or [BIN_BYTES[draws.below(30)]]
    if distinct < 16:
        pool = usable
    return list(itertools.islice(itertools.cycle(pool), length))


# How often words occur while a program grows, keeps its size, and shrinks: factors for allocating words and for free.
_DIRECTIONS = ((4, 1), (2, 2), (1, 3))


def draw_kinds(draws: Draws, words: dict[str, int]) -> list[bytes]:
    """For a program that grows, keeps its size, or shrinks: a table of 512 positions in :data:`KINDS`."""
    tables = []
    makes = {"alloc", "calloc", "safe_alloc", "strdup", "strndup"}
    total_makes = sum(weight for word, weight in words.items() if word in makes)
    for grow, shrink in _DIRECTIONS:
        weights = []
        for kind, word in enumerate(KINDS):
            weight = words.get(word, 0)
            if word == "free":
                # Independent of how many making words the swarm left over, so that no program only grows.
                weight = total_makes * shrink
            elif word in makes:
                weight *= grow
            else:
                weight *= 2
            weights.append((kind, weight))
        tables.append(draws.table(weights, 512))
    return tables
