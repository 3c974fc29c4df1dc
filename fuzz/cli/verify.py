"""`zmm verify`: the main job."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from ..errors import COUNTEREXAMPLE, USAGE, UserError
from ..report import Record, encode, make_record
from ..report.html import to_html
from ..report.junit import to_junit
from ..report.record import EXIT_CODES
from ..report.sarif import to_sarif
from ..report.table import print_table
from ..targets import TargetError, find_target
from ..tiers import TIERS
from ..tiers.base import FAIL, Task, Tier
from ..verify import verify
from ..version import VERSION
from . import options
from .output import check_outputs, make_console, say_error, write_file
from .progress import Show

DEFAULT_BUDGET = "2m"
PATIENCE = 3.0
PROFILES = ("dev", "ci", "nightly")


def command(
    target: options.Target = "zmm",
    edition: options.Edition = None,
    seed: options.Seed = 0,
    time_budget: Annotated[
        str | None,
        typer.Option("--time-budget", metavar="TIME", help="60s, 2m, 1h", show_default="2m, more on a busy machine"),
    ] = None,
    tier: Annotated[
        list[str] | None, typer.Option("--tier", metavar="TIER", help="only this tier (repeatable)", show_default="all")
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", metavar="N", help="worker processes", min=1, max=64)] = 2,
    profile: Annotated[str, typer.Option("--profile", help="tier machine: dev, ci or nightly")] = "dev",
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="where reproducers are saved")] = Path(
        "zmm-findings"
    ),
    json: options.Json = None,
    junit: Annotated[Path | None, typer.Option("--junit", metavar="FILE", help="write JUnit XML")] = None,
    sarif: Annotated[Path | None, typer.Option("--sarif", metavar="FILE", help="write SARIF 2.1.0")] = None,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="write one HTML page")] = None,
    quiet: options.Quiet = False,
) -> None:
    """
    Run every tier on a target, and show the smallest program for each divergence.

    For example:

        zmm verify

        zmm verify --target zmm:debug --time-budget 30s --json report.json
    """
    budget_seconds = options.parse_duration(time_budget or DEFAULT_BUDGET)
    # Without a word from the user the goals matter more than the clock.
    limit_seconds = budget_seconds if time_budget else budget_seconds * PATIENCE
    rules = options.parse_edition(edition, target)
    if profile not in PROFILES:
        raise UserError(f"unknown profile {profile!r}; there are {', '.join(PROFILES)}")
    tiers = choose_tiers(tier)
    task = Task(target, rules, options.parse_seed(seed), jobs=jobs, profile=profile)
    found = find_target(target)
    writers: list[tuple[Path, Callable[[Record], bytes]]] = [
        (path, write)
        for path, write in (
            (json, encode),
            (junit, to_junit),
            (sarif, lambda record: to_sarif(record, VERSION)),
            (html, lambda record: to_html(record, VERSION)),
        )
        if path is not None
    ]
    check_outputs({"--json": json, "--junit": junit, "--sarif": sarif, "--html": html}, {"--out": out})

    console = make_console()
    with Show(console, quiet=quiet) as show:
        outcome = verify(task, budget_seconds, tiers=tiers, limit_seconds=limit_seconds, out=out, observer=show)
    record = make_record(
        outcome.results,
        target=target,
        target_version=found.version,
        edition=rules,
        seed=task.seed,
        interrupted=bool(outcome.interrupted),
        reason=f"interrupted by {outcome.interrupted}" if outcome.interrupted else "",
        seconds=outcome.seconds,
        extra_environment={"zmm": VERSION, "cpus": str(os.cpu_count() or 0), "jobs": str(jobs)},
    )
    code = EXIT_CODES[record.status]
    try:
        if quiet:
            console.print(f"zmm verify: {record.status}", markup=False)
        else:
            print_table(record, console)
    except OSError as error:
        say_error(f"cannot print the table: {error.strerror}")
        code = max(code, USAGE) if code != COUNTEREXAMPLE else code
    if outcome.interrupted:
        say_error(f"interrupted by {outcome.interrupted}; the results so far are reported as they are")
    for path, write in writers:
        try:
            write_file(path, write(record))
        except UserError as error:
            # Every other file is still written; a counterexample stays the more important news.
            say_error(str(error))
            code = code if record.status == FAIL else USAGE
    raise typer.Exit(code)


def choose_tiers(names: list[str] | None) -> list[Tier]:
    """
    The tiers of the names given, in their usual order; all of them without names.

    Raises:
        UserError: there is no tier of that name.
    """
    known = {tier.name: tier for tier in TIERS}
    for name in names or ():
        if name not in known:
            raise UserError(f"unknown tier {name!r}; there are {', '.join(known)}")
    return [tier for tier in TIERS if not names or tier.name in names]


__all__ = ["TargetError", "choose_tiers", "command"]
