"""The run of all tiers: budget, goals, findings shrunk and saved, interruption, a full disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from zmm_fuzz import findings as findings_module
from zmm_fuzz import verify as verify_module
from zmm_fuzz.compare import RULES, Divergence
from zmm_fuzz.findings import SaveError, finding_name, save_finding, shrink_finding, shrink_with
from zmm_fuzz.program import Program
from zmm_fuzz.text import parse_text
from zmm_fuzz.tiers.base import (
    FAIL,
    INCONCLUSIVE,
    PASS,
    SKIPPED,
    Budget,
    Finding,
    Interrupted,
    Task,
    Tick,
    TierResult,
)
from zmm_fuzz.verify import Silent, distinct, skip, verify, without_twins
from zmm_model.op import Operation, Settings

TASK = Task("zmm", "zmm")
PROGRAM = Program(Settings(), (Operation("alloc", 0, 40), Operation("free", 0)))


class Clock:
    """Time that passes only when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def finding(program: Program = PROGRAM, rule: str = "EXACT-SIZE") -> Finding:
    divergence = Divergence(rule, 2, Operation("free", 0), "size", "0", "8", RULES[rule])
    return Finding(divergence, program, "zmm", "zmm")


class FakeTier:
    """A tier that takes so much time, does so many operations a second, and finds what it is told to."""

    def __init__(self, clock: Clock, name: str, *, goal: int = 0, rate: int = 1000, found: tuple[Finding, ...] = ()) -> None:
        self.name, self.sentence, self.goal, self.share = name, f"the tier {name}", goal, 0.5
        self.clock, self.rate, self.found = clock, rate, found
        self.interrupt: BaseException | None = None
        self.budget: Budget | None = None

    def run(self, task: Task, budget: Budget, result: TierResult, tick: Tick) -> None:
        self.budget = budget
        result.findings.extend(self.found)
        while not budget.over(result.operations, self.goal):
            self.clock.now += 1
            result.operations += self.rate
            result.programs += 1
            tick()
            if self.interrupt is not None and result.programs == 3:
                raise self.interrupt


@pytest.fixture(autouse=True)
def no_shrinking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Findings of fake tiers have no target to be shrunk on."""
    monkeypatch.setattr(verify_module, "shrink_finding", lambda found, seconds: found)


def test_every_tier_has_its_share_of_the_budget() -> None:
    """Two tiers of equal share and without goals use the budget half and half."""
    clock = Clock()
    outcome = verify(TASK, 60, tiers=[FakeTier(clock, "a"), FakeTier(clock, "b")], clock=clock)
    assert [result.seconds for result in outcome.results] == [30, 30]
    assert [result.status for result in outcome.results] == [PASS, PASS]
    assert outcome.seconds == 60


def test_a_tier_borrows_time_to_reach_its_goal() -> None:
    """A goal out of reach within the share is still reached within the loan; the rest goes to the next tier."""
    clock = Clock()
    outcome = verify(TASK, 100, tiers=[FakeTier(clock, "a", goal=70_000), FakeTier(clock, "b")], clock=clock)
    assert [(result.status, result.seconds) for result in outcome.results] == [(PASS, 70), (PASS, 30)]


def test_a_goal_out_of_reach_is_inconclusive_with_its_reason() -> None:
    """The budget ends first: inconclusive, and the reason says how far it came and what to do."""
    clock = Clock()
    (result,) = verify(TASK, 10, tiers=[FakeTier(clock, "a", goal=1_000_000)], clock=clock).results
    assert result.status == INCONCLUSIVE
    assert result.reason == "the budget ended after 10,000 of 1,000,000 operations (give more with --time-budget)"


def test_a_finding_fails_its_tier_whatever_else_happened() -> None:
    """Fail outweighs a goal that was not reached; the other tiers still run."""
    clock = Clock()
    tiers = [FakeTier(clock, "a", goal=10**9, found=(finding(),)), FakeTier(clock, "b")]
    outcome = verify(TASK, 10, tiers=tiers, clock=clock)
    assert [result.status for result in outcome.results] == [FAIL, PASS]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Interrupted("SIGTERM")])
def test_an_interrupted_run_keeps_what_it_has(error: BaseException, tmp_path: Path) -> None:
    """Counts and findings so far are kept and saved; tiers that never began say so."""
    clock = Clock()
    first = FakeTier(clock, "a")
    second = FakeTier(clock, "b", found=(finding(),))
    second.interrupt = error
    third = FakeTier(clock, "c")
    outcome = verify(TASK, 60, tiers=[first, second, third], clock=clock, out=tmp_path / "out")
    name = "SIGTERM" if isinstance(error, Interrupted) else "SIGINT"
    assert outcome.interrupted == name
    assert [result.status for result in outcome.results] == [PASS, FAIL, SKIPPED]
    assert outcome.results[1].operations == 3000
    assert outcome.results[2].reason == f"interrupted by {name} before it began"
    assert list((tmp_path / "out").glob("*.zmm"))


def test_an_interrupted_tier_without_findings_is_inconclusive() -> None:
    """Half a tier proves nothing."""
    clock = Clock()
    tier = FakeTier(clock, "a")
    tier.interrupt = KeyboardInterrupt()
    (result,) = verify(TASK, 60, tiers=[tier], clock=clock).results
    assert (result.status, result.reason) == (INCONCLUSIVE, "interrupted by SIGINT after 3,000 operations")


def test_a_full_disk_is_said_and_loses_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Reproducers that cannot be saved are one line; the finding stays in the result."""
    said: list[str] = []

    class Listener(Silent):
        def say(self, line: str) -> None:
            said.append(line)

    def full(found: Finding, directory: Path) -> Finding:
        raise SaveError("cannot save the reproducer in out: the disk is full; free some space")

    monkeypatch.setattr(verify_module, "save_finding", full)
    clock = Clock()
    tiers = [FakeTier(clock, "a", found=(finding(),))]
    outcome = verify(TASK, 5, tiers=tiers, clock=clock, out=tmp_path, observer=Listener())
    assert outcome.results[0].findings[0].files == ()
    assert "the disk is full" in said[-1]


