"""`zmm mutate`: mistakes are one line, and boards say what they know in every form."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from zmm_fuzz.cli.mutate import Run
from zmm_fuzz.cli.output import make_console
from zmm_fuzz.errors import UserError
from zmm_fuzz.mutate.campaign import Plan
from zmm_fuzz.mutate.detection import Known, Runs, detection_board, stratified
from zmm_fuzz.mutate.html import to_html
from zmm_fuzz.mutate.record import (
    AblationRow,
    DetectionRow,
    DetectionRun,
    MutantRow,
    MutateRecord,
    decode,
    encode,
    make_board,
)
from zmm_fuzz.mutate.show import to_markdown, tower_lines
from zmm_fuzz.mutate.state import Header, State
from zmm_fuzz.mutate.survivors import read_survivors

FIELDS = ("key", "file", "function", "old", "new", "kind", "reason")


def zmm(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "zmm_fuzz", "mutate", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--tier", "nonsense"), "unknown tier 'nonsense'"),
        (("--level", "other"), "unknown level 'other'"),
        (("--source", "/nowhere"), "name the tree with --source"),
        (("--time-budget", "soon"), "is not a duration"),
        (("--page", "out.md"), "--page needs the JSON of a run"),
        (("--survivors", "pyproject.toml"), ""),
        (("--model", "--tier", "cases"), "the model has lockstep, tests, contracts"),
        (("--api", "--tier", "tests", "--tier", "oom"), "--tier oom fits no mutant of the api"),
        (("--core", "--api", "--tier", "machine"), "leaves no tier for the core"),
        (("--model", "--level", "debug"), "--level is of the core alone"),
        (("--api", "--seeds", "2"), "--seeds is of the core alone"),
        (("--seeds-sample", "3"), "--seeds-sample goes with --seeds"),
    ],
)
def test_mistake_is_one_line(arguments: tuple[str, ...], said: str, tmp_path: Path) -> None:
    """The thing and the remedy, exit code 2, no traceback."""
    if not said:
        file = tmp_path / "survivors.toml"
        file.write_text("[[survivor]]\nkey = 'x'\n")
        arguments, said = ("--survivors", str(file)), "entry 1"
    done = zmm(*arguments)
    assert done.returncode == 2, done.stdout
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[tool.ruff]\nline-length = 120\n", "more than entries [[survivor]]"),
        ("survivor = 5\n", "more than entries [[survivor]]"),
        ("survivor = [5]\n", "entry 1"),
        ("[[survivor]]\n" + "".join(f"{key} = 5\n" for key in FIELDS), "every value is a text"),
    ],
)
def test_a_file_of_other_things_is_no_list_of_survivors(text: str, said: str, tmp_path: Path) -> None:
    """It would have known nobody; a file that says nothing is a list of nobody."""
    path = tmp_path / "survivors.toml"
    path.write_text(text)
    with pytest.raises(UserError, match=re.escape(said)):
        read_survivors(path)
    path.write_text("# nobody yet\n")
    assert read_survivors(path) == {}


def test_a_few_tiers_leave_alone_what_all_have_found(tmp_path: Path) -> None:
    """Rows of other tiers are neither taken over nor overwritten."""
    every = Header("sources", "release", 0, ("lockstep", "cases"))
    few = Header("sources", "release", 0, ("cases",), is_part=True)
    State(tmp_path, every).add(row(1, "survived"))
    part = State(tmp_path, few)
    assert (part.rows, part.note) == ({}, "")
    part.add(row(2, "killed"))
    assert set(State(tmp_path, every).rows) == {"key1"}
    assert set(State(tmp_path, few).rows) == {"key2"}
    more = State(tmp_path, Header("sources", "release", 0, ("lockstep", "cases", "traces")))
    assert more.rows == {}
    assert "other tiers" in more.note


def test_a_run_in_which_nothing_was_tried_says_so(tmp_path: Path) -> None:
    """No figures of nothing, and no success: the result is inconclusive."""
    done = zmm("--model", "--tier", "lockstep", "--total", "1ms", "--json", tmp_path / "out.json")
    assert done.returncode == 3, done.stdout + done.stderr
    assert "none was tried" in done.stdout
    assert "killed by" not in done.stdout
    assert "0.0%" not in done.stdout
    html = to_html(decode((tmp_path / "out.json").read_bytes())).decode()
    assert "none was tried" in html


def test_a_mutant_that_is_not_tried_is_no_success(tmp_path: Path) -> None:
    """What is known to be equivalent is left out without --again: nothing is left that could pass."""
    run = Run(make_console(), tmp_path, "release", 0, ("cases",), {}, Plan(None, 5.0), None, quiet=True)
    run.rows = [row(1, "equivalent"), row(2, "invalid")]
    assert run.record("", 1.0).status == "inconclusive"
    assert run.record("", 1.0).reason.startswith("no mutant was tried")
    run.rows.append(row(3, "killed"))
    assert (run.record("", 1.0).status, run.record("", 1.0).reason) == ("pass", "")


def row(number: int, status: str, **more: object) -> MutantRow:
    base = MutantRow(f"key{number}", "core", "zmm/core/gc.c", "gc_bin", number, "a < b", "a | b", "bound", status)
    return msgspec.structs.replace(base, **more)


def record() -> MutateRecord:
    rows = [
        row(1, "killed", tier="lockstep", rule="EXACT-GC", seconds=0.5, operations=40, budget_seconds=60.0),
        row(2, "killed", tier="cases", rule="CASE-x", seconds=12.0, budget_seconds=60.0),
        row(3, "survived", seconds=60.0, budget_seconds=60.0),
        row(4, "equivalent", reason="nobody can see it"),
        row(5, "invalid"),
    ]
    board = make_board("core", 100, rows, 60.0, set())
    detection = [
        seen("key1", ("lockstep", 40, 0.5), ("lockstep", 90, 12.0)),
        seen("key2", ("cases", 0, 2.0), ("", 900, 60.0)),
    ]
    return MutateRecord(
        1, "fail", "1 survivors without a reason", "1.0", "release", 0, 100.0, 60.0, [board], [rows[2]],
        detection,
        [AblationRow("ABS-1", "A sentence.", "a slip", "rule"), AblationRow("USE-9", "Another.", "", "invariant")],
        rows, {"jobs": "1", "date": "2026-01-31"}, detection_board(detection, 60.0), "On a busy machine.",
    )  # fmt: skip


def seen(key: str, *runs: tuple[str, int, float]) -> DetectionRow:
    """A mutant under seeds from 1000 on: tier, operations and seconds of each."""
    made = tuple(DetectionRun(1000 + index, *run) for index, run in enumerate(runs))
    found = sum(bool(run.tier) for run in made)
    return DetectionRow(key, "a story", len(made), found, 10, 40, 90, 0.1, 0.5, 0.9, made)


def test_board_counts_by_budget_and_tier() -> None:
    """Kills count for a budget when they were as quick; equivalent and invalid ones count nowhere."""
    board = record().towers[0]
    assert [(one.seconds, one.killed, one.of) for one in board.by_budget] == [(10.0, 1, 3), (60.0, 2, 3)]
    assert (board.unique, board.killed, board.equivalent, board.unexplained, board.invalid) == (4, 2, 1, 1, 1)
    assert board.by_operator == {"bound": (2, 3)}
    assert any("within 60 s: 2 of 3, 66.7 %" in line.replace("66.7%", "66.7 %") for line in tower_lines(board))


def test_tiers_are_counted_by_budget() -> None:
    """A tier's kills, and those of them that took no longer than each budget."""
    assert record().towers[0].by_tier_budget == {"lockstep": [1, 1], "cases": [0, 1]}


