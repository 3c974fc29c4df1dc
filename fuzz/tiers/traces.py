"""Tier `traces`: every recorded trace, row by row: target against exact model, and zmm against PHP."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from zmm_model.abstract import AbstractHeap
from zmm_model.accounting import Accounting
from zmm_model.exact import ExactHeap, RowTuple
from zmm_model.op import Operation

from ..compare import (
    ROW_BYTES,
    Death,
    Divergence,
    first_difference,
    first_unfit_row,
    name_difference,
    operation_at,
    unpack_row,
    vital_divergence,
)
from ..driver import Driver
from ..judge import violation_at
from ..load import TRACE_SETTINGS
from ..predict import pack_rows
from ..recorded import RecordedTrace, read_trace, trace_paths
from ..targets import Target, TargetError, find_target
from ..wire import EDITION_PHP, ROW
from .base import INCONCLUSIVE, PASS, SKIPPED, Budget, Finding, Task, Tick, TierResult, trimmed
from .lockstep import Delta, absorb
from .workers import Send, run_workers

# A piece is small enough for the shared memory and large enough that the round trip costs nothing.
PIECE_RECORDS = 1 << 15


class Traces:
    """The traces that come with the package."""

    name = "traces"
    sentence = "recorded traces; target against exact model, and zmm against PHP, every row"
    goal = 0
    share = 0.2

    def run(self, task: Task, budget: Budget, result: TierResult, tick: Tick) -> None:
        """Deals the traces out to the workers, the longest first."""
        paths = trace_paths()
        if not paths:
            result.status = SKIPPED
            result.reason = "no traces: this installation came without them; install zmm anew"
            return
        against, reason = reference(task)
        arguments = [(task, against, names, budget.limit_seconds) for names in deal(paths, task.jobs) if names]
        for message in run_workers(f"{__name__}:work", arguments):
            absorb(message, result)
            tick()
        jobs = len(paths) * (2 if against else 1)
        if result.status == PASS and not result.findings and result.programs < jobs:
            result.status = INCONCLUSIVE
            result.reason = f"the budget ended after {result.programs} of {jobs} replays (give more with --time-budget)"
        elif result.status == PASS and not result.reason:
            result.reason = reason


def reference(task: Task) -> tuple[str, str]:
    """The PHP target to compare zmm with, and what to say when there is none."""
    target = find_target(task.target)
    if target.kind != "zmm":
        return "", ""
    if not target.is_exact:
        return "", f"not compared with PHP: {trimmed(target)}"
    try:
        php = find_target(task.oracle)
    except TargetError as error:
        return "", f"not compared with PHP: {error}"
    return task.oracle, f"compared with PHP {php.version}"


def deal(paths: Sequence[Path], hands: int) -> list[list[str]]:
    """The traces in so many hands of about the same weight."""
    dealt: list[list[str]] = [[] for _ in range(hands)]
    weights = [0] * hands
    for path in sorted(paths, key=lambda path: -path.stat().st_size):
        lightest = weights.index(min(weights))
        dealt[lightest].append(str(path))
        weights[lightest] += path.stat().st_size
    return dealt


def work(send: Send, task: Task, against: str, names: list[str], limit_seconds: float) -> None:
    """A worker's loop: each trace against the model, and on zmm against PHP as well."""
    budget = Budget(limit_seconds)
    target = find_target(task.target)
    for name in names:
        trace = read_trace(name)
        steps = list(trace.steps(PIECE_RECORDS))
        if not _replay(send, budget, trace, steps, task, target, against=None):
            return
        if against and not _replay(send, budget, trace, steps, task, target, against=find_target(against)):
            return


def _replay(
    send: Send,
    budget: Budget,
    trace: RecordedTrace,
    steps: Sequence[bytes],
    task: Task,
    target: Target,
    against: Target | None,
) -> bool:
    """One replay of one trace, piece by piece; false when the budget ended first."""
    edition = EDITION_PHP if against else task.edition
    driver = Driver(target, edition)
    rival: _Rival
    if against is not None:
        rival = _PhpRival(Driver(against, EDITION_PHP), trace, steps)
    elif target.is_exact:
        rival = _ModelRival(trace, edition)
    else:
        rival = _AbstractRival(trace, edition, target.accounting)
    try:
        first = 0
        counted = 0
        for rows, death in driver.stream(TRACE_SETTINGS, steps):
            divergence = rival.judge(first, rows, death)
            first += len(rows) // ROW_BYTES
            done = min(max(0, first - 1), len(trace))
            found: tuple[Finding, ...] = ()
            if divergence is not None:
                count = min(divergence.step, len(trace))
                program = replace(
                    trace.program(count, TRACE_SETTINGS), origin=f"trace {trace.name}, {count} operations"
                )
                versus = against.name if against else ""
                found = (Finding(divergence, program, task.target, edition, versus),)
            send(Delta(0, done - counted, found))
            counted = done
            if found:
                return True
            if budget.exhausted():
                return False
        send(Delta(1, 0))
        return True
    finally:
        driver.close()
        rival.close()


