"""`zmm bench worst`: what was not measured is said and is no success; what a search has found outlives its end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from zmm_fuzz.cli import worst
from zmm_fuzz.cli.bench import overall
from zmm_fuzz.targets import Target, TargetError
from zmm_fuzz.tiers.base import Interrupted
from zmm_fuzz.worst.kept import read_kept
from zmm_fuzz.worst.objectives import OBJECTIVES, Objective
from zmm_fuzz.worst.phases import Phase
from zmm_fuzz.worst.player import Player
from zmm_fuzz.worst.search import Climb

Start = Callable[..., AbstractContextManager[subprocess.Popen[str]]]
FILL = (Phase("fill", 100, 5),)


@pytest.fixture
def release() -> Target:
    return worst.find_subject("zmm:release")


@pytest.fixture
def without_valgrind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counting instructions fails, as on a machine without valgrind."""

    def count(_player: Player, _records: bytes, *, gc: bool = False) -> int:
        raise TargetError("valgrind is not here")

    monkeypatch.setattr(Player, "count_instructions", count)


def report(path: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(path.read_text())
    return data


@pytest.mark.usefixtures("without_valgrind")
def test_what_is_left_out_is_no_success(release: Target, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two figures of four: inconclusive, with the reasons, and a result line also with --quiet."""
    code = worst.show_worst(release, tmp_path / "r.json", quiet=True)
    lines = capsys.readouterr().out.splitlines()

    assert code == 3
    assert "instructions: left out (valgrind is not here)" in lines
    assert lines[-1] == "zmm bench worst: inconclusive, 2 of 4 figures measured at level release"
    rows = {row["objective"]: row for row in report(tmp_path / "r.json")["rows"]}
    assert report(tmp_path / "r.json")["status"] == "inconclusive"
    assert (rows["gc"]["now"], rows["gc"]["reason"]) == (None, "valgrind is not here")
    assert (rows["fragmentation"]["now"], rows["fragmentation"]["reason"]) == (15.0, "")


@pytest.mark.parametrize("level", ["release", "hardened"])
def test_another_level_is_said(level: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A program is the worst for the level it was found with; only that one is compared without a remark."""
    monkeypatch.setattr(Player, "count_instructions", lambda *_, **__: 1)
    assert worst.show_worst(worst.find_subject(f"zmm:{level}"), None, quiet=False) == 0
    said = capsys.readouterr().out

    assert said.splitlines()[-1].endswith(f"4 of 4 figures measured at level {level}")
    assert ("kept 15.00 at level release" in said) == (level != "release")
    assert (f"there may be worse ones for level {level}" in said) == (level != "release")


def test_each_program_is_kept_as_soon_as_it_is_found(
    release: Target, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An interruption within the second objective leaves the first, and the second as bad as it was by then."""

    def climbed(objective: Objective, _player: Player, _seed: int, _seconds: float) -> Iterator[Climb]:
        yield Climb(5.0, FILL, 1)
        if objective is OBJECTIVES[1]:
            assert [one.objective.name for one in read_kept(tmp_path / "found")] == [OBJECTIVES[0].name]
            raise Interrupted("SIGTERM")

    monkeypatch.setattr(worst, "climb", climbed)
    code = worst.search_worst(release, tmp_path / "found", 7, 60.0, tmp_path / "r.json", quiet=True)
    said = capsys.readouterr()

    assert code == 3
    assert said.err == "zmm: interrupted by SIGTERM; the results so far are kept as they are\n"
    assert said.out.startswith("zmm bench worst: inconclusive, 2 of 4 programs for level release in ")
    kept = read_kept(tmp_path / "found")
    assert [(one.objective, one.figure.figure, one.figure.seed) for one in kept] == [
        (objective, 5.0, 7) for objective in OBJECTIVES[:2]
    ]
    found = report(tmp_path / "r.json")
    assert (found["status"], found["interrupted"], found["seed"]) == ("inconclusive", "SIGTERM", 7)
    assert [row["found"] for row in found["rows"]] == [5.0, 5.0]


def test_a_search_says_the_level_it_was_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Programs found for another level are not kept as release's; all found is a success."""
    monkeypatch.setattr(worst, "climb", lambda *_: iter([Climb(5.0, FILL, 1)]))
    assert worst.search_worst(worst.find_subject("zmm:hardened"), tmp_path, 0, 1.0, None, quiet=True) == 0
    assert {one.figure.level for one in read_kept(tmp_path)} == {"hardened"}


def test_an_interrupted_search_leaves_what_it_found(start: Start, tmp_path: Path) -> None:
    """The command itself, ended after its first finds: programs, a report, exit code 3."""
    with start("bench", "worst", "--search", "found", "--time-budget", "10m", "--json", "r.json") as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("fragmentation: ")
        time.sleep(0.5)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 3, out + err
    assert "interrupted by SIGINT" in err
    assert [one.objective.name for one in read_kept(tmp_path / "found")] == ["fragmentation"]
    assert report(tmp_path / "r.json")["interrupted"] == "SIGINT"


def test_several_suites_have_one_exit_code() -> None:
    """A failure is one, whatever else could not be measured."""
    assert overall([0, 0]) == 0
    assert overall([3, 0]) == 3
    assert overall([3, 1]) == 1
