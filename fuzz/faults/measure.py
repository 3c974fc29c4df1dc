"""Measures one target: controls first, then every fault; and what the answers mean for the run as a whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .classify import Cell, judge, kept_promise
from .controls import controls
from .fault import Fault
from .rates import Rates, rates_of
from .run import RUNS, run_faults
from .subject import Subject

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
    """

    subject: Subject
    cells: tuple[Cell, ...]
    controls: int
    alarms: tuple[Cell, ...]
    prices: dict[str, float] = field(default_factory=dict)
    sources: Rates | None = None

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
        """The faults of which at least one run gave no result."""
        return [cell for cell in self.cells if any(outcome.code == "!" for outcome in cell.outcomes)]


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
    for control, ends in run_faults(subject, checks, runs=_CONTROL_RUNS, jobs=jobs):
        cell = Cell(control, subject.name, tuple(judge(end) for end in ends))
        if any(outcome.code != "n" for outcome in cell.outcomes):
            alarms.append(cell)
    cells = {
        fault.id: Cell(fault, subject.name, tuple(judge(end) for end in ends))
        for fault, ends in run_faults(subject, faults, runs=runs, jobs=jobs, observe=observe)
    }
    column = tuple(cells.get(fault.id, Cell(fault, subject.name, ())) for fault in faults)
    return Column(subject, column, len(checks), tuple(alarms))


def measure_sources(
    subject: Subject, variants: Sequence[Fault], faults: Sequence[Fault], *, runs: int = RUNS, jobs: int = 2
) -> Rates:
    """The rates of the faults that variants were made of."""
    ids = {variant.id.rpartition(".v")[0] for variant in variants}
    chosen = [fault for fault in faults if fault.id in ids]
    ends = run_faults(subject, chosen, runs=runs, jobs=jobs)
    return rates_of(Cell(fault, subject.name, tuple(judge(end) for end in runs)) for fault, runs in ends)
