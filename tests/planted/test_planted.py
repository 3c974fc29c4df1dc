"""Deliberately broken builds of the core: `zmm verify` catches each within a minute, and shrinks it well."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from zmm_fuzz.text import parse_text
from zmm_fuzz.truth.patch import PlantError, read_patch
from zmm_fuzz.truth.plant import check, plant, replace_once

HERE = Path(__file__).resolve().parent
# The ten that the project promised; the others are subtler.
PROMISED = {
    "page_search_off_by_one",
    "free_list_order",
    "missed_peak",
    "bin_table_error",
    "gc_frees_a_live_run",
    "realloc_copies_too_little",
    "limit_checked_late",
    "lost_chunk",
    "wrong_overflow_boundary",
    "stale_slot_after_request_end",
}
# Hunted in each run: one for each tier and kind of rule, of those that are quickest to find. The others are nightly.
HUNTED = {
    *("page_search_off_by_one", "free_list_order", "missed_peak", "gc_frees_a_live_run", "lost_chunk"),
    *("wrong_overflow_boundary", "limit_checked_late", "mapping_lost_with_a_refused_node"),
}
OPERATIONS_MAX = 8  # of the ten's reproducers
SECONDS_MAX = 60
BUDGET = "40s"
PATCHES = {path.stem: path for path in sorted(HERE.glob("*.patch"))}


def zmm(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command line, with at most two workers."""
    command = [sys.executable, "-P", "-m", "zmm_fuzz", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("planted")


@pytest.fixture(scope="session")
def sound(folder: Path) -> Path:
    return plant(None, folder)


def verify(library: Path, tier: str, out: Path, budget: str = BUDGET) -> tuple[int, float, list[dict[str, Any]], str]:
    """Run the main job on one tier: its status, seconds, divergences, and what it printed."""
    report = out / "report.json"
    begin = time.monotonic()
    options = ("--tier", tier, "--time-budget", budget, "--jobs", 2, "--out", out, "--json", report)
    done = zmm("verify", "--target", f"zmm:{library}", *options)
    seconds = time.monotonic() - begin
    divergences = [divergence for row in json.loads(report.read_text())["tiers"] for divergence in row["divergences"]]
    return done.returncode, seconds, divergences, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    "name", [name if name in HUNTED else pytest.param(name, marks=pytest.mark.nightly) for name in PATCHES]
)
def test_planted_bug_is_caught_with_a_small_reproducer(name: str, folder: Path, sound: Path, tmp_path: Path) -> None:
    """Exit 1 within a minute, a rule that fits the bug, few operations; and the reproducer clears the sound build."""
    patch = read_patch(PATCHES[name])
    library = plant(patch, folder)
    status, seconds, divergences, printed = verify(library, patch.tier, tmp_path)
    assert status == 1, printed
    assert seconds < SECONDS_MAX
    fitting = [divergence for divergence in divergences if divergence["rule"] in patch.caught_by]
    assert fitting, printed
    programs = {divergence["program"]: len(parse_text(divergence["program"])) for divergence in fitting}
    smallest = min(programs, key=programs.__getitem__)
    assert programs[smallest] <= patch.operations_max, printed
    reproducer = tmp_path / "smallest.zmm"
    reproducer.write_text(smallest)
    again = zmm("replay", reproducer, "--target", f"zmm:{library}")
    assert again.returncode == 1, again.stdout + again.stderr
    control = zmm("replay", reproducer, "--target", f"zmm:{sound}")
    assert control.returncode == 0, control.stdout + control.stderr


@pytest.mark.slow
def test_unpatched_build_is_clean(sound: Path, tmp_path: Path) -> None:
    """The control: the same sources, compiled the same way, without a bug, show no divergence."""
    _, _, divergences, printed = verify(sound, "oom", tmp_path, "10s")
    assert divergences == [], printed
    status, _, divergences, printed = verify(sound, "lockstep", tmp_path, "15s")
    assert divergences == [], printed
    assert status in (0, 3), printed  # 3: the budget ended before the tier's million operations


@pytest.mark.parametrize("name", PATCHES)
def test_patch_applies_and_compiles(name: str, folder: Path) -> None:
    """A patch that no longer fits the core is a failure, not a bug that is never planted."""
    check(read_patch(PATCHES[name]), folder)


def test_promised_bugs_are_there() -> None:
    """The ten of the promise exist, and their reproducers may not exceed eight operations."""
    assert PATCHES.keys() >= PROMISED | HUNTED
    for name in PROMISED:
        assert read_patch(PATCHES[name]).operations_max <= OPERATIONS_MAX


def test_patch_that_does_not_fit_is_refused() -> None:
    """Old lines that are missing, or occur twice, are an error: the bug would be planted elsewhere, or nowhere."""
    assert replace_once("int a;\n  int b;\n", "int  b;", "int c;") == "int a;\n  int c;\n"
    with pytest.raises(PlantError, match="occur 0 times"):
        replace_once("int a;\n", "int b;\n", "int c;\n")
    with pytest.raises(PlantError, match="occur 2 times"):
        replace_once("a = 1;\na = 1;\n", "a = 1;\n", "a = 2;\n")
