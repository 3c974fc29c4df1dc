"""`zmm faults`: the misuse catalogue against one or more targets."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ..errors import CLEAN, COUNTEREXAMPLE, INCONCLUSIVE, UserError
from ..faults.fault import CLASSES, Fault, load_catalogue, load_fault
from ..faults.html import to_html
from ..faults.matrix import print_matrix
from ..faults.measure import Column, ensure_performs, measure, measure_sources
from ..faults.prices import measure_prices
from ..faults.record import FAIL, PASS, encode, make_record
from ..faults.reproduce import to_c
from ..faults.run import RUNS
from ..faults.subject import Subject
from ..faults.subjects import Subjects
from ..faults.variants import variants
from ..targets import TargetError
from ..version import VERSION
from . import options
from .faults_search import search as run_search
from .output import check_outputs, make_console, write_file

SEARCH_BUDGET = "10m"


def command(
    target: Annotated[
        list[str] | None,
        typer.Option("--target", metavar="NAME", help="repeatable; see zmm faults --list", show_default="all found"),
    ] = None,
    fault: Annotated[
        list[str] | None,
        typer.Option("--fault", metavar="ID|FILE", help="only this one (repeatable), or your own", show_default="all"),
    ] = None,
    classes: Annotated[
        list[str] | None, typer.Option("--class", metavar="CLASS", help=f"only this class: {', '.join(CLASSES)}")
    ] = None,
    runs: Annotated[int, typer.Option("--runs", metavar="N", help="runs of each fault", min=1, max=1000)] = RUNS,
    variant_count: Annotated[
        int, typer.Option("--variants", metavar="N", help="perform N variants by rule instead", min=0, max=100_000)
    ] = 0,
    seed: options.Seed = 0,
    prices: Annotated[bool, typer.Option("--prices", help="measure what everyday calls cost, too")] = False,
    jobs: Annotated[int, typer.Option("--jobs", metavar="N", help="processes at a time", min=1, max=64)] = 2,
    reproducers: Annotated[
        Path | None, typer.Option("--reproducers", metavar="DIR", help="write a C program for each fault and target")
    ] = None,
    json: options.Json = None,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="write one HTML page")] = None,
    search: Annotated[
        bool, typer.Option("--search", help="search for faults that are not in the catalogue instead (default: on zmm)")
    ] = False,
    time_budget: options.TimeBudget = SEARCH_BUDGET,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="write what the search finds as faults' files")
    ] = None,
    list_all: Annotated[bool, typer.Option("--list", help="list faults and targets, and exit")] = False,
    quiet: options.Quiet = False,
) -> None:
    """
    Perform the faults of the misuse catalogue on every target found, each in a process of its own.

    Exit code 1: a legal operation raised an alarm, or a level of zmm missed a fault that it promises to stop.

    For example:

        zmm faults --target zmm --target php

        zmm faults --fault my-fault.toml --html matrix.html

        zmm faults --search --time-budget 10m --target zmm:hardened
    """
    number = options.parse_seed(seed)
    searching = {"--out": out, "--time-budget": time_budget != SEARCH_BUDGET}
    performing = {
        "--fault": fault,
        "--class": classes,
        "--runs": runs != RUNS,
        "--variants": variant_count,
        "--prices": prices,
        "--reproducers": reproducers,
        "--html": html,
        "--list": list_all,
    }
    if search:
        options.refuse(performing, "does not go with --search; leave one of them out")
        seconds = options.parse_duration(time_budget)
        run_search(target, seconds, seed=number, jobs=jobs, json=json, out=out, quiet=quiet)
    options.refuse(searching, "is for the search alone: zmm faults --search")
    for name in classes or ():
        if name not in CLASSES:
            raise UserError(f"unknown class {name!r}; there are {', '.join(CLASSES)}")
    chosen = choose_faults(fault, classes)
    sources = chosen
    if variant_count:
        chosen = variants(sources, variant_count, number)
    check_outputs({"--json": json, "--html": html}, {"--reproducers": reproducers})
    console = make_console()
    with Subjects() as subjects:
        if list_all:
            for entry in chosen:
                console.print(f"{entry.id:<6}{entry.kind:<14}{entry.title}", markup=False, soft_wrap=True)
            for name, found in subjects.found():
                remark = "found" if isinstance(found, Subject) else str(found)
                console.print(f"{name:<16} {remark}", markup=False, soft_wrap=True)
            raise typer.Exit(CLEAN)
        here, missing = choose_subjects(subjects, target)
        columns = []
        for subject in here:
            if not quiet:
                console.print(f"{subject.name}: {len(chosen)} faults ...", markup=False, soft_wrap=True)
            column = measure(subject, chosen, runs=runs, jobs=jobs)
            if variant_count:
                rates = measure_sources(subject, chosen, sources, runs=runs, jobs=jobs)
                column = replace(column, sources=rates)
            columns.append(replace(column, prices=measure_prices(subject)) if prices else column)
    record = make_record(columns, chosen, runs=runs, seed=number, missing=missing, version=VERSION)
    if quiet:
        console.print(f"zmm faults: {record.status}", markup=False)
    else:
        print_matrix(record, console)
    if json is not None:
        write_file(json, encode(record))
    if html is not None:
        write_file(html, to_html(record, VERSION))
    if reproducers is not None:
        write_reproducers(reproducers, columns)
    if record.status == FAIL:
        raise typer.Exit(COUNTEREXAMPLE)
    raise typer.Exit(CLEAN if record.status == PASS else INCONCLUSIVE)


def choose_faults(names: Sequence[str] | None, classes: Sequence[str] | None) -> list[Fault]:
    """
    The faults of the names (ids of the catalogue or files), in the order given, or the whole catalogue.

    Raises:
        UserError: there is no such fault, or a file holds none.
    """
    known = {fault.id: fault for fault in load_catalogue(found=True)}
    chosen = []
    for name in names or [fault.id for fault in load_catalogue()]:
        if name in known:
            chosen.append(known[name])
        elif os.sep in name or name.endswith(".toml"):
            chosen.append(load_fault(Path(name)))
        else:
            raise UserError(f"unknown fault {name!r}; name an id (zmm faults --list) or a .toml file")
    ids = [fault.id for fault in chosen]
    for fault in chosen:
        if ids.count(fault.id) > 1:
            raise UserError(f"the fault {fault.id!r} is named twice; give your own fault another id")
    selected = [fault for fault in chosen if not classes or fault.kind in classes]
    if not selected:
        raise UserError("no fault is of that class; leave --class or --fault out")
    return selected


def choose_subjects(subjects: Subjects, names: Sequence[str] | None) -> tuple[list[Subject], dict[str, str]]:
    """
    The targets of the names; without names all that are here, and why the others are not.

    Each has performed something legal once: what cannot even do that is said before hours are spent on the others.

    Raises:
        TargetError: a target that was named is not here or cannot be performed on, or this is so of a level of zmm.
        UserError: none is here at all.
    """
    if names:
        named = [subjects.find(name) for name in dict.fromkeys(names)]
        for subject in named:
            ensure_performs(subject)
        return named, {}
    here = []
    missing = {}
    for name, found in subjects.found():
        if not isinstance(found, Subject):
            missing[name] = str(found)
            continue
        try:
            ensure_performs(found)
        except TargetError as error:
            if found.is_zmm:
                raise
            missing[name] = str(error)
        else:
            here.append(found)
    if not here:
        raise UserError("no target is here; install zmm with ci/setup")
    return here, missing


def write_reproducers(folder: Path, columns: Sequence[Column]) -> None:
    """A stand-alone C program for each fault and kind of target."""
    folder.mkdir(parents=True, exist_ok=True)
    for kind in dict.fromkeys(column.subject.kind for column in columns):
        cells = next(column.cells for column in columns if column.subject.kind == kind)
        for cell in cells:
            if cell.outcomes:
                write_file(folder / f"{cell.fault.id}-{kind}.c", to_c(cell.fault, kind).encode())
