"""Local workers: one engine process each on a shared corpus; restarted when they die, with everything they did kept."""

from __future__ import annotations

import os
import queue
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from .corpus import Corpus
from .engines import Engine
from .inbox import Inbox
from .life import Crash, Ended, Life
from .status import Progress

# After so many lives in a row that performed nothing, a worker gives up.
_BARREN_MAX = 3
_JOIN_SECONDS = 8.0


class Living(Protocol):
    """An engine's life, whatever its command line looks like."""

    progress: Progress

    def run(self) -> Ended: ...
    def stop(self) -> None: ...
    def kill_after_grace(self) -> None: ...


# Makes a life for a worker: its number, the seed of this life.
Birth = Callable[[int, int, Progress], Living]
# Goes through corpora for inputs that kill engines, until it is told that there is no time left.
Sift = Callable[[Callable[[], bool]], Iterator[Crash]]


@dataclass(slots=True)
class Worker:
    """One worker: what its earlier lives did, how the present one is, and how the others ended."""

    number: int
    progress: Progress = field(default_factory=Progress)
    executions: int = 0
    crashes: int = 0
    deaths: list[str] = field(default_factory=list)
    trouble: str = ""
    life: Living | None = None

    def total(self) -> int:
        """Executions of all its lives, the present one as far as it has said."""
        return self.executions + self.progress.executions


class Crew:
    """
    The workers of one campaign on this machine.

    Engines share the corpus folder: each looks every second for what the others have added to it.
    """

    def __init__(
        self, birth: Birth, jobs: int, seed: int, corpus: Corpus, seeds: Corpus, inbox: Inbox, sift: Sift | None = None
    ) -> None:
        self._birth = birth
        self._sift = sift
        self._sifting = threading.Lock()
        self._sifted = False
        self._seed = seed
        self._corpus = corpus
        self._seeds = seeds
        self._inbox = inbox
        self._stopping = threading.Event()
        self.news: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.workers = [Worker(number) for number in range(jobs)]
        self._threads = [
            threading.Thread(target=self._work, args=(worker,), name=f"engine {worker.number}", daemon=True)
            for worker in self.workers
        ]

    def start(self) -> None:
        """Starts the first life of every worker."""
        for thread in self._threads:
            thread.start()

    def running(self) -> bool:
        """Whether any worker still works."""
        return any(thread.is_alive() for thread in self._threads)

    def stop(self) -> None:
        """Ends all engines in order, and waits for their last figures."""
        self._stopping.set()
        lives = [worker.life for worker in self.workers if worker.life is not None]
        for life in lives:
            life.stop()
        for life in lives:
            life.kill_after_grace()
        for thread in self._threads:
            thread.join(_JOIN_SECONDS)

    def executions(self) -> int:
        """Inputs performed so far, as far as the engines have said."""
        return sum(worker.total() for worker in self.workers)

    def _work(self, worker: Worker) -> None:
        """The lives of one worker, one after the other."""
        barren = 0
        life_number = 0
        while not self._stopping.is_set() and not worker.trouble:
            worker.progress = Progress(coverage=worker.progress.coverage, features=worker.progress.features)
            seed = (self._seed + worker.number + life_number * len(self.workers)) % 2**31 + 1
            worker.life = self._birth(worker.number, seed, worker.progress)
            if self._stopping.is_set():
                return
            try:
                ended = worker.life.run()
            except OSError as error:
                worker.trouble = f"its engine cannot be started: {error.strerror}"
                self.news.put(f"worker {worker.number} gives up: {worker.trouble}")
                return
            worker.progress.executions = 0
            worker.executions += ended.executions
            life_number += 1
            barren = 0 if ended.executions or ended.crash else barren + 1
            self._bury(worker, ended, barren)
            if ended.crash is not None and not worker.progress.ready:
                self._sift_once(worker)
            if not ended.crash and not ended.how:
                return

    def _bury(self, worker: Worker, ended: Ended, barren: int) -> None:
        """Keeps what a life has left behind."""
        for crash in (*ended.more, *((ended.crash,) if ended.crash is not None else ())):
            self._keep(worker, crash)
        if ended.crash is None and ended.how:
            worker.deaths.append(ended.how)
            if barren >= _BARREN_MAX:
                worker.trouble = f"{ended.how} before it performed anything, {barren} times ({ended.last_words})"
                self.news.put(f"worker {worker.number} gives up: {worker.trouble}")
            else:
                self.news.put(f"worker {worker.number}: its engine was lost ({ended.how}); a new one takes over")

    def _sift_once(self, worker: Worker) -> None:
        """A life has died while it loaded its corpus: before others do the same, the corpus is gone through."""
        with self._sifting:
            if self._sift is None or self._sifted:
                return
            for crash in self._sift(self._stopping.is_set):
                self._keep(worker, crash)
            self._sifted = True

    def _keep(self, worker: Worker, crash: Crash) -> None:
        worker.crashes += 1
        is_new = crash.violation.rule not in self._inbox.rules()
        self._inbox.add(crash)
        # An input that kills whoever reads it would kill every life at its beginning.
        self._corpus.discard(crash.data)
        self._seeds.discard(crash.data)
        if is_new:
            self.news.put(f"found: {crash.violation.rule}: {crash.violation.sentence}")


def libfuzzer_birth(engine: Engine, corpus: Corpus, seeds: Corpus, seconds: float) -> Birth:
    """Lives of a libFuzzer-like engine on a corpus, of at most so many seconds each."""
    environment = engine.child_environment()

    def birth(number: int, seed: int, progress: Progress) -> Living:
        command = [
            str(engine.path_of(number)),
            *engine.worker_flags(number),
            f"-seed={seed}",
            f"-max_total_time={max(1, round(seconds))}",
            str(corpus.path),
            str(seeds.path),
        ]
        return Life(command, environment, seeds.path.parent, progress)

    return birth


def disk_problem(folder: Path) -> OSError | None:
    """
    What keeps this process from writing 64 KiB into a folder, or None.

    Engines say nothing when a write fails: the input is missing or torn. So we ask for them.
    """
    try:
        handle, name = tempfile.mkstemp(dir=folder, prefix=".", suffix=".part")
    except OSError as error:
        return error
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(bytes(65536))
            stream.flush()
    except OSError as error:
        return error
    finally:
        Path(name).unlink(missing_ok=True)
    return None
