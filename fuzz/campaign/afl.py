"""One life of AFL++: the same corpus and the same crashes, another command line."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from ..tiers.workers import describe_exit
from .corpus import Corpus
from .crew import Birth, Living
from .engines import Engine
from .harvest import repeat
from .life import DIE_WITH_PARENT, Crash, Ended
from .status import Progress, Violation

_POLL_SECONDS = 1.0
_GRACE_SECONDS = 5.0
_CRASHES_MAX = 20
_STAT = re.compile(r"^(\w+)\s*:\s*([0-9.]+)", re.MULTILINE)
_ENVIRONMENT = {
    "AFL_FUZZER_STATS_UPDATE_INTERVAL": "5",
    "AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES": "1",
    "AFL_NO_AFFINITY": "1",
    "AFL_NO_UI": "1",
    "AFL_SKIP_CPUFREQ": "1",
    # AFL++ asks for these when a binary has sanitizers, and for no others.
    "ASAN_OPTIONS": "abort_on_error=1:symbolize=0:detect_leaks=0:allocator_may_return_null=1",
    "UBSAN_OPTIONS": "halt_on_error=1:abort_on_error=1:symbolize=0",
}


class AflLife:
    """One afl-fuzz process, with a folder of its own for what it finds."""

    def __init__(
        self, command: list[str], engine: Engine, judge: Engine, corpus: Corpus, found: Path, progress: Progress
    ) -> None:
        self.progress = progress
        self._command = command
        self._engine = engine
        self._judge = judge
        self._corpus = corpus
        self._found = found
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False

    def run(self) -> Ended:
        """Runs it to its end; then its queue joins the corpus, and its crashes are judged one by one."""
        log = self._found.with_suffix(".log")
        with log.open("wb") as stream:
            self._process = subprocess.Popen(
                [*(sys.executable, "-I", "-S", "-c", DIE_WITH_PARENT), str(os.getpid()), *self._command],
                cwd=self._found.parent.parent,
                env={**self._engine.child_environment(), **_ENVIRONMENT},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
            )
        while self._process.poll() is None:
            self._look()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_POLL_SECONDS)
        self._look()
        for path in sorted((self._found / "queue").glob("id:*")):
            with suppress(OSError):
                self._corpus.add(path.read_bytes())
        crashes = tuple(self._crashes())
        code = self._process.returncode
        how = "" if code == 0 or self._stopped else describe_exit(code)
        said = re.sub(r"\x1b\[[0-9;]*m", "", log.read_text(errors="replace")).strip().splitlines()
        last_words = next((line.strip() for line in reversed(said) if "ABORT" in line), said[-1] if said else "")
        return Ended(self.progress.executions, None, how, last_words, crashes)

    def _look(self) -> None:
        """Reads the figures that afl-fuzz writes every few seconds."""
        with suppress(OSError):
            stats = dict(_STAT.findall((self._found / "fuzzer_stats").read_text()))
            self.progress.executions = int(stats.get("execs_done", 0))
            self.progress.rate = int(float(stats.get("execs_per_sec", 0)))
            self.progress.coverage = int(stats.get("edges_found", 0))
            self.progress.features = self.progress.coverage
            self.progress.corpus_files = int(stats.get("corpus_count", 0))
            self.progress.said_at = time.monotonic()

    def _crashes(self) -> list[Crash]:
        """AFL++ does not say what was wrong; libFuzzer's binary does."""
        found = []
        for kind, rule in (("crashes", "DEATH"), ("hangs", "HANG")):
            for path in sorted((self._found / kind).glob("id:*"))[:_CRASHES_MAX]:
                data = path.read_bytes()
                violation = repeat(self._judge, data)
                if violation is not None or kind == "crashes":
                    found.append(Crash(data, violation or Violation(rule, "seen by afl-fuzz only")))
        return found

    def stop(self) -> None:
        """Asks it to end, which writes its figures."""
        self._stopped = True
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.terminate()

    def kill_after_grace(self) -> None:
        """Makes sure of the end of a stopped one."""
        if self._process is None:
            return
        try:
            self._process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()


def afl_birth(engine: Engine, judge: Engine, corpus: Corpus, seeds: Corpus, seconds: float) -> Birth:
    """Lives of AFL++; they share what they find through one output folder, as AFL++ does it."""
    work = seeds.path.parent / "afl"
    inputs = Corpus(work / "in").make()
    for data in (b"\0", *seeds.inputs(), *corpus.inputs()):
        inputs.add(data)
    lives: dict[int, int] = {}

    def birth(number: int, seed: int, progress: Progress) -> Living:
        lives[number] = lives.get(number, -1) + 1
        name = f"worker{number}-{lives[number]}"
        out = work / "out"
        out.mkdir(exist_ok=True)
        role = "-M" if number == 0 and lives[number] == 0 else "-S"
        command = [
            *("/usr/bin/env", "afl-fuzz", "-i", str(inputs.path), "-o", str(out), role, name),
            *("-V", str(max(1, round(seconds))), "-s", str(seed), "-m", "none", "-t", "2000"),
            *("--", str(engine.path)),
        ]
        return AflLife(command, engine, judge, corpus, out / name, progress)

    return birth
