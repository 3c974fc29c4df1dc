"""The price of a 40-byte pair on several targets, measured in turn in one run.  From prices, subjects."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .prices import measure_instructions, measure_pair
from .subject import Subject


@dataclass(frozen=True, slots=True)
class PairPrice:
    """
    One target's pair: nanoseconds, their ratio to the reference round by round, and instructions, loop included.

    ``instructions`` is None where valgrind is missing; ``ratio_median`` is None where the reference is.
    """

    name: str
    nanoseconds_min: float
    nanoseconds_median: float
    ratio_median: float | None
    instructions: float | None


def measure_side_by_side(subjects: Sequence[Subject], reference: str, rounds: int) -> Iterator[PairPrice]:
    """
    Every target once in each round, so that a slow spell of the machine meets all of them.

    :raises TargetError: the runner cannot be started.
    """
    measured: dict[str, list[float]] = {subject.name: [] for subject in subjects}
    for _ in range(rounds):
        for subject in subjects:
            value = measure_pair(subject)
            if value is not None:
                measured[subject.name].append(value)
    base = measured.get(reference, [])
    for subject in subjects:
        values = measured[subject.name]
        if not values:
            continue
        ratios = [value / other for value, other in zip(values, base, strict=False)]
        yield PairPrice(
            subject.name,
            min(values),
            statistics.median(values),
            statistics.median(ratios) if ratios else None,
            measure_instructions(subject),
        )
