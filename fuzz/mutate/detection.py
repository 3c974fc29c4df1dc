"""How soon mutants are found: a sample of them under the tiers with programs of many seeds, and the bands over them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from .core_lab import CoreLab
from .core_tiers import Fixed
from .journal import Header, Journal
from .mutant import Mutant
from .record import (
    BUDGETS,
    KILLED,
    SURVIVED,
    BandRow,
    DetectionBoard,
    DetectionRow,
    DetectionRun,
    MutantRow,
)
from .statistics import band

# Seeds of a detection are others than those of the run that chose its mutants.
_FIRST_SEED = 1000


class Known(msgspec.Struct, frozen=True):
    """A run as it is kept: of which mutant, with which budget."""

    key: str
    budget_seconds: float
    run: DetectionRun


class Runs:
    """
    What is known of mutants under seeds, kept in a file as it comes (in memory only without a folder).

    Args:
        folder: made when missing.
        header: runs of another header are not taken over.
    """

    def __init__(self, folder: Path | None, header: Header) -> None:
        path = folder / header.file_name("detection") if folder is not None else None
        self._journal = Journal(path, header, Known)
        self.known = {(one.key, one.budget_seconds, one.run.seed): one.run for one in self._journal.entries}

    def add(self, one: Known) -> None:
        """
        Keeps a run.

        Raises:
            UserError: it cannot be written.
        """
        self.known[one.key, one.budget_seconds, one.run.seed] = one.run
        self._journal.add(one)


def stratified(rows: Sequence[MutantRow], count: int) -> list[str]:
    """
    The keys of a sample in which every file and kind of change has its share of the rows that were judged.

    Rows ordered by file and kind are taken at equal distances.
    """
    judged = [row for row in rows if row.status in (KILLED, SURVIVED)]
    judged.sort(key=lambda row: (row.file, row.operator, row.key))
    count = min(count, len(judged))
    return [judged[(2 * index + 1) * len(judged) // (2 * count)].key for index in range(count)]


def measure_detection(
    lab: CoreLab,
    mutants: Sequence[Mutant],
    seeds: int,
    budget_seconds: float,
    runs: Runs,
    *,
    deadline: float = float("inf"),
    observe: Callable[[Mutant, DetectionRun], None] = lambda _mutant, _run: None,
) -> list[DetectionRow]:
    """
    Each mutant under the tiers with programs of each seed; what is known already is not done again.

    Args:
        lab: compiles the mutants.
        mutants: the sample.
        seeds: how many; the sample is gone through with one after the other, so that an early end leaves whole seeds.
        budget_seconds: of the processor, for one mutant and one seed.
        runs: what is known; every run is added.
        deadline: of the clock; no run is begun after it.
        observe: is told of each new run.
    """
    fixed: Fixed = {}
    for seed in range(_FIRST_SEED, _FIRST_SEED + seeds):
        wanted = [mutant for mutant in mutants if (mutant.key, budget_seconds, seed) not in runs.known]
        if not wanted or time.monotonic() > deadline:
            continue
        arena = lab.arena.with_seed(seed, fixed)
        try:
            for mutant in wanted:
                if time.monotonic() > deadline:
                    break
                death = lab.try_in(arena, mutant, budget_seconds)
                tier = death.kill.tier if death.kill is not None and death.seconds <= budget_seconds else ""
                run = DetectionRun(seed, tier, death.operations, round(death.seconds, 3))
                runs.add(Known(mutant.key, budget_seconds, run))
                observe(mutant, run)
        finally:
            arena.close()
    return list(_rows(mutants, seeds, budget_seconds, runs.known))


def _rows(
    mutants: Sequence[Mutant], seeds: int, budget_seconds: float, known: Mapping[tuple[str, float, int], DetectionRun]
) -> Iterator[DetectionRow]:
    for mutant in mutants:
        keys = [(mutant.key, budget_seconds, seed) for seed in range(_FIRST_SEED, _FIRST_SEED + seeds)]
        runs = tuple(known[key] for key in keys if key in known)
        hits = [run for run in runs if run.tier]
        if runs:
            operations, seconds = band([run.operations for run in hits]), band([run.seconds for run in hits])
            yield DetectionRow(mutant.key, mutant.story(), len(runs), len(hits), *operations, *seconds, runs)


def detection_board(rows: Sequence[DetectionRow], budget_seconds: float) -> DetectionBoard | None:
    """The bands over the seeds with which every mutant of the sample was tried; None without such a seed."""
    if not rows:
        return None
    by_seed = [{run.seed: run for run in row.runs} for row in rows]
    seeds = sorted(set.intersection(*(set(one) for one in by_seed)))
    if not seeds:
        return None
    tiers = list(dict.fromkeys(run.tier for row in rows for run in row.runs if run.tier))
    rates = []
    for seconds in BUDGETS:
        if seconds > budget_seconds * 1.01:
            continue
        for what in ("all", *tiers):
            shares = [
                sum(
                    bool(one[seed].tier) and what in ("all", one[seed].tier) and one[seed].seconds <= seconds
                    for one in by_seed
                )
                / len(rows)
                for seed in seeds
            ]
            rates.append(BandRow(what, seconds, *band(shares)))
    hits = [one[seed] for one in by_seed for seed in seeds if one[seed].tier]
    programs = [run.operations for run in hits if run.operations]
    return DetectionBoard(
        len(rows),
        len(seeds),
        budget_seconds,
        rates,
        BandRow("operations", 0.0, *band(programs)),
        BandRow("seconds", 0.0, *band([run.seconds for run in hits])),
    )
