"""The prices of everyday calls on several targets, measured in turn in one run, and their goals.  From prices."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from .prices import LOOPS, measure_instructions, measure_loop
from .subject import Subject

INSTRUCTIONS = "instructions"
MEMORY = "memory"
UNITS = {"pair": "ns", "random": "ns", "large": "ns", MEMORY: "resident bytes for each byte", INSTRUCTIONS: ""}


@dataclass(frozen=True, slots=True)
class Price:
    """
    What one loop costs on one target.

    ``least`` and ``median`` are of all rounds, in the loop's unit; ``ratios`` are medians of the quotients of one
    round, by the name of the target that is compared with.
    """

    target: str
    loop: str
    least: float
    median: float
    ratios: dict[str, float]


@dataclass(frozen=True, slots=True)
class Goal:
    """
    What a loop may cost on a target: ``most`` of its unit, or of what it costs on ``reference``.

    ``instead`` says which goal holds where the reference is not there.
    """

    target: str
    loop: str
    most: float
    reference: str = ""
    instead: Goal | None = None

    def measured(self, prices: Sequence[Price]) -> float | None:
        """The figure to be held against ``most``; None where one of the two was not measured."""
        for price in prices:
            if (price.target, price.loop) == (self.target, self.loop):
                return price.ratios.get(self.reference) if self.reference else price.least
        return None

    def applying(self, prices: Sequence[Price]) -> Goal:
        """Return this goal, or the one instead of it where its reference was not measured."""
        return self if self.instead is None or self.measured(prices) is not None else self.instead


GOALS = (
    Goal("zmm", INSTRUCTIONS, 93),
    Goal("zmm", "pair", 1.15, "php:8.4", instead=Goal("zmm", "pair", 1.25, "php")),
    Goal("zmm", MEMORY, 1.02, "zmm:fast"),
    Goal("zmm:hardened", "pair", 1.7, "libc"),
    Goal("zmm:hardened", "random", 1.2, "libc"),
    Goal("zmm:hardened", "large", 1000),
    Goal("zmm:hardened", MEMORY, 1.07, "zmm:fast"),
)


def measure_side_by_side(
    subjects: Sequence[Subject], loops: Sequence[str], references: Sequence[str], rounds: int
) -> list[Price]:
    """
    Every target once in each round of each loop, so that a slow spell of the machine meets all of them.

    Memory and instructions do not depend on the machine's mood: they are measured once.

    :raises TargetError: the runner cannot be started.
    """
    prices = []
    for loop in loops:
        measured: dict[str, list[float]] = {subject.name: [] for subject in subjects}
        for _ in range(rounds if loop in LOOPS and loop != MEMORY else 1):
            for subject in subjects:
                value = measure_instructions(subject) if loop == INSTRUCTIONS else measure_loop(subject, loop)
                if value is not None:
                    measured[subject.name].append(value)
        for name, values in measured.items():
            if values:
                ratios = {
                    reference: statistics.median(
                        value / other for value, other in zip(values, measured[reference], strict=False)
                    )
                    for reference in references
                    if measured.get(reference)
                }
                prices.append(Price(name, loop, min(values), statistics.median(values), ratios))
    return prices
