"""What a member of a cluster does: fuzzes for a while on a copy of the shared corpus, and shares at once."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import UserError, explain_os_error
from .corpus import Corpus, input_name
from .crew import disk_problem
from .engines import Engine, find_engine
from .life import Crash, Ended, Life
from .seeds import seeds_of
from .shared import SharedCorpus
from .sift import sift
from .status import Progress

_SYNC_SECONDS = 1.0
_BARREN_MAX = 3
# What a slice brings home itself; all others have been shared.
_CRASHES_MAX = 50
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
# Where copies of shared corpora are kept between slices; one folder for each engine that runs at the same time.
_SCRATCH_VARIABLE = "ZMM_FUZZ_SCRATCH"


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of a campaign that is done in one go, on whichever machine."""

    engine: str
    fuzz_target: str
    sanitize: bool
    seconds: float
    seed: int
    url: str


@dataclass(slots=True)
class SliceResult:
    """
    What a slice came to.

    ``trouble`` is why it ended early ("the disk is full ..."); ``crashes`` holds what could not be shared, too.
    """

    executions: int = 0
    coverage: int = 0
    features: int = 0
    shared: int = 0
    deaths: list[str] = field(default_factory=list)
    crashes: list[Crash] = field(default_factory=list)
    trouble: str = ""
    disk_full: bool = False


def run_slice(part: Slice) -> SliceResult:
    """Performs a slice; runs in a worker process of the cluster."""
    result = SliceResult()
    try:
        engine = find_engine(part.engine, part.fuzz_target, sanitize=part.sanitize)
        shared = SharedCorpus(part.url)
    except UserError as error:
        result.trouble = str(error)
        return result
    scratch = ""
    try:
        scratch = tempfile.mkdtemp(prefix="zmm-slice-", dir=scratch_folder())
        _Performance(part, engine, shared, Path(scratch), result).perform()
    except OSError as error:
        result.trouble = explain_os_error(error, "write to this worker's scratch folder")
        result.disk_full = error.errno in _FULL
    finally:
        if scratch:
            shutil.rmtree(scratch, ignore_errors=True)
    return result


def scratch_folder() -> str | None:
    """Where a worker keeps its copy of the corpus; None for the system's own place."""
    return os.environ.get(_SCRATCH_VARIABLE) or None


class _Performance:
    """One slice in progress: engines one after the other in the foreground, sharing in the background."""

    def __init__(self, part: Slice, engine: Engine, shared: SharedCorpus, folder: Path, result: SliceResult) -> None:
        self._part = part
        self._engine = engine
        self._shared = shared
        self._corpus = Corpus(folder / "corpus").make()
        self._seeds = Corpus(folder / "seeds").make()
        self._folder = folder
        self._result = result
        self._life: Life | None = None
        self._done = threading.Event()
        self._problem: OSError | None = None

    def perform(self) -> None:
        known = self._shared.crash_names()
        for data in seeds_of(self._part.fuzz_target, self._engine.kind):
            if input_name(data) not in known:
                self._seeds.add(data)
        self._shared.pull(self._corpus)
        deadline = time.monotonic() + self._part.seconds
        keeper = threading.Thread(target=self._keep_in_step, daemon=True)
        keeper.start()
        try:
            self._lives(deadline)
        finally:
            self._done.set()
            keeper.join(30)
        if self._problem is not None:
            raise self._problem
        self._result.shared += self._shared.push(self._corpus)

    def _lives(self, deadline: float) -> None:
        barren = 0
        number = 0
        sifted = False
        while (left := deadline - time.monotonic()) > 0 and self._problem is None and barren < _BARREN_MAX:
            progress = Progress()
            command = [
                str(self._engine.path),
                *self._engine.worker_flags(self._part.seed),
                f"-seed={(self._part.seed + number * 7919) % 2**31 + 1}",
                f"-max_total_time={max(1, round(left))}",
                str(self._corpus.path),
                str(self._seeds.path),
            ]
            self._life = Life(command, self._engine.child_environment(), self._folder, progress)
            ended = self._life.run()
            number += 1
            self._account(ended, progress)
            if ended.crash is not None and not progress.ready and not sifted:
                # It died while it loaded its corpus: the next ones shall not.
                sifted = True
                for crash in sift(self._engine, [self._seeds, self._corpus], self._folder, self._is_over(deadline)):
                    self._keep(crash)
            if ended.crash is None and not ended.how:
                return
            barren = 0 if ended.executions or ended.crash else barren + 1
        if barren >= _BARREN_MAX:
            self._result.trouble = f"its engine ended before it performed anything ({self._result.deaths[-1]})"

    def _account(self, ended: Ended, progress: Progress) -> None:
        result = self._result
        result.executions += ended.executions
        result.coverage = max(result.coverage, progress.coverage)
        result.features = max(result.features, progress.features)
        if ended.how:
            result.deaths.append(ended.how)
        if ended.crash is not None:
            self._keep(ended.crash)

    def _keep(self, found: Crash) -> None:
        """Shares a crash at once: whoever kills this worker afterwards is too late."""
        crash = Crash(found.data, found.violation, found.report[-20:])
        self._result.crashes.append(crash)
        del self._result.crashes[:-_CRASHES_MAX]
        with suppress(OSError):
            self._shared.save_crash(crash)
            # Every slice would die of it once more.
            self._shared.discard(crash.data)
        self._corpus.discard(crash.data)
        self._seeds.discard(crash.data)

    def _is_over(self, deadline: float) -> Callable[[], bool]:
        return lambda: time.monotonic() > deadline or self._problem is not None

    def _keep_in_step(self) -> None:
        """Shares new inputs every second, fetches those of others, and looks whether the disk still takes anything."""
        while not self._done.wait(_SYNC_SECONDS):
            problem = disk_problem(self._folder)
            try:
                self._result.shared += self._shared.push(self._corpus)
                if problem is None:
                    self._shared.pull(self._corpus)
            except OSError as error:
                problem = problem or error
            if problem is not None:
                self._problem = problem
                if self._life is not None:
                    self._life.stop()
                return
