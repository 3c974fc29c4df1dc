"""AddressSanitizer sees zmm's blocks: wrong accesses inside a chunk are stopped, and legal programs are not."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Protocol

import pytest

from tests.core.conftest import HERE, LEVELS, ROOT, find_compiler

SOURCE = HERE / "planted_accesses.c"
ACTIONS = re.findall(r"^    ACTION\((\w+)\)", SOURCE.read_text(), re.MULTILINE)
MISTAKES = [name for name in ACTIONS if name != "legal"]


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
            compiler = find_compiler("clang", "gcc", "cc")
            if compiler is None:
                pytest.skip("no C compiler is here")
            program = tmp_path_factory.mktemp("planted") / level
            includes = [f"-I{ROOT / 'zmm' / 'core'}", f"-I{ROOT / 'zmm' / 'include'}"]
            command = [compiler, "-std=gnu11", "-g", "-O1", *options, *LEVELS[level], *includes, str(SOURCE)]
            result = subprocess.run([*command, "-o", str(program)], capture_output=True, text=True, check=False)
            if result.returncode != 0 and "asan" in result.stderr:
                pytest.skip(f"{compiler} has no AddressSanitizer here (Debian: apt-get install libclang-rt-19-dev)")
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
