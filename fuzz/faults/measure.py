"""Measures one target: controls first, then every fault; and what the answers mean for the run as a whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .classify import Cell, judge, kept_promise
from .controls import controls
from .fault import Fault
from .run import RUNS, run_faults
from .subject import Subject

# Legal operations do not depend on chance as much as attacks do.
_CONTROL_RUNS = 2


@dataclass(frozen=True, slots=True)
class Column:
    """
    What one target made of the faults asked for.

    ``alarms`` are the controls that did not come out clean: then nothing else in the column can be trusted.
    """

    subject: Subject
    cells: tuple[Cell, ...]
    controls: int
    alarms: tuple[Cell, ...]
    prices: dict[str, float] = field(default_factory=dict)

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
