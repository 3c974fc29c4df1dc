"""One life of an engine: how it ends, and what it leaves."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

from zmm_fuzz.campaign.corpus import Corpus
from zmm_fuzz.campaign.engines import Engine
from zmm_fuzz.campaign.life import Ended, Life
from zmm_fuzz.campaign.sift import sift
from zmm_fuzz.campaign.status import Violation

Planted = Callable[[str], Engine]


def life_of(engine: Engine, folder: Path, *flags: str) -> Life:
    return Life([str(engine.path), *engine.flags(), "-seed=1", *flags], engine.child_environment(), folder)


def while_running(life: Life, action: object) -> Ended:
    """Runs a life in a thread, waits until it performs inputs, and does something to it."""
    found: list[Ended] = []
    thread = threading.Thread(target=lambda: found.append(life.run()))
    thread.start()
    deadline = time.monotonic() + 60
    while not life.progress.ready and time.monotonic() < deadline:
        time.sleep(0.02)
    assert callable(action)
    action()
    thread.join(60)
    return found[0]


def test_an_orderly_end_has_exact_figures(engine: Engine, tmp_path: Path) -> None:
    """As many executions as were asked for, no crash, nothing lost."""
    ended = life_of(engine, tmp_path, "-runs=5000").run()

    assert (ended.crash, ended.how) == (None, "")
    assert 5000 <= ended.executions <= 5010


def test_a_crash_leaves_its_input_without_touching_a_disk(planted: Planted, tmp_path: Path) -> None:
    """The input, the rule and the step arrive; no file does."""
    ended = life_of(planted("a"), tmp_path, "-max_total_time=60").run()

    assert ended.crash is not None
    assert b"BUG" in ended.crash.data
    assert ended.crash.violation == Violation("ABS-3", "live blocks never share a byte", 1, "strdup")
    assert ended.executions > 0
    assert list(tmp_path.iterdir()) == []


def test_a_crash_without_a_word_is_a_death(planted: Planted, tmp_path: Path) -> None:
    """abort() alone is enough."""
    ended = life_of(planted("n"), tmp_path, "-max_total_time=60").run()

    assert ended.crash is not None
    assert ended.crash.violation == Violation("DEATH", "deadly signal")


def test_an_input_that_never_ends_is_a_hang(planted: Planted, tmp_path: Path) -> None:
    """LibFuzzer's own limit for one input makes it a finding like any other."""
    path = tmp_path / "input"
    path.write_bytes(b"OUT")
    ended = life_of(planted("h"), tmp_path, "-timeout=1", str(path)).run()

    assert ended.crash is not None
    assert ended.crash.violation.rule == "HANG"


def test_a_killed_engine_is_lost_and_no_crash(engine: Engine, tmp_path: Path) -> None:
    """SIGKILL comes from outside: no input is to blame; what it had said it had performed still counts."""
    life = life_of(engine, tmp_path)
    ended = while_running(life, lambda: os.kill(life.pid, signal.SIGKILL))

    assert (ended.crash, ended.how) == (None, "killed by SIGKILL")


def test_a_stopped_engine_tells_its_figures(engine: Engine, tmp_path: Path) -> None:
    """Stopping is an orderly end, and the count is the engine's own last word."""
    life = life_of(engine, tmp_path)
    ended = while_running(life, life.stop)

    assert (ended.crash, ended.how) == (None, "")
    assert ended.executions > 0


def test_an_engine_stopped_before_it_began_does_nothing(engine: Engine, tmp_path: Path) -> None:
    """The run ends at once."""
    life = life_of(engine, tmp_path)
    life.stop()

    assert life.run() == Ended(0, None, "")


def test_sifting_finds_every_input_that_kills(planted: Planted, tmp_path: Path) -> None:
    """It goes on behind each of them, and changes nothing."""
    corpus = Corpus(tmp_path / "corpus").make()
    bad = [b"BUG", b"xBUG", b"OUT and more"]
    for data in (*bad, b"fine", b"fine too", b"BU", b"G"):
        corpus.add(data)
    found = list(sift(planted("ab"), [corpus], tmp_path, lambda: False))

    assert sorted(crash.data for crash in found) == sorted(bad)
    assert {crash.violation.rule for crash in found} == {"ABS-3", "INVARIANT"}
    assert len(corpus.files()) == 7
    assert list(sift(planted("ab"), [corpus], tmp_path, lambda: True)) == []
