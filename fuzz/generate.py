"""Programs from seeds: every profile, size family and lifetime that the generator knows, the same on every machine."""

from __future__ import annotations

import functools
import itertools
import random
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from zmm_model.op import Operation, Settings

from .boundaries import (
    BIN_BYTES,
    BIN_EDGES,
    CHUNK_BYTES,
    EXTREMES,
    HUGE_EDGES,
    LARGE_BYTES_MAX,
    LARGE_EDGES,
    LIMIT_BYTES_NONE,
    PAGE_BYTES,
    PAGE_EDGES,
    RUN_EDGES,
    SIZE_MAX,
    SMALL_BYTES_MAX,
)
from .program import Program

# ---- what a program is made of -------------------------------------------------------------------------------------

# Size families. Each is a table, so that a size costs one index; uniform families are tables with a stride.
FAMILIES: dict[str, Sequence[int]] = {
    "tiny": range(0, 65),
    "bins": BIN_EDGES,
    "small": range(1, SMALL_BYTES_MAX + 1, 7),
    "pages": PAGE_EDGES,
    "runs": RUN_EDGES,
    "large": range(SMALL_BYTES_MAX + 1, 40 * PAGE_BYTES, 389),
    "chunk": LARGE_EDGES,
    "huge": HUGE_EDGES,
    "extreme": EXTREMES,
}

