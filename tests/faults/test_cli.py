"""`zmm faults`: exit codes, files, and one clear line for each mistake."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from zmm_fuzz.cli import run
from zmm_fuzz.faults.fault import load_catalogue
from zmm_fuzz.faults.measure import measure
from zmm_fuzz.faults.record import INCONCLUSIVE, make_record
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


def test_half_an_expression_is_a_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its file and line are named before any run."""
    path = tmp_path / "own.toml"
    path.write_text(OWN.format(name="mine", lines="alloc p 64+\nfault\nfree p"), "utf-8")
    assert run(["faults", "--target", "libc", "--fault", str(path), "--runs", "1"]) == 2
    assert f"{path}: sequence, line 1: cannot read the expression '64+' at its end" in capsys.readouterr().err


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
        (["--target", "zmm+ZMM_WIEP=1"], "zmm has no switch ZMM_WIEP; it has ZMM_LEVEL, ZMM_WIPE, ZMM_GUARD"),
        (["--target", "zmm+ZMM_LEVEL=debug"], "ZMM_LEVEL chooses a level for Python's heaps only; write zmm:LEVEL"),
        (["--target", "libc+ZMM_WIPE=1"], "libc does not read ZMM_WIPE, a switch of zmm; leave +ZMM_WIPE out"),
        (["--runs", "0"], "--runs"),
    ],
)
def test_mistakes_get_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2 and the thing with its remedy."""
    assert run(["faults", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("more", [["--fault", "T13", "--runs", "1"], ["--search", "--time-budget", "1m"]])
@pytest.mark.parametrize(
    ("target", "message"),
    [
        (
            "zmm:{no_library}",
            ": cannot load the library: invalid ELF header; name another file, or add what is missing",
        ),
        (
            "malloc:{no_library}",
            ": cannot load the library: invalid ELF header; name another file, or add what is missing",
        ),
        (
            "php:{no_library}",
            ": cannot load the library: invalid ELF header; name another file, or add what is missing",
        ),
        ("zmm:debug+ZMM_GUARD=foo", "ZMM_GUARD=foo: write all, off, or 1/N for one block of N"),
    ],
)
def test_a_target_that_cannot_be_performed_on_is_a_mistake(
    target: str, message: str, more: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Said with its cause before the work: it raised no alarm and broke no promise."""
    no_library = tmp_path / ("long" * 50 + ".so")
    no_library.write_text("root:x:0:0:root:/root:/bin/bash and so on, longer than the head of a library is\n" * 9)
    assert run(["faults", *more, "--target", target.format(no_library=no_library)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert target.format(no_library=no_library) in said.err
    assert message in said.err
    assert said.err.count("\n") == 1


def test_runs_that_come_to_nothing_are_neither_alarms_nor_broken_promises() -> None:
    """A runner that ends at once, on a level that promises to stop the fault: inconclusive, and nothing else."""
    fault = next(fault for fault in load_catalogue() if fault.id == "T13")
    nothing = Subject("zmm", "zmm", (sys.executable, "-I", "-S", "-c", ""), level="debug", runs_max=1)
    column = measure(nothing, [fault])
    assert (column.alarms, column.broken_promises()) == ((), [])
    record = make_record([column], [fault], runs=1)
    assert record.status == INCONCLUSIVE
    assert "first control-1: the run ended before the fault" in record.reason
    assert record.rows[0].promise == ""
