"""`zmm faults`: exit codes, files, and one clear line for each mistake."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from zmm_fuzz.cli import run
from zmm_fuzz.faults.subject import Subject

OWN = 'id = "{name}"\nclass = "temporal"\ntitle = "my own"\nsequence = """\n{lines}\n"""\n'


def test_results_are_written_as_json_and_html(tmp_path: Path, subject_of: Callable[[str], Subject]) -> None:
    """A row for each fault and target; each cell of the page leads to its story, which has a reproducer."""
    subject_of("libc")
    as_json, as_html = tmp_path / "out.json", tmp_path / "out.html"
    arguments = ["faults", "--target", "libc", "--fault", "T13", "--fault", "A01", "--runs", "2"]
    assert run([*arguments, "--json", str(as_json), "--html", str(as_html)]) == 0
    record = json.loads(as_json.read_text("utf-8"))
    assert (record["schema"], record["status"]) == (1, "pass")
    rows = {row["fault"]: row for row in record["rows"]}
    assert rows["T13"]["codes"] == "DD"
    assert "double free" in rows["T13"]["message"]
    assert rows["A01"]["code"] == "R"
    assert record["targets"][0]["rates"]["in_time"] == 1.0
    page = as_html.read_text("utf-8")
    assert 'href="#T13-libc"' in page
    assert 'id="T13-libc"' in page
    assert "reproducer for malloc targets" in page
    assert "zmm faults --target libc --fault T13" in page


def test_a_fault_of_ones_own_is_performed(
    tmp_path: Path, subject_of: Callable[[str], Subject], capsys: pytest.CaptureFixture[str]
) -> None:
    """A file takes its place in the matrix beside the catalogue's faults."""
    subject_of("libc")
    path = tmp_path / "own.toml"
    path.write_text(OWN.format(name="mine", lines="alloc p 64\nfault\nfree p+8"), "utf-8")
    assert run(["faults", "--target", "libc", "--fault", str(path), "--runs", "1"]) == 0
    assert "mine" in capsys.readouterr().out


def test_a_script_that_fails_before_its_fault_is_inconclusive(
    tmp_path: Path, subject_of: Callable[[str], Subject]
) -> None:
    """A name without a value is found by the runner only; no result is made up for it."""
    subject_of("libc")
    path = tmp_path / "own.toml"
    path.write_text(OWN.format(name="mine", lines="alloc p nobody\nfault\nfree p"), "utf-8")
    assert run(["faults", "--target", "libc", "--fault", str(path), "--runs", "1"]) == 3


def test_a_missed_promise_is_a_failure(tmp_path: Path, subject_of: Callable[[str], Subject]) -> None:
    """Exit code 1 when a level of zmm does not stop what the file says that it stops."""
    subject_of("zmm:release")
    path = tmp_path / "own.toml"
    path.write_text('level = "release"\n' + OWN.format(name="mine", lines="alloc p 64\nfault\nread p 1"), "utf-8")
    assert run(["faults", "--target", "zmm:release", "--fault", str(path), "--runs", "1"]) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fault", "T99"], "unknown fault 'T99'; name an id (zmm faults --list) or a .toml file"),
        (["--fault", "no/such.toml"], "cannot read no/such.toml: No such file or directory; check the path"),
        (["--fault", "T13", "--fault", "T13"], "the fault 'T13' is named twice"),
        (["--class", "tidal"], "unknown class 'tidal'; there are spatial"),
        (["--target", "nothing"], "unknown target 'nothing'; it is zmm"),
        (["--target", "malloc:/no/such.so"], "/no/such.so is no file; check the path"),
        (["--runs", "0"], "--runs"),
    ],
)
def test_mistakes_get_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2 and the thing with its remedy."""
    assert run(["faults", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
