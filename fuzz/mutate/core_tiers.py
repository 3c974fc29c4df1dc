"""What may kill a mutant of the core: the tiers, cheapest first, each with everything ready before the first mutant.

``lockstep``, ``boundaries``, ``oom`` and ``traces`` are those of `zmm verify` with their programs made and predicted
beforehand (``deck.py``); ``faults`` is the misuse catalogue, held against what the sound core makes of it; ``cases``
are the core's own tests, compiled with the mutant.
"""

from __future__ import annotations

import os
import re
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ..faults.classify import judge as judge_fault
from ..faults.fault import Fault, load_catalogue
from ..faults.run import run_once
from ..faults.script import lines_for
from ..faults.subject import Subject
from ..faults.subjects import Subjects
from ..processor import processor_seconds, processor_seconds_of
from ..recorded import trace_paths
from ..session import Session
from ..targets import Target, TargetError, find_target
from ..tiers import traces
from ..tiers.base import Task
from ..tiers.lockstep import Delta
from .build import Workshop
from .core_decks import Decks
from .deck import Deck, Kill, SoundCoreError, hold
from .mutant import Mutant

# In the order in which they are tried.
TIERS = ("lockstep", "boundaries", "oom", "cases", "faults", "traces")
# A mutant that makes no progress for this long hangs, and is killed by that.
HANG_SECONDS = 5.0
_CASES_SECONDS = 300.0
# Cases that walk through every failing call take seconds; the others come first.
_SLOW_CASE = re.compile(r"any_failing|beyond_a_full_range")
_CASE = re.compile(r"^(CASE\w*)\((\w+)\)", re.MULTILINE)
_FAULT_RUNS = 4
# Records of a trace replayed at most before the others have their turn; the largest ones come last anyway.
_BATCHES_BEFORE_TRACES = 8


Fixed = dict[tuple[str, str], tuple[Kill | None, float]]


@dataclass(frozen=True, slots=True)
class Death:
    """A mutant's end: how it was killed, or None when it survived; seconds and operations spent on it."""

    kill: Kill | None
    seconds: float
    operations: int
    seconds_by_tier: dict[str, float]


