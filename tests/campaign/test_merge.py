"""Merging and forking really do something: corpora grow, shrink to a cover, and are never emptied by a failure."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from zmm_fuzz.campaign.corpus import Corpus
from zmm_fuzz.campaign.engines import Engine
from zmm_fuzz.campaign.merge import MergeError, measure, merge

Run = Callable[..., subprocess.CompletedProcess[str]]


def fuzzed(engine: Engine, folder: Path, *flags: str) -> Corpus:
    """A corpus as an engine leaves it."""
    corpus = Corpus(folder).make()
    command = [str(engine.path), "-seed=1", "-max_len=64", *flags, str(folder)]
    subprocess.run(command, cwd=folder.parent, env=engine.child_environment(), capture_output=True, check=True)
    return corpus


def test_a_merge_keeps_the_coverage_with_fewer_inputs(engine: Engine, tmp_path: Path) -> None:
    """The features that the engine reaches with the merged corpus are those of the whole."""
    corpus = fuzzed(engine, tmp_path / "corpus", "-runs=30000", "-reduce_inputs=0")
    before = measure(corpus.path, engine)
    merged = merge(engine, corpus.path)
    after = measure(corpus.path, engine)

    assert 0 < merged.files < merged.files_before == before.files
    assert after.coverage == before.coverage > 10
    assert after.features >= before.features


def test_a_merge_adds_what_only_the_other_corpus_covers(engine: Engine, tmp_path: Path) -> None:
    """The corpus grows by what it lacks; merging the same again covers no more."""
    other = fuzzed(engine, tmp_path / "other", "-runs=30000")
    corpus = Corpus(tmp_path / "corpus").make()
    corpus.add(b"\0")
    merged = merge(engine, corpus.path, [other.path])
    first = measure(corpus.path, engine)
    merge(engine, corpus.path, [other.path])
    again = measure(corpus.path, engine)

    assert merged.files_before == 1 < merged.files
    assert first.coverage == again.coverage == measure(other.path, engine).coverage
    assert first.features == again.features


def test_fork_grows_a_corpus(engine: Engine, tmp_path: Path) -> None:
    """LibFuzzer's fork mode starts itself again by its first argument: what its children find arrives."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    command = [str(engine.path), "-fork=1", "-runs=20000", "-max_len=64", str(folder)]
    subprocess.run(command, cwd=tmp_path, env=engine.child_environment(), capture_output=True, check=False, timeout=120)

    assert len(Corpus(folder).files()) > 5


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("#!/bin/sh\nexit 0\n", "merged 1 folders into nothing"),
        ("#!/bin/sh\necho cannot start >&2\nexit 127\n", "status 127: cannot start"),
        ("#!/bin/sh\nsleep 60\n", "did not finish merging within 1 s"),
    ],
    ids=["silent", "failing", "endless"],
)
def test_a_merge_that_does_nothing_changes_nothing(script: str, said: str, tmp_path: Path) -> None:
    """An engine that cannot start itself again says nothing and writes nothing; the corpus stays, the error is told."""
    path = tmp_path / "engine"
    path.write_text(script)
    path.chmod(0o755)
    corpus = Corpus(tmp_path / "corpus").make()
    corpus.add(b"precious")
    with pytest.raises(MergeError, match=said):
        merge(Engine("libfuzzer", "heap", path), corpus.path, seconds=1.0)

    assert list(corpus.inputs()) == [b"precious"]
    assert sorted(one.name for one in tmp_path.iterdir()) == ["corpus", "engine"]


def test_stats_count_operations_and_ask_the_engine(engine: Engine, zmm: Run, tmp_path: Path) -> None:
    """Inputs, bytes, words of the tapes, coverage; the same on the command line."""
    corpus = Corpus(tmp_path / "corpus").make()
    corpus.add(b"\0\0\x28")  # a = alloc 40
    corpus.add(b"\0\0\x28\0\x29")
    (corpus.path / ("0" * 40)).write_bytes(b"\0")
    stats = measure(corpus.path, engine)

    assert (stats.files, stats.bytes, stats.longest_bytes, stats.damaged) == (3, 9, 5, 1)
    assert stats.operations == {"alloc": 3}
    assert stats.coverage > 0
    done = zmm("corpus", "stats", corpus.path, "--json", "stats.json")
    assert done.returncode == 0, done.stderr
    assert "3 inputs, 9 bytes" in done.stdout
    data = json.loads((tmp_path / "stats.json").read_text())
    assert (data["schema"], data["status"], data["operations"]) == (1, "pass", {"alloc": 3})
    assert data["coverage"] == stats.coverage


def test_prune_and_merge_on_the_command_line(engine: Engine, zmm: Run, tmp_path: Path) -> None:
    """Prune writes a seed file if asked; merge reads one."""
    fuzzed(engine, tmp_path / "corpus", "-runs=20000", "-reduce_inputs=0")
    pruned = zmm("corpus", "prune", "corpus", "--save", "seeds.txt", "--json", "pruned.json")
    merged = zmm("corpus", "merge", "other", "seeds.txt")

    assert (pruned.returncode, merged.returncode) == (0, 0), pruned.stderr + merged.stderr
    data = json.loads((tmp_path / "pruned.json").read_text())
    assert 0 < data["files"] < data["files_before"]
    assert len(Corpus(tmp_path / "other").files()) == data["files"]
    assert list(tmp_path.glob(".*")) == []