def test_bands_are_over_seeds() -> None:
    """The share of the sample that each seed kills within a budget, by any tier and by each; kills late are none."""
    board = record().detection_board
    assert board is not None
    assert (board.mutants, board.seeds) == (2, 2)
    rates = {(one.what, one.seconds): (round(one.low, 3), one.median, round(one.high, 3)) for one in board.rates}
    assert rates["all", 10.0] == (0.05, 0.5, 0.95)  # both with the first seed, none with the second
    assert rates["all", 60.0] == (0.525, 0.75, 0.975)
    assert rates["lockstep", 60.0] == (0.5, 0.5, 0.5)
    assert rates["cases", 10.0] == (0.025, 0.25, 0.475)
    assert board.operations.median == 65
    assert board.seconds.median == 2.0


def test_only_seeds_that_tried_every_mutant_make_a_band() -> None:
    """A run that ended in the middle of a seed has no band that is better or worse than the sample."""
    board = detection_board([seen("a", ("cases", 0, 1.0), ("cases", 0, 1.0)), seen("b", ("cases", 0, 1.0))], 60.0)
    assert board is not None
    assert board.seeds == 1
    assert detection_board([], 60.0) is None


def test_sample_for_seeds_has_every_file_with_its_share() -> None:
    """Of forty mutants of one file and ten of another a tenth each; those that nobody judges are left out."""
    rows = [
        msgspec.structs.replace(row(number, "killed"), file="a.c" if number < 40 else "b.c") for number in range(50)
    ]
    rows += [row(number, "equivalent") for number in range(50, 90)]
    chosen = stratified(rows, 5)
    assert len(set(chosen)) == 5
    assert sum(int(key.removeprefix("key")) >= 40 for key in chosen) == 1
    assert stratified(rows, 5) == chosen
    assert len(stratified(rows, 500)) == 50
    assert stratified([], 5) == []


