"""Mistakes of the user and of the environment: one clear line on stderr, exit code 2, nothing else."""

from __future__ import annotations

import gzip
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]


def one_line(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("zmm: ")
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["verify", "--target", "nobody"], ["unknown target 'nobody'", "libc"]),
        (["verify", "--target", "zmm:turbo"], ["turbo", "release"]),
        (["verify", "--target", "malloc:/nowhere.so"], ["/nowhere.so", "check the path"]),
        (["verify", "--target", "php:/nowhere.so"], ["/nowhere.so", "check the path"]),
        (["verify", "--edition", "php-9"], ["php-9", "php-8.2"]),
        (["verify", "--time-budget", "soon"], ["'soon'", "60s"]),
        (["verify", "--time-budget", "0s"], ["'0s'"]),
        (["verify", "--tier", "nothing"], ["'nothing'", "lockstep"]),
        (["verify", "--seed", "-1"], ["--seed -1"]),
        (["verify", "--seed", "many"], ["'--seed'", "integer"]),
        (["verify", "--jobs", "0"], ["--jobs"]),
        (["verify", "--profile", "fast"], ["'fast'", "nightly"]),
        (["verify", "--colour"], ["--colour"]),
        (["verify", "surplus"], ["surplus"]),
        (["verify", "--json", "missing/report.json"], ["missing/report.json", "check the path"]),
        (["verify", "--html", "."], ["cannot write .", "name a file"]),
        (["replay"], ["FILE"]),
        (["replay", "missing.zmm"], ["missing.zmm", "no such file"]),
        (["replay", "."], ["is a directory"]),
        (["shrink", "missing.zmm", "-o", "out"], ["missing.zmm", "no such file"]),
        (["bench", "memory"], ["unknown suite 'memory'", "suite"]),
        (["bench", "prices", "--target", "libc"], ["--target", "suite and worst"]),
        (["bench", "prices", "--seed", "0"], ["--seed says nothing to prices", "worst --search"]),
        (["bench", "worst", "--target", "libc"], ["--target libc", "zmm:LEVEL"]),
        (["bench", "worst", "--jobs", "2"], ["--jobs says nothing to worst", "suite"]),
        (["bench", "worst", "--edition", "zmm"], ["--edition says nothing to worst"]),
        (["bench", "worst", "--time-budget", "30s"], ["--time-budget", "worst --search"]),
        (["bench", "worst", "--search", "found", "--jobs", "1"], ["--jobs"]),
        (["bench", "pair", "worst", "--json", "a.json"], ["--json", "one suite at a time"]),
        (["bench", "worst", "--search", "file"], ["cannot write to file", "--search"]),
        (["prove", "--engine", "magic"], ["'magic'", "crosshair"]),
        (["prove", "--quick", "--all"], ["--quick", "--all"]),
        (["prove", "--engine", "z3", "--property", "ir-product"], ["no property", "--list"]),
        (["prove", "--markdown", "file"], ["file has no table", "docs/proofs.md"]),
        (["prove", "--compare", "file"], ["file has no table", "docs/proofs.md"]),
        (["prove", "--compare", "binary"], ["cannot read binary", "not a text"]),
        (["mutate", "--total", "nan"], ["--total 'nan'"]),
        (["mutate", "--all", "--sample", "3"], ["--sample", "--all"]),
        (["mutate", "--from", "file"], ["--from", "--page"]),
        (["mutate", "--survivors", "missing"], ["--survivors missing is no file"]),
        (["mutate", "--survivors", "binary"], ["binary: ", "--survivors"]),
        (["mutate", "--survivors", "file"], ["file: ", "--survivors"]),
        (["mutate", "--resume", "file"], ["cannot write to file", "--resume"]),
        (["faults", "--search", "--fault", "S01"], ["--fault", "--search"]),
        (["faults", "--search", "--variants", "5"], ["--variants", "--search"]),
        (["faults", "--search", "--html", "a.html"], ["--html", "--search"]),
        (["faults", "--time-budget", "1m"], ["--time-budget", "--search"]),
        (["faults", "--out", "found"], ["--out", "--search"]),
        (["faults", "--reproducers", "file"], ["cannot write to file", "--reproducers"]),
        (["faults", "--fault", "binary.toml"], ["binary.toml"]),
        (["verify", "--json", "same", "--html", "./same"], ["--json and --html both name same", "a place of its own"]),
        (["verify", "--junit", "same", "--sarif", "same"], ["--junit and --sarif both name same"]),
        (["verify", "--json", "same", "--out", "same"], ["--out and --json both name same"]),
        (["faults", "--json", "same", "--html", "same"], ["--json and --html both name same"]),
        (["faults", "--search", "--json", "same", "--out", "same"], ["--out and --json both name same"]),
        (["mutate", "--json", "same", "--html", "same"], ["--json and --html both name same"]),
        (["corpus", "prune", ".", "--json", "same", "--save", "same"], ["--save and --json both name same"]),
        (["verify", "--out", "/proc/none"], ["cannot write to /proc/none", "--out"]),
        (["faults", "--reproducers", "/proc/none"], ["cannot write to /proc/none", "--reproducers"]),
        (["faults", "--search", "--out", "/proc/none"], ["cannot write to /proc/none", "--out"]),
        (["fuzz", "--corpus", "file"], ["cannot write to file", "--corpus"]),
        (["fuzz", "--core", "."], ["--core . has no core/unity.c", "copy of zmm/"]),
        (["fuzz", "--scheduler", "nonsense"], ["nonsense", "tcp://HOST:PORT"]),
        (["corpus", "merge", "file", "."], ["cannot write to file"]),
        (["corpus", "prune", ".", "--longest", "-1"], ["--longest"]),
        (["corpus", "prune", ".", "--longest", "0"], ["--longest"]),
        (["corpus", "stats", "binary"], ["binary is neither", "check the path"]),
        (["doctor", "--json", "missing/doctor.json"], ["missing/doctor.json"]),
        (["targets", "--json", "missing/targets.json"], ["missing/targets.json"]),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_one_line(zmm: Run, arguments: list[str], words: list[str], tmp_path: Path) -> None:
    """Each names the thing and the remedy."""
    (tmp_path / "file").write_text("neither this nor that\n")
    for name in ("binary", "binary.toml"):
        (tmp_path / name).write_bytes(b"\xff\xfe\x00")
    one_line(zmm(*arguments), *words)
    left = [path.name for path in tmp_path.iterdir() if path.name in ("same", "found", "zmm-findings")]
    assert left == [], "what a check of outputs tried stays nowhere"


