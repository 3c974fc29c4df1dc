"""Looks for one planted bug with the tier that finds it: how many operations and seconds, and how small a program."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

from ..faults.classify import AT_ONCE
from ..faults.fault import load_catalogue
from ..faults.measure import measure
from ..faults.subjects import Subjects
from ..findings import shrink_finding
from ..judge import Judge
from ..processor import processor_seconds
from ..text import write_text
from ..tiers import boundaries, lockstep, oom
from ..tiers.base import Finding, Task
from ..tiers.workers import Send
from .patch import Patch, PlantError

EDITION = "zmm"
SECONDS_MAX = 60.0
SHRINK_SECONDS = 20.0
# Runs of each fault: what is left to chance shows itself in some of them.
_FAULT_RUNS = 4
_GOAL_NEVER = 1 << 62
# On a busy machine a hunt may take this many times its seconds on the clock.
_PATIENCE = 20.0


@dataclass(frozen=True, slots=True)
class Catch:
    """
    What came of one hunt: ``rule`` is empty when the bug was not found in time.

    ``operations`` were performed up to the end of the batch in which it showed; that took ``seconds`` of processor time
    (this process and the target's), which a busy machine does not stretch, and ``wall_seconds`` on the clock. Shrinking
    took ``shrink_seconds`` more (on the clock, as its budget is) and left a program of ``size`` operations (for the
    misuse catalogue: lines of the fault). ``shown``: its C reproducer shows the bug (None: nobody looked).
    """

    seed: int
    rule: str
    operations: int
    seconds: float
    wall_seconds: float = 0.0
    size: int = 0
    shrink_seconds: float = 0.0
    program: str = ""
    shown: bool | None = None


class _GivenUp(Exception):
    """The time is over."""


class Stopwatch:
    """Processor time of this process and of the children it has waited for, and time on the clock."""

    def __init__(self) -> None:
        self._processor = processor_seconds()
        self._wall = time.monotonic()

    def processor(self) -> float:
        """Seconds of processor time since the beginning."""
        return processor_seconds() - self._processor

    def wall(self) -> float:
        """Seconds on the clock since the beginning."""
        return time.monotonic() - self._wall


class _Found(Exception):
    def __init__(self, finding: Finding) -> None:
        super().__init__()
        self.finding = finding


def hunt_tier(patch: Patch, library: Path, seed: int, seconds: float = SECONDS_MAX) -> tuple[Catch, Finding | None]:
    """
    Run the tier of a patch on its library, in this process and as one worker, until a fitting rule is broken.

    :param seconds: of processor time after which the hunt is given up.
    """
    task = Task(f"zmm:{library}", EDITION, seed=seed, jobs=1)
    operations = 0
    watch = Stopwatch()
    rule, found_one = "", None

    def receive(message: object) -> None:
        nonlocal operations
        if isinstance(message, lockstep.Delta):
            operations += message.operations
            fitting = [one for one in message.findings if one.divergence.rule in patch.caught_by and one.alone]
            if fitting:
                raise _Found(min(fitting, key=lambda one: len(one.program)))
            if watch.processor() > seconds:
                raise _GivenUp

    try:
        while watch.processor() < seconds and watch.wall() < seconds * _PATIENCE:
            # A worker ends after a few findings that do not fit; the next one looks at other programs.
            _work(patch.tier, task, receive, seconds * _PATIENCE)
            task = Task(task.target, EDITION, seed=task.seed + 1_000_000, jobs=1)
    except _Found as found:
        rule, found_one = found.finding.divergence.rule, found.finding
    except _GivenUp:
        pass
    return Catch(seed, rule, operations, watch.processor(), watch.wall()), found_one


def _work(tier: str, task: Task, receive: Send, seconds: float) -> None:
    if tier == "lockstep":
        lockstep.work(receive, task, 0, seconds, seconds, _GOAL_NEVER)
    elif tier == "oom":
        with Judge.of(task.target, task.edition) as judge:
            names = list(oom.bases(judge))
        oom.work(receive, task, names, seconds, seconds)
    elif tier == "boundaries":
        boundaries.work(receive, task, boundaries.all_pieces(), seconds, seconds)
    else:
        raise PlantError(f"nothing here runs the tier {tier!r}; a patch names lockstep, oom, boundaries or faults")


def hunt_faults(patch: Patch, library: Path, sound: Path, seed: int) -> Catch:
    """
    Perform the faults of a patch's ``caught by``: the library with the bug must stop one of them at once less often.

    :param sound: the library without the bug, at the same level.
    """
    watch = Stopwatch()
    faults = [fault for fault in load_catalogue() if fault.id in patch.caught_by]
    lines = {fault.id: len(fault.sequence.strip().splitlines()) for fault in faults}
    with Subjects() as subjects:
        columns = [measure(subjects.find(f"zmm:{one}"), faults, runs=_FAULT_RUNS, jobs=1) for one in (sound, library)]
    worse = [
        cell.fault.id
        for before, cell in zip(columns[0].cells, columns[1].cells, strict=True)
        if cell.share(AT_ONCE) < before.share(AT_ONCE) or cell in columns[1].broken_promises()
    ]
    worse.sort(key=lines.__getitem__)
    operations = sum(lines.values())
    if not worse:
        return Catch(seed, "", operations, watch.processor(), watch.wall())
    return Catch(seed, worse[0], operations, watch.processor(), watch.wall(), lines[worse[0]])


def hunt(
    patch: Patch, library: Path, sound: Path, seed: int, shrink_seconds: float = SHRINK_SECONDS
) -> tuple[Catch, Finding | None]:
    """
    Look for a planted bug, and shrink what is found.

    :param sound: the library without the bug; only the misuse catalogue needs it.
    :param shrink_seconds: for shrinking; 0 leaves the program as it was found.
    :returns: the catch, and the shrunk finding (None when there is none, or the misuse catalogue found it).
    """
    if patch.tier == "faults":
        return hunt_faults(patch, library, sound, seed), None
    catch, finding = hunt_tier(patch, library, seed)
    if finding is None or shrink_seconds <= 0:
        return catch, finding
    watch = Stopwatch()
    shrunk = shrink_finding(finding, shrink_seconds)
    text = write_text(shrunk.program)
    return replace(catch, size=len(shrunk.program), shrink_seconds=watch.wall(), program=text), shrunk