class Arena:
    """
    Everything that mutants of the core are held against.

    Args:
        root: the tree.
        library: the sound core, compiled as the mutants are.
        level: its level.
        seed: of the generated programs.
        tiers: which ones.
    """

    def __init__(self, root: Path, library: Path, level: str, seed: int, tiers: Sequence[str]) -> None:
        self.root = root
        self.sound = replace(find_target(f"zmm:{library}"), level=level)
        self.tiers = tuple(tier for tier in TIERS if tier in tiers)
        self.seed = seed
        self.decks = Decks(self.sound, seed, frozenset(self.tiers))
        self._faults: list[tuple[Fault, str]] | None = None
        self._subject: Subject | None = None
        # What tiers without a seed have said of mutants before, with the seconds that it took; None: it is not kept.
        self._fixed: Fixed | None = None
        self.cases = case_names(root, level) if "cases" in self.tiers else []

    def prepare(self) -> None:
        """Makes everything ready that can be made before the first mutant; nothing is left running."""
        self.decks.prepare()
        if "faults" in self.tiers:
            self._baseline()

    def with_seed(self, seed: int, fixed: Fixed) -> Arena:
        """
        An arena with programs of another seed, whose decks are made when they are needed.

        Args:
            seed: of the programs.
            fixed: shared by the arenas of all seeds: what the cases and the misuse catalogue say is asked once.
        """
        other = copy(self)
        other.seed = seed
        other.decks = Decks(self.sound, seed, frozenset(self.tiers))
        other._fixed = fixed
        return other

    def close(self) -> None:
        """Ends processes."""
        self.decks.close()

    def try_mutant(self, library: Path, workshop: Workshop, mutant: Mutant, budget_seconds: float) -> Death:
        """Gives a mutant to the tiers, one after the other, until one kills it or the budget is used up."""
        death = self._try_once(library, workshop, mutant, budget_seconds)
        if death.kill is not None and death.kill.rule == "START":
            # It may have been something else, such as a runner that was built anew just then.
            death = self._try_once(library, workshop, mutant, budget_seconds)
        return death

    def _try_once(self, library: Path, workshop: Workshop, mutant: Mutant, budget_seconds: float) -> Death:
        clock = Clock(budget_seconds)
        target = replace(self.sound, name=f"zmm:{library}", library=str(library))
        operations = 0
        kill: Kill | None = None
        try:
            with Session(target, hang_seconds=HANG_SECONDS) as session:
                for kind, attempt in self._attempts(session, target, library, workshop, mutant, clock):
                    kill, count, seconds = self._timed(kind, mutant, attempt, session)
                    clock.count(kind, seconds)
                    if kill is not None and kill.rule == "HANG" and kind not in ("cases", "faults"):
                        kill = self._still_hangs(kill, target)
                    if kill is not None:
                        operations += kill.operations
                        break
                    operations += count
                    if clock.is_over():
                        break
        except TargetError as error:
            # The library could not even be loaded, or not again.
            kill = Kill("lockstep" if "lockstep" in self.tiers else self.tiers[0], "START", str(error), operations)
        return Death(kill, max(clock.spent, 0.0), operations, clock.by_tier)

    def _timed(
        self, kind: str, mutant: Mutant, attempt: Callable[[], tuple[Kill | None, int]], session: Session
    ) -> tuple[Kill | None, int, float]:
        """What came of an attempt, and the processor time that it took, now or when it was made first."""
        kept = self._fixed if kind in ("cases", "faults") else None
        if kept is not None and (known := kept.get((kind, mutant.key))) is not None:
            return known[0], 0, known[1]
        begin = _seconds_with(session)
        kill, count = attempt()
        seconds = _seconds_with(session) - begin
        if kept is not None:
            kept[kind, mutant.key] = kill, seconds
        return kill, count, seconds

    def _still_hangs(self, kill: Kill, target: Target) -> Kill | None:
        """A hang, if it is one with four times the patience too: the machine may have been busy."""
        for deck in self.decks.known():
            if deck.tier == kill.tier and kill.detail.startswith(f"{deck.name}:"):
                with Session(target, hang_seconds=4 * HANG_SECONDS) as session:
                    return hold(deck, session, target)
        return kill

    def _attempts(
        self,
        session: Session,
        target: Target,
        library: Path,
        workshop: Workshop,
        mutant: Mutant,
        clock: Clock,
    ) -> Iterator[tuple[str, Callable[[], tuple[Kill | None, int]]]]:
        rest = [tier for tier in ("cases", "faults") if tier in self.tiers]
        replays = iter(trace_paths() if "traces" in self.tiers and self.sound.is_exact else ())
        replays = iter(sorted(replays, key=lambda path: path.stat().st_size))
        batches = 0
        for index, deck in enumerate(self.decks):
            if rest and self.decks.quick and index >= self.decks.quick:
                while rest:
                    yield rest[0], self._other(rest.pop(0), library, workshop, mutant)
            if deck.name.startswith("batch "):
                batches += 1
                if batches > _BATCHES_BEFORE_TRACES and (path := next(replays, None)) is not None:
                    yield "traces", partial(self._replay, path, library, clock)
            yield deck.tier, partial(self._hold, deck, session, target)
        while rest:
            yield rest[0], self._other(rest.pop(0), library, workshop, mutant)
        for path in replays:
            yield "traces", partial(self._replay, path, library, clock)

    @staticmethod
    def _hold(deck: Deck, session: Session, target: Target) -> tuple[Kill | None, int]:
        return hold(deck, session, target), deck.operations

    def _other(
        self, tier: str, library: Path, workshop: Workshop, mutant: Mutant
    ) -> Callable[[], tuple[Kill | None, int]]:
        if tier == "faults":
            return lambda: (self._attack(library), 0)
        return lambda: (self._run_cases(workshop, mutant, library.with_suffix(".cases")), 0)

    # ---- the misuse catalogue ------------------------------------------------------------------------------------

    def _baseline(self) -> tuple[Subject, list[tuple[Fault, str]]]:
        """The faults on which the sound core gives one and the same answer every time, with that answer."""
        if self._faults is None or self._subject is None:
            with Subjects() as subjects:
                self._subject = replace(subjects.find(f"zmm:{self.sound.library}"), level=self.sound.level)
            self._faults = []
            for fault in load_catalogue():
                if fault.applies_to("zmm"):
                    codes = {self._answer(self._subject, fault) for _ in range(_FAULT_RUNS)}
                    if len(codes) == 1 and not codes & {"!", "-"}:
                        self._faults.append((fault, codes.pop()))
        return self._subject, self._faults

    @staticmethod
    def _answer(subject: Subject, fault: Fault) -> str:
        return judge_fault(run_once(subject, lines_for(fault.sequence, "zmm"))).code

    def _attack(self, library: Path) -> Kill | None:
        sound, faults = self._baseline()
        subject = replace(
            sound,
            name=str(library),
            command=tuple(str(library) if word == self.sound.library else word for word in sound.command),
        )
        if subject.command == sound.command:
            raise SoundCoreError("the misuse catalogue's command does not name its library")
        for fault, code in faults:
            if self._answer(subject, fault) == code:
                continue
            # Once is no proof where addresses are random.
            again = [self._answer(subject, fault) for _ in range(_FAULT_RUNS)]
            if code not in again:
                return Kill(
                    "faults", f"FAULT-{fault.id}", f"{fault.title}: {code} on the sound core, {again[0]} here", 0
                )
        return None

    # ---- the core's own cases ------------------------------------------------------------------------------------

    def _run_cases(self, workshop: Workshop, mutant: Mutant, program: Path) -> Kill | None:
        workshop.change(mutant)
        try:
            error = workshop.cases(program)
        finally:
            workshop.restore(mutant)
        if error:
            return Kill("cases", "COMPILE", error.splitlines()[0], 0)
        try:
            return run_cases(program, self.cases)
        except UnknownCaseError as unknown:
            # A change of what a level has takes cases away. Without the mutant each must be there.
            if workshop.cases(program):
                raise SoundCoreError("the cases do not compile without a mutant") from None
            try:
                run_cases(program, self.cases)
            except UnknownCaseError as again:
                raise SoundCoreError(f"the cases do not run without a mutant: {again}") from None
            return Kill("cases", "CASE-MISSING", str(unknown), 0)
        finally:
            with suppress(OSError):
                program.unlink()

    # ---- recorded traces -----------------------------------------------------------------------------------------

    def _replay(self, path: Path, library: Path, clock: Clock) -> tuple[Kill | None, int]:
        found: list[Delta] = []
        task = Task(f"zmm:{library}", "zmm")
        traces.work(found.append, task, "", [str(path)], max(clock.left(), 1.0))
        count = sum(delta.operations for delta in found)
        for delta in found:
            for finding in delta.findings:
                one = finding.divergence
                detail = f"{path.name}, step {one.step} ({one.operation.word}): {one.field} {one.actual}"
                return Kill("traces", one.rule, detail, one.step, finding.program), count
        return None, count