def test_runs_under_seeds_are_kept(tmp_path: Path) -> None:
    """They are there for the same sources, cut lines are done again, and those of other sources are thrown away."""
    header = Header("sources", "release", 0, ("lockstep",))
    runs = Runs(tmp_path, header)
    runs.add(Known("key1", 60.0, DetectionRun(1000, "cases", 0, 1.0)))
    with (tmp_path / "detection-release.jsonl").open("ab") as file:
        file.write(b'{"key":"cut')
    assert list(Runs(tmp_path, header).known) == [("key1", 60.0, 1000)]
    assert Runs(tmp_path, Header("others", "release", 0, ("lockstep",))).known == {}


def test_record_survives_json() -> None:
    """What is written is read back the same, and begins with the schema and the status."""
    data = encode(record())
    assert decode(data) == record()
    assert list(msgspec.json.decode(data))[:2] == ["schema", "status"]


def test_page_and_html_tell_the_same() -> None:
    """Rates, survivors, detection and the rule without a bug stand in both; code is quoted for tables."""
    page = to_markdown([record()], "zmm mutate")
    html = to_html(record()).decode()
    for text in ("66.7", "key3", "a slip", "a story", "USE-9", "any tier", "52.5"):
        assert text in page
        assert text in html
    assert "| **none** |" in page
    assert "a \\| b" in page
    assert "<script" not in html


@pytest.mark.nightly
@pytest.mark.slow
def test_small_run_from_begin_to_end(tmp_path: Path) -> None:
    """Two mutants of each tower: a status, a board, and nothing left behind; a second run takes the results over."""
    for option in ("--core", "--model", "--api"):
        out = tmp_path / f"{option}.json"
        arguments = (option, "--sample", 2, "--time-budget", "10s", "--jobs", 1, "--resume", tmp_path, "--json", out)
        done = zmm(*arguments)
        assert done.returncode in (0, 1), done.stderr
        first = decode(out.read_bytes())
        assert first.towers[0].unique == 2
        assert zmm(*arguments).returncode == done.returncode
        assert decode(out.read_bytes()).towers[0].killed == first.towers[0].killed