# Arithmetic at and over the edge: (count, size, offset).
PRODUCTS = (
    (2**32, 2**32, 0),
    (2**32, 2**32 - 1, 2**32 - 1),
    (1, SIZE_MAX, 0),
    (1, SIZE_MAX, 1),
    (SIZE_MAX, 1, 1),
    (SIZE_MAX, 2, 0),
    (SIZE_MAX, SIZE_MAX, SIZE_MAX),
    (3, SIZE_MAX // 3, 0),
    (3, SIZE_MAX // 3, 1),
    (2**63, 2, 0),
    (0, SIZE_MAX, 40),
    (SIZE_MAX, 0, 3072),
    (0, 0, 0),
    (0, 8, SIZE_MAX),
)

TEXTS = tuple(
    bytes(33 + (7 * length + i) % 94 for i in range(length))
    for length in (0, 1, 6, 7, 8, 9, 15, 16, 31, 32, 39, 40, 63, 64, 79, 127, 255, 256, 319, 511, 1023, 3071, 3072, 4095)
)


@dataclass(frozen=True, slots=True)
class Profile:
    """What a kind of program leans towards; swarm weights are drawn around this for each program."""

    words: dict[str, int]
    families: dict[str, int]
    # Live bytes at which the generator stops to allocate, so that a target needs bounded memory.
    live_bytes_max: int = 48 << 20
    limit: bool = False
    failing: bool = False


_CORE = {"alloc": 40, "free": 34, "realloc": 14, "write": 3, "check": 1}
_WALKS = {"realloc": 120, "realloc2": 36, "safe_realloc": 18}
_COPIES = {"calloc": 6, "safe_alloc": 5, "realloc2": 4, "safe_realloc": 3, "strdup": 3, "strndup": 3}
_CARE = {"gc": 2, "reset_peak": 1}

PROFILES: dict[str, Profile] = {
    "small": Profile(_CORE | _COPIES | _CARE, {"tiny": 3, "bins": 6, "small": 3}),
    "mixed": Profile(
        _CORE | _COPIES | _CARE | {"limit": 1, "request_end": 1},
        {"tiny": 3, "bins": 6, "small": 3, "pages": 4, "runs": 1, "large": 2, "chunk": 1, "huge": 1, "extreme": 1},
    ),
    "large": Profile(_CORE | _CARE, {"pages": 6, "runs": 4, "large": 5, "chunk": 2, "bins": 1}, 96 << 20),
    "huge": Profile(_CORE | _CARE, {"huge": 8, "chunk": 4, "runs": 1, "bins": 2, "extreme": 1}, 96 << 20),
    "limit": Profile(
        _CORE | _CARE | {"limit": 6, "calloc": 2},
        {"bins": 2, "pages": 2, "runs": 4, "large": 2, "chunk": 4, "huge": 4, "extreme": 1},
        64 << 20,
        limit=True,
    ),
    "realloc": Profile(
        _CORE | _WALKS | {"gc": 1},
        {"tiny": 1, "bins": 6, "small": 1, "pages": 4, "runs": 2, "large": 2, "chunk": 2, "huge": 2},
        96 << 20,
    ),
    "requests": Profile(
        _CORE | _CARE | {"request_end": 6, "calloc": 3},
        {"bins": 4, "small": 2, "pages": 3, "large": 2, "runs": 2, "chunk": 1, "huge": 1},
        96 << 20,
    ),
    "failing": Profile(
        _CORE | _COPIES | _CARE | {"request_end": 1},
        {"bins": 2, "pages": 1, "runs": 4, "large": 2, "chunk": 4, "huge": 4},
        64 << 20,
        failing=True,
    ),
    "text": Profile(
        {"strdup": 20, "strndup": 20, "alloc": 8, "free": 34, "realloc": 8, "realloc2": 3, "write": 4, "gc": 1, "check": 1},
        {"tiny": 3, "bins": 5, "small": 3, "pages": 1},
    ),
}

_WORDS = (
    *("alloc", "free", "realloc", "write", "calloc", "safe_alloc", "realloc2", "safe_realloc"),
    *("strdup", "strndup", "limit", "gc", "reset_peak", "request_end", "check"),
)
_ALLOC, _FREE, _RESIZE, _WRITE, _CALLOC, _SAFE_ALLOC, _REALLOC2, _SAFE_REALLOC = range(8)
_STRDUP, _STRNDUP, _LIMIT, _GC, _RESET_PEAK, _REQUEST_END, _CHECK = range(8, 15)
# Words that swarm testing never switches off: without them nothing happens.
_NEEDED = frozenset({"alloc", "free"})

# A request of this many bytes or more is always refused, so its label stays without a block.
_HOPELESS_BYTES = 2**40

_make = functools.partial(tuple.__new__, Operation)


class _Draws:
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


# ---- one program -----------------------------------------------------------------------------------------------------


def generate(
    seed: int, profile: str = "mixed", operations: int = 1000, *, anchor: bool = False, storage: str | None = None
) -> Program:
    """
    The program of a seed: ``operations`` long, the same on every machine and Python version.

    ``anchor`` keeps one small block alive in the main chunk (first of all, and again after each request's end), which
    PHP 8.2 needs wherever gc may run; with handlers storage such a program has no ``request_end``, because PHP hands
    the memory of its storage record out again then.  ``storage`` fixes the storage instead of drawing it.
    """
    if profile not in PROFILES:
        raise ValueError(f"unknown profile {profile!r}; there are {', '.join(PROFILES)}")
    draws = _Draws(seed, f"{profile}/{operations}/{anchor}/{storage}")
    shape = PROFILES[profile]
    settings = _settings(draws, shape, anchor, storage)
    words = _swarm_words(draws, shape)
    if anchor and settings.storage == "handlers":
        words.pop("request_end", None)
    pool = _swarm_sizes(draws, shape, operations)
    made = _operations(draws, words, pool, operations, shape.live_bytes_max, anchor, settings.limit_bytes)
    return Program(settings, tuple(made), (), f"seed {seed}, profile {profile}, {operations} operations")


def _settings(draws: _Draws, shape: Profile, anchor: bool, storage: str | None) -> Settings:
    if storage is None:
        storage = "kernel" if draws.chance(4) and not anchor else "handlers"
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
        if draws.chance(4):
            start = 2 + draws.below(16)
            calls |= set(range(start, start + 2 + draws.below(8)))
        failing = tuple(sorted(calls))
    return Settings(limit_bytes, storage, not draws.chance(3), not draws.chance(3), data_bytes, failing)


def _swarm_words(draws: _Draws, shape: Profile) -> dict[str, int]:
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


def _swarm_sizes(draws: _Draws, shape: Profile, operations: int) -> list[int]:
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
    usable = [size for size in pool if size < _HOPELESS_BYTES] or [BIN_BYTES[draws.below(30)]]
    if distinct < 16:
        pool = usable
    return list(itertools.islice(itertools.cycle(pool), length))


# How often words occur while a program grows, keeps its size, and shrinks: factors for allocating words and for free.
_DIRECTIONS = ((4, 1), (2, 2), (1, 3))


def _kind_tables(draws: _Draws, words: dict[str, int]) -> list[bytes]:
    tables = []
    makes = {"alloc", "calloc", "safe_alloc", "strdup", "strndup"}
    total_makes = sum(weight for word, weight in words.items() if word in makes)
    for grow, shrink in _DIRECTIONS:
        weights = []
        for kind, word in enumerate(_WORDS):
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


def _operations(
    draws: _Draws,
    words: dict[str, int],
    pool: list[int],
    count: int,
    live_bytes_max: int,
    anchor: bool,
    limit_bytes: int | None,
) -> list[Operation]:
    made: list[Operation] = []
    add = made.append
    make = _make
    tables = _kind_tables(draws, words)
    pool_mask = len(pool) - 1
    text_count = len(TEXTS)
    live: list[int] = []  # labels with a block, oldest first
    queue: list[int] = []  # labels with a block that this phase frees from, in its own order
    kept: list[int] = []  # labels with a long-lived block
    spare: list[int] = []  # labels without a block
    sizes: list[int] = []  # the requested bytes of each label
    live_bytes = 0
    if anchor and count:
        sizes.append(16)
        add(make(("alloc", 0, 16, 0, 0, b"")))
    last = count - 1
    while len(made) < last:
        # A phase has one direction and one order of freeing; lifetimes of a program mix phases.
        steps = min(16 << draws.below(5), last - len(made))
        direction = draws.below(3)
        order = draws.below(4)
        keep_mask = (0, 3, 15, 0)[draws.below(4)]
        if live_bytes > live_bytes_max // 2:
            direction = 2
        table = tables[direction]
        live = queue[::-1] + live
        if order == 1:  # first in, first out: the oldest lie at the end of the queue
            queue, live = live[::-1], []
        else:
            queue = []
        if kept and draws.chance(4):
            live += kept
            kept = []
        for r in draws.words(steps):
            kind = table[r & 511]
            if kind == _FREE or (live_bytes > live_bytes_max and kind != _RESIZE):
                if order == 1:
                    if not queue:
                        queue, live = live[::-1], []
                    label = queue.pop() if queue else -1
                elif not live:
                    label = -1
                elif order == 0 or (order == 3 and r & 512):  # last in, first out
                    label = live.pop()
                else:  # any
                    position = (r >> 10 & 0xFFFFF) * len(live) >> 20
                    label = live[position]
                    live[position] = live[-1]
                    live.pop()
                if label < 0:
                    if kept:
                        label = kept.pop()
                    elif spare and not r & 0x3C00:
                        add(make(("free", spare[-1], 0, 0, 0, b"")))
                        continue
                    else:
                        # Nothing to free: allocate instead, so that a program has as many effects as operations.
                        kind = _ALLOC
                if label >= 0:
                    live_bytes -= sizes[label]
                    spare.append(label)
                    add(make(("free", label, 0, 0, 0, b"")))
                    continue
            if kind == _ALLOC or (kind >= _CALLOC and kind <= _SAFE_ALLOC):
                size = pool[r >> 9 & pool_mask]
                if r >> 60 == 0:  # rarely any size of up to 2 ** 0 ... 2 ** 22 bytes
                    size = (r >> 20 & 0x3FFFFF) >> (r >> 44 & 15) if live_bytes_max > 48 << 20 else r >> 20 & 0xFFF
                if spare:
                    label = spare.pop()
                else:
                    label = len(sizes)
                    sizes.append(0)
                if kind == _ALLOC:
                    add(make(("alloc", label, size, 0, 0, b"")))
                elif not r >> 18 & 63:
                    a, b, c = PRODUCTS[(r >> 24) % len(PRODUCTS)]
                    if kind == _CALLOC:
                        size = a * b
                        add(make(("calloc", label, a, b, 0, b"")))
                    else:
                        size = a * b + c
                        add(make(("safe_alloc", label, a, b, c, b"")))
                else:
                    a = 1 + (r >> 24 & 7)
                    b = size // a
                    if kind == _CALLOC:
                        size = a * b
                        if r >> 27 & 1:
                            a, b = b, a
                        add(make(("calloc", label, a, b, 0, b"")))
                    else:
                        add(make(("safe_alloc", label, a, b, size - a * b, b"")))
                if size >= _HOPELESS_BYTES:
                    spare.append(label)
                    continue
                sizes[label] = size
                live_bytes += size
                if keep_mask and not r >> 32 & keep_mask:
                    kept.append(label)
                else:
                    live.append(label)
            elif kind == _RESIZE or kind == _REALLOC2 or kind == _SAFE_REALLOC:
                if live:
                    label = live[-1] if r & 0x600 else live[(r >> 40) % len(live)]
                elif queue:
                    label = queue[-1]
                else:
                    if spare:
                        label = spare.pop()
                    else:
                        label = len(sizes)
                        sizes.append(0)
                    live.append(label)
                    sizes[label] = 0
                old = sizes[label]
                walk = r >> 12 & 15
                if walk < 6 or live_bytes > live_bytes_max:
                    size = pool[r >> 16 & pool_mask]
                    if live_bytes > live_bytes_max and size > old:
                        size = old // 2
                elif walk < 8:
                    size = old + 1 + (r >> 16 & 15)
                elif walk == 8:
                    size = old + PAGE_BYTES
                elif walk == 9:
                    size = old * 2
                elif walk == 10:
                    size = old // 2
                elif walk == 11:
                    size = old - PAGE_BYTES if old > PAGE_BYTES else old // 2
                elif walk == 12:
                    size = old - 1 if old else 0
                elif walk == 13:
                    size = old + CHUNK_BYTES if old > LARGE_BYTES_MAX else old + 8 * PAGE_BYTES
                elif walk == 14:
                    size = old - CHUNK_BYTES if old > 2 * CHUNK_BYTES else old * 3 // 4
                else:
                    size = old
                if kind == _RESIZE:
                    add(make(("realloc", label, size, 0, 0, b"")))
                elif kind == _REALLOC2:
                    copy = (old, size, 0, old // 2, 8, SIZE_MAX, old + 1, 1)[r >> 24 & 7]
                    add(make(("realloc2", label, size, copy, 0, b"")))
                elif not r >> 27 & 63:
                    a, b, c = PRODUCTS[(r >> 33) % len(PRODUCTS)]
                    size = a * b + c
                    add(make(("safe_realloc", label, a, b, c, b"")))
                else:
                    a = 1 + (r >> 24 & 7)
                    b = size // a
                    add(make(("safe_realloc", label, a, b, size - a * b, b"")))
                if size < _HOPELESS_BYTES:
                    sizes[label] = size
                    live_bytes += size - old
            elif kind == _WRITE:
                label = live[(r >> 40) % len(live)] if live else 0
                if label < len(sizes):
                    size = sizes[label]
                    offset = (r >> 12 & 0xFFFFFF) % (size or 1)
                    length = min(size - offset, r >> 36 & 127)
                    if not r >> 43 & 127:  # one byte too many: the step is skipped, and both sides must say so
                        length = size - offset + 1
                    add(make(("write", label, offset, length, r >> 48, b"")))
                else:
                    add(make(("check", -1, 0, 0, 0, b"")))
            elif kind == _STRDUP or kind == _STRNDUP:
                text = TEXTS[(r >> 12) % text_count]
                if spare:
                    label = spare.pop()
                else:
                    label = len(sizes)
                    sizes.append(0)
                size = len(text)
                if kind == _STRDUP:
                    add(make(("strdup", label, 0, 0, 0, text)))
                elif not r >> 20 & 63:
                    add(make(("strndup", label, SIZE_MAX - (r >> 30 & 1), 0, 0, text)))
                    spare.append(label)
                    continue
                else:
                    size = (r >> 20 & 0xFFFF) % (size + 1)
                    add(make(("strndup", label, size, 0, 0, text)))
                sizes[label] = size + 1
                live_bytes += size + 1
                live.append(label)
            elif kind == _LIMIT:
                add(make(("limit", -1, _limit(r, live_bytes, limit_bytes), 0, 0, b"")))
            elif kind == _REQUEST_END:
                if len(made) + 1 >= last or r >> 12 & 7 and count > 256:
                    # A long program would be nothing but ends of requests at the weight that a short one needs.
                    add(make(("gc", -1, 0, 0, 0, b"")))
                    continue
                add(make(("request_end", -1, 0, 0, 0, b"")))
                live_bytes = 0
                live, queue, kept = [], [], []
                spare = list(range(len(sizes) - 1, 0 if anchor else -1, -1))
                if anchor:
                    add(make(("alloc", 0, 16, 0, 0, b"")))
            elif kind == _GC:
                add(make(("gc", -1, 0, 0, 0, b"")))
            elif kind == _RESET_PEAK:
                add(make(("reset_peak", -1, 0, 0, 0, b"")))
            elif count <= 256 or not r >> 12 & 3:
                # A check walks the whole heap: few of them in long programs, whose heaps are big.
                add(make(("check", -1, 0, 0, 0, b"")))
            if len(made) >= last:
                break
    if len(made) < count:
        add(make(("check", -1, 0, 0, 0, b"")))
    return made


def _limit(r: int, live_bytes: int, limit_bytes: int | None) -> int:
    """A limit near what the program may use at this moment: multiples of a chunk and their neighbours, rarely none."""
    choice = r >> 12 & 15
    if choice == 0:
        return LIMIT_BYTES_NONE
    if choice == 1:
        return CHUNK_BYTES - 1
    if choice == 2 and limit_bytes is not None:
        return limit_bytes
    chunks = 1 + live_bytes // CHUNK_BYTES + (r >> 16 & 3)
    return chunks * CHUNK_BYTES + (0, 0, 0, PAGE_BYTES, 1, -1, 300 * PAGE_BYTES, 0)[r >> 20 & 7]


# ---- all short programs ----------------------------------------------------------------------------------------------

TINY_SIZES = (8, SMALL_BYTES_MAX, LARGE_BYTES_MAX, CHUNK_BYTES)


def all_programs(
    bound: int,
    *,
    sizes: Sequence[int] = TINY_SIZES,
    labels: int = 2,
    others: Sequence[str] = ("gc",),
    settings: Settings | None = None,
) -> Iterator[Program]:
    """
    Every program of 1 ... ``bound`` operations over a tiny alphabet, shortest first: alloc and realloc of each of
    ``sizes``, free, and the words of ``others`` (without arguments), over ``labels`` labels.

    Programs that differ only in the numbers of their labels, or in steps without any effect (free of nothing, an
    allocation into a live label), are made once or not at all.
    """
    settings = settings or Settings()
    for length in range(1, bound + 1):
        for operations in _all_operations(length, frozenset(), sizes, labels, others):
            yield Program(settings, operations, (), f"one of all programs of {length} operations")


def _all_operations(
    length: int, live: frozenset[int], sizes: Sequence[int], labels: int, others: Sequence[str]
) -> Iterator[tuple[Operation, ...]]:
    if length == 0:
        yield ()
        return
    choices: list[tuple[Operation, frozenset[int]]] = []
    label = next((label for label in range(labels) if label not in live), None)
    if label is not None:
        choices += [(Operation("alloc", label, size), live | {label}) for size in sizes]
    for label in sorted(live):
        choices += [(Operation("realloc", label, size), live) for size in sizes]
        choices.append((Operation("free", label), live - {label}))
    for word in others:
        choices.append((Operation(word), frozenset() if word == "request_end" else live))
    for operation, after in choices:
        for rest in _all_operations(length - 1, after, sizes, labels, others):
            yield (operation, *rest)
