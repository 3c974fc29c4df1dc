"""Corpora kept small: the engine chooses a set of inputs that covers what all of them cover; replaced in one step."""

from __future__ import annotations

import subprocess
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import UserError
from ..tape import decode
from .corpus import Corpus, input_name, replace_folder
from .engines import Engine
from .life import Life
from .status import Progress, Reader

_MERGE_SECONDS = 600.0


class MergeError(UserError):
    """A merge did not come to its end: one line; the corpus is as it was."""


@dataclass(frozen=True, slots=True)
class Merged:
    """What a merge came to: inputs and bytes before and after."""

    files_before: int
    bytes_before: int
    files: int
    bytes: int
    damaged: int = 0


@dataclass(slots=True)
class Stats:
    """
    What a corpus is: its inputs, the operations in its tapes by word, and what the engine reaches with it.

    ``coverage`` and ``features`` are 0 and ``reason`` says why when no engine was asked.
    """

    files: int = 0
    bytes: int = 0
    longest_bytes: int = 0
    damaged: int = 0
    operations: dict[str, int] = field(default_factory=dict)
    coverage: int = 0
    features: int = 0
    reason: str = ""


def merge(
    engine: Engine,
    into: Path,
    others: Sequence[Path] = (),
    *,
    seconds: float = _MERGE_SECONDS,
    edges: bool = False,
    longest_bytes: int = 0,
) -> Merged:
    """
    Makes ``into`` the smallest set that the engine finds which covers what it and ``others`` cover together.

    ``edges`` counts which edges are reached, not how often: far fewer inputs, for seeds. ``longest_bytes``, unless 0,
    leaves longer inputs out.

    The new set is made beside the folder and takes its place in one step, so whatever happens it is whole.

    Raises:
        MergeError: the engine failed, or ran out of time.
        OSError: the disk is full, ...
    """
    corpus = Corpus(into).make()
    damaged = corpus.repair()
    before = _sizes(corpus)
    with tempfile.TemporaryDirectory(prefix=f".{into.name}.merge-", dir=into.resolve().parent) as work:
        new = Path(work) / "new"
        new.mkdir()
        folders = [path.resolve() for path in (into, *others)]
        if longest_bytes:
            folders = [_short_ones(folders, Path(work) / "short", longest_bytes)]
        sources = [str(path) for path in folders if Corpus(path).files()]
        if sources:
            _run(engine, [*_merge_flags(edges=edges), str(new), *sources], Path(work), seconds)
            _check(engine, Corpus(new), sources)
        replace_folder(new, into.resolve())
    after = _sizes(corpus)
    return Merged(*before, *after, damaged=damaged)


def _short_ones(folders: Sequence[Path], short: Path, longest_bytes: int) -> Path:
    """Copies of the inputs that are no longer than that."""
    kept = Corpus(short).make()
    for folder in folders:
        for data in Corpus(folder).inputs():
            if len(data) <= longest_bytes:
                kept.add(data)
    return short


def _merge_flags(*, edges: bool) -> list[str]:
    """Set cover keeps the fewest inputs; crashing ones are left out and do not end the merge."""
    return ["-set_cover_merge=1", f"-use_counters={int(not edges)}"]


def _check(engine: Engine, new: Corpus, sources: list[str]) -> None:
    """
    An engine that cannot start itself again merges nothing and says nothing, which must not empty a corpus.

    Every input that does not kill the engine covers something, so the result of a working merge has inputs.
    """
    new.repair()
    if not new.files():
        raise MergeError(
            f"{engine.path.name} merged {len(sources)} folders into nothing; check that it is an executable of its own"
        )


def _run(engine: Engine, arguments: list[str], folder: Path, seconds: float) -> None:
    try:
        done = engine.perform(arguments, folder, seconds)
    except subprocess.TimeoutExpired:
        raise MergeError(f"{engine.path.name} did not finish merging within {seconds:.0f} s; give it more") from None
    except OSError as error:
        raise MergeError(f"{engine.path.name} cannot be started: {error.strerror}; build it again") from None
    if done.returncode != 0:
        said = next((line for line in reversed(Reader.of(done.stdout).tail) if line), "nothing said")
        raise MergeError(f"{engine.path.name} failed while merging (status {done.returncode}: {said}); nothing changed")


def _sizes(corpus: Corpus) -> tuple[int, int]:
    files = corpus.files()
    return len(files), sum(path.stat().st_size for path in files)


def measure(folder: Path, engine: Engine | None, *, reason: str = "", kind: str = "tape") -> Stats:
    """
    What a corpus is; nothing in it is changed.

    Args:
        folder: the corpus.
        engine: performs every input once and says what that reaches; None leaves that out.
        reason: why there is no engine.
        kind: ``tape`` counts operations.
    """
    corpus = Corpus(folder)
    stats = Stats(reason=reason)
    words: Counter[str] = Counter()
    for path in corpus.files():
        data = path.read_bytes()
        stats.files += 1
        stats.bytes += len(data)
        stats.longest_bytes = max(stats.longest_bytes, len(data))
        stats.damaged += _is_damaged(path, data)
        if kind == "tape":
            words.update(operation.word for operation in decode(data).operations)
    stats.operations = dict(words.most_common())
    if engine is not None and stats.files:
        reach(engine, folder, stats)
    return stats


def reach(engine: Engine, folder: Path, stats: Stats) -> None:
    """Performs every input once; fills in coverage and features, or the reason why not."""
    progress = Progress()
    command = [str(engine.path), *engine.flags(), "-runs=0", str(folder.resolve())]
    with tempfile.TemporaryDirectory(prefix="zmm-fuzz-") as work:
        ended = Life(command, engine.child_environment(), Path(work), progress).run()
    stats.coverage, stats.features = progress.coverage, progress.features
    if ended.crash is not None:
        stats.reason = f"an input breaks {ended.crash.violation.rule}: {ended.crash.violation.sentence}"
    elif ended.how:
        stats.reason = f"the engine ended early ({ended.how})"


def _is_damaged(path: Path, data: bytes) -> bool:
    return len(path.name) == 40 and path.name != input_name(data)
