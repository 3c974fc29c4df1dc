"""The laboratory of the Python towers: mutants of the models and of the Python API, tried in processes of their own.

A mutant of the models is given rows that are right (``lockstep``: the exact model must predict them, the abstract one
accept them), then the contracts (``contracts``: CrossHair refutes one), then the tests of the models (``tests``). One
of the API has its tests and the state machines of `zmm verify` (``machine``).
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Self

from ..driver import Driver
from ..judge import judge_rows
from ..predict import Scope, predict
from ..processor import processor_seconds
from ..program import Program
from ..targets import Target, find_target
from ..tiers import lockstep
from ..tiers.base import Task
from ..wire import ROW
from .campaign import Made, Verdict
from .core_decks import EDITIONS, first_programs
from .deck import Kill, SoundCoreError
from .model_child import Known, write_known
from .mutant import API, MODEL, Mutant
from .py_operators import python_digest

TIERS = {MODEL: ("lockstep", "tests", "contracts"), API: ("tests", "machine")}
PACKAGES = {MODEL: ("model", "zmm_model"), API: ("zmm", "zmm")}
# Processor time after which a process hangs; and time that passes, for one that waits for something.
_HANG_PROCESSOR_SECONDS = 40
_TESTS_PROCESSOR_SECONDS = 240
_WAIT_SECONDS = 1800
# Only this module's contracts can be confirmed.
_CONTRACTS_FILE = "model/sizes.py"
_SECONDS_PER_CONTRACT = 10
# Tests of the models and of the API that would measure something else, or take too long for each mutant.
_NOT_TESTS = ("not slow and not oracle and not nightly",)
_LEFT_OUT = ("test_contracts.py", "test_oracle.py")
_BRIDGE_TESTS = {"model/op.py": ("test_text.py", "test_tape.py", "test_wire.py")}


class PythonLab:
    """
    Makes and tries mutants of one Python tower.

    Args:
        root: the tree.
        folder: for mutated sources; it can be removed afterwards.
        tower: ``model`` or ``api``.
        seed: of the programs.
        tiers: the ones to try.

    Raises:
        SoundCoreError: the models do not agree with the core as they are.
    """

    def __init__(self, root: Path, folder: Path, tower: str, seed: int, tiers: Sequence[str]) -> None:
        self._root = root
        self._folder = folder
        self._tower = tower
        self._tiers = tuple(tier for tier in TIERS[tower] if tier in tiers)
        self._seed = seed
        self.original = ""
        # Kept, so that whoever edits the sources meanwhile changes no mutant.
        self._texts = python_files(root, tower)
        self._originals = {file: python_digest(text, file) for file, text in self._texts.items()}
        hook = folder / "hook"
        hook.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(Path(__file__).parent / "hook.py", hook / "sitecustomize.py")
        self._hook = hook
        self._known = folder / "known.bin"
        if "lockstep" in self._tiers:
            write_known(self._known, known_rows(seed))
        if "tests" in self._tiers:
            self._tests_pass()

    def _tests_pass(self) -> None:
        """The tests pass as things are: else every mutant would be killed by what fails anyway."""
        folder = PACKAGES[self._tower][0]
        nothing = Mutant(self._tower, f"{folder}/none.py", "", 0, "", "", "")
        for tests in test_files(self._root, nothing):
            kill = self._tests(None, tests)
            if kill is not None:
                raise SoundCoreError(f"the tests fail without a mutant: {kill.rule}: {kill.detail}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    # ---- the laboratory --------------------------------------------------------------------------------------------

    def make(self, mutant: Mutant) -> Made:
        """Compiles a mutant to byte code; a file of its own holds its source."""
        begin = processor_seconds()
        text = mutant.apply(self._texts[mutant.file])
        shape = python_digest(text, mutant.file)
        digest = ""
        if shape == self._originals[mutant.file]:
            digest = self.original = self.original or "original"
        elif shape:
            digest = hashlib.sha256(f"{mutant.file}\0{shape}".encode()).hexdigest()[:24]
            self._source_of(mutant).write_text(text)
        return Made(mutant, digest, processor_seconds() - begin)

    def _source_of(self, mutant: Mutant) -> Path:
        return self._folder / f"{mutant.key}.py"

    def discard(self, made: Made) -> None:
        """Removes a mutant's source."""
        with suppress(OSError):
            self._source_of(made.mutant).unlink()

    def try_out(self, made: Made, budget_seconds: float) -> Verdict:
        """Gives a mutant to the tiers until one kills it, or the budget is used up."""
        if not self._source_of(made.mutant).exists():
            self.make(made.mutant)
        begin = processor_seconds()
        kill: Kill | None = None
        for tier in self._tiers:
            kill = self._try_tier(tier, made.mutant, budget_seconds - (processor_seconds() - begin))
            if kill is not None or processor_seconds() - begin >= budget_seconds:
                break
        return Verdict(kill, processor_seconds() - begin, kill.operations if kill else 0)

    # ---- the tiers -------------------------------------------------------------------------------------------------

    def _try_tier(self, tier: str, mutant: Mutant, budget_seconds: float) -> Kill | None:
        if tier == "lockstep":
            return self._lockstep(mutant)
        if tier == "contracts":
            return self._contracts(mutant) if mutant.file == _CONTRACTS_FILE else None
        if tier == "machine":
            return self._machine(mutant, budget_seconds)
        for tests in test_files(self._root, mutant):
            kill = self._tests(mutant, tests)
            if kill is not None:
                return kill
        return None

    def _lockstep(self, mutant: Mutant) -> Kill | None:
        command = [sys.executable, "-P", "-m", "zmm_fuzz.mutate.model_child", str(self._known)]
        done, how = self._run(mutant, command, _HANG_PROCESSOR_SECONDS)
        if how or done.returncode != 0:
            return Kill("lockstep", "HANG" if how else "EXCEPTION", how or _last_line(done.stderr), 0)
        told = json.loads(done.stdout.splitlines()[-1])
        return Kill("lockstep", told["rule"], told["detail"], told["operations"]) if told else None

    def _tests(self, mutant: Mutant | None, tests: Sequence[str]) -> Kill | None:
        command = [sys.executable, "-P", "-m", "pytest", "-x", "-q", "-rfE", "--no-header", "--tb=line"]
        command += ["-p", "no:cacheprovider", "-m", *_NOT_TESTS, *tests]
        done, how = self._run(mutant, command, _TESTS_PROCESSOR_SECONDS)
        if how:
            return Kill("tests", "HANG", how, 0)
        if done.returncode in (0, 5):
            return None
        failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
        name = failed[0].split()[1] if failed and len(failed[0].split()) > 1 else f"status {done.returncode}"
        return Kill("tests", f"TEST-{name.rsplit('/', 1)[-1]}", _last_line(done.stdout), 0)

    def _contracts(self, mutant: Mutant) -> Kill | None:
        folder = self._folder / f"contracts-{os.getpid()}"
        folder.mkdir(exist_ok=True)
        copy = folder / "sizes_mutant.py"
        shutil.copyfile(self._source_of(mutant), copy)
        command = [sys.executable, "-m", "crosshair", "check", copy.name, "--report_all"]
        command.append(f"--per_condition_timeout={_SECONDS_PER_CONTRACT}")
        done, _ = self._run(None, command, _TESTS_PROCESSOR_SECONDS, cwd=folder)
        refuted = [line for line in done.stdout.splitlines() if ": error: " in line]
        return Kill("contracts", "CONTRACT", refuted[0].split(": error: ", 1)[1], 0) if refuted else None

    def _machine(self, mutant: Mutant, budget_seconds: float) -> Kill | None:
        seconds = max(5, min(30, int(budget_seconds)))
        command = [sys.executable, "-P", "-m", "zmm_fuzz", "verify", "--tier", "machine", "--quiet", "--jobs", "1"]
        command += ["--time-budget", f"{seconds}s", "--out", str(self._folder / "findings"), "--seed", str(self._seed)]
        done, how = self._run(mutant, command, _TESTS_PROCESSOR_SECONDS)
        if how:
            return Kill("machine", "HANG", how, 0)
        found = done.returncode not in (0, 3)
        return Kill("machine", "MACHINE", _last_line(done.stdout or done.stderr), 0) if found else None

    def _run(
        self, mutant: Mutant | None, command: Sequence[str], processor_limit: int, cwd: Path | None = None
    ) -> tuple[subprocess.CompletedProcess[str], str]:
        """A process with a mutant in place; what it said, and how it hung, if it did."""
        environment = dict(os.environ, PYTHONHASHSEED="0", PYTHONDONTWRITEBYTECODE="1")
        if mutant is not None:
            path = [str(self._hook), environment.get("PYTHONPATH", "")]
            environment["PYTHONPATH"] = os.pathsep.join(part for part in path if part)
            environment |= mutant_environment(mutant, self._source_of(mutant))

        def limit() -> None:
            resource.setrlimit(resource.RLIMIT_CPU, (processor_limit, processor_limit + 5))

        try:
            done = subprocess.run(
                command,
                cwd=cwd or self._root,
                env=environment,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_WAIT_SECONDS,
                check=False,
                preexec_fn=limit,
            )
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(command, -9, "", ""), f"no end after {_WAIT_SECONDS} s, killed"
        if done.returncode in (-24, -9):
            return done, f"no end after {processor_limit} s of processor time, killed"
        return done, ""


