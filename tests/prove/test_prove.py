"""`zmm prove`: the table, its planted changes, its exit codes, and the page that shows its last run."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from zmm_fuzz.prove import catalogue, work
from zmm_fuzz.prove.property import CONFIRMED, ENGINES, INCONCLUSIVE, REFUTED, SKIPPED, Attempt, Property, Result
from zmm_fuzz.prove.run import overall
from zmm_fuzz.prove.sources import Change, Inapplicable, Missing
from zmm_fuzz.prove.table import BEGIN, END, changes, replaced, statuses_in

PROPERTIES = catalogue.PROPERTIES
ZMM = Path(sys.executable).parent / "zmm"


def zmm(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([ZMM, "prove", *arguments], capture_output=True, text=True, check=False)


def test_names_are_unique_and_engines_known() -> None:
    """Each row can be asked for, and each engine has rows."""
    assert len({one.name for one in PROPERTIES}) == len(PROPERTIES)
    assert {one.engine for one in PROPERTIES} == set(ENGINES)


@pytest.mark.parametrize("one", PROPERTIES, ids=lambda one: one.name)
def test_a_planted_change_fits_its_source(one: Property, root: Path) -> None:
    """Each stands where it says, once, and changes something."""
    if one.change.file == "form":
        return
    text = (root / one.change.file).read_text()
    assert one.change.apply(text) != text


def test_a_change_that_fits_nowhere_is_said() -> None:
    """A source that moved on must not leave a property without its planted change."""
    with pytest.raises(Inapplicable, match="occurs 0 times"):
        Change("model/sizes.py", "return 4712", "return 1").apply("return 1")


@pytest.mark.parametrize("engine", ["z3", "ir", "exhaustive"])
def test_a_wrong_constant_is_refuted(engine: str, tmp_path: Path, clang: str) -> None:
    """In each engine, one more: with a counterexample, and not as a crash."""
    names = {"z3": "mask-round-page", "ir": "ir-huge-round", "exhaustive": "all-bins"}
    one = catalogue.find(names[engine])
    found = work.attempt(one, tmp_path, None, is_planted=True)
    assert found.status == REFUTED, found
    assert found.remark


def test_quick_ones_are_confirmed(clang: str) -> None:
    """A handful of each kind, as a user runs them; their planted changes are refuted in the same run."""
    names = ["mask-pages", "seal-is-one-to-one", "all-masks", "ir-may-map", "ir-mask", "ir-granule", "ir-choice"]
    done = zmm(*[word for name in names for word in ("--property", name)], "--quiet")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(f"zmm prove: pass, {len(names)} properties: {len(names)} confirmed")


def test_crosshair_confirms_and_refutes(tmp_path: Path) -> None:
    """One contract, and its planted change."""
    pytest.importorskip("crosshair", reason="crosshair-tool is not installed (zmm[prove])")
    one = catalogue.find("contract-huge-overflows")
    assert work.attempt(one, tmp_path / "sound", None, is_planted=False).status == CONFIRMED
    assert work.attempt(one, tmp_path / "planted", None, is_planted=True).status == REFUTED


@pytest.mark.nightly
@pytest.mark.timeout(7200)
def test_nothing_is_refuted_and_most_is_confirmed(tmp_path: Path, clang: str) -> None:
    """The whole table."""
    done = zmm("--json", str(tmp_path / "proof.json"), "--jobs", "2")
    rows = json.loads((tmp_path / "proof.json").read_text())["properties"]
    assert done.returncode in (0, 3), done.stdout
    assert sum(row["status"] == CONFIRMED for row in rows) >= 25
    assert [row["name"] for row in rows if row["status"] == REFUTED] == []


# ---- what becomes of attempts ----------------------------------------------------------------------------------------

ONE = PROPERTIES[0]
GOOD, BAD, OPEN = Attempt(CONFIRMED, cases=1), Attempt(REFUTED, "x = 1"), Attempt(INCONCLUSIVE, "given up")


@pytest.mark.parametrize(
    ("sound", "planted", "status", "exit_status"),
    [
        (GOOD, BAD, CONFIRMED, "pass"),
        (GOOD, GOOD, REFUTED, "fail"),  # a prover that confirms everything
        (GOOD, OPEN, INCONCLUSIVE, "inconclusive"),
        (BAD, BAD, REFUTED, "fail"),
        (OPEN, BAD, INCONCLUSIVE, "inconclusive"),
        (Attempt(SKIPPED, "no tool"), Attempt(SKIPPED), SKIPPED, "inconclusive"),
    ],
)
def test_confirmed_means_that_the_planted_change_was_refuted(
    sound: Attempt, planted: Attempt, status: str, exit_status: str
) -> None:
    """Whatever else happens is a refutation, or no result."""
    result = Result(ONE, sound, planted)
    assert result.status == status
    assert overall([result]) == exit_status
    assert bool(result.remark) == (status != CONFIRMED)


def test_a_property_that_takes_too_long_is_inconclusive(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its process is ended, and the row says so."""
    from zmm_fuzz.prove import run

    slow = replace(catalogue.find("ir-run-find"), seconds=0.0)
    result = run.prove(slow, tmp_path, "", run.Clock(60.0))
    assert result.status == INCONCLUSIVE
    assert "given up after 0 s" in result.remark


