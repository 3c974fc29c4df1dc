"""Every case of cases/*.c passes at every level: plain builds case by case, sanitized ones file by file."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Compiled

HERE = Path(__file__).resolve().parent
FILES = sorted((HERE / "cases").glob("*.c"))
CASE = re.compile(r"^CASE\((\w+)\)", re.MULTILINE)
CASES = {path.stem: CASE.findall(path.read_text()) for path in FILES}
EVERY_CASE = [(file, case) for file, cases in CASES.items() for case in cases]
LEVELS = ("fast", "release", "debug")
Run = Callable[[Path, list[str]], None]


@pytest.mark.parametrize(("file", "case"), EVERY_CASE, ids=[f"{file}-{case}" for file, case in EVERY_CASE])
@pytest.mark.parametrize("level", LEVELS)
def test_case_passes(level: str, file: str, case: str, compiled: Compiled, run_cases: Run) -> None:
    """The case, in a process of its own, meets all its expectations; the comment above it states them."""
    run_cases(compiled(level, False), [case])


@pytest.mark.parametrize("file", CASES)
@pytest.mark.parametrize("level", LEVELS)
def test_cases_pass_with_sanitizers(level: str, file: str, compiled: Compiled, run_cases: Run) -> None:
    """No case reads or writes where it may not, and none meets undefined behaviour."""
    run_cases(compiled(level, True), CASES[file])


def test_every_file_of_cases_is_compiled_in() -> None:
    """core_tests.c includes each file of cases: a forgotten one would pass unseen."""
    program = (HERE / "core_tests.c").read_text()
    included = re.findall(r'#include "cases/(\w+)\.c"', program)
    assert sorted(included) == [path.stem for path in FILES]
    assert sorted(included) == sorted(set(included))


def test_cases_have_names_of_their_own_and_a_comment() -> None:
    """A case is found by its name, and the comment above it says what it expects."""
    names = [case for _, case in EVERY_CASE]
    assert len(names) == len(set(names))
    for path in FILES:
        lines = path.read_text().splitlines()
        bare = [line for before, line in pairwise(lines) if CASE.match(line) and "*/" not in before]
        assert bare == [], f"{path.name}: a case without a comment"
