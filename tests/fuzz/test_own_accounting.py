"""Levels with trims under every tier: performed and judged by the rules of a heap whose accounting is its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from zmm_fuzz.generate import generate
from zmm_fuzz.judge import Judge
from zmm_fuzz.program import Program
from zmm_fuzz.targets import find_target
from zmm_fuzz.tiers import TIERS
from zmm_fuzz.tiers.base import FAIL, SKIPPED, Budget, Task, TierResult, no_tick
from zmm_fuzz.wire import ROW
from zmm_model.accounting import Accounting
from zmm_model.op import Operation, Settings
from zmm_model.outcome import DONE

MIB = 1024 * 1024
CHUNK = 2 * MIB
# With trims a whole chunk.
FULL = 511 * 4096 - 64
TRIMMED = ("hardened", "debug")
TIER = {tier.name: tier for tier in TIERS}


def run(name: str, task: Task, seconds: float) -> TierResult:
    result = TierResult(name)
    TIER[name].run(task, Budget(seconds), result, no_tick)
    return result.settle()


@pytest.mark.parametrize(
    ("name", "accounting"),
    [
        ("zmm:fast", Accounting.ZENDMM),
        ("zmm", Accounting.ZENDMM),
        ("zmm:hardened", Accounting.OWN),
        ("zmm:debug", Accounting.OWN),
        ("libc", Accounting.NONE),
    ],
)
def test_each_target_is_held_to_the_rules_of_its_accounting(name: str, accounting: Accounting) -> None:
    """Levels without trims count as ZendMM does, those with trims by themselves, libc not at all."""
    assert find_target(name).accounting is accounting


@pytest.mark.parametrize("level", TRIMMED)
@pytest.mark.parametrize("edition", ["zmm", "php-8.2"])
def test_programs_on_a_level_with_trims_are_clean(level: str, edition: str) -> None:
    """Limits, failures, gc and ends of requests are performed and judged, under both editions."""
    with Judge.of(f"zmm:{level}", edition) as judge:
        programs = [
            generate(seed, profile, 150) for seed, profile in enumerate(("limit", "failing", "requests", "mixed") * 6)
        ]
        verdicts = list(judge.judge_batch(programs))
    assert [verdict.divergence for verdict in verdicts] == [None] * len(programs)


def statuses(target: str, edition: str, settings: Settings, operations: tuple[Operation, ...]) -> list[int]:
    """Performs and judges a program; what came of each operation."""
    with Judge.of(target, edition) as judge:
        assert judge.judge(Program(settings, operations)) is None
        (trace,) = judge.driver.run([Program(settings, operations)])
    return [row[0] for row in ROW.iter_unpack(trace.rows)][1:-1]


@pytest.mark.parametrize("level", TRIMMED)
@pytest.mark.parametrize("edition", ["zmm", "php-8.2"])
def test_what_waits_makes_room_before_a_request_is_refused(level: str, edition: str) -> None:
    """A freed run that waits fills the only chunk that the limit leaves; the next run gets it all the same."""
    operations = (
        Operation("alloc", 0, 100),
        Operation("alloc", 1, FULL),
        Operation("free", 1),
        Operation("alloc", 2, FULL),
        Operation("check"),
    )
    settings = Settings(limit_bytes=2 * CHUNK, storage="kernel")
    assert statuses(f"zmm:{level}", edition, settings, operations) == [DONE] * 5


@pytest.mark.parametrize("level", TRIMMED)
def test_what_waits_makes_room_before_growth_is_refused(level: str) -> None:
    """The same where a huge block grows in place: the chunk of the waiting run is given up for it."""
    operations = (
        Operation("alloc", 0, 100),
        Operation("alloc", 1, FULL),
        Operation("alloc", 2, 3 * MIB - 64),
        Operation("free", 1),
        Operation("realloc", 2, 4 * MIB - 64),
        Operation("check"),
    )
    settings = Settings(limit_bytes=2 * CHUNK + 3 * MIB, storage="kernel")
    assert statuses(f"zmm:{level}", "zmm", settings, operations) == [DONE] * 6


def test_a_level_with_trims_that_counts_wrong_is_found(plant: Callable[..., Any], spoil: Callable[..., Any]) -> None:
    """A usable size other than the requested one breaks the rule of such levels."""
    planted = plant(spoil("alloc", block_bytes=40), level="hardened")
    with planted.judge() as judge:
        divergence = judge.judge(Program(Settings(), (Operation("alloc", 0, 39),)))
    assert divergence is not None
    assert (divergence.rule, divergence.step) == ("ABS-28", 1)


@pytest.mark.parametrize("level", TRIMMED)
@pytest.mark.parametrize("name", ["boundaries", "oom", "machine"])
def test_other_tiers_judge_levels_with_trims_for_a_moment(name: str, level: str) -> None:
    """They perform and judge; nothing is found."""
    result = run(name, Task(f"zmm:{level}", "zmm", jobs=1), seconds=2)
    assert (result.findings, result.operations > 0) == ([], True), result.reason


def test_the_oracle_says_why_levels_with_trims_are_skipped() -> None:
    """PHP has no trims: places cannot be compared."""
    result = run("oracle", Task("zmm:hardened", "zmm"), seconds=2)
    assert (result.status, result.findings) == (SKIPPED, [])
    assert "trims" in result.reason


@pytest.mark.slow
@pytest.mark.parametrize("level", TRIMMED)
def test_verify_is_clean_on_levels_with_trims(level: str, tmp_path: Path) -> None:
    """The command as a user types it: every tier but the oracle runs, and none finds anything."""
    report = tmp_path / "report.json"
    options = ("--time-budget", "40s", "--seed", "11", "--json", str(report), "--out", str(tmp_path / "findings"))
    done = subprocess.run(
        [sys.executable, "-m", "zmm_fuzz", "verify", "--target", f"zmm:{level}", *options],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    # A busy machine may leave goals open, never a divergence.
    assert done.returncode in (0, 3), done.stdout + done.stderr
    tiers = {tier["name"]: tier for tier in json.loads(report.read_text())["tiers"]}
    assert {name: tier["status"] for name, tier in tiers.items() if tier["status"] == FAIL} == {}
    assert {name for name, tier in tiers.items() if tier["status"] == SKIPPED} == {"oracle"}
    assert sum(tier["operations"] for tier in tiers.values()) > 100_000
