"""Sorts out inputs that kill whoever reads them, so that no engine dies of them while it loads its corpus."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from .corpus import Corpus
from .engines import Engine
from .life import Crash
from .status import Reader, Violation

# Files named on one command line.
_BATCH = 400
# What libFuzzer says before each of them.
_RUNNING = b"Running: "


def sift(engine: Engine, corpora: Sequence[Corpus], folder: Path, stopping: Callable[[], bool]) -> Iterator[Crash]:
    """
    Performs every input of some corpora once, and yields the crashes.

    A life that dies while it loads its corpus has to load it again; this goes on behind the input that was to blame.

    Args:
        engine: a libFuzzer-like one.
        corpora: nothing in them is changed.
        folder: where the engine runs.
        stopping: true when there is no time left.
    """
    files = [path for corpus in corpora for path in corpus.files()]
    while files and not stopping():
        batch = files[:_BATCH]
        violation, path = _perform(engine, batch, folder)
        if violation is None:
            files = files[len(batch) :]
            continue
        files = files[batch.index(path) + 1 :] if path in batch else files[len(batch) :]
        with suppress(FileNotFoundError):
            yield Crash(path.read_bytes(), violation)


def _perform(engine: Engine, files: Sequence[Path], folder: Path) -> tuple[Violation | None, Path]:
    """Performs files until one of them kills the engine; says what was wrong, and which one it was."""
    done = engine.perform(files, folder)
    running = [line.removeprefix(_RUNNING) for line in done.stdout.splitlines() if line.startswith(_RUNNING)]
    last = Path(os.fsdecode(running[-1] if running else b""))
    return (Reader.of(done.stdout).violation() if done.returncode > 0 else None), last
