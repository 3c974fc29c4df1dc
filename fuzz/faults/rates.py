"""How much of a catalogue a target stops: the rates, whole and by class."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .classify import AT_ONCE, DIAGNOSED, IN_TIME, SILENT, Cell


@dataclass(frozen=True, slots=True)
class Rates:
    """
    Parts of the faults that apply, each fault weighted alike (a fault whose runs differ counts in parts).

    ``in_time``: stopped or refused before any harm. ``diagnosed``: a message or a refusal at any time. ``at_once``: at
    the faulty call or access. ``silent``: harm that nothing told of. They do not add up to one.
    """

    faults: int
    in_time: float
    diagnosed: float
    at_once: float
    silent: float


def rates_of(cells: Iterable[Cell]) -> Rates:
    """The rates of the cells that count."""
    counted: Sequence[Cell] = [cell for cell in cells if cell.counts]
    number = len(counted)

    def part(codes: frozenset[str]) -> float:
        return sum(cell.share(codes) for cell in counted) / number if number else 0.0

    return Rates(number, part(IN_TIME), part(DIAGNOSED), part(AT_ONCE), part(SILENT))


def rates_by_class(cells: Sequence[Cell]) -> dict[str, Rates]:
    """The rates of each class that has a fault that applies, in the order of the cells."""
    classes = dict.fromkeys(cell.fault.kind for cell in cells)
    rates = {kind: rates_of(cell for cell in cells if cell.fault.kind == kind) for kind in classes}
    return {kind: rate for kind, rate in rates.items() if rate.faults}
