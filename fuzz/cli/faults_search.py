"""`zmm faults --search`: looks for faults that are not in the catalogue."""

from __future__ import annotations

from pathlib import Path

import msgspec
import typer

from ..errors import CLEAN, COUNTEREXAMPLE, INCONCLUSIVE, UserError
from ..faults.known import known_at
from ..faults.measure import ensure_performs
from ..faults.search import Found, Search
from ..faults.search_machine import search_by_machine
from ..faults.search_record import FAIL, PASS, file_name, found_lines, record_of, row_lines, row_of, to_toml
from ..faults.subjects import Subjects
from .output import check_outputs, make_console, write_file

# How much of the time the Hypothesis machine has; what it comes to seeds the rest.
_MACHINE_SHARE = 0.25
_DEFAULT_TARGET = "zmm"


def search(
    names: list[str] | None,
    seconds: float,
    *,
    seed: int,
    jobs: int,
    json: Path | None,
    out: Path | None,
    quiet: bool,
) -> None:
    """
    Searches the targets one after the other, each for an equal part of the time, and exits.

    Raises:
        TargetError: a target is not here, or cannot be performed on.
        UserError: a target cannot be searched.
    """
    check_outputs({"--json": json}, {"--out": out})
    console = make_console()
    rows = []
    targets = list(dict.fromkeys(names or [_DEFAULT_TARGET]))
    with Subjects() as subjects:
        chosen = [subjects.find(name) for name in targets]
        for subject in chosen:
            if subject.runs_max == 1 or "ZMM_FAULTS_ACCESSES" in subject.environment:
                raise UserError(f"{subject.name} is too slow to be searched; choose zmm, php or a malloc library")
            ensure_performs(subject)
        for subject in chosen:

            def notice(found: Found, name: str = subject.name) -> None:
                if not quiet:
                    for line in found_lines(found):
                        console.print(line, markup=False, highlight=False, soft_wrap=True)
                if out is not None:
                    out.mkdir(parents=True, exist_ok=True)
                    write_file(out / file_name(found.primitive.signature), to_toml(found, name).encode())

            if not quiet:
                console.print(f"{subject.name}: searching ...", markup=False, soft_wrap=True)
            share = seconds / len(chosen)
            work = Search(subject, seed, known_at(subject.level), jobs=jobs, notice=notice)
            search_by_machine(work, share * _MACHINE_SHARE)
            row = row_of(work.run(share * (1 - _MACHINE_SHARE)))
            rows.append(row)
            if not quiet:
                for line in row_lines(row):
                    console.print(line, markup=False, highlight=False, soft_wrap=True)
    record = record_of(rows, seed)
    console.print(f"zmm faults --search: {record.status}", markup=False)
    if json is not None:
        write_file(json, msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n")
    if record.status == FAIL:
        raise typer.Exit(COUNTEREXAMPLE)
    raise typer.Exit(CLEAN if record.status == PASS else INCONCLUSIVE)
