"""A run: which mutants are tried, that nothing is done twice, and that lost processes lose nothing."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from zmm_fuzz.mutate.campaign import Made, Plan, Verdict, run_campaign, sample
from zmm_fuzz.mutate.deck import Kill
from zmm_fuzz.mutate.mutant import Mutant
from zmm_fuzz.mutate.record import make_board
from zmm_fuzz.mutate.state import Header, State
from zmm_fuzz.mutate.statistics import band, interval
from zmm_fuzz.mutate.survivors import Survivor, as_toml, read_survivors, stale

HEADER = Header("sources", "release", 0, ("lockstep",))


def mutants(count: int) -> list[Mutant]:
    return [
        Mutant("core", "a.c", "f", number, f"old {number}\n", f"new {number}\n", "bound") for number in range(count)
    ]


@dataclass
class Fake:
    """A laboratory by numbers: 3 does not compile, 4 equals the original, 6 is the same as 5, 7 and 8 survive."""

    folder: Path
    original: str = "original"
    deadly: int = -1
    tried: list[int] = field(default_factory=list)

    def make(self, mutant: Mutant) -> Made:
        number = mutant.first
        return Made(mutant, {3: "", 4: "original", 6: "digest 5"}.get(number, f"digest {number}"), 0.5)

    def try_out(self, made: Made, budget_seconds: float) -> Verdict:
        number = made.mutant.first
        with (self.folder / "tried").open("a") as stream:
            stream.write(f"{number}\n")
        if number == self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        if number in (7, 8):
            return Verdict(None, budget_seconds, 1000)
        return Verdict(Kill("lockstep", "EXACT-SIZE", "a slip", 10), 0.25, 10)

    def discard(self, made: Made) -> None:
        """Nothing is kept."""

    def count(self) -> int:
        path = self.folder / "tried"
        return len(path.read_text().split()) if path.exists() else 0


def by_number(rows: list, value: str = "status") -> dict[int, str]:  # type: ignore[type-arg]
    return {row.line - 1: getattr(row, value) for row in rows}


def test_each_mutant_has_its_fate(tmp_path: Path) -> None:
    """Invalid, equal and duplicate ones are told apart and not tried; the rest is killed or survives."""
    lab = Fake(tmp_path)
    rows = run_campaign(lab, mutants(9), Plan(None, 5.0, jobs=1), State(None, HEADER), {})
    found = by_number(rows)
    assert found == {
        **dict.fromkeys((0, 1, 2, 5), "killed"), 3: "invalid", 4: "equal", 6: "duplicate", 7: "survived", 8: "survived"
    }  # fmt: skip
    assert lab.count() == 6
    board = make_board("core", 9, rows, 5.0, set())
    assert (board.unique, board.killed, board.unexplained, board.by_tier) == (6, 4, 2, {"lockstep": 4})
    assert board.rate == pytest.approx(4 / 6)


def test_known_equivalent_is_no_survivor_and_a_gap_is_one(tmp_path: Path) -> None:
    """An equivalent one is not tried again and not counted; a gap is tried, and counted with its reason."""
    all_of_them = mutants(9)
    known = {
        all_of_them[number].key: Survivor(all_of_them[number].key, "a.c", "f", "", "", kind, "because")
        for number, kind in ((7, "equivalent"), (8, "gap"))
    }
    lab = Fake(tmp_path)
    rows = run_campaign(lab, all_of_them, Plan(None, 5.0, jobs=1), State(None, HEADER), known)
    assert by_number(rows)[7] == "equivalent"
    assert by_number(rows)[8] == "survived"
    assert by_number(rows, "reason")[8] == "gap: because"
    assert lab.count() == 5
    board = make_board("core", 9, rows, 5.0, {all_of_them[8].key})
    assert (board.equivalent, board.gaps, board.unexplained) == (1, 1, 0)


def test_sample_is_a_function_of_the_seed(tmp_path: Path) -> None:
    """The same mutants for the same seed, in whatever order they were found and with however many processes."""
    some = mutants(9)
    assert sample(some, 1) == sample(some[::-1], 1)
    assert sample(some, 1) != sample(some, 2)
    runs = [
        run_campaign(Fake(tmp_path), sample(some, 1), Plan(3, 5.0, jobs=jobs), State(None, HEADER), {})
        for jobs in (1, 2)
    ]
    assert by_number(runs[0]) == by_number(runs[1])
    assert sum(row.status in ("killed", "survived") for row in runs[0]) == 3


def test_interrupted_run_goes_on_where_it_ended(tmp_path: Path) -> None:
    """Nothing is tried twice: not what was killed, and a survivor only with a larger budget."""
    lab = Fake(tmp_path)
    run_campaign(lab, mutants(5), Plan(None, 5.0, jobs=1), State(tmp_path / "state", HEADER), {})
    assert lab.count() == 3
    rows = run_campaign(lab, mutants(9), Plan(None, 5.0, jobs=1), State(tmp_path / "state", HEADER), {})
    assert len(rows) == 9
    assert lab.count() == 6
    run_campaign(lab, mutants(9), Plan(None, 5.0, jobs=1), State(tmp_path / "state", HEADER), {})
    assert lab.count() == 6
    run_campaign(lab, mutants(9), Plan(None, 60.0, jobs=1), State(tmp_path / "state", HEADER), {})
    assert lab.count() == 8


def test_state_of_other_sources_is_not_used(tmp_path: Path) -> None:
    """What was found out about other sources is said and left; half a line at the end is no row."""
    run_campaign(Fake(tmp_path), mutants(3), Plan(None, 5.0, jobs=1), State(tmp_path, HEADER), {})
    path = tmp_path / "mutants-release.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    assert len(State(tmp_path, HEADER).rows) == 2
    other = State(tmp_path, Header("other sources", "release", 0, ("lockstep",)))
    assert other.rows == {}
    assert "begun anew" in other.note


def test_killed_process_loses_no_result_but_its_own(tmp_path: Path) -> None:
    """A mutant that takes its process with it three times is reported as lost; all others have their verdict."""
    rows = run_campaign(Fake(tmp_path, deadly=1), mutants(3), Plan(None, 5.0, jobs=1), State(None, HEADER), {})
    assert by_number(rows) == {0: "killed", 1: "lost", 2: "killed"} or by_number(rows)[1] == "lost"
    assert set(by_number(rows)) == {0, 1, 2}


def test_run_out_of_time_keeps_what_it_has(tmp_path: Path) -> None:
    """Past the deadline nothing more is begun."""
    assert run_campaign(Fake(tmp_path), mutants(9), Plan(None, 5.0, deadline=0.0), State(None, HEADER), {}) == []


def test_file_of_survivors_has_reasons(root: Path) -> None:
    """Every entry says what it is and why."""
    known = read_survivors(root / "fuzz" / "mutate" / "survivors.toml")
    for one in known.values():
        assert len(one.reason) > 20, one.key


def test_survivor_entries_are_read_back_and_go_stale(tmp_path: Path) -> None:
    """What is written by the command is read again; an entry whose line has changed is named."""
    one, other = mutants(2)
    path = tmp_path / "survivors.toml"
    path.write_text(as_toml(one, "gap", 'the "text" has no test') + as_toml(other, "equivalent", "never read"))
    known = read_survivors(path)
    assert known[one.key].reason == 'the "text" has no test'
    assert stale(known, [one]) == [known[other.key]]


def test_interval_is_wilsons() -> None:
    """Known values: 95 of 100 is 88.8 % to 97.8 %; nothing known is everything possible."""
    assert interval(95, 100) == pytest.approx((0.95, 0.8883, 0.9785), abs=5e-4)
    assert interval(0, 0) == (0.0, 0.0, 1.0)
    assert interval(10, 10).high == pytest.approx(1.0)
    assert interval(10, 10).low == pytest.approx(0.7225, abs=5e-4)
    assert band([3.0, 1.0, 2.0]) == pytest.approx((1.1, 2.0, 2.9))