def mutant_environment(mutant: Mutant, source: Path) -> dict[str, str]:
    """What tells the hook which module to exchange."""
    folder, package = PACKAGES[mutant.tower]
    name = mutant.file.removeprefix(f"{folder}/").removesuffix(".py").replace("/", ".")
    module = package if name == "__init__" else f"{package}.{name}"
    return {"ZMM_MUTANT_MODULE": module, "ZMM_MUTANT_SOURCE": str(source)}


def python_files(root: Path, tower: str) -> dict[str, str]:
    """The sources of a tower by their path in the tree."""
    folder, _ = PACKAGES[tower]
    return {str(path.relative_to(root)): path.read_text() for path in sorted((root / folder).glob("*.py"))}


def test_files(root: Path, mutant: Mutant) -> Iterator[list[str]]:
    """The tests of a mutant's tower in two parts: those of its own module, if there are any, and all others."""
    folder = root / "tests" / PACKAGES[mutant.tower][0]
    files = [path for path in sorted(folder.glob("test_*.py")) if path.name not in _LEFT_OUT]
    stem = Path(mutant.file).stem
    nearest = {"abstract": "rules", "counter_rules": "rules", "accounting": "rules", "ledger": "rules"}.get(stem, stem)
    own = [path for path in files if path.stem == f"test_{nearest}"]
    # The alphabet is read by the forms of programs.
    bridge = [root / "tests" / "fuzz" / name for name in _BRIDGE_TESTS.get(mutant.file, ())]
    for part in (own, [path for path in files if path not in own], bridge):
        if part:
            yield [str(path) for path in part]