class _Rival:
    """Whoever says what the rows of a piece must be."""

    def judge(self, first: int, rows: bytes, death: Death | None) -> Divergence | None:
        """The first divergence in the rows from step ``first`` on."""
        raise NotImplementedError

    def close(self) -> None:
        """Gives back what it holds."""


class _ModelRival(_Rival):
    """The exact model."""

    def __init__(self, trace: RecordedTrace, edition: str) -> None:
        self._heap = ExactHeap(TRACE_SETTINGS, edition)
        self._pieces = trace.operations(PIECE_RECORDS)
        self._length = len(trace)

    def judge(self, first: int, rows: bytes, death: Death | None) -> Divergence | None:
        """Predicts the piece and compares bytes."""
        operations: Sequence[Operation] = ()
        expected: list[RowTuple]
        if first == 0:
            expected = [self._heap.open()]
        elif first == self._length + 1:
            expected = [self._heap.close()]
        else:
            operations = next(self._pieces)
            step = self._heap.step
            expected = [step(operation) for operation in operations]
        return _compare(first, operations, pack_rows(expected), rows, death)


class _PhpRival(_Rival):
    """PHP's own ZendMM, performing the same pieces."""

    def __init__(self, driver: Driver, trace: RecordedTrace, steps: Sequence[bytes]) -> None:
        self._driver = driver
        self._stream = driver.stream(TRACE_SETTINGS, steps)
        self._trace = trace

    def judge(self, first: int, rows: bytes, death: Death | None) -> Divergence | None:
        """Has PHP perform the piece and compares bytes."""
        expected, php_death = next(self._stream)
        if expected == rows:
            return None
        count = len(rows) // ROW_BYTES
        operations = _operations(self._trace, first, max(count, len(expected) // ROW_BYTES))
        return _compare(first, operations, expected, rows, death or php_death)

    def close(self) -> None:
        """Ends PHP's process."""
        self._driver.close()


class _AbstractRival(_Rival):
    """The abstract model, for allocators that place blocks in other ways than ZendMM."""

    def __init__(self, trace: RecordedTrace, edition: str, accounting: Accounting) -> None:
        self._heap = AbstractHeap(TRACE_SETTINGS, accounting, edition)
        self._pieces = trace.operations(PIECE_RECORDS)
        self._length = len(trace)

    def judge(self, first: int, rows: bytes, death: Death | None) -> Divergence | None:
        """Holds each row to the rules."""
        decoded = list(ROW.iter_unpack(rows))
        if first == 0 or first == self._length + 1:
            judge = self._heap.open if first == 0 else self._heap.close
            violation = judge(decoded[0]) if decoded else None
            operations: Sequence[Operation] = ()
            found = violation_at(operation_at((), first and 1), first, violation) if violation else None
        else:
            operations = next(self._pieces)
            found = None
            for index, (operation, row) in enumerate(zip(operations, decoded, strict=False)):
                violation = self._heap.step(operation, row)
                if violation is not None:
                    found = violation_at(operation, first + index, violation)
                    break
        if found is not None and found.rule != "ABS-1":
            return found
        unfit = first_unfit_row(rows, max(1, len(operations)))
        if unfit is None:
            return found
        operation = operations[unfit] if operations else operation_at((), first and 1)
        return vital_divergence(operation, first + unfit, unpack_row(rows, unfit), death=death)


def _compare(
    first: int, operations: Sequence[Operation], expected: bytes, rows: bytes, death: Death | None
) -> Divergence | None:
    at = first_difference(expected, rows)
    if at is None:
        return None
    operation = operations[at] if operations else operation_at((), first and 1)
    return name_difference(operation, first + at, unpack_row(expected, at), unpack_row(rows, at), death=death)


def _operations(trace: RecordedTrace, first: int, count: int) -> Sequence[Operation]:
    """The operations of steps ``first`` to ``first + count``; empty for opening and closing."""
    if first == 0 or first > len(trace):
        return ()
    found: list[Operation] = []
    seen = 1
    for piece in _pieces(trace):
        if seen + len(piece) > first:
            found += piece[max(0, first - seen) :]
        seen += len(piece)
        if len(found) >= count:
            break
    return found[:count]


def _pieces(trace: RecordedTrace) -> Iterator[list[Operation]]:
    return trace.operations(PIECE_RECORDS)
