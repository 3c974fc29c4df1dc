"""Measures one target: controls first, then every fault; and what the answers mean for the run as a whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ..targets.base import TargetError
from .classify import Cell, could_not_begin, judge, kept_promise
from .controls import controls
from .fault import Fault
from .rates import Rates, rates_of
from .run import RUNS, run_faults, run_once
from .script import lines_for
from .subject import Subject
from .wire import LOAD

# A defence that knows only the catalogue's own sequences shows itself here: by so many points at most may the rates of
# variants differ, if there are so many of them.
VARIANTS_MAY_DIFFER = 0.03
VARIANTS_MIN = 500
# Legal operations do not depend on chance as much as attacks do.
_CONTROL_RUNS = 2


@dataclass(frozen=True, slots=True)
class Column:
    """
    What one target made of the faults asked for.

    ``sources`` are the rates of the faults themselves where the cells are those of variants.
    ``alarms`` are the controls that did not come out clean: then nothing else in the column can be trusted.
    ``unperformed`` are those that gave no result, by no doing of the target's.
    """

    subject: Subject
    cells: tuple[Cell, ...]
    controls: int
    alarms: tuple[Cell, ...]
    prices: dict[str, float] = field(default_factory=dict)
    sources: Rates | None = None
    unperformed: tuple[Cell, ...] = ()

    def strays(self) -> list[str]:
        """
        The rates in which variants differ from the faults that they are variants of, by more than they may.

        Only where there are enough of them to say so.
        """
        if self.sources is None or len(self.cells) < VARIANTS_MIN:
            return []
        rates = rates_of(self.cells)
        names = ("in_time", "diagnosed", "silent")
        return [name for name in names if abs(getattr(rates, name) - getattr(self.sources, name)) > VARIANTS_MAY_DIFFER]

    def broken_promises(self) -> list[Cell]:
        """The faults that a level of zmm lets through although the catalogue says that it stops them."""
        if not self.subject.is_zmm:
            return []
        return [cell for cell in self.cells if cell.fault.kind and not kept_promise(cell, self.subject.level)]

    def inconclusive(self) -> list[Cell]:
        """The controls and faults of which at least one run gave no result."""
        return [
            *self.unperformed,
            *(cell for cell in self.cells if any(outcome.code == "!" for outcome in cell.outcomes)),
        ]


def ensure_performs(subject: Subject) -> None:
    """
    Makes sure that a target can be performed on at all: that it is loaded and makes a heap.

    :raises TargetError: it is not so; the cause in the words of who knows it.
    """
    run = run_once(subject, lines_for(controls()[0].sequence, subject.kind))
    if not could_not_begin(run):
        return
    said = run.stderr.decode("utf-8", "replace").strip().partition("\n")[0].removeprefix("zmm: ")
    if said.startswith("ZMM_"):
        raise TargetError(f"{subject.name}: {said}")
    cause = run.report.reason or said or judge(run).reason
    if run.report.phase == LOAD:
        library = subject.command[-1]
        name = subject.name if library in subject.name else f"{subject.name} ({library})"
        raise TargetError(f"{name}: {cause}; name another file, or add what is missing")
    raise TargetError(
        f"{subject.name}: {cause}{f' ({said})' if said not in ('', cause) else ''}; raise the limit (ulimit -v), or "
        "name another target"
    )


def measure(
    subject: Subject,
    faults: Sequence[Fault],
    *,
    runs: int = RUNS,
    jobs: int = 2,
    observe: Callable[[Fault], None] | None = None,
) -> Column:
    """
    The column of a target: every fault ``runs`` times, after the controls.

    :raises TargetError: the runner cannot be started.
    """
    checks = controls()
    alarms = []
    unperformed = []
    for control, ends in run_faults(subject, checks, runs=_CONTROL_RUNS, jobs=jobs):
        cell = Cell(control, subject.name, tuple(judge(end) for end in ends))
        # All operations of a control are legal, those before its "fault" as well: a death there is an alarm, too.
        if any(judge(end).code != "n" for end in ends if not could_not_begin(end)):
            alarms.append(cell)
        elif any(could_not_begin(end) for end in ends):
            unperformed.append(cell)
    cells = {
        fault.id: Cell(fault, subject.name, tuple(judge(end) for end in ends))
        for fault, ends in run_faults(subject, faults, runs=runs, jobs=jobs, observe=observe)
    }
    column = tuple(cells.get(fault.id, Cell(fault, subject.name, ())) for fault in faults)
    return Column(subject, column, len(checks), tuple(alarms), unperformed=tuple(unperformed))


def measure_sources(
    subject: Subject, variants: Sequence[Fault], faults: Sequence[Fault], *, runs: int = RUNS, jobs: int = 2
) -> Rates:
    """The rates of the faults that variants were made of."""
    ids = {variant.id.rpartition(".v")[0] for variant in variants}
    chosen = [fault for fault in faults if fault.id in ids]
    ends = run_faults(subject, chosen, runs=runs, jobs=jobs)
    return rates_of(Cell(fault, subject.name, tuple(judge(end) for end in runs)) for fault, runs in ends)