def test_a_wrong_line_is_named(zmm: Run, tmp_path: Path) -> None:
    """The number of the line, the word, and what was meant."""
    path = tmp_path / "wrong.zmm"
    path.write_text("zmm-program 1\na = alloc 40\na = reallok a 80\n")
    one_line(zmm("replay", path), "wrong.zmm", "line 3", "reallok")


@pytest.mark.parametrize("kept", [0, 10, 30])
def test_a_truncated_tape_is_named(zmm: Run, program: Path, tmp_path: Path, kept: int) -> None:
    """A tape cut in its header or its body says so."""
    from zmm_fuzz.tape import encode_file
    from zmm_fuzz.text import parse_text

    path = tmp_path / "cut.tape"
    path.write_bytes(encode_file(parse_text(program.read_text()))[:kept])
    one_line(zmm("replay", path), "cut.tape")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("cut.bin", bytes(20)),
        ("odd.bin", bytes(12) + b"\x07" + bytes(13)),
        ("cut.bin.gz", gzip.compress(bytes(1300), mtime=0)[:-6]),
        ("plain.bin.gz", b"not compressed"),
        ("binary.zmm", b"\xff\xfe\x00"),
        ("empty.zmm", b""),
        ("empty.bin", b""),
    ],
)
def test_a_damaged_file_is_named(zmm: Run, tmp_path: Path, name: str, data: bytes) -> None:
    """Traces cut off, damaged or of another kind; texts that are none."""
    path = tmp_path / name
    path.write_bytes(data)
    one_line(zmm("replay", path), name)


def test_an_unreadable_library_is_named(zmm: Run, program: Path, tmp_path: Path) -> None:
    """A file that is no library, and a library that is no allocator of that kind."""
    library = tmp_path / "broken.so"
    library.write_bytes(b"\x7fELF but not really")
    for kind in ("zmm", "php", "malloc"):
        one_line(zmm("replay", program, "--target", f"{kind}:{library}"), "broken.so")


def test_an_output_directory_that_cannot_be(zmm: Run, program: Path) -> None:
    """A file is where the directory should be: said before the work begins."""
    one_line(zmm("verify", "--out", program), "program.zmm", "not a directory")
    one_line(zmm("shrink", program, "-o", program / "below"), "program.zmm", "not a directory")


def test_a_full_disk_is_one_line_and_exit_2(zmm: Run, program: Path) -> None:
    """The result is still printed; the file that could not be written is named."""
    done = zmm("replay", program, "--json", "/dev/full")
    assert done.returncode == 2
    assert done.stdout.startswith("zmm replay: pass")
    (line,) = done.stderr.splitlines()
    assert line == "zmm: cannot write /dev/full: the disk is full; free some space or name a file elsewhere"


def test_a_full_disk_at_the_end_of_verify_keeps_the_other_files(zmm: Run, tmp_path: Path) -> None:
    """JUnit goes to a full disk, JSON does not: JSON is there, one line names the other, exit code 2."""
    done = zmm("verify", "--tier", "lockstep", "--time-budget", "2s", "--junit", "/dev/full", "--json", "report.json")
    assert done.returncode == 2
    assert "zmm: cannot write /dev/full" in done.stderr
    assert (tmp_path / "report.json").stat().st_size > 0


def test_no_arguments_show_the_help(zmm: Run) -> None:
    """Without a command there is nothing to do: help, and exit code 2."""
    done = zmm()
    assert done.returncode == 2
    assert "verify" in done.stdout + done.stderr
