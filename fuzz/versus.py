"""Two targets held against each other: the same program, the same rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from zmm_model.op import MISUSE, Operation, Settings

from .compare import Divergence, exact_divergence, first_unfit_row, operation_at, unpack_row, vital_divergence
from .driver import Driver, Trace
from .judge import Judging, Verdict, scope_of
from .predict import Prediction, Scope, is_runnable, predict
from .program import Program
from .targets import Target, TargetError, find_target
from .wire import Burst


class Versus(Judging):
    """
    Compares a target with a second one, the reference, byte by byte of their rows.

    Both must keep ZendMM's places and counters. Programs are cut to what both can be held to.
    """

    def __init__(self, target: Target, reference: Target, edition: str) -> None:
        for side in (target, reference):
            if not side.is_exact:
                raise TargetError(
                    f"{side.name} does not place blocks as ZendMM does; "
                    "--against needs zmm, zmm:fast or php on both sides"
                )
        self.target = target
        self.reference = reference
        self.edition = edition
        self.scopes = {scope_of(target), scope_of(reference)}
        self.driver = Driver(target, edition)
        self._reference_driver = Driver(reference, edition)

    @classmethod
    def of(cls, target: str, reference: str, edition: str) -> Versus:
        """
        The comparison of two targets given by name.

        Raises:
            TargetError: one of them does not exist, or cannot be compared.
        """
        return cls(find_target(target), find_target(reference), edition)

    def close(self) -> None:
        """Ends both processes."""
        self.driver.close()
        self._reference_driver.close()

    def judge_batch(self, programs: Sequence[Program]) -> Iterator[Verdict]:
        """
        Performs programs on both targets, a round trip each; yields a verdict for each program that both may run.

        Where the targets agree, the exact model has to agree with them as well.
        """
        predictions = [prediction for program in programs if (prediction := self._fit(program)) is not None]
        fitted = [prediction.program for prediction in predictions]
        ours = self.driver.run(fitted)
        theirs = self._reference_driver.run(fitted)
        for index, (prediction, trace, reference) in enumerate(zip(predictions, ours, theirs, strict=True)):
            divergence = compare_all(prediction, trace, reference)
            alone = trace.alone and reference.alone
            died = trace.death is not None or reference.death is not None
            if divergence is not None and not died and index:
                again = self._alone(prediction)
                alone = again is not None
                divergence = again or divergence
            yield Verdict(prediction.program, divergence, trace.lost or reference.lost, alone)

    def _alone(self, prediction: Prediction) -> Divergence | None:
        """The divergence of one program in new processes."""
        traces = []
        for driver in (self.driver, self._reference_driver):
            driver.restart()
            traces.append(driver.run([prediction.program])[0])
        return compare_all(prediction, *traces)

    def _fit(self, program: Program) -> Prediction | None:
        """The program cut to what both targets define, and its prediction; None when not even its opening is."""
        scope = Scope.DEFINED
        if Scope.WILLING in self.scopes:
            scope = Scope.WILLING
        elif self.scopes == {Scope.WHOLE}:
            scope = Scope.WHOLE
        if not is_runnable(program, self.edition, scope):
            return None
        if self.target.level != self.reference.level:
            # How a misuse ends is each level's own promise, and PHP makes none.
            program = program.with_operations(one for one in program.operations if one.word not in MISUSE)
        return predict(program, self.edition, scope, self.target.level)

    def run_bursts(self, settings: Settings, bursts: Sequence[Burst]) -> tuple[Trace, Trace]:
        """Performs bursts natively on both targets."""
        return self.driver.run_bursts(settings, bursts), self._reference_driver.run_bursts(settings, bursts)

    def expand(self, burst: Burst) -> list[Operation]:
        """The operations of a burst, its final check included."""
        return self.driver.expand(burst)


def compare_all(prediction: Prediction, trace: Trace, reference: Trace) -> Divergence | None:
    """The first difference between two targets; if there is none, that between both of them and the exact model."""
    if trace.rows == reference.rows == prediction.rows:
        return None
    divergence = compare_traces(prediction.program, trace, reference)
    if divergence is not None:
        return divergence
    return exact_divergence(
        prediction.program.operations, prediction.rows, trace.rows, death=trace.death, messages=trace.messages
    )


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