def test_the_same_rule_is_shown_once_with_its_shortest_program() -> None:
    """Findings are told apart by rule and word; twins after shrinking are one."""
    long = finding(PROGRAM.with_operations(PROGRAM.operations * 3))
    other = finding(rule="EXACT-PEAK")
    assert distinct([long, finding(), other]) == [finding(), other]
    assert without_twins([finding(), finding(), other]) == [finding(), other]


def test_skipping_keeps_the_reason() -> None:
    """A skipped tier stays skipped when it is settled."""
    result = TierResult("oracle", goal=10)
    skip(result, "php: not present (run ci/oracle)")
    assert result.settle().status == SKIPPED
    assert result.operations_per_second == 0


# ---- shrinking and saving --------------------------------------------------------------------------------------------


def noisy_program() -> Program:
    operations = [Operation("alloc", label, 40 + label) for label in range(30)]
    operations += [Operation("free", label) for label in range(0, 30, 3)]
    return Program(Settings(limit_bytes=1 << 24), tuple(operations))


def test_shrinking_keeps_the_rule(plant: Callable[..., Any], spoil: Any) -> None:
    """A wrong size after the third free shrinks to three allocations and frees at most, with the same rule."""
    with plant(spoil("free", 3, size=lambda row: row.size + 8)).judge() as judge:
        found = judge.judge(noisy_program())
        small = shrink_with(Finding(found, noisy_program(), "zmm", "zmm"), judge.judge, 20)
    assert small.divergence.rule == found.rule == "EXACT-SIZE"
    assert [operation.word for operation in small.program.operations] == ["free"] * 3
    assert small.divergence.step == 3
    assert small.note == ""


def test_what_does_not_repeat_is_kept_as_it_was_found(plant: Callable[..., Any]) -> None:
    """No divergence when run alone: the program stays, and the finding says so."""
    with plant().judge() as judge:
        kept = shrink_with(finding(), judge.judge, 5)
    assert kept.program == PROGRAM
    assert not kept.alone
    assert "not repeated" in kept.note
    assert shrink_finding(kept, 5) is kept


def test_a_missing_target_leaves_the_finding_unshrunk() -> None:
    """A target that is gone meanwhile is a note, not the end of the report."""
    kept = shrink_finding(replace(finding(), target="malloc:/nowhere.so"), 5)
    assert "not shrunk" in kept.note


def test_reproducers_are_saved_under_the_rules_name(tmp_path: Path) -> None:
    """Text, tape, pytest case and C lie side by side; the text is the program."""
    saved = save_finding(finding(), tmp_path / "new" / "folder")
    assert {Path(name).name.removeprefix(finding_name(saved)) for name in saved.files} == {
        ".zmm",
        ".tape",
        ".c",
        "_test.py",
    }
    text = next(Path(name) for name in saved.files if name.endswith(".zmm"))
    assert text.name.startswith("exact-size-")
    assert parse_text(text.read_bytes()).operations == PROGRAM.operations


def test_a_directory_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    """A file is in the way of the output directory: thing and remedy in one line."""
    (tmp_path / "file").write_text("")
    with pytest.raises(SaveError, match="not a directory") as error:
        save_finding(finding(), tmp_path / "file" / "out")
    assert "\n" not in str(error.value)
    assert findings_module.finding_name(finding()) == finding_name(finding())
