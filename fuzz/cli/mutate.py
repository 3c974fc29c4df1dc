"""`zmm mutate`: plants bugs in the core, in the models and in the Python API, and shows what catches them."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ..errors import CLEAN, COUNTEREXAMPLE, INCONCLUSIVE, UserError
from ..mutate.ablation import make_ablation
from ..mutate.c_operators import core_mutants, has_universalmutator
from ..mutate.campaign import Plan, digest_of, run_campaign, sample
from ..mutate.core_lab import CoreLab, core_files
from ..mutate.core_tiers import TIERS as CORE_TIERS
from ..mutate.deck import SoundCoreError
from ..mutate.detection import Runs, detection_board, measure_detection, stratified
from ..mutate.html import to_html
from ..mutate.mutant import CORE, TOWERS, Mutant, find_root
from ..mutate.py_operators import python_mutants
from ..mutate.python_lab import TIERS as PYTHON_TIERS
from ..mutate.python_lab import PythonLab, python_files
from ..mutate.record import (
    FAIL,
    KILLED,
    LOST,
    PASS,
    SURVIVED,
    AblationRow,
    DetectionRow,
    DetectionRun,
    MutantRow,
    MutateRecord,
    TowerBoard,
    decode,
    encode,
    make_board,
)
from ..mutate.record import INCONCLUSIVE as UNDECIDED
from ..mutate.show import print_board, to_markdown
from ..mutate.state import Header, State
from ..mutate.survivors import FILE, GAP, Survivor, read_survivors, stale
from ..tiers.base import Interrupted
from ..version import VERSION
from . import options
from .output import check_outputs, make_console, say_error, write_file

SAMPLE = 200
SEEDS_SAMPLE = 20
LEVELS = ("fast", "release", "hardened", "debug")
LEVEL = "release"
TIERS = {CORE: CORE_TIERS, **PYTHON_TIERS}


def command(
    core: Annotated[bool, typer.Option("--core", help="mutants of the C core (the default)")] = False,
    model: Annotated[bool, typer.Option("--model", help="mutants of the models")] = False,
    api: Annotated[bool, typer.Option("--api", help="mutants of the Python API")] = False,
    count: Annotated[int, typer.Option("--sample", metavar="N", help="how many mutants of each", min=1)] = SAMPLE,
    every: Annotated[bool, typer.Option("--all", help="all mutants instead of a sample")] = False,
    level: Annotated[
        str | None, typer.Option("--level", help="of the core: fast, release, hardened or debug", show_default=LEVEL)
    ] = None,
    tier: Annotated[
        list[str] | None, typer.Option("--tier", metavar="TIER", help="only this tier (repeatable)", show_default="all")
    ] = None,
    seed: options.Seed = 0,
    time_budget: Annotated[str, typer.Option("--time-budget", metavar="TIME", help="for each mutant: 10s, 1m")] = "60s",
    total: Annotated[
        str | None, typer.Option("--total", metavar="TIME", help="for the whole run", show_default="no limit")
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", metavar="N", help="processes", min=1, max=64)] = 2,
    resume: Annotated[
        Path | None, typer.Option("--resume", metavar="DIR", help="keep what is found out here, and go on from it")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="also try what is known: results and equivalents")] = False,
    mutant: Annotated[
        list[str] | None, typer.Option("--mutant", metavar="KEY", help="only this one (repeatable)")
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", metavar="N", help="measure detection with N seeds", min=0)] = 0,
    seeds_sample: Annotated[
        int, typer.Option("--seeds-sample", metavar="N", help="mutants of the core under --seeds", min=1)
    ] = SEEDS_SAMPLE,
    ablation: Annotated[bool, typer.Option("--ablation", help="also the table of what only one rule sees")] = False,
    survivors: Annotated[Path, typer.Option("--survivors", metavar="FILE", help="known survivors")] = FILE,
    source: Annotated[Path | None, typer.Option("--source", metavar="DIR", help="the tree to mutate")] = None,
    json: options.Json = None,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="write one HTML page")] = None,
    remark: Annotated[
        str, typer.Option("--remark", metavar="TEXT", help="the circumstances, for the page", show_default=False)
    ] = "",
    page: Annotated[
        Path | None, typer.Option("--page", metavar="FILE", help="write a Markdown page from the JSON of --from")
    ] = None,
    of: Annotated[
        list[Path] | None, typer.Option("--from", metavar="FILE", help="JSON of an earlier run (repeatable)")
    ] = None,
    quiet: options.Quiet = False,
) -> None:
    """
    Plant bugs by rule, one at a time, and see which tier catches each, how fast, and who survives.

    A sample by default: the same for the same seed. Exit code 1: a mutant survived that nobody has explained.

    For example:

        zmm mutate --sample 200 --json mutants.json --html mutants.html

        zmm mutate --model --all --resume mutants-of-the-models --jobs 2
    """
    if page is not None:
        write_page(page, of)
        raise typer.Exit(CLEAN)
    options.refuse({"--from": of}, "is for a page alone: zmm mutate --page FILE --from FILE")
    options.refuse({"--sample": every and count != SAMPLE}, "does not go with --all; leave one of them out")
    budget_seconds = options.parse_duration(time_budget)
    deadline = time.monotonic() + options.parse_duration(total, "--total") if total else float("inf")
    number = options.parse_seed(seed)
    towers = [name for name, wanted in zip(TOWERS, (core, model, api), strict=True) if wanted] or [CORE]
    tiers = choose_tiers(tier, towers)
    if CORE not in towers:
        options.refuse({"--level": level and not ablation, "--seeds": seeds}, "is of the core alone; add --core")
    options.refuse({"--seeds-sample": seeds_sample != SEEDS_SAMPLE and not seeds}, "goes with --seeds N")
    if (level := level or LEVEL) not in LEVELS:
        raise UserError(f"unknown level {level!r}; there are {', '.join(LEVELS)}")
    root = find_root(source)
    if root is None:
        raise UserError(
            "zmm mutate needs the sources of core, models and tests, which are not here; name the tree with --source"
        )
    if survivors != FILE and not survivors.is_file():
        raise UserError(f"--survivors {survivors} is no file; name one like fuzz/mutate/survivors.toml")
    known = read_survivors(survivors)
    check_outputs({"--json": json, "--html": html}, {"--resume": resume})
    console = make_console()
    plan = Plan(None if every else count, budget_seconds, jobs, deadline, again, frozenset(mutant or ()))
    run = Run(console, root, level, number, tiers, known, plan, resume, quiet=quiet)
    interrupted = ""
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="zmm-mutate-") as folder:
        try:
            for name in towers:
                run.tower(name, Path(folder), seeds, seeds_sample)
            if ablation:
                run.say("ablation: one rule after the other is switched off ...")
                run.ablation = make_ablation(root, Path(folder) / "ablation", level, run.rows)
        except SoundCoreError as error:
            raise UserError(str(error)) from None
        except (KeyboardInterrupt, Interrupted) as error:
            interrupted = error.signal_name if isinstance(error, Interrupted) else "SIGINT"
            say_error(f"interrupted by {interrupted}; the results so far are reported as they are")
    record = run.record(interrupted, time.monotonic() - begin, remark)
    if quiet:
        console.print(f"zmm mutate: {record.status}", markup=False)
    else:
        print_board(record, console)
    if json is not None:
        write_file(json, encode(record))
    if html is not None:
        write_file(html, to_html(record))
    if record.status == FAIL:
        raise typer.Exit(COUNTEREXAMPLE)
    raise typer.Exit(CLEAN if record.status == PASS else INCONCLUSIVE)


class Run:
    """One run of the command: what it was asked for, and what it has found out so far."""

    def __init__(
        self,
        console: Console,
        root: Path,
        level: str,
        seed: int,
        tiers: tuple[str, ...],
        known: Mapping[str, Survivor],
        plan: Plan,
        resume: Path | None,
        *,
        quiet: bool,
    ) -> None:
        self.console, self.root, self.level, self.seed, self.tiers = console, root, level, seed, tiers
        self.known, self.plan, self.resume, self.quiet = known, plan, resume, quiet
        self.rows: list[MutantRow] = []
        self.boards: list[TowerBoard] = []
        self.detection: list[DetectionRow] = []
        self.ablation: list[AblationRow] = []
        self.complete = True
        self._show = 0.0

    def say(self, line: str) -> None:
        """A line for people."""
        if not self.quiet:
            self.console.print(line, markup=False, soft_wrap=True)

    def tower(self, tower: str, folder: Path, seeds: int, seeds_sample: int) -> None:
        """Makes and tries the mutants of a tower."""
        files = core_files(self.root) if tower == CORE else python_files(self.root, tower)
        mutants = sample(self._mutants(tower, files), self.seed)
        keys = {mutant.key for mutant in mutants}
        if missing := self.plan.only - keys:
            raise UserError(f"no mutant of the {tower} has the key {sorted(missing)[0]}; see the JSON of a run")
        for one in stale(self.known, mutants):
            self.say(f"survivors: {one.key} ({one.file}, {one.function}) is no mutant any more; take the entry out")
        where = folder / tower
        where.mkdir()
        name = self.level if tower == CORE else tower
        tiers = tuple(tier for tier in TIERS[tower] if tier in self.tiers)
        header = Header(digest_of(files), name, self.seed, tiers, is_part=tiers != TIERS[tower])
        state = State(self.resume, header)
        if state.note:
            self.say(state.note)
        self.say(f"{tower}: {len(mutants):,} changes; making everything ready ...")
        rows: list[MutantRow] = []
        self.plan.observe = self._observer(tower)
        with self._lab(tower, where) as lab:
            try:
                rows = run_campaign(lab, mutants, self.plan, state, self.known)
            finally:
                rows = rows or list(state.rows.values())
                self._close(tower, len(mutants), rows)
            if seeds and isinstance(lab, CoreLab):
                self._detect(lab, mutants, stratified(rows, seeds_sample), seeds, Runs(self.resume, header))

    def _mutants(self, tower: str, files: Mapping[str, str]) -> list[Mutant]:
        if tower == CORE:
            if not has_universalmutator():
                self.say(
                    "universalmutator is not here (pip install --no-deps universalmutator): our own operators only"
                )
            return core_mutants(dict(files))
        return [mutant for file, text in files.items() for mutant in python_mutants(tower, file, text)]

    def _lab(self, tower: str, folder: Path) -> CoreLab | PythonLab:
        if tower == CORE:
            return CoreLab(self.root, folder, self.level, self.seed, self.tiers)
        return PythonLab(self.root, folder, tower, self.seed, self.tiers)

    def _observer(self, tower: str) -> Callable[[MutantRow], None]:
        counts = [0, 0]

        def observe(row: MutantRow) -> None:
            counts[0] += 1
            counts[1] += row.status == KILLED
            if row.status == SURVIVED and not row.reason:
                self.say(f"{tower}: {row.key} survives: {row.file}:{row.line} {row.old} -> {row.new}")
            if time.monotonic() - self._show > 10:
                self._show = time.monotonic()
                self.say(f"{tower}: {counts[0]} tried, {counts[1]} killed")

        return observe

    def _close(self, tower: str, made: int, rows: list[MutantRow]) -> None:
        gaps = {key for key, one in self.known.items() if one.kind == GAP}
        self.rows += rows
        board = make_board(tower, made, rows, self.plan.budget_seconds, gaps)
        self.boards.append(board)
        wanted = self.plan.count if self.plan.count is not None else made
        enough = board.unique >= wanted or board.tried >= (len(self.plan.only) or made)
        self.complete = self.complete and enough

    def _detect(self, lab: CoreLab, mutants: list[Mutant], keys: list[str], seeds: int, runs: Runs) -> None:
        by_key = {mutant.key: mutant for mutant in mutants}
        chosen = [by_key[key] for key in keys]
        self.say(f"core: {len(chosen)} mutants under {seeds} seeds, {self.plan.budget_seconds:.0f} s each ...")

        def observe(mutant: Mutant, run: DetectionRun) -> None:
            if time.monotonic() - self._show > 10:
                self._show = time.monotonic()
                self.say(f"core: seed {run.seed}, {mutant.key}: {run.tier or 'not found'} after {run.seconds:.2f} s")

        self.detection += measure_detection(
            lab, chosen, seeds, self.plan.budget_seconds, runs, deadline=self.plan.deadline, observe=observe
        )
        self.complete = self.complete and all(row.seeds == seeds for row in self.detection)

    def record(self, interrupted: str, seconds: float, remark: str = "") -> MutateRecord:
        """The record of what was found out."""
        survivors = [row for row in self.rows if row.status == SURVIVED]
        unexplained = [row for row in survivors if row.key not in self.known]
        silent = [row.rule for row in self.ablation if not row.only_it]
        status, reason = PASS, ""
        if interrupted:
            status, reason = UNDECIDED, f"interrupted by {interrupted}"
        elif not self.complete:
            status, reason = (
                UNDECIDED,
                "the time for the run ended first (give more with --total, or go on with --resume)",
            )
        elif not any(row.status in (KILLED, SURVIVED, LOST) for row in self.rows):
            status, reason = UNDECIDED, "no mutant was tried: not one is left that is new and not known (see --again)"
        if unexplained or silent:
            status = FAIL
            reason = (
                f"{len(unexplained)} survivors without a reason" if unexplained else f"no bug for {', '.join(silent)}"
            )
        return MutateRecord(
            schema=1, status=status, reason=reason, version=VERSION, level=self.level, seed=self.seed,
            seconds=round(seconds, 1), budget_seconds=self.plan.budget_seconds, towers=self.boards,
            survivors=survivors, detection=self.detection, ablation=self.ablation, mutants=self.rows,
            environment={"date": time.strftime("%Y-%m-%d", time.gmtime()), "cpus": str(os.cpu_count() or 0),
                         "jobs": str(self.plan.jobs),
                         "tiers": ",".join(self.tiers), "universalmutator": str(has_universalmutator()).lower()},
            detection_board=detection_board(self.detection, self.plan.budget_seconds), remark=remark,
        )  # fmt: skip


def choose_tiers(names: list[str] | None, towers: list[str]) -> tuple[str, ...]:
    """
    The tiers of the names given; all of the towers without names.

    Raises:
        UserError: there is no tier of that name, it is of no tower wanted, or one of these would have no tier.
    """
    every = tuple(dict.fromkeys(tier for tower in TOWERS for tier in TIERS[tower]))
    fitting = tuple(dict.fromkeys(tier for tower in towers for tier in TIERS[tower]))
    there = "; ".join(f"the {tower} has {', '.join(TIERS[tower])}" for tower in towers)
    for name in names or ():
        if name not in every:
            raise UserError(f"unknown tier {name!r}; there are {', '.join(every)}")
        if name not in fitting:
            raise UserError(f"--tier {name} fits no mutant of the {' and the '.join(towers)}; {there}")
    for tower in towers if names else ():
        if not set(names or ()) & set(TIERS[tower]):
            raise UserError(f"--tier {', '.join(names or ())} leaves no tier for the {tower}; {there}")
    return tuple(name for name in fitting if not names or name in names)


def write_page(page: Path, of: list[Path] | None) -> None:
    """
    The page of earlier runs.

    Raises:
        UserError: there is no run to write about, or a file holds none.
    """
    if not of:
        raise UserError("--page needs the JSON of a run; name it with --from")
    records = []
    for path in of:
        try:
            records.append(decode(path.read_bytes()))
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}; name a file that zmm mutate --json wrote") from None
        except ValueError as error:
            raise UserError(f"{path}: {error}; name a file that zmm mutate --json wrote") from None
    names = " ".join(f"--from {path.name}" for path in of)
    write_file(page, to_markdown(records, f"zmm mutate --page {page} {names}").encode())


__all__ = ["command"]
