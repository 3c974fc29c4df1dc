"""`zmm prove`: contracts and proofs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import CLEAN, COUNTEREXAMPLE, INCONCLUSIVE, UserError, explain_os_error
from ..prove.catalogue import PROPERTIES
from ..prove.property import ENGINES, Property, Result
from ..prove.run import Clock, overall, prove_all
from ..prove.table import BEGIN, as_rows, changes, counts, has_table, print_results, replaced, row_line
from ..report.record import environment
from ..report.simple import write_simple
from ..tiers.base import Interrupted
from ..version import VERSION
from . import options
from .output import check_outputs, make_console, say_error, write_file

DEFAULT_BUDGET = "1h"
_CODES = {"pass": CLEAN, "fail": COUNTEREXAMPLE, "inconclusive": INCONCLUSIVE}


def command(
    engine: Annotated[
        list[str] | None,
        typer.Option("--engine", metavar="NAME", help=f"only this (repeatable): {', '.join(ENGINES)}"),
    ] = None,
    name: Annotated[
        list[str] | None, typer.Option("--property", metavar="NAME", help="only this one (repeatable); see --list")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="only what takes seconds")] = False,
    all_of_them: Annotated[bool, typer.Option("--all", help="searches that can hardly end in a proof, too")] = False,
    time_budget: Annotated[
        str, typer.Option("--time-budget", metavar="TIME", help="after it the rest is inconclusive")
    ] = DEFAULT_BUDGET,
    jobs: Annotated[int, typer.Option("--jobs", metavar="N", help="properties at a time", min=1, max=64)] = 1,
    json: options.Json = None,
    markdown: Annotated[
        Path | None, typer.Option("--markdown", metavar="FILE", help="put the table into this page (docs/proofs.md)")
    ] = None,
    compare: Annotated[
        Path | None, typer.Option("--compare", metavar="FILE", help="say what differs from the table of this page")
    ] = None,
    list_all: Annotated[bool, typer.Option("--list", help="list the properties, and exit")] = False,
    quiet: options.Quiet = False,
) -> None:
    """
    Prove the model's contracts, and the core's arithmetic against the model, each with a planted change to refute.

    Exit code 1: a property is refuted, or a planted change is not. Exit code 3: some could not be decided.

    For example:

        zmm prove --quick

        zmm prove --engine ir --property ir-product --json proof.json
    """
    options.refuse({"--quick": quick and all_of_them}, "does not go with --all, which adds what takes longest")
    chosen = choose(engine, name, is_quick=quick, is_all=all_of_them)
    console = make_console()
    if list_all:
        for one in chosen:
            console.print(f"{one.name:<25} {one.engine:<11} {one.sentence}", markup=False, soft_wrap=True)
        raise typer.Exit(CLEAN)
    clock = Clock(options.parse_duration(time_budget))
    page = _page(compare)
    template = _page(markdown)
    for path, text in ((compare, page), (markdown, template)):
        if path is not None and not has_table(text):
            raise UserError(
                f"{path} has no table of zmm prove; name a page with its two lines ({BEGIN}), docs/proofs.md"
            )
    check_outputs({"--json": json, "--markdown": markdown})
    results: list[Result] = []

    def tell(result: Result) -> None:
        if not quiet:
            console.print(row_line(result), markup=False, soft_wrap=True)

    interrupted = ""
    try:
        results.extend(prove_all(chosen, clock, jobs=jobs, tell=tell))
    except Interrupted as error:
        interrupted = str(error)
        say_error(f"interrupted by {interrupted}; the results so far are reported as they are")
    order = {one.name: place for place, one in enumerate(chosen)}
    results.sort(key=lambda result: order[result.row.name])
    status = overall(results)
    if interrupted and status == "pass":
        status = "inconclusive"
    if not quiet:
        print_results(results, console)
    for line in changes(page, results) if compare is not None and not interrupted else ():
        console.print(f"changed: {line}", markup=False, soft_wrap=True)
    seconds = sum(result.seconds for result in results)
    console.print(
        f"zmm prove: {status}, {len(results)} properties: {counts(results) or 'none decided'}, {seconds:.0f} s",
        markup=False,
        soft_wrap=True,
    )
    if json is not None:
        rows = as_rows(results)
        write_file(json, write_simple(status, properties=rows, environment=environment({"zmm": VERSION})))
    if markdown is not None and not interrupted:
        write_file(markdown, replaced(template, results, PROPERTIES).encode())
    raise typer.Exit(_CODES[status])


def _page(path: Path | None) -> str:
    """A page to compare with or to write into."""
    if path is None:
        return ""
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError):
            raise UserError(explain_os_error(error, f"read {path}")) from None
        raise UserError(f"cannot read {path}: not a text; name docs/proofs.md") from None


def choose(engines: list[str] | None, names: list[str] | None, *, is_quick: bool, is_all: bool) -> list[Property]:
    """
    The properties that were asked for, in the order of the table.

    Raises:
        UserError: there is no such engine or property, or none is both.
    """
    for one in engines or ():
        if one not in ENGINES:
            raise UserError(f"unknown engine {one!r}; there are {', '.join(ENGINES)}")
    known = {one.name for one in PROPERTIES}
    for one in names or ():
        if one not in known:
            raise UserError(f"unknown property {one!r}; see zmm prove --list")
    chosen = [
        one
        for one in PROPERTIES
        if (not engines or one.engine in engines)
        and (one.name in names if names else is_all or not one.is_extra)
        and (one.is_quick or not is_quick)
    ]
    if not chosen:
        raise UserError("no property is of that engine and name; see zmm prove --list")
    return chosen
