"""`zmm fuzz`: a campaign guided by coverage, from nothing to reproducers."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from ..campaign.engines import ENGINES, ENGINES_VARIABLE, checkout, target_names
from ..campaign.harvest import Harvested
from ..campaign.plan import PASS, Outcome, Plan
from ..campaign.run import campaign
from ..errors import CLEAN, COUNTEREXAMPLE, INCONCLUSIVE, USAGE, UserError
from ..report.record import divergence_record, environment
from ..report.simple import write_simple
from ..report.table import story_lines
from ..targets import find_target
from ..version import VERSION
from . import options
from .campaign_show import Show
from .output import check_outputs, make_console, say_error, write_file

DEFAULT_OUTPUT = Path("zmm-findings")
DEFAULT_CORPORA = Path("zmm-corpus")


def command(
    engine: Annotated[
        str, typer.Option("--engine", metavar="NAME", help=", ".join(ENGINES), show_default="the harness' first")
    ] = "",
    fuzz_target: Annotated[
        str, typer.Option("--fuzz-target", "--target-name", metavar="NAME", help="the harness; see --list")
    ] = "heap",
    time_budget: options.TimeBudget = "60s",
    jobs: Annotated[
        int | None, typer.Option("--jobs", metavar="N", help="engines at a time", show_default="2", min=1, max=256)
    ] = None,
    corpus: Annotated[
        str | None,
        typer.Option(
            "--corpus", metavar="DIR", help="kept and grown; a URL with --scheduler", show_default="zmm-corpus/NAME"
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "--out",
            "-o",
            metavar="DIR",
            help="where findings go",
            show_default="zmm-findings; tests/regressions",
        ),
    ] = None,
    scheduler: Annotated[
        str, typer.Option("--scheduler", metavar="ADDRESS", help="a Dask cluster performs it (zmm[dask])")
    ] = "",
    sanitize: Annotated[
        bool, typer.Option("--sanitize", help="with AddressSanitizer and UBSan: slower, sees more")
    ] = False,
    core: Annotated[
        Path | None, typer.Option("--core", metavar="DIR", help="another copy of zmm/ or zmm/core/ (a planted bug)")
    ] = None,
    target: Annotated[
        str, typer.Option("--target", metavar="NAME", help="the library on which the models judge findings")
    ] = "zmm",
    prune: Annotated[bool, typer.Option("--prune/--no-prune", help="reduce the corpus to a cover at the end")] = True,
    seed: options.Seed = 0,
    json: options.Json = None,
    list_all: Annotated[bool, typer.Option("--list", help="list harnesses and engines, and exit")] = False,
    quiet: options.Quiet = False,
) -> None:
    """
    Fuzz the allocator with an engine guided by coverage; shrink what it finds and keep it as a regression.

    In a checkout each finding's program joins tests/regressions, unless --output names another place for everything.

    For example:

        zmm fuzz --time-budget 60s

        zmm fuzz --engine atheris --fuzz-target realloc --jobs 4 --json fuzz.json
    """
    console = make_console()
    if list_all:
        show_targets(console)
        raise typer.Exit(CLEAN)
    if core is not None:
        core = core_folder(core)
    plan = Plan(
        engine,
        fuzz_target,
        options.parse_duration(time_budget),
        jobs or (0 if scheduler else 2),
        options.parse_seed(seed),
        corpus or str(DEFAULT_CORPORA / fuzz_target),
        output or DEFAULT_OUTPUT,
        regressions_folder() if output is None and core is None and target == "zmm" else None,
        target,
        sanitize,
        core,
        scheduler,
        prune,
    )
    is_here = not scheduler and "://" not in plan.corpus
    folders = {"--output": plan.output, "--corpus": Path(plan.corpus) if is_here else None}
    check_outputs({"--json": json}, folders)
    if not scheduler and "://" in plan.corpus:
        raise UserError(f"--corpus {plan.corpus} is a URL, which needs --scheduler; name a folder")
    find_target(target)
    with Show(console, quiet=quiet) as show:
        if scheduler:
            from ..campaign.cluster import cluster_campaign

            outcome = cluster_campaign(plan, show)
        else:
            outcome = campaign(plan, show)
    code = report(plan, outcome, console, quiet=quiet)
    if json is not None:
        write_file(json, to_json(plan, outcome))
    raise typer.Exit(code)


def core_folder(path: Path) -> Path:
    """
    The folder of the core's sources: that folder itself, or the one in a copy of zmm/ or of the tree.

    Raises:
        UserError: there are none, or the headers beside them are missing.
    """
    if not path.is_dir():
        raise UserError(f"--core {path} is no folder; name a copy of zmm/")
    for folder in (path, path / "core", path / "zmm" / "core"):
        if (folder / "unity.c").is_file() and (folder.resolve().parent / "include").is_dir():
            return folder
    raise UserError(f"--core {path} has no core/unity.c with include/ beside core/; name a copy of zmm/")


def regressions_folder() -> Path | None:
    """Where programs of findings are kept for good: in a checkout, when the engine is made of its sources."""
    root = checkout()
    if root is None or os.environ.get(ENGINES_VARIABLE):
        return None
    return root / "tests" / "regressions"


def show_targets(console: Console) -> None:
    """Every harness with its engines, a line each."""
    from ..harness import TARGETS

    for name in target_names():
        found = TARGETS[name]
        console.print(f"{name:<12} {found.sentence} ({', '.join(found.engines)})", markup=False, soft_wrap=True)


def report(plan: Plan, outcome: Outcome, console: Console, *, quiet: bool) -> int:
    """Says what came of it, and returns the exit code."""
    if not quiet:
        for one in outcome.findings:
            for line in story(one):
                console.print(line, markup=False, soft_wrap=True)
        for row in outcome.workers:
            if row.longest_bytes and outcome.seconds > 0:
                rate = f"{row.executions:,} executions, {row.executions / outcome.seconds:,.0f}/s"
                console.print(
                    f"{row.name}: inputs up to {row.longest_bytes} bytes, {rate}", markup=False, soft_wrap=True
                )
            if row.deaths or row.trouble:
                said = [f"lost {len(row.deaths)} times ({row.deaths[-1]})"] if row.deaths else []
                said += [row.trouble] if row.trouble else []
                console.print(f"{row.name}: {'; '.join(said)}", markup=False, soft_wrap=True)
        if outcome.corpus is not None:
            before, after = outcome.corpus.files_before, outcome.corpus.files
            console.print(f"corpus {plan.corpus}: {before} inputs became {after}", markup=False, soft_wrap=True)
    console.print(summary(outcome), markup=False, soft_wrap=True)
    if outcome.interrupted:
        say_error(f"interrupted by {outcome.interrupted}; the results so far are reported as they are")
    if outcome.disk:
        say_error(outcome.disk)
        return USAGE
    if outcome.findings:
        return COUNTEREXAMPLE
    return CLEAN if outcome.status == PASS else INCONCLUSIVE


def summary(outcome: Outcome) -> str:
    """The result line."""
    reason = outcome.reason or (f"interrupted by {outcome.interrupted}" if outcome.interrupted else "")
    per_cpu = f", {outcome.cpu_rate():,.0f} per processor second" if outcome.cpu_seconds > 0 else ""
    return (
        f"zmm fuzz: {outcome.status}, {outcome.executions:,} executions in {outcome.seconds:.0f} s "
        f"({outcome.rate():,.0f}/s{per_cpu}), coverage {outcome.coverage:,}, features {outcome.features:,}, "
        f"{len(outcome.findings)} findings" + (f" ({reason})" if reason else "")
    )


def story(one: Harvested) -> list[str]:
    """A finding in a few lines."""
    if one.finding is not None:
        record = divergence_record(one.finding)
        lines = story_lines("fuzz", record)
        if one.seen_on not in (one.finding.target, ""):
            lines.append(f"  seen on: {one.seen_on}")
    else:
        lines = ["", f"fuzz: {one.violation.rule}: {one.violation.sentence}"]
        lines.append(f"  input: {one.data[:64].hex()}{'...' if len(one.data) > 64 else ''}")
        lines += [f"  note: {one.note}"] if one.note else []
    lines.append(f"  state: {one.state}")
    shown = [line for line in lines if not line.startswith("  saved:")]
    return [*shown, f"  saved: {', '.join(one.files)}"] if one.files else shown


def to_json(plan: Plan, outcome: Outcome) -> bytes:
    """The report, schema 1: the run, its workers, its findings."""
    return write_simple(
        outcome.status,
        engine=outcome.engine,
        fuzz_target=plan.fuzz_target,
        sanitize=plan.sanitize,
        target=plan.target,
        seed=plan.seed,
        jobs=plan.jobs,
        scheduler=plan.scheduler,
        reason="; ".join(part for part in (outcome.reason, outcome.disk) if part),
        interrupted=outcome.interrupted,
        seconds=round(outcome.seconds, 3),
        executions=outcome.executions,
        executions_per_second=round(outcome.rate(), 1),
        executions_per_cpu_second=round(outcome.cpu_rate(), 1),
        coverage=outcome.coverage,
        features=outcome.features,
        seeds=outcome.seeds,
        crashes=outcome.crashes,
        corpus={"place": plan.corpus, **(asdict(outcome.corpus) if outcome.corpus is not None else {})},
        workers=[asdict(row) for row in outcome.workers],
        findings=[finding_record(one) for one in outcome.findings],
        environment=environment({"zmm": VERSION, "cpus": str(os.cpu_count() or 0)}),
    )


def finding_record(one: Harvested) -> dict[str, Any]:
    """A finding in the report; `input` is the input's bytes in hexadecimal."""
    return {
        "rule": one.violation.rule,
        "sentence": one.violation.sentence,
        "state": one.state,
        "seen_on": one.seen_on,
        "repeated": one.repeated,
        "note": one.note,
        "input": one.data.hex(),
        "operations_before": one.operations_before,
        "divergence": divergence_record(one.finding) if one.finding is not None else None,
        "files": list(one.files),
    }
