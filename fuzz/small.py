"""Short programs around a finding: a few operations with the sizes that matter, until one breaks the same rule."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace

from zmm_model.op import SIZE_MAX, WORDS, Operation, Settings

from .boundaries import BIN_BYTES, CHUNK_BYTES, EXTREMES, LARGE_BYTES_MAX, PAGE_BYTES
from .compare import Divergence
from .judge import Judging
from .profiles import PRODUCTS
from .program import Program, requested_bytes
from .swarm import Draws

# Whatever needs more operations than this is left to dropping operations one by one.
OPERATIONS_MAX = 9
_BATCH_PROGRAMS = 300
_ROUNDS_MAX = 100
# A program this short is not worth another round.
_SHORT_ENOUGH = 3
_TEXT = b"abcdefghijklmnopqrstuvwxyz"


def find_short(
    judge: Judging,
    program: Program,
    divergence: Divergence,
    seconds: float,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[Program, Divergence] | None:
    """
    Look for a short program that breaks the same rule in the same field as a longer one does.

    Dropping operations one by one cannot turn thirty small blocks that fill a chunk into one large block; drawing short
    programs can, because nearly everything that a heap does begins at few sizes.

    :param program: lends its settings, words and sizes; nothing that is not shorter is looked at.
    :param seconds: no round is begun after this time.
    :returns: the shortest one found with its divergence, cut behind it; None when there was none.
    """
    end = clock() + seconds
    best: tuple[Program, Divergence] | None = None
    length_max = min(OPERATIONS_MAX, len(program) - 1)
    for number in range(_ROUNDS_MAX):
        if length_max < 1 or clock() >= end:
            break
        found = _first(judge, short_programs(program, number, _BATCH_PROGRAMS, length_max), divergence)
        if found is not None:
            best = found
            length_max = len(found[0]) - 1
            if length_max < _SHORT_ENOUGH:
                break
    return best


def _first(judge: Judging, programs: Sequence[Program], wanted: Divergence) -> tuple[Program, Divergence] | None:
    for verdict in judge.judge_batch(programs):
        found = verdict.divergence
        if found is not None and verdict.alone and (found.rule, found.field) == (wanted.rule, wanted.field):
            return verdict.program.with_operations(verdict.program.operations[: found.step]), found
    return None


def short_programs(origin: Program, seed: int, count: int, length_max: int) -> list[Program]:
    """
    Programs of at most ``length_max`` operations, the shortest first; a function of the arguments.

    Each draws two or three sizes and a few words of its own around those of ``origin``, so that sizes repeat.
    """
    draws = Draws(zlib.crc32(repr((origin.settings, origin.operations)).encode()) + seed, "short")
    sizes = _sizes(origin)
    words = _words(origin)
    programs = []
    for number in range(count):
        length = 1 + number * length_max // count
        operations = _Maker(draws, sizes, words).operations(length)
        programs.append(
            Program(_settings(draws, origin.settings), operations, (), f"short program around {origin.origin}")
        )
    return programs


def _sizes(origin: Program) -> list[int]:
    sizes = {requested_bytes(operation) for operation in origin.operations} - {None}
    return sorted(size for size in sizes if size is not None and size <= SIZE_MAX)


def _words(origin: Program) -> list[str]:
    return sorted({operation.word for operation in origin.operations})


def _settings(draws: Draws, settings: Settings) -> Settings:
    """Those of the origin, or some of them; and rarely a limit or a failing call of their own."""
    choice = draws.below(8)
    if choice == 0:
        settings = Settings()
    elif choice == 1:
        settings = replace(settings, limit_bytes=CHUNK_BYTES * (1 + draws.below(3)))
    elif choice == 2 and settings.failing_calls:
        settings = replace(settings, failing_calls=tuple(sorted({2 + draws.below(4), 2 + draws.below(4)})))
    elif choice == 3:
        settings = replace(settings, failing_calls=())
    return settings


class _Maker:
    """One short program in the making."""

    def __init__(self, draws: Draws, sizes: Sequence[int], words: Sequence[str]) -> None:
        self.draws = draws
        self.sizes = [_size(draws, sizes) for _ in range(1 + draws.below(4))]
        self.words = ["alloc", "alloc", "alloc", "free"]
        for _ in range(1 + draws.below(3)):
            self.words.append(
                words[draws.below(len(words))] if words and draws.below(4) else _ANY[draws.below(len(_ANY))]
            )
        self.live: list[int] = []
        self.next_label = 0

    def operations(self, length: int) -> tuple[Operation, ...]:
        # Often chunks that are full, or nearly: what concerns several chunks begins there.
        full = self.draws.below(5) if self.draws.chance(3) else 0
        left = self.draws.below(3) * PAGE_BYTES
        made = [Operation("alloc", self.fresh(), LARGE_BYTES_MAX - left) for _ in range(min(full, length))]
        return (*made, *(self.operation() for _ in range(length - len(made))))

    def operation(self) -> Operation:
        word = self.words[self.draws.below(len(self.words))]
        if word in {"free", "write"} or "realloc" in word:
            if not self.live:
                word = "alloc"
            else:
                return self.on_live(word)
        if word == "request_end":
            self.live = []
            return Operation(word)
        if word == "limit":
            return Operation(word, -1, CHUNK_BYTES * (1 + self.draws.below(5)))
        if not WORDS[word].makes_block:
            return Operation(word)
        return self.make(word, self.fresh())

    def fresh(self) -> int:
        self.live.append(self.next_label)
        self.next_label += 1
        return self.live[-1]

    def size(self) -> int:
        return self.sizes[self.draws.below(len(self.sizes))]

    def on_live(self, word: str) -> Operation:
        position = self.draws.below(len(self.live)) if self.draws.chance(2) else len(self.live) - 1
        label = self.live[position]
        if word == "free":
            self.live.pop(position)
            return Operation(word, label)
        if word == "write":
            return Operation(word, label, 0, 1 + self.draws.below(8), 7)
        return self.make(word, label)

    def make(self, word: str, label: int) -> Operation:
        size = self.size()
        if word in ("strdup", "strndup"):
            text = _TEXT[: self.draws.below(len(_TEXT))]
            length = 0 if word == "strdup" else SIZE_MAX if self.draws.chance(6) else self.draws.below(len(text) + 1)
            return Operation(word, label, length, text=text)
        if word in ("calloc", "safe_alloc", "safe_realloc"):
            count, each, offset = PRODUCTS[self.draws.below(len(PRODUCTS))] if self.draws.chance(4) else (1, size, 0)
            return Operation(word, label, count, each, 0 if word == "calloc" else offset)
        if word == "realloc2":
            return Operation(word, label, size, (size, size // 2, 0)[self.draws.below(3)])
        return Operation(word, label, size)


# What a program may get besides the words of its origin.
_ANY = ("realloc", "gc", "check", "request_end", "limit", "reset_peak", "calloc", "realloc", "gc", "check")


def _size(draws: Draws, sizes: Sequence[int]) -> int:
    """A size of the origin, or one at which a heap changes its mind."""
    choice = draws.below(16)
    if choice < 4 and sizes:
        return sizes[draws.below(len(sizes))]
    if choice < 7:
        return LARGE_BYTES_MAX
    if choice < 9:
        return LARGE_BYTES_MAX - draws.below(10) * PAGE_BYTES
    if choice < 11:
        return (1 + draws.below(9)) * PAGE_BYTES
    if choice < 13:
        return BIN_BYTES[draws.below(len(BIN_BYTES))] - draws.below(2)
    if choice == 13:
        return (CHUNK_BYTES, CHUNK_BYTES + PAGE_BYTES, 2 * CHUNK_BYTES, LARGE_BYTES_MAX + 1)[draws.below(4)]
    if choice == 14:
        return (255 + draws.below(3)) * PAGE_BYTES
    return EXTREMES[draws.below(len(EXTREMES))] if draws.chance(2) else draws.below(70)
