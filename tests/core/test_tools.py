"""AddressSanitizer and memcheck see zmm's blocks: wrong accesses in a chunk are told, and legal programs are clean."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Protocol

import pytest

from tests.core.conftest import HERE, LEVELS, ROOT, find_compiler

SOURCE = HERE / "planted_accesses.c"
ACTIONS = re.findall(r"^    ACTION\((\w+)\)", SOURCE.read_text(), re.MULTILINE)
MISTAKES = [name for name in ACTIONS if name not in {"legal", "unwritten"}]
VALGRIND = "-DZMM_VALGRIND=1"


class Build(Protocol):
    """Builds the program of planted accesses."""

    def __call__(self, level: str, *options: str) -> Path: ...


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Return the program of planted accesses for a level, compiled with the core and further options."""
    done: dict[tuple[str, ...], Path] = {}

    def build_program(level: str, *options: str) -> Path:
        key = (level, *options)
        if key not in done:
            # Debian's valgrind is older than its newest clang, and gcc's descriptions of lines are plain.
            compiler = find_compiler(*(("gcc", "clang", "cc") if VALGRIND in options else ("clang", "gcc", "cc")))
            if compiler is None:
                pytest.skip("no C compiler is here")
            program = tmp_path_factory.mktemp("planted") / level
            includes = [f"-I{ROOT / 'zmm' / 'core'}", f"-I{ROOT / 'zmm' / 'include'}"]
            command = [compiler, "-std=gnu11", "-g", "-O1", *options, *LEVELS[level], *includes, str(SOURCE)]
            result = subprocess.run([*command, "-o", str(program)], capture_output=True, text=True, check=False)
            if result.returncode != 0 and "asan" in result.stderr:
                pytest.skip(f"{compiler} has no AddressSanitizer here (Debian: apt-get install libclang-rt-19-dev)")
            if result.returncode != 0 and "apt-get install valgrind" in result.stderr:
                pytest.skip("<valgrind/memcheck.h> is not here (Debian: apt-get install valgrind)")
            assert result.returncode == 0, result.stderr
            done[key] = program
        return done[key]

    return build_program


def perform(program: Path, action: str) -> subprocess.CompletedProcess[str]:
    """Run one action of the program."""
    environment = dict(os.environ, ASAN_OPTIONS="detect_leaks=0:symbolize=0")
    return subprocess.run(
        [str(program), action], env=environment, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize("level", ["release", "debug"])
def test_address_sanitizer_sees_every_planted_access(level: str, build: Build) -> None:
    """Each wrong access inside a chunk, behind a huge block's request or after a request's end is reported."""
    program = build(level, "-fsanitize=address")
    unseen = {}
    for action in MISTAKES:
        done = perform(program, action)
        seen = re.search("ERROR: AddressSanitizer: (use-after-poison|unknown-crash|SEGV)", done.stderr)
        if done.returncode == 0 or not seen:
            unseen[action] = done.stderr[-400:]
    assert unseen == {}


@pytest.mark.parametrize("level", ["release", "debug"])
def test_address_sanitizer_has_nothing_against_a_legal_program(level: str, build: Build) -> None:
    """Resizes of every kind, slack that was asked for, ended requests and the storage's own use of chunks are clean."""
    done = perform(build(level, "-fsanitize=address"), "legal")
    assert done.returncode == 0, done.stderr[-2000:]


def test_without_poisoning_the_planted_accesses_pass_unseen(build: Build) -> None:
    """The test above can fail: the same program without the core's annotations misses accesses inside a chunk."""
    program = build("release", "-fsanitize=address", "-DZMM_ASAN=0")
    assert perform(program, "past_the_request").returncode == 0
    assert perform(program, "read_after_free").returncode == 0


def perform_in_valgrind(program: Path, *actions: str) -> subprocess.CompletedProcess[str]:
    """Run actions of the program, one after the other, in memcheck."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        pytest.skip("valgrind is not here (Debian: apt-get install valgrind)")
    command = [valgrind, "-q", "--error-exitcode=99", str(program), *actions]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    if "Fatal error at startup" in done.stderr:
        pytest.skip("valgrind cannot start here: " + done.stderr[-300:])
    return done


def told_of(stderr: str) -> dict[str, str]:
    """Return what memcheck said of each action."""
    parts = re.split(r"^action (\w+)\n", stderr, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("level", ["release", "debug"])
def test_memcheck_sees_every_planted_access(level: str, build: Build) -> None:
    """Each wrong access is told, and so is a decision on a byte that nobody wrote; the exit status says so, too."""
    last = "of_an_ended_request"  # at level debug the machine stops it
    actions = [*(name for name in MISTAKES if name != last), "unwritten"]
    program = build(level, VALGRIND)
    done = perform_in_valgrind(program, *actions)
    assert done.returncode == 99, done.stderr[-2000:]
    told = told_of(done.stderr)
    assert list(told) == actions
    ended = perform_in_valgrind(program, last)
    assert ended.returncode != 0
    told |= told_of(ended.stderr)
    wanted = dict.fromkeys(MISTAKES, "Invalid (read|write) of size") | {"unwritten": "depends on uninitialised value"}
    assert {name: told[name] for name, pattern in wanted.items() if not re.search(pattern, told[name])} == {}


@pytest.mark.parametrize("level", ["release", "debug"])
def test_memcheck_has_nothing_against_a_legal_program(level: str, build: Build) -> None:
    """What AddressSanitizer lets pass, memcheck lets pass: not one line besides the program's own."""
    done = perform_in_valgrind(build(level, VALGRIND), "legal")
    assert (done.returncode, done.stderr) == (0, "action legal\n")


def test_without_client_requests_memcheck_sees_no_planted_access(build: Build) -> None:
    """The test above can fail: the same program without ZMM_VALGRIND has nothing to tell memcheck."""
    done = perform_in_valgrind(build("release", "-DZMM_VALGRIND=0"), "past_the_request", "read_after_free")
    assert (done.returncode, told_of(done.stderr)) == (0, {"past_the_request": "", "read_after_free": ""})
