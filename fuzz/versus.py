"""Two targets held against each other: the same program, the same rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self

from .compare import Divergence, exact_divergence, first_unfit_row, operation_at, unpack_row, vital_divergence
from .driver import Driver, Trace
from .judge import Judge, Verdict, judge_rows, scope_of
from .predict import Scope, cut, is_runnable
from .program import Program
from .targets import Target, TargetError, find_target
from .wire import ROW


class Versus:
    """
    Compares a target with a second one, the reference, byte by byte of their rows.

    Both must keep ZendMM's places and counters. Programs are cut to what both can be held to.
    """

    def __init__(self, target: Target, reference: Target, edition: str) -> None:
        for side in (target, reference):
            if not side.is_exact:
                raise TargetError(
                    f"{side.name} has no places and counters to compare; --against needs zmm or php on both sides"
                )
        self.target = target
        self.reference = reference
        self.edition = edition
        self.scopes = {scope_of(target), scope_of(reference)}
        self._driver = Driver(target, edition)
        self._reference_driver = Driver(reference, edition)

    @classmethod
    def of(cls, target: str, reference: str, edition: str) -> Versus:
        """
        The comparison of two targets given by name.

        Raises:
            TargetError: one of them does not exist, or cannot be compared.
        """
        return cls(find_target(target), find_target(reference), edition)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends both processes."""
        self._driver.close()
        self._reference_driver.close()

    def judge(self, program: Program) -> Divergence | None:
        """The first row in which the targets differ."""
        for verdict in self.judge_batch([program]):
            return verdict.divergence
        return None

    def judge_batch(self, programs: Sequence[Program]) -> Iterator[Verdict]:
        """Performs programs on both targets, a round trip each; yields a verdict for each program that both may run."""
        programs = [fitted for program in programs if (fitted := self.fit(program)) is not None]
        ours = self._driver.run(programs)
        theirs = self._reference_driver.run(programs)
        for program, trace, reference in zip(programs, ours, theirs, strict=True):
            yield Verdict(program, compare_traces(program, trace, reference), trace.lost or reference.lost)

    def fit(self, program: Program) -> Program | None:
        """The program cut to what both targets define; None when not even its opening is."""
        for scope in self.scopes - {Scope.WHOLE}:
            if not is_runnable(program, self.edition, scope):
                return None
            program = cut(program, self.edition, scope)
        return program


def compare_traces(program: Program, trace: Trace, reference: Trace) -> Divergence | None:
    """The first difference of two traces of one program; a reference that dies is the one to blame."""
    if trace.rows == reference.rows:
        unfit = first_unfit_row(trace.rows, len(program.operations) + 2)
        if unfit is None:
            return None
        # Both went wrong in the same way: still not what a program may meet.
        return vital_divergence(
            operation_at(program.operations, unfit),
            unfit,
            unpack_row(trace.rows, unfit),
            death=trace.death,
            message=trace.messages.get(unfit, ""),
        )
    return exact_divergence(
        program.operations,
        reference.rows,
        trace.rows,
        death=trace.death or reference.death,
        messages={**reference.messages, **trace.messages},
    )


def judge_agreed(program: Program, trace: Trace, edition: str) -> Divergence | None:
    """Holds rows on which two targets agree to the abstract model as well."""
    return judge_rows(program, list(ROW.iter_unpack(trace.rows)), edition, counters=True)


__all__ = ["Judge", "Versus", "compare_traces", "judge_agreed"]
