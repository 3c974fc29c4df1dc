"""`zmm replay`: one program, tape or trace on a target, in lockstep with the models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from zmm_model.outcome import STATUS_WORDS

from ..compare import ROW_BYTES, Divergence, show_place, unpack_row
from ..driver import Trace
from ..errors import CLEAN, COUNTEREXAMPLE, INCONCLUSIVE
from ..judge import Judge
from ..load import load_program
from ..program import Program
from ..report.record import divergence_record
from ..report.simple import write_simple
from ..report.table import story_lines
from ..targets import find_target
from ..text import operation_line, settings_line
from ..tiers.base import Finding
from ..versus import Versus
from . import options
from .output import check_writable, make_console, write_file

_SHOWN_STEPS_MAX = 100_000


def command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="a .zmm, .tape, .bin or .bin.gz file")],
    target: options.Target = "zmm",
    edition: options.Edition = None,
    against: Annotated[
        str | None, typer.Option("--against", metavar="TARGET2", help="compare with this target, not the models")
    ] = None,
    steps: Annotated[bool, typer.Option("--steps", help="print each step")] = False,
    json: options.Json = None,
    quiet: options.Quiet = False,
) -> None:
    """
    Replay a program, a tape or a recorded trace on a target, in lockstep with the models.

    For example:

        zmm replay zmm-findings/exact-place-1a2b3c4d.zmm --steps

        zmm replay trace.bin.gz --target zmm --edition php-8.2 --against php
    """
    program = load_program(file)
    check_writable(json)
    rules = options.parse_edition(edition, target)
    if against is not None and edition is None and "php" in (target.split(":")[0], against.split(":")[0]):
        rules = "php-8.2"
    console = make_console()
    found = find_target(target)
    opponent: Judge | Versus = Judge(found, rules) if against is None else Versus(found, find_target(against), rules)
    with opponent as judge:
        verdicts = list(judge.judge_batch([program]))
        if steps and not quiet:
            performed = verdicts[0].program if verdicts else program
            print_steps(console, performed, judge.driver.run([performed])[0])
    if not verdicts:
        reason = f"{found.name} {found.version} leaves the opening of this heap undefined"
        _finish(console, file, target, rules, "inconclusive", reason, None, program, json, quiet)
        raise typer.Exit(INCONCLUSIVE)
    verdict = verdicts[0]
    reason = ""
    if len(verdict.program) < len(program):
        reason = f"compared up to operation {len(verdict.program)} of {len(program)}: what follows is undefined in PHP"
    status = "fail" if verdict.divergence else "pass"
    _finish(
        console, file, target, rules, status, reason, verdict.divergence, verdict.program, json, quiet, against or ""
    )
    raise typer.Exit(COUNTEREXAMPLE if verdict.divergence else CLEAN)


def _finish(
    console: Console,
    file: Path,
    target: str,
    edition: str,
    status: str,
    reason: str,
    divergence: Divergence | None,
    program: Program,
    json: Path | None,
    quiet: bool,
    against: str = "",
) -> None:
    """Says and writes what came of it."""
    records = []
    if divergence is not None:
        records.append(divergence_record(Finding(divergence, program, target, edition, against)))
        if not quiet:
            for line in story_lines("replay", records[0])[1:]:
                console.print(line, markup=False, soft_wrap=True)
    remark = f" ({reason})" if reason else ""
    other = f" against {against}" if against else ""
    console.print(
        f"zmm replay: {status}, {len(program)} operations on {target}, edition {edition}{other}{remark}",
        markup=False,
        soft_wrap=True,
    )
    if json is not None:
        write_file(
            json,
            write_simple(
                status,
                target=target,
                against=against,
                edition=edition,
                file=str(file),
                operations=len(program),
                reason=reason,
                divergences=records,
            ),
        )


def print_steps(console: Console, program: Program, trace: Trace) -> None:
    """Each step on a line: operation, status, place, counters."""
    console.print(f"  0  heap {settings_line(program.settings)}".rstrip(), markup=False, soft_wrap=True)
    for step, operation in enumerate(program.operations[:_SHOWN_STEPS_MAX], 1):
        if (step + 1) * ROW_BYTES > len(trace.rows):
            break
        row = unpack_row(trace.rows, step)
        name = program.label_name(operation.label) if operation.label >= 0 else ""
        place = f", {show_place(row)}, {row.block_bytes} bytes" if row.block_bytes else ""
        value = f", {row.value}" if operation.word in ("gc", "limit") else ""
        text = trace.messages.get(step, "")
        console.print(
            f"{step:>3}  {operation_line(operation, name)}: "
            f"{STATUS_WORDS[row.status]}{value}{place}; size {row.size}, peak {row.peak}, real {row.real_size}"
            + (f"; {text}" if text else ""),
            markup=False,
            soft_wrap=True,
        )
    if len(program) > _SHOWN_STEPS_MAX:
        console.print(f"... {len(program) - _SHOWN_STEPS_MAX} steps more", markup=False)
