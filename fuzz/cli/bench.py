"""`zmm bench`: how many operations a second each tier checks, and what a pair of calls costs beside the peers."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
from zmm_model.op import Settings

from ..compare import first_unfit_row
from ..driver import Driver
from ..errors import CLEAN, COUNTEREXAMPLE, INCONCLUSIVE, UserError
from ..report.simple import write_simple
from ..targets import Target, find_target
from ..tiers import TIERS
from ..tiers.base import SKIPPED, Budget, Task, TierResult
from ..wire import Burst, BurstFlag, BurstProfile
from . import options
from .output import check_outputs, make_console, write_file
from .prices import ALL, PAIR, show_prices
from .worst import find_subject, search_worst, show_worst

SUITES = ("suite", "pair", "prices", "worst")
# The suites that an option says something to; "search" is worst with --search.
_SPEAKS_TO = {
    "target": ("suite", "worst", "search"),
    "edition": ("suite",),
    "seed": ("suite", "search"),
    "time_budget": ("suite", "search"),
    "jobs": ("suite",),
}
# Checked operations a second that the tiers must not fall below on two free cores.
FLOORS = {"lockstep": 100_000, "burst": 5_000_000, "oracle": 20_000}
_BURST_OPERATIONS = 200_000


@dataclass(frozen=True, slots=True)
class Rate:
    """One measured rate; ``floor`` is 0 where none is promised."""

    name: str
    status: str
    operations: int
    seconds: float
    operations_per_second: float
    floor: int
    remark: str


def command(
    context: typer.Context,
    suites: Annotated[list[str] | None, typer.Argument(metavar="[SUITE]...", help="suite, pair, prices, worst")] = None,
    target: options.Target = "zmm",
    edition: options.Edition = None,
    seed: options.Seed = 0,
    time_budget: options.TimeBudget = "30s",
    jobs: Annotated[int, typer.Option("--jobs", metavar="N", help="worker processes", min=1, max=64)] = 2,
    search: Annotated[
        Path | None, typer.Option("--search", metavar="DIR", help="worst: look for worse programs, and write them here")
    ] = None,
    json: options.Json = None,
    quiet: options.Quiet = False,
) -> None:
    """
    suite: checked operations per second of each tier, beside the floors promised for two cores.
    pair: alloc and free of 40 bytes on zmm's levels, PHP and libc, in turn, with instruction counts.
    prices: that, random sizes, large pairs and memory, with ratios, and the goals that zmm's levels have.
    worst: the programs that waste most memory and instructions, and what they cost now.

    Exit code 1 when a rate is below its floor, a goal is missed, or a tier finds a divergence; 3 when a figure of the
    worst programs could not be measured, or a search was interrupted.

    For example:

        zmm bench suite --time-budget 60s --json rates.json

        zmm bench worst --search worse --time-budget 10m
    """
    for suite in suites or SUITES:
        if suite not in SUITES:
            raise UserError(f"unknown suite {suite!r}; there are {', '.join(SUITES)}")
    chosen = list(dict.fromkeys(suites or SUITES[:1]))
    if search is not None and chosen != ["worst"]:
        raise UserError("--search is for the suite worst alone: zmm bench worst --search DIR")
    refuse_unheard(context, [*chosen, *(["search"] if search is not None else [])])
    if json is not None and len(chosen) > 1:
        raise UserError(f"--json is for one suite at a time, not for {' and '.join(chosen)}; run each by itself")
    seconds = options.parse_duration(time_budget)
    rules = options.parse_edition(edition, target)
    check_outputs({"--json": json}, {"--search": search})
    codes = []
    if "worst" in chosen:
        subject = find_subject(target)
        if search is not None:
            codes.append(search_worst(subject, search, options.parse_seed(seed), seconds, json, quiet=quiet))
        else:
            codes.append(show_worst(subject, json, quiet=quiet))
    codes += [
        show_prices(loops, json, quiet=quiet) for name, loops in (("pair", PAIR), ("prices", ALL)) if name in chosen
    ]
    if "suite" not in chosen:
        raise typer.Exit(overall(codes))
    task = Task(target, rules, options.parse_seed(seed), jobs=jobs)
    found = find_target(target)
    console = make_console()
    rates: list[Rate] = []
    for rate in measure(task, found, seconds):
        rates.append(rate)
        if not quiet:
            floor = f" (floor {rate.floor:,})" if rate.floor else ""
            remark = f"  {rate.remark}" if rate.remark else ""
            console.print(
                f"{rate.name:<11}{rate.operations_per_second:>14,.0f} operations/s{floor}  {rate.status}{remark}",
                markup=False,
                soft_wrap=True,
            )
    failed = [rate.name for rate in rates if rate.status in ("below", "fail")]
    status = "fail" if failed else "pass"
    said = f"below their floor or diverging: {', '.join(failed)}" if failed else "no rate is below its floor"
    load = os.getloadavg()[0]
    console.print(
        f"zmm bench suite: {said} ({os.cpu_count()} cpus, load {load:.1f}, {jobs} workers)",
        markup=False,
        soft_wrap=True,
    )
    if json is not None:
        write_file(
            json,
            write_simple(
                status,
                suite="suite",
                target=target,
                edition=rules,
                cpus=os.cpu_count() or 0,
                jobs=jobs,
                load_average=round(load, 2),
                rates=[asdict(rate) for rate in rates],
            ),
        )
    raise typer.Exit(overall([*codes, COUNTEREXAMPLE if failed else CLEAN]))


def refuse_unheard(context: typer.Context, chosen: Sequence[str]) -> None:
    """
    Options that say nothing to any of the suites chosen.

    Raises:
        UserError: one was given.
    """
    for name, suites in _SPEAKS_TO.items():
        source = context.get_parameter_source(name)
        given = source is not None and source.name == "COMMANDLINE"
        said = " and ".join(name.replace("search", "worst --search") for name in suites)
        remedy = f"says nothing to {' and '.join(chosen)}; it is for {said}"
        options.refuse({f"--{name.replace('_', '-')}": given and not set(suites) & set(chosen)}, remedy)


def overall(codes: Sequence[int]) -> int:
    """The exit code of several suites: one that failed, else one that measured less than it should."""
    return next((code for code in (COUNTEREXAMPLE, INCONCLUSIVE) if code in codes), CLEAN)


def measure(task: Task, target: Target, seconds: float) -> Iterator[Rate]:
    """Each tier for its share of the time, and native bursts."""
    share = seconds / (len(TIERS) + 1)
    yield measure_bursts(task, target, share)
    for tier in TIERS:
        result = TierResult(tier.name)
        watch = Stopwatch(result)
        tier.run(task, Budget(share), result, watch.tick)
        watch.stop()
        result.settle()
        yield _rate(
            tier.name,
            watch.operations,
            watch.seconds,
            "skipped" if result.status == SKIPPED else "fail" if result.findings else "",
            result.reason if result.status == SKIPPED else "",
        )


class Stopwatch:
    """
    Counts what a tier does from its first report on: starting its processes is no part of the rate.

    A tier that reports only once is measured as a whole.
    """

    def __init__(self, result: TierResult) -> None:
        self._result = result
        self._begin = time.monotonic()
        self._first: tuple[float, int] | None = None
        self._last = (self._begin, 0)
        self.operations = 0
        self.seconds = 0.0

    def tick(self) -> None:
        """Looks at the result and the clock."""
        if self._result.operations != self._last[1]:
            self._last = (time.monotonic(), self._result.operations)
            self._first = self._first or self._last

    def stop(self) -> None:
        """Makes the counts final."""
        self.tick()
        begin, done = self._first or self._last
        if self._last[1] == done:
            begin, done = self._begin, 0
        self.seconds, self.operations = self._last[0] - begin, self._last[1] - done


def measure_bursts(task: Task, target: Target, seconds: float) -> Rate:
    """Native bursts, each checked by a walk of the heap at its end; one runner for each job."""
    begin = time.monotonic()
    with ThreadPoolExecutor(task.jobs) as pool:
        # The work is the runners'; the threads only wait for them.
        parts = list(pool.map(lambda job: _bursts_of_one(task, target, seconds, job), range(task.jobs)))
    operations = sum(operations for operations, _ in parts)
    failed = "" if all(clean for _, clean in parts) else "fail"
    return _rate("burst", operations, time.monotonic() - begin, failed, "small blocks, check at the end")


def _bursts_of_one(task: Task, target: Target, seconds: float, job: int) -> tuple[int, bool]:
    """Operations of one job's bursts, and whether all of them were clean."""
    driver = Driver(target, task.edition)
    budget = Budget(seconds)
    operations = 0
    number = 0
    try:
        while not budget.spent():
            seed = task.seed + number * task.jobs + job
            trace = driver.run_bursts(Settings(), [Burst(seed, _BURST_OPERATIONS, BurstProfile.SMALL, BurstFlag.GC)])
            operations += _BURST_OPERATIONS
            number += 1
            if first_unfit_row(trace.rows, 3) is not None:
                return operations, False
        return operations, True
    finally:
        driver.close()


def _rate(name: str, operations: int, seconds: float, status: str, remark: str) -> Rate:
    per_second = operations / seconds if seconds > 0 else 0.0
    floor = FLOORS.get(name, 0)
    if not status:
        status = "below" if floor and per_second < floor else "ok"
    return Rate(name, status, operations, round(seconds, 3), round(per_second, 1), floor, remark)