# ---- rows that are right ---------------------------------------------------------------------------------------------


def known_rows(seed: int) -> list[Known]:
    """
    Programs with rows that core and models agree on: zmm in both editions, a level with trims, and libc.

    Raises:
        SoundCoreError: they do not agree.
    """
    found: list[Known] = []
    for name, editions in (("zmm", EDITIONS), ("zmm:hardened", EDITIONS[:1]), ("libc", EDITIONS[:1])):
        target = find_target(name)
        for edition in editions:
            programs = first_programs(seed)
            if target.is_exact:
                programs += lockstep.make_batch(Task(name, edition, seed), Scope.WHOLE, 0)
            found += _performed(target, edition, programs)
    return found


def _performed(target: Target, edition: str, programs: Sequence[Program]) -> Iterator[Known]:
    driver = Driver(target, edition)
    try:
        traces = driver.run(programs)
    finally:
        driver.close()
    for program, trace in zip(programs, traces, strict=True):
        agreed = not target.is_exact or predict(program, edition, level=target.level).rows == trace.rows
        broken = judge_rows(program, list(ROW.iter_unpack(trace.rows)), edition, target.accounting)
        if trace.death is not None or not agreed or broken is not None:
            raise SoundCoreError(f"models and {target.name} do not agree as they are; run zmm verify first")
        yield (
            edition,
            target.accounting.name,
            target.is_exact,
            asdict_of(program.settings),
            [tuple(operation) for operation in program.operations],
            trace.rows,
        )


def asdict_of(settings: object) -> dict[str, object]:
    """The fields of settings by name."""
    as_tuple = getattr(settings, "_asdict", None)
    return dict(as_tuple()) if as_tuple else asdict(settings)  # type: ignore[call-overload]


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip()[:200] if lines else ""


Sources = Mapping[str, str]
