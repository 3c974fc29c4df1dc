"""Sorts out inputs that kill whoever reads them, so that no engine dies of them while it loads its corpus."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from .corpus import Corpus, input_name
from .engines import Engine
from .life import Crash, Life

# Files named on one command line.
_BATCH = 400


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
    environment = engine.child_environment()
    while files and not stopping():
        batch = files[:_BATCH]
        ended = Life([str(engine.path), *engine.flags(), *map(str, batch)], environment, folder).run()
        if ended.crash is None:
            files = files[len(batch) :]
            continue
        yield ended.crash
        name = input_name(ended.crash.data)
        # Files that others have removed meanwhile are passed over by the engine, too.
        index = next((number for number, path in enumerate(batch) if path.name == name), len(batch) - 1)
        files = files[index + 1 :]