def _seconds_with(session: Session) -> float:
    """Processor time of this process, of its children that have ended, and of a session's process while it lives."""
    spent = processor_seconds()
    if session.pid:
        with suppress(OSError):
            spent += processor_seconds_of(session.pid)
    return spent


class Clock:
    """The processor time spent on one mutant, by tier; making programs for all mutants is not among it."""

    def __init__(self, budget_seconds: float) -> None:
        self.budget_seconds = budget_seconds
        self.by_tier: dict[str, float] = {}

    @property
    def spent(self) -> float:
        """Seconds so far."""
        return sum(self.by_tier.values())

    def count(self, tier: str, seconds: float) -> None:
        """Adds time to a tier's account."""
        self.by_tier[tier] = self.by_tier.get(tier, 0.0) + seconds

    def left(self) -> float:
        """Seconds until the budget is used up."""
        return max(0.0, self.budget_seconds - self.spent)

    def is_over(self) -> bool:
        """Whether it is."""
        return self.spent >= self.budget_seconds


def case_names(root: Path, level: str) -> list[str]:
    """The core's cases of a level, the slow ones last; empty when the tree has none."""
    with_trims = level in ("hardened", "debug")
    kinds = {"CASE_AT_ALL_LEVELS"} | ({"CASE_WITH_TRIMS"} if with_trims else {"CASE"})
    kinds |= {"CASE_WITH_GUARDS"} if level != "fast" else set()
    kinds |= {"CASE_AT_RELEASE"} if level == "release" else set()
    names = []
    for path in sorted((root / "tests" / "core" / "cases").glob("*.c")):
        names += [name for kind, name in _CASE.findall(path.read_text()) if kind in kinds]
    return sorted(names, key=lambda name: _SLOW_CASE.search(name) is not None)


class UnknownCaseError(Exception):
    """A program of the core's cases has none of a name; what it says of that."""


def run_cases(program: Path, names: Sequence[str], seconds: float = _CASES_SECONDS) -> Kill | None:
    """
    Runs cases, each in a process of its own, up to the first that fails; None when all pass.

    Raises:
        UnknownCaseError: the program knows one of the names not.
    """
    process = subprocess.Popen(
        [str(program), *names], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )
    assert process.stderr is not None
    said = b""
    deadline = time.monotonic() + seconds
    last = ""
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(process.stderr, selectors.EVENT_READ)
            while True:
                left = deadline - time.monotonic()
                if left <= 0:
                    return Kill("cases", "HANG", f"no end after {seconds:.0f} s, killed", 0)
                if not selector.select(left):
                    continue
                part = os.read(process.stderr.fileno(), 1 << 16)
                said += part
                for line in said.decode(errors="replace").splitlines():
                    if line.startswith("FAILED "):
                        return Kill("cases", f"CASE-{line.split()[1]}", last or line, 0)
                    last = line
                if not part:
                    break
        code = process.wait()
        if code == 2:
            raise UnknownCaseError(last)
        return None if code == 0 else Kill("cases", "DEATH", f"the cases end with status {code}: {last}", 0)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stderr.close()
