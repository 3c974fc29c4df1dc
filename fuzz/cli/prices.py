"""`zmm bench pair` and `zmm bench prices`: what everyday calls cost on zmm's levels and on the peers, side by side."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from ..errors import CLEAN, COUNTEREXAMPLE
from ..faults.side_by_side import GOALS, INSTRUCTIONS, MEMORY, UNITS, Goal, Price, measure_side_by_side
from ..faults.subject import Subject
from ..faults.subjects import Subjects
from ..report.simple import write_simple
from ..targets import TargetError
from .output import make_console, write_file

TARGETS = ("php", "php:8.4", "zmm:fast", "zmm", "zmm:hardened", "libc")
REFERENCES = ("php", "php:8.4", "libc", "zmm:fast")
PAIR = ("pair", INSTRUCTIONS)
ALL = ("pair", "random", "large", MEMORY, INSTRUCTIONS)
_ROUNDS = 9
_TITLES = {
    "pair": "alloc and free of 40 bytes",
    "random": "random sizes up to 512 bytes among 4096 live blocks",
    "large": "alloc and free of 4 to 36 KiB",
    MEMORY: "400,000 live blocks, 200 bytes on average",
    INSTRUCTIONS: "instructions of a 40-byte pair, loop included",
}


def show_prices(loops: Sequence[str], json: Path | None, *, quiet: bool) -> int:
    """
    Measures, prints a table for each loop and the goals, and returns the exit code: 1 when a goal was missed.

    Targets that are not there are left out, and said to be.  The suite ``pair`` is for looking: it has no goals.
    """
    console = make_console()

    def say(line: str) -> None:
        console.print(line, markup=False, soft_wrap=True, highlight=False)

    with Subjects() as all_subjects:
        subjects: list[Subject] = []
        for name in TARGETS:
            try:
                subjects.append(all_subjects.find(name))
            except TargetError as error:
                say(f"{name}: left out ({error})")
        prices = measure_side_by_side(subjects, loops, REFERENCES, _ROUNDS)
    if not quiet:
        for line in _table(prices, loops):
            say(line)
    missed: list[Goal] = []
    rows: list[dict[str, object]] = []
    for wanted in GOALS if loops == ALL else ():
        goal = wanted.applying(prices)
        measured = goal.measured(prices)
        is_met = measured is None or measured <= goal.most
        if not is_met:
            missed.append(goal)
        rows.append({**asdict(goal), "measured": measured, "met": None if measured is None else is_met})
        say(_goal_line(goal, measured))
    said = "" if loops != ALL else f"{len(missed)} goals missed, " if missed else "no goal missed, "
    say(f"zmm bench: {said}{os.cpu_count()} cpus, load {os.getloadavg()[0]:.1f}")
    if json is not None:
        status = "fail" if missed else "pass"
        write_file(json, write_simple(status, suite="prices", prices=[asdict(price) for price in prices], goals=rows))
    return COUNTEREXAMPLE if missed else CLEAN


def _table(prices: Sequence[Price], loops: Sequence[str]) -> list[str]:
    lines = []
    for loop in loops:
        lines.append(f"{loop}: {_TITLES[loop]}")
        for price in prices:
            if price.loop == loop:
                ratios = "  ".join(f"{ratio:5.2f} of {name}" for name, ratio in price.ratios.items())
                unit = f" {UNITS[loop]}" if loop not in (MEMORY, INSTRUCTIONS) else ""
                lines.append(
                    f"  {price.target:<13}{price.least:9.2f}{unit}, median {price.median:9.2f}{unit}  {ratios}"
                )
        if not any(price.loop == loop for price in prices):
            lines.append("  (valgrind counts them: apt-get install valgrind)")
    return lines


def _goal_line(goal: Goal, measured: float | None) -> str:
    unit = f" of {goal.reference}" if goal.reference else f" {UNITS[goal.loop]}".rstrip()
    most = f"{goal.target} {goal.loop} at most {goal.most:g}{unit}"
    if measured is None:
        return f"goal: {most}: not measured"
    return f"goal: {most}: {measured:.2f}, {'met' if measured <= goal.most else 'missed'}"
