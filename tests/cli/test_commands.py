"""Every command does what its help says, with the documented exit code."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from zmm_fuzz.text import parse_text

Run = Callable[..., subprocess.CompletedProcess[str]]
COMMANDS = ("verify", "replay", "shrink", "targets", "doctor", "bench")

# A malloc that hands out 16 bytes too few as soon as it is asked for 1000 or more.
SHORT_MALLOC = r"""
#include <stddef.h>
#include <string.h>
static char memory[1 << 26];
static size_t used;
void *malloc(size_t size)
{
    size_t taken = size >= 1000 ? size - 16 : size;
    size_t *head = (size_t *)(void *)(memory + used);
    used += (taken + 31) / 16 * 16;
    if (size > 1 << 22 || used > sizeof memory - (1 << 22)) {
        return NULL;
    }
    head[0] = size;
    return head + 2;
}
void free(void *block) { (void)block; }
void *calloc(size_t count, size_t size)
{
    void *block = malloc(count * size);
    return block ? memset(block, 0, count * size) : NULL;
}
void *realloc(void *block, size_t size)
{
    void *moved = malloc(size);
    if (block && moved) {
        size_t old = ((size_t *)block)[-2];
        memcpy(moved, block, old < size ? old : size);
    }
    return moved;
}
size_t malloc_usable_size(void *block) { return block ? ((size_t *)block)[-2] : 0; }
"""


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_two_examples(zmm: Run, command: str) -> None:
    """Each command explains itself with two lines to try."""
    done = zmm(command, "--help")
    assert done.returncode == 0
    assert done.stderr == ""
    assert done.stdout.count(f"\n      zmm {command}") == 2


def test_the_version(zmm: Run) -> None:
    """`zmm --version` prints name and version."""
    done = zmm("--version")
    assert (done.returncode, done.stdout.split()[0]) == (0, "zmm")


def test_replay_passes_and_prints_each_step(zmm: Run, program: Path) -> None:
    """A clean program: exit code 0, one line for each step with place and counters, one line at the end."""
    done = zmm("replay", program, "--steps")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) == 8
    assert lines[1].split()[:5] == ["1", "a", "=", "alloc", "40:"]
    assert "mapping 0, page 1 + 40 bytes, 40 bytes" in lines[1]
    assert lines[-1] == "zmm replay: pass, 6 operations on zmm, edition zmm"


def test_replay_reads_tapes_and_traces(zmm: Run, program: Path, tmp_path: Path) -> None:
    """The same program as tape, and a recorded trace, are replayed alike."""
    from zmm_fuzz.recorded import RECORD
    from zmm_fuzz.tape import encode_file

    tape = tmp_path / "program.tape"
    tape.write_bytes(encode_file(parse_text(program.read_text())))
    trace = tmp_path / "trace.bin"
    trace.write_bytes(RECORD.pack(0, 0, 40) + RECORD.pack(2, 0, 9000) + RECORD.pack(4, 0, 0))
    assert zmm("replay", tape).stdout == "zmm replay: pass, 6 operations on zmm, edition zmm\n"
    assert zmm("replay", trace).stdout == "zmm replay: pass, 3 operations on zmm, edition zmm\n"


def test_replay_against_another_target(zmm: Run, program: Path, tmp_path: Path) -> None:
    """Two levels of zmm agree; JSON says with whom it was compared."""
    done = zmm("replay", program, "--target", "zmm:fast", "--against", "zmm", "--json", "replay.json")
    assert done.returncode == 0
    data = json.loads((tmp_path / "replay.json").read_text())
    assert (data["schema"], data["status"], data["against"]) == (1, "pass", "zmm")
    assert zmm("replay", program, "--against", "libc").returncode == 2


@pytest.mark.oracle
def test_replay_against_php(zmm: Run, program: Path) -> None:
    """The target zmm follows the rules of PHP when it is compared with PHP."""
    done = zmm("replay", program, "--against", "php")
    if "not present" in done.stderr:
        pytest.skip("php: not present (run ci/oracle)")
    assert done.stdout == "zmm replay: pass, 6 operations on zmm, edition php-8.2 against php\n"


@pytest.fixture
def short_malloc(tmp_path: Path) -> Path:
    """A malloc library with a bug."""
    compiler = next(filter(shutil.which, ("cc", "gcc", "clang")), None)
    if compiler is None:
        pytest.skip("no C compiler here (install gcc or clang)")
    source, library = tmp_path / "short.c", tmp_path / "libshort.so"
    source.write_text(SHORT_MALLOC)
    command = [compiler, "-shared", "-fPIC", "-O1", "-fno-builtin", "-o", str(library), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    return library


def test_a_broken_malloc_is_found_shrunk_and_saved(zmm: Run, short_malloc: Path, tmp_path: Path) -> None:
    """verify: exit code 1, a story, reproducers, and all reports agree; replay and shrink show the same again."""
    done = zmm(
        "verify",
        *("--target", f"malloc:{short_malloc}", "--tier", "lockstep", "--time-budget", "20s"),
        *("--json", "r.json", "--junit", "r.xml", "--sarif", "r.sarif", "--html", "r.html"),
    )
    assert done.returncode == 1, done.stdout + done.stderr
    data = json.loads((tmp_path / "r.json").read_text())
    assert data["status"] == "fail"
    found = data["tiers"][0]["divergences"][0]
    assert found["rule"] in ("CONTENTS", "ABS-9", "ABS-11", "ABS-12")
    small = parse_text(found["program"])
    assert len(small) <= 4
    saved = [Path(name) for name in found["files"]]
    assert {path.suffix for path in saved} == {".zmm", ".tape", ".c", ".py"}
    assert all((tmp_path / path).is_file() for path in saved)
    assert ElementTree.parse(tmp_path / "r.xml").find(".//failure") is not None
    assert json.loads((tmp_path / "r.sarif").read_text())["runs"][0]["results"]
    assert found["rule"] in (tmp_path / "r.html").read_text()

    text = next(path for path in saved if path.suffix == ".zmm")
    again = zmm("replay", text, "--target", f"malloc:{short_malloc}")
    assert again.returncode == 1
    assert found["rule"] in again.stdout
    shrunk = zmm("shrink", text, "--target", f"malloc:{short_malloc}", "-o", "small", "--json", "s.json")
    assert shrunk.returncode == 0, shrunk.stdout + shrunk.stderr
    assert json.loads((tmp_path / "s.json").read_text())["divergences"][0]["rule"] == found["rule"]
    assert list((tmp_path / "small").glob("*.c"))
    assert zmm("replay", text, "--target", "libc").returncode == 0


def test_shrink_of_a_clean_program_is_inconclusive(zmm: Run, program: Path) -> None:
    """There is nothing to shrink: exit code 3 and one line."""
    done = zmm("shrink", program, "-o", "out")
    assert done.returncode == 3
    assert done.stdout == f"zmm shrink: inconclusive, {program} does not fail on zmm\n"


def test_verify_within_a_short_budget_is_inconclusive(zmm: Run, tmp_path: Path) -> None:
    """The goal is out of reach: exit code 3, the reason in table and JSON, nothing saved."""
    # One worker is far from the goal after five seconds, and has started by then on a busy machine as well.
    done = zmm("verify", "--tier", "lockstep", "--jobs", "1", "--time-budget", "5s", "--json", "r.json")
    assert done.returncode == 3, done.stdout + done.stderr
    (tier,) = json.loads((tmp_path / "r.json").read_text())["tiers"]
    assert tier["status"] == "inconclusive"
    assert "the budget ended" in tier["reason"]
    assert tier["operations"] > 0
    assert not (tmp_path / "zmm-findings").exists()


def test_quiet_verify_says_one_line(zmm: Run) -> None:
    """--quiet: the result line and nothing else."""
    done = zmm("verify", "--tier", "boundaries", "--time-budget", "2s", "--quiet")
    assert done.stdout == "zmm verify: inconclusive\n"
    assert done.stderr == ""


def test_plain_output_has_no_colours_and_no_boxes(zmm: Run) -> None:
    """Not a terminal: plain lines, tier by tier."""
    done = zmm("verify", "--tier", "boundaries", "--time-budget", "2s")
    assert "\x1b" not in done.stdout
    assert done.stdout.isascii()
    assert done.stdout.startswith("boundaries: every size")


@pytest.mark.parametrize("variable", ["CI", "NO_COLOR"])
def test_a_terminal_is_plain_when_asked(variable: str, tmp_path: Path, environment: dict[str, str]) -> None:
    """On a terminal, CI=true gives plain lines and NO_COLOR no colours."""
    import pty
    import sys

    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "zmm_fuzz", "verify", "--tier", "boundaries", "--time-budget", "2s"],
        cwd=tmp_path,
        env={**environment, variable: "true", "TERM": "xterm-256color"},
        stdout=theirs,
        stderr=theirs,
        stdin=theirs,
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the other side is closed: Linux says EIO
            break
        if not part:
            break
        shown += part
    os.close(ours)
    assert process.wait(60) == 3
    assert not re.search(rb"\x1b\[(?:\d+;)*(?:3[0-8]|9[0-7])[;m]", shown)
    if variable == "CI":
        assert b"\x1b" not in shown
        assert "─" not in shown.decode()


def test_targets_lists_what_is_here_and_what_is_missing(zmm: Run, tmp_path: Path) -> None:
    """The targets zmm and libc are here; every missing one comes with its remedy."""
    done = zmm("targets", "--json", "targets.json")
    assert done.returncode == 0
    rows = {row["name"]: row for row in json.loads((tmp_path / "targets.json").read_text())["targets"]}
    assert rows["zmm"]["status"] == rows["libc"]["status"] == "found"
    assert all(row["remark"] for row in rows.values())
    assert all(name in done.stdout for name in rows)


def test_doctor_finds_everything_needed(zmm: Run, tmp_path: Path) -> None:
    """An installation with the extra lacks nothing; JSON has a row for each check."""
    done = zmm("doctor", "--json", "doctor.json")
    assert done.returncode == 0, done.stdout
    data = json.loads((tmp_path / "doctor.json").read_text())
    assert data["status"] == "pass"
    assert {"python", "zmm", "runner", "hypothesis"} <= {check["name"] for check in data["checks"]}
    assert done.stdout.splitlines()[-1] == "zmm doctor: everything needed is here"


def test_bench_measures_each_tier(zmm: Run, tmp_path: Path) -> None:
    """A rate for native bursts and each tier, with the floors that are promised; 0 or 1 as they are kept."""
    done = zmm("bench", "suite", "--time-budget", "7s", "--json", "rates.json")
    data = json.loads((tmp_path / "rates.json").read_text())
    rates = {rate["name"]: rate for rate in data["rates"]}
    assert set(rates) == {"burst", "lockstep", "boundaries", "oom", "oracle", "machine", "traces"}
    assert (rates["lockstep"]["floor"], rates["burst"]["floor"], rates["oracle"]["floor"]) == (
        100_000,
        5_000_000,
        20_000,
    )
    assert rates["burst"]["operations_per_second"] > 0
    below = [name for name, rate in rates.items() if rate["status"] in ("below", "fail")]
    assert done.returncode == (1 if below else 0)
    assert data["status"] == ("fail" if below else "pass")
