"""Every case of cases/*.c passes at every level: plain builds case by case, sanitized ones file by file."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Compiled

HERE = Path(__file__).resolve().parent
FILES = sorted((HERE / "cases").glob("*.c"))
CASE = re.compile(r"^(CASE\w*)\((\w+)\)", re.MULTILINE)
CASES = {path.stem: CASE.findall(path.read_text()) for path in FILES}
# Which kinds of cases a level has, as in harness.h.
EVERYWHERE = ("CASE_AT_ALL_LEVELS",)
RELEASE = (*EVERYWHERE, "CASE", "CASE_WITH_GUARDS", "CASE_AT_RELEASE")
TRIMS = (*EVERYWHERE, "CASE_WITH_GUARDS", "CASE_WITH_TRIMS")
DEBUG = (*TRIMS, "CASE_IN_DEBUG")
KINDS = {"fast": (*EVERYWHERE, "CASE"), "release": RELEASE, "checked": RELEASE, "hardened": TRIMS, "debug": DEBUG}
Run = Callable[[Path, list[str]], None]


def cases_of(level: str, file: str) -> list[str]:
    """The names of a file's cases that exist at a level."""
    return [name for kind, name in CASES[file] if kind in KINDS[level]]


EVERY_CASE = [(level, file, case) for level in KINDS for file in CASES for case in cases_of(level, file)]
# Asserts and half the trims are seen in debug, too.
SANITIZED = [(level, file) for level in ("fast", "release", "debug") for file in CASES if cases_of(level, file)]


@pytest.mark.parametrize(("level", "file", "case"), EVERY_CASE, ids=["-".join(row) for row in EVERY_CASE])
def test_case_passes(level: str, file: str, case: str, compiled: Compiled, run_cases: Run) -> None:
    """The case, in a process of its own, meets all its expectations; the comment above it states them."""
    run_cases(compiled(level, False), [case])


@pytest.mark.parametrize(("level", "file"), SANITIZED, ids=["-".join(row) for row in SANITIZED])
def test_cases_pass_with_sanitizers(level: str, file: str, compiled: Compiled, run_cases: Run) -> None:
    """No case reads or writes where it may not, and none meets undefined behaviour."""
    run_cases(compiled(level, True), cases_of(level, file))


def test_every_file_of_cases_is_compiled_in() -> None:
    """core_tests.c includes each file of cases: a forgotten one would pass unseen."""
    program = (HERE / "core_tests.c").read_text()
    included = re.findall(r'#include "cases/(\w+)\.c"', program)
    assert sorted(included) == [path.stem for path in FILES]
    assert sorted(included) == sorted(set(included))


def test_cases_have_names_of_their_own_and_a_comment() -> None:
    """A case is found by its name, and the comment above it says what it expects."""
    names = [name for cases in CASES.values() for _, name in cases]
    assert len(names) == len(set(names))
    for path in FILES:
        lines = path.read_text().splitlines()
        bare = [line for before, line in pairwise(lines) if CASE.match(line) and "*/" not in before]
        assert bare == [], f"{path.name}: a case without a comment"


@pytest.mark.slow
def test_every_uncovered_branch_is_listed_with_its_reason() -> None:
    """A branch that no case takes stands in uncovered.toml, and nothing else stands there."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not here, and branches are counted as gcc sees them")
    script = HERE.parent.parent / "ci" / "core_coverage.py"
    done = subprocess.run([sys.executable, script, "--lockstep", "0"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
