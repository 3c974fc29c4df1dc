"""`zmm shrink`: the smallest program with the same verdict, in every form that reproduces it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import CLEAN, INCONCLUSIVE, UserError
from ..findings import SaveError, save_finding, shrink_judged
from ..judge import Judge
from ..load import load_program
from ..report.record import divergence_record
from ..report.simple import write_simple
from ..report.table import story_lines
from ..targets import find_target
from ..tiers.base import Finding
from ..versus import Versus
from . import options
from .output import check_outputs, make_console, write_file


def command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="a .zmm, .tape, .bin or .bin.gz file")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="where the reproducers go")],
    target: options.Target = "zmm",
    edition: options.Edition = None,
    against: Annotated[
        str | None, typer.Option("--against", metavar="TARGET2", help="compare with this target, not the models")
    ] = None,
    time_budget: options.TimeBudget = "60s",
    json: options.Json = None,
    quiet: options.Quiet = False,
) -> None:
    """
    Find the smallest program with the same verdict; write it as text, tape, pytest case and stand-alone C.

    Exit code 0 means that a smaller (or equal) failing program has been written; 3 that the program does not fail.

    For example:

        zmm shrink crash.tape --target zmm -o reproducers

        zmm shrink found.zmm --target php:/opt/php/libphp8.2.so -o out --time-budget 5m
    """
    program = load_program(file)
    seconds = options.parse_duration(time_budget)
    check_outputs({"--json": json}, {"--out": out})
    rules = options.parse_edition(edition, target)
    console = make_console()
    found = find_target(target)
    opponent: Judge | Versus = Judge(found, rules) if against is None else Versus(found, find_target(against), rules)
    with opponent as judge:
        verdict = next(iter(judge.judge_batch([program])), None)
        if verdict is None or verdict.divergence is None:
            console.print(f"zmm shrink: inconclusive, {file} does not fail on {target}", markup=False, soft_wrap=True)
            if json is not None:
                write_file(json, write_simple("inconclusive", target=target, edition=rules, divergences=[]))
            raise typer.Exit(INCONCLUSIVE)
        finding = Finding(verdict.divergence, verdict.program, target, rules, against or "")
        small = shrink_judged(finding, judge, seconds)
    try:
        small = save_finding(small, out)
    except SaveError as error:
        raise UserError(str(error)) from None
    record = divergence_record(small)
    if not quiet:
        for line in story_lines("shrink", record)[1:]:
            console.print(line, markup=False, soft_wrap=True)
    console.print(f"zmm shrink: {len(program)} operations became {len(small.program)}", markup=False, soft_wrap=True)
    if json is not None:
        write_file(
            json,
            write_simple("pass", target=target, edition=rules, before=len(program), divergences=[record]),
        )
    raise typer.Exit(CLEAN)
