"""Shrinks a failing program: fewer operations, simpler words, smaller numbers, fewer settings; deterministic."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from zmm_model.op import Operation, Settings

from .boundaries import CHUNK_BYTES, LANDMARKS
from .program import Program
from .proposals import coarser, lifetimes, merged, numbers, simpler, stretches

Predicate = Callable[[Program], bool]

# Programs of up to this many operations are worth a look at each single number.
_FEW_OPERATIONS = 64
# What was tried already is remembered for programs of up to this many operations.
_REMEMBERED_OPERATIONS = 512


class _Spent(Exception):
    """The budget is used up."""


@dataclass(frozen=True, slots=True)
class Shrunk:
    """
    What shrinking came to.

    ``finished`` is false when the budget ended first: the program fails, but a smaller one may exist.
    """

    program: Program
    check_count: int
    seconds: float
    finished: bool


def shrink(
    program: Program,
    still_fails: Predicate,
    budget_seconds: float = 20.0,
    *,
    step: int | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Program:
    """
    The smallest program found for which ``still_fails`` is true.

    Args:
        program: one that fails.
        still_fails: true when the program it is given shows the same failure; deterministic.
        budget_seconds: no check is begun after this time.
        step: the number (from 1) of the operation at which it fails, if known: saves some checks.
        clock: where the time comes from.

    Raises ValueError when ``program`` does not fail to begin with.  Whoever wants to know how
    many checks it took, or to keep what was reached when interrupted, uses :class:`Shrinker`.
    """
    return Shrinker(program, still_fails, budget_seconds, clock=clock).run(step).program


class Shrinker:
    """
    One shrink in progress: ``best`` is the smallest failing program so far, at any moment.

    The passes do not know each other.  Each proposes programs; a proposal that still fails becomes the new best.
    They are repeated until none makes progress.
    """

    def __init__(
        self,
        program: Program,
        still_fails: Predicate,
        budget_seconds: float = 20.0,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.best = program
        self.check_count = 0
        self._still_fails = still_fails
        self._clock = clock
        self._begin = clock()
        self._end = self._begin + budget_seconds
        self._tried: set[tuple[Settings, tuple[Operation, ...]]] = set()

    def run(self, step: int | None = None) -> Shrunk:
        """Shrinks until nothing helps or the budget ends."""
        self.check_count += 1
        if not self._still_fails(self.best):
            raise ValueError("the program does not fail to begin with, so there is nothing to shrink")
        finished = True
        try:
            self._cut_end(step)
            while True:
                before = (self.best.settings, self.best.operations)
                self._drop_operations()
                self._drop_lifetimes()
                self._drop_stretches()
                self._merge_blocks()
                self._fill_runs_sooner()
                self._simplify_settings()
                self._simplify_words()
                self._lower_numbers()
                self._shorten_texts()
                if (self.best.settings, self.best.operations) == before:
                    break
            self._renumber()
        except _Spent:
            finished = False
        return Shrunk(self.best, self.check_count, self._clock() - self._begin, finished)

    # ---- the one place where programs are tried ------------------------------------------------------------------

    def _try(self, program: Program) -> bool:
        """Whether the proposal still fails; it is the new best then."""
        if program == self.best:
            return False
        key = (program.settings, program.operations)
        remember = len(program) <= _REMEMBERED_OPERATIONS
        if remember and key in self._tried:
            return False
        if self._clock() >= self._end:
            raise _Spent
        self.check_count += 1
        if self._still_fails(program):
            self.best = program
            return True
        if remember:
            self._tried.add(key)
        return False

    def _try_operations(self, operations: Sequence[Operation]) -> bool:
        return self._try(self.best.with_operations(operations))

    def _try_replacing(self, position: int, operation: Operation) -> bool:
        operations = self.best.operations
        if operations[position] == operation:
            return False
        return self._try_operations((*operations[:position], operation, *operations[position + 1 :]))

    # ---- fewer operations ----------------------------------------------------------------------------------------

    def _cut_end(self, step: int | None) -> None:
        """The shortest failing beginning: whatever comes after a failure has no part in it."""
        if self._try_operations(()):
            return
        operations = self.best.operations
        if step is not None and (step >= len(operations) or self._try_operations(operations[:step])):
            return
        low, high = 0, len(operations)  # `low` does not fail, `high` does
        while high - low > 1:
            middle = (low + high) // 2
            if self._try_operations(operations[:middle]):
                high = middle
            else:
                low = middle

    def _drop_operations(self) -> None:
        """
        From back to front, drops the longest stretch before each operation that must stay.

        Where few operations matter, each costs about log2 of the length in checks: everything before it is tried, then
        the end of a stretch is found by halving.  Where most matter, stretches are tried from one upwards.
        """
        end = len(self.best)
        sparse = True
        while end > 0:
            dropped = self._drop_before(end, sparse)
            sparse = dropped >= 8 or (dropped > 0 and end <= 8)
            end -= dropped + 1

    def _drop_before(self, end: int, sparse: bool) -> int:
        """Drops as many operations as possible right before ``end``; returns how many."""
        operations = self.best.operations

        def droppable(count: int) -> bool:
            return self._try_operations(operations[: end - count] + operations[end:])

        if sparse and droppable(end):
            return end
        if not droppable(1):
            return 0
        good, bad = 1, end
        if not sparse:
            bad = 2
            while bad < end and droppable(bad):
                good, bad = bad, bad * 2
            if bad >= end:
                if droppable(end):
                    return end
                bad = end
        while bad - good > 1:
            middle = (good + bad) // 2
            if droppable(middle):
                good = middle
            else:
                bad = middle
        return good

    def _drop_lifetimes(self) -> None:
        """Drops all operations of a block at once; in small programs also only its creation and its end."""
        self._drop_groups(lambda group: group)
        if len(self.best) <= 4 * _FEW_OPERATIONS:
            self._drop_groups(lambda group: [group[0], group[-1]])
            self._drop_pairs()

    def _drop_groups(self, part: Callable[[list[int]], list[int]]) -> None:
        """Drops a part of each lifetime of more than one operation."""
        passed = 0
        while True:
            # Counted anew after each success, because positions have moved.
            groups = [group for group in lifetimes(self.best.operations) if len(group) > 1]
            if passed >= len(groups):
                return
            if not self._drop_positions(part(groups[passed])):
                passed += 1

    def _drop_positions(self, positions: Sequence[int]) -> bool:
        gone = set(positions)
        operations = self.best.operations
        return self._try_operations(
            [operation for position, operation in enumerate(operations) if position not in gone]
        )

    def _drop_pairs(self) -> None:
        """Drops any two operations at once: what undoes each other can only go together."""
        if len(self.best) > 24:
            return
        first = 0
        while first < len(self.best):
            second = first + 1
            while second < len(self.best):
                if not self._drop_positions([first, second]):
                    second += 1
            first += 1

    def _drop_stretches(self) -> None:
        """In small programs drops any stretch: a run that is filled, say, can only go with all its slots."""
        while any(self._try_operations(operations) for operations in stretches(self.best.operations)):
            pass

    def _fill_runs_sooner(self) -> None:
        """Sizes of which few fill a run, where that lets operations go; where it does not they stay what they were."""
        position = 0
        while position < len(proposals := list(coarser(self.best.operations))):
            before = self.best
            try:
                if self._try_operations(proposals[position]):
                    self._drop_operations()
                    self._drop_stretches()
            finally:
                shorter = len(self.best) < len(before)
                self.best = self.best if shorter else before
            position = 0 if shorter else position + 1

    def _merge_blocks(self) -> None:
        """Puts one block in the place of several operations, again and again."""
        while any(self._try_operations(operations) for operations in merged(self.best.operations)):
            pass

    # ---- simpler settings and words ------------------------------------------------------------------------------

    def _simplify_settings(self) -> None:
        if self.best.settings != Settings():
            self._try(self.best.with_settings(Settings()))
        for name, value in (
            ("limit_bytes", None),
            ("storage", "handlers"),
            ("extend", True),
            ("truncate", True),
            ("data_bytes", 0),
            ("failing_calls", ()),
        ):
            if getattr(self.best.settings, name) != value:
                self._try_setting(name, value)
        self._fewer_failing_calls()
        limit_bytes = self.best.settings.limit_bytes
        if limit_bytes is not None:
            for chunks in (1, 2, 3, 4, limit_bytes // CHUNK_BYTES):
                lower = chunks * CHUNK_BYTES
                if 0 < lower < limit_bytes and self._try_setting("limit_bytes", lower):
                    break
        if self.best.settings.data_bytes:
            self._lower(self.best.settings.data_bytes, lambda value: self._try_setting("data_bytes", value))

    def _try_setting(self, name: str, value: object) -> bool:
        settings = replace(self.best.settings, **{name: value})  # type: ignore[arg-type]
        return self._try(self.best.with_settings(settings))

    def _fewer_failing_calls(self) -> None:
        for number in self.best.settings.failing_calls:
            rest = tuple(other for other in self.best.settings.failing_calls if other != number)
            self._try_setting("failing_calls", rest)

    def _simplify_words(self) -> None:
        """Puts alloc for every other word that allocates, and realloc for its relatives."""
        position = 0
        while position < len(self.best):
            for operation in simpler(self.best.operations[position]):
                if self._try_replacing(position, operation):
                    break
            position += 1

    # ---- smaller numbers -----------------------------------------------------------------------------------------

    def _lower_numbers(self) -> None:
        for value in sorted(numbers(self.best.operations), reverse=True):
            self._lower_everywhere(value)
        if len(self.best) > _FEW_OPERATIONS:
            return
        for position in range(len(self.best)):
            for name in ("a", "b", "c"):
                value = getattr(self.best.operations[position], name)
                if value:
                    self._lower(value, partial(self._try_number, position, name))

    def _try_number(self, position: int, name: str, value: int) -> bool:
        operation = self.best.operations[position]
        fields = list(operation)
        fields[Operation._fields.index(name)] = value
        return self._try_replacing(position, Operation._make(fields))

    def _lower_everywhere(self, value: int) -> None:
        """One number that occurs in several operations is lowered in all of them at once."""
        positions = [
            position
            for position, operation in enumerate(self.best.operations)
            if value in (operation.a, operation.b, operation.c)
        ]
        if len(positions) < 2:
            return

        def lowered(lower: int) -> bool:
            operations = list(self.best.operations)
            for position in positions:
                a, b, c = (
                    lower if number in (value, current[0]) and number else number
                    for number in operations[position][2:5]
                )
                operations[position] = operations[position]._replace(a=a, b=b, c=c)
            if self._try_operations(operations):
                current[0] = lower
                return True
            return False

        current = [value]
        self._lower(value, lowered)

    def _lower(self, value: int, lowered: Callable[[int], bool]) -> None:
        """
        The smallest number for which ``lowered`` is true: first the landmarks below ``value``, smallest first and then
        by bisection, then any number between two of them.
        """
        for small in (0, 1, 8):
            if small < value and lowered(small):
                return
        low = bisect_left(LANDMARKS, 9)
        high = bisect_left(LANDMARKS, value)
        upper = value
        while low < high:
            middle = (low + high) // 2
            if lowered(LANDMARKS[middle]):
                high = middle
                upper = LANDMARKS[middle]
            else:
                low = middle + 1
        lower = LANDMARKS[low - 1] if low else 0
        while upper - lower > 1:
            middle = (lower + upper) // 2
            if lowered(middle):
                upper = middle
            else:
                lower = middle

    def _shorten_texts(self) -> None:
        """Shorter texts, then plain ones."""
        for position in range(len(self.best)):
            text = self.best.operations[position].text
            if text:
                self._lower(len(text), partial(self._try_text, position))
                text = self.best.operations[position].text
                plain = self.best.operations[position]._replace(text=b"a" * len(text))
                self._try_replacing(position, plain)

    def _try_text(self, position: int, length_bytes: int) -> bool:
        operation = self.best.operations[position]
        return self._try_replacing(position, operation._replace(text=operation.text[:length_bytes]))

    def _renumber(self) -> None:
        """Labels in order of first appearance: a matter of taste, so only if it changes nothing."""
        self._try(self.best.renumbered())
