"""Holds programs against a target: performs them, predicts them, and names the first divergence of each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Self

from zmm_model.abstract import AbstractHeap
from zmm_model.accounting import Accounting
from zmm_model.exact import RowTuple
from zmm_model.op import Operation
from zmm_model.rules import Violation

from .compare import (
    ROW_BYTES,
    Divergence,
    exact_divergence,
    first_unfit_row,
    operation_at,
    unpack_row,
    vital_divergence,
)
from .driver import Driver, Trace
from .predict import Prediction, Scope, is_runnable, predict
from .program import Program
from .targets import Target, find_target
from .wire import ROW


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    What came of one program. ``program`` is what was performed (cut to the target's scope); no ``divergence`` means
    that target and models agree on every row. ``lost`` says that the process was killed from outside meanwhile and
    the program has been performed again. ``alone`` is false when the divergence shows only after other programs in
    the same process.
    """

    program: Program
    divergence: Divergence | None
    lost: str = ""
    alone: bool = True


def scope_of(target: Target) -> Scope:
    """How far a target can be held to the exact model."""
    if target.kind != "php":
        return Scope.WHOLE
    return Scope.DEFINED if target.refuses_exactly else Scope.WILLING


class Judging(ABC):
    """Whatever judges programs on processes that it owns; use it as a context manager."""

    @abstractmethod
    def close(self) -> None:
        """End the processes."""

    @abstractmethod
    def judge_batch(self, programs: Sequence[Program]) -> Iterator[Verdict]:
        """Judge programs in one round trip; the verdicts come in order."""

    def judge(self, program: Program) -> Divergence | None:
        """The first divergence of one program."""
        for verdict in self.judge_batch([program]):
            return verdict.divergence
        return None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class Judge(Judging):
    """
    Judges programs on one target.

    Targets that place blocks as ZendMM does are held to the exact model of ``edition`` and to the abstract model; all
    others to the abstract model alone, with the rules of their kind of accounting.
    """

    def __init__(self, target: Target, edition: str, driver: Driver | None = None) -> None:
        self.target = target
        self.edition = edition
        self.exact = target.is_exact
        self.scope = scope_of(target)
        self.driver = driver or Driver(target, edition)
        # Requests for the allocator's own records fail as well: only the abstract model can judge that.
        self.all_calls = False

    @classmethod
    def of(cls, target: str, edition: str) -> Judge:
        """
        The judge of a target given by name.

        Raises:
            TargetError: there is no such target, or it cannot be loaded.
        """
        return cls(find_target(target), edition)

    def close(self) -> None:
        """Ends the target's process."""
        self.driver.close()

    # ---- many programs in one round trip -------------------------------------------------------------------------

    def judge_batch(self, programs: Sequence[Program]) -> Iterator[Verdict]:
        """
        Performs programs in one round trip and yields a verdict for each, in order.

        A program that the target may not be given at all (its very opening is out of scope) yields nothing.
        """
        # Predictions are made first: they say how far a program may go on this target.
        predictions: list[Prediction | None]
        if self.exact and not self.all_calls:
            predictions = [
                predict(program, self.edition, self.scope, self.target.level)
                for program in programs
                if is_runnable(program, self.edition, self.scope)
            ]
            programs = [prediction.program for prediction in predictions if prediction]
        else:
            predictions = [None] * len(programs)
        traces = self.driver.run(programs, all_calls=self.all_calls)
        for index, (program, trace) in enumerate(zip(programs, traces, strict=True)):
            divergence = self.judge_trace(program, trace, predictions[index])
            predictions[index] = None
            alone = trace.alone
            if divergence is not None and trace.death is None and index:
                # Programs share a process. Only what a program does in a process of its own is surely its own fault.
                self.driver.restart()
                again = self.judge_trace(program, self.driver.run([program], all_calls=self.all_calls)[0])
                alone = again is not None
                divergence = again or divergence
            yield Verdict(program, divergence, trace.lost, alone)

    def judge_trace(self, program: Program, trace: Trace, prediction: Prediction | None = None) -> Divergence | None:
        """The first divergence of a trace: from the exact model if the target has one, and from the abstract model."""
        operations = program.operations
        if not self.exact or self.all_calls:
            return judge_abstract(program, trace, self.edition, self.target.accounting)
        prediction = prediction or predict(program, self.edition, level=self.target.level)
        if prediction.rows == trace.rows:
            return judge_rows(program, prediction.tuples, self.edition, Accounting.ZENDMM)
        exact = exact_divergence(operations, prediction.rows, trace.rows, death=trace.death, messages=trace.messages)
        # The abstract rule says more about the cause, so it is named when it is broken no later.
        broken = judge_abstract(program, trace, self.edition, self.target.accounting)
        if broken is not None and (exact is None or broken.step < exact.step):
            return broken
        return exact


def judge_rows(program: Program, rows: Sequence[RowTuple], edition: str, accounting: Accounting) -> Divergence | None:
    """
    Holds rows (opening, one for each operation, closing) to the abstract model.

    Fewer rows than that are judged as far as they go.
    """
    heap = AbstractHeap(program.settings, accounting, edition)
    violation = heap.open(rows[0]) if rows else None
    if violation is not None:
        return _broken(program, 0, violation)
    step = heap.step
    for number, (operation, row) in enumerate(zip(program.operations, islice(rows, 1, None), strict=False), 1):
        violation = step(operation, row)
        if violation is not None:
            return _broken(program, number, violation)
    if len(rows) == len(program.operations) + 2:
        violation = heap.close(rows[-1])
        if violation is not None:
            return _broken(program, len(rows) - 1, violation)
    return None


def _broken(program: Program, step: int, violation: Violation) -> Divergence:
    return violation_at(operation_at(program.operations, step), step, violation)


def violation_at(operation: Operation, step: int, violation: Violation) -> Divergence:
    """A violation of the abstract model as a divergence."""
    return Divergence(
        violation.rule,
        step,
        operation,
        "row",
        violation.expected,
        violation.actual,
        violation.sentence,
    )


def judge_abstract(program: Program, trace: Trace, edition: str, accounting: Accounting) -> Divergence | None:
    """Holds a trace to the abstract model; deaths, panics and broken invariants are named first."""
    count = len(program.operations) + 2
    unfit = first_unfit_row(trace.rows, count)
    end = count if unfit is None else unfit
    rows = list(ROW.iter_unpack(trace.rows[: end * ROW_BYTES]))
    broken = judge_rows(program, rows, edition, accounting)
    if broken is not None or unfit is None:
        return broken
    return vital_divergence(
        operation_at(program.operations, unfit),
        unfit,
        unpack_row(trace.rows, unfit),
        death=trace.death,
        message=trace.messages.get(unfit, ""),
    )
