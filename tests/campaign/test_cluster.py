"""Campaigns on a cluster: the shared corpus, slices and their accidents; the drill at night."""

from __future__ import annotations

import errno
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from zmm_fuzz.campaign import slices
from zmm_fuzz.campaign.corpus import Corpus, input_name
from zmm_fuzz.campaign.life import Crash
from zmm_fuzz.campaign.shared import SharedCorpus
from zmm_fuzz.campaign.slices import Slice, SliceResult, run_slice
from zmm_fuzz.campaign.status import Violation
from zmm_fuzz.errors import UserError

pytest.importorskip("fsspec", reason="needs fsspec (pip install 'zmm[dask]')")
ROOT = Path(__file__).resolve().parents[2]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(params=["file", "memory"])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> SharedCorpus:
    """A shared corpus on a disk, and one that is no folder at all."""
    where = tmp_path / "shared" if request.param == "file" else Path(f"/{request.node.name}")
    return SharedCorpus(f"{request.param}://{where}")


def test_inputs_travel_both_ways(shared: SharedCorpus, tmp_path: Path) -> None:
    """Each side gets what it lacks, once."""
    one, two = Corpus(tmp_path / "one").make(), Corpus(tmp_path / "two").make()
    one.add(b"from one")
    two.add(b"from two")

    assert (shared.push(one), shared.push(two), shared.push(one)) == (1, 1, 0)
    assert (shared.pull(one), shared.pull(one)) == (1, 0)
    assert sorted(one.inputs()) == [b"from one", b"from two"]
    assert shared.names() == {input_name(b"from one"), input_name(b"from two")}


def test_torn_inputs_do_not_travel(shared: SharedCorpus, tmp_path: Path) -> None:
    """What an engine is still writing, or could not finish on a full disk, stays where it is."""
    corpus = Corpus(tmp_path / "one").make()
    (corpus.path / input_name(b"a whole input")).write_bytes(b"a who")

    assert shared.push(corpus) == 0
    assert shared.names() == set()


def test_pruning_removes_the_rest(shared: SharedCorpus, tmp_path: Path) -> None:
    """Only the named inputs stay."""
    corpus = Corpus(tmp_path / "one").make()
    for data in (b"1", b"2", b"3"):
        corpus.add(data)
    shared.push(corpus)

    assert shared.keep_only({input_name(b"2")}) == 2
    assert shared.names() == {input_name(b"2")}


def test_crashes_lie_beside_the_corpus(shared: SharedCorpus) -> None:
    """With what was said about them; settled ones go."""
    crash = Crash(b"bad", Violation("ABS-3", "a sentence", 2, "free"), ("line",))
    shared.save_crash(crash)

    assert shared.crashes() == [crash]
    assert shared.crash_names() == {input_name(b"bad")}
    assert shared.names() == set()
    shared.settle(crash)
    assert shared.crashes() == []


def test_an_unknown_kind_of_url_is_one_line() -> None:
    """It names the URL."""
    with pytest.raises(UserError, match="nothing://x"):
        SharedCorpus("nothing://x")


# ---- slices ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def part(engines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Slice:
    """A slice of a campaign with the stand-in."""
    monkeypatch.setenv("ZMM_FUZZ_ENGINES", str(engines))
    monkeypatch.setenv("ZMM_FUZZ_SCRATCH", str(tmp_path))
    return Slice("libfuzzer", "heap", False, 3.0, 1, f"file://{tmp_path / 'shared'}")


def test_a_slice_shares_while_it_runs(part: Slice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inputs arrive before its end, so that whoever kills the worker takes little away; its scratch folder goes."""
    enough = threading.Event()
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(slices, "disk_problem", lambda _folder: full if enough.is_set() else None)
    found: list[SliceResult] = []
    thread = threading.Thread(target=lambda: found.append(run_slice(replace(part, seconds=120.0))))
    thread.start()
    deadline = time.monotonic() + 100
    while not list((tmp_path / "shared").glob("[0-9a-f]*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    shared_early = len(list((tmp_path / "shared").glob("[0-9a-f]*")))
    assert thread.is_alive()
    enough.set()
    thread.join(60)

    assert shared_early > 0
    assert found[0].executions > 0
    assert found[0].disk_full
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shared", "shared-crashes"]


def test_a_slice_brings_crashes_home_and_shares_them(
    part: Slice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is in the result and beside the corpus, and leaves the corpus."""
    monkeypatch.setenv("STAND_IN", "a")
    Corpus(tmp_path / "shared").make().add(b"a BUG in it")
    result = run_slice(part)

    assert {crash.violation.rule for crash in result.crashes} == {"ABS-3"}
    assert b"a BUG in it" in {crash.data for crash in result.crashes}
    names = {path.stem for path in (tmp_path / "shared-crashes").iterdir()}
    assert {input_name(crash.data) for crash in result.crashes} <= names
    assert b"a BUG in it" not in set(Corpus(tmp_path / "shared").inputs())


def test_a_slice_on_a_full_disk_says_so(part: Slice, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends early, with one line, and keeps its figures."""
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(slices, "disk_problem", lambda _folder: full)
    result = run_slice(part)

    assert result.disk_full
    assert result.trouble.startswith("cannot write to this worker's scratch folder: the disk is full")


def test_a_slice_without_an_engine_says_so(part: Slice, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its worker gets no more work; the line says what to install."""
    monkeypatch.setenv("ZMM_FUZZ_ENGINES", str(tmp_path))

    assert "has no zmm-fuzz-heap" in run_slice(part).trouble


# ---- whole clusters --------------------------------------------------------------------------------------------------


def test_an_address_of_no_cluster_leaves_nothing_behind(zmm: Run, tmp_path: Path) -> None:
    """The corpus is made when there is somebody to fill it."""
    before = set(tmp_path.iterdir())

    assert zmm("fuzz", "--scheduler", "nonsense").returncode == 2
    assert set(tmp_path.iterdir()) == before


@pytest.mark.nightly
def test_a_scheduler_that_is_not_there_is_one_line(zmm: Run) -> None:
    """Exit code 2."""
    done = zmm("fuzz", "--scheduler", "tcp://127.0.0.1:9", "--time-budget", "1s")

    assert done.returncode == 2
    assert done.stderr.startswith("zmm: no Dask scheduler at tcp://127.0.0.1:9")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.nightly
@pytest.mark.timeout(900)
@pytest.mark.parametrize("part", ["local", "cluster"])
def test_the_drill(part: str) -> None:
    """Workers killed, disks filled half-way: no finding lost, corpora intact, the documented exit codes."""
    command = [sys.executable, "-P", str(ROOT / "ci" / "drill.py"), "--part", part]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 2:
        pytest.skip(done.stderr.strip())

    assert done.returncode == 0, done.stdout + done.stderr