def test_a_run_without_time_says_so() -> None:
    """What comes behind the first property is inconclusive, with the reason; exit code 3."""
    done = zmm("--engine", "z3", "--jobs", "1", "--time-budget", "1ms")
    assert done.returncode == 3
    assert "the time budget ended" in done.stdout


def test_a_missing_angr_is_a_skipped_row(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With what to do about it."""
    from zmm_fuzz.prove import machine

    def missing() -> str:
        raise Missing("angr is not here; make it with ci/angr")

    monkeypatch.setattr(machine, "find_python", missing)
    found = work.attempt(catalogue.find("code-choice"), tmp_path, None, is_planted=False)
    assert (found.status, found.remark) == (SKIPPED, "angr is not here; make it with ci/angr")


@pytest.mark.parametrize("value", ["/nonexistent", "/", "/bin/true"])
def test_a_wrong_interpreter_is_named(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file, no program, or one without angr: the value is what has to be changed; no other is taken instead."""
    from zmm_fuzz.prove import machine

    monkeypatch.setenv("ZMM_ANGR_PYTHON", value)
    machine.find_python.cache_clear()
    with pytest.raises(Missing, match=f"^ZMM_ANGR_PYTHON={value} is no Python that has angr"):
        machine.find_python()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--engine", "magic"], ["'magic'", "crosshair"]),
        (["--property", "nothing"], ["'nothing'", "--list"]),
        (["--engine", "z3", "--property", "ir-mask"], ["no property"]),
        (["--markdown", "missing.md"], ["missing.md"]),
        (["--time-budget", "soon"], ["'soon'"]),
    ],
    ids=" ".join,
)
def test_mistakes_are_one_line(arguments: list[str], words: list[str]) -> None:
    """The thing and the remedy, exit code 2."""
    done = zmm(*arguments)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert all(word in line for word in words), line


# ---- the page --------------------------------------------------------------------------------------------------------


def test_a_page_is_read_back_and_compared() -> None:
    """What is written into a page can be read, and a change of status is named."""
    results = [Result(one, GOOD, BAD) for one in PROPERTIES]
    page = replaced(f"# Title\n\n{BEGIN}\n{END}\nend\n", results, PROPERTIES)
    assert statuses_in(page) == {one.name: CONFIRMED for one in PROPERTIES}
    assert changes(page, results) == []
    worse = [Result(PROPERTIES[0], OPEN, OPEN), *results[1:-1]]
    assert changes(page, worse) == [f"{PROPERTIES[0].name}: confirmed -> inconclusive"]


def test_a_part_of_the_table_can_be_run_alone() -> None:
    """The other rows keep what they showed."""
    page = replaced(f"{BEGIN}\n{END}\n", [Result(one, GOOD, BAD) for one in PROPERTIES], PROPERTIES)
    after = statuses_in(replaced(page, [Result(PROPERTIES[3], OPEN, OPEN)], PROPERTIES))
    assert after == {**dict.fromkeys(after, CONFIRMED), PROPERTIES[3].name: INCONCLUSIVE}


def test_the_documented_table_is_the_list(root: Path) -> None:
    """Every property has its row in docs/proofs.md, in order; none is refuted, and enough are confirmed."""
    shown = statuses_in((root / "docs" / "proofs.md").read_text())
    assert sorted(shown) == sorted(one.name for one in PROPERTIES)
    assert REFUTED not in shown.values()
    assert sum(status == CONFIRMED for status in shown.values()) >= 25
    on_code = [one.name for one in PROPERTIES if one.engine == "angr" and shown[one.name] == CONFIRMED]
    assert len(on_code) >= 5
