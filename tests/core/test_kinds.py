"""No reason for a panic without a phrase, a test that expects it, and a line in the docs."""

from __future__ import annotations

import re

from tests.core.conftest import HERE, ROOT

CORE = ROOT / "zmm" / "core"
PHRASES = dict(re.findall(r'^ {4}\[(PANIC_\w+)\] = "([^"]+)"', (CORE / "panic.c").read_text(), re.MULTILINE))


def test_every_reason_has_a_phrase_of_its_own() -> None:
    """The enumeration and the table of phrases name the same reasons."""
    reasons = re.findall(r"^ {4}(PANIC_\w+),", (CORE / "panic.h").read_text(), re.MULTILINE)
    assert sorted(PHRASES) == sorted(set(reasons) - {"PANIC_REASON_COUNT"})
    assert len(set(PHRASES.values())) == len(PHRASES) > 20


def test_every_phrase_is_expected_by_a_test() -> None:
    """Word for word: a phrase is interface."""
    files = [*(HERE / "cases").glob("*.c"), *(ROOT / "tests" / "zmm").glob("*.py")]
    tests = "\n".join(path.read_text() for path in files)
    assert [phrase for phrase in PHRASES.values() if f'"{phrase}' not in tests and f": {phrase}" not in tests] == []


def test_every_phrase_is_explained() -> None:
    """docs/warnings.md has one row for each, and no other."""
    page = (ROOT / "docs" / "warnings.md").read_text()
    first = re.findall(r"^\| ([^|]+) \| [^|]+ \| [^|]+ \|$", page, re.MULTILINE)
    rows = [phrase for phrase in first if phrase != "phrase" and phrase[0] != "-"]
    assert sorted(rows) == sorted(PHRASES.values())
