"""
Every phrase of the core's table is provoked, in C and in Python, and what is said about it compared word for word.

In the texts only numbers that differ from run to run have names: ``<block>`` and its like are addresses that the misuse
knows, ``<heap>`` the heap, ``<site>`` a call site, ``<was>`` and ``<found>`` sealed words that the misuse has read.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import zmm
from tests.zmm import misuses
from tests.zmm.faces import ROOT
from tests.zmm.misuses import DIES, HAS_NO_SUCH_CALL, RAISES, REFUSES, ROWS, Row

PHRASES = re.findall(r'^ {4}\[PANIC_\w+\] = "([^"]+)"', (ROOT / "zmm/core/panic.c").read_text(), re.MULTILINE)
TEXTS: dict[str, str] = tomllib.loads(Path(__file__).with_name("reports.toml").read_text())


def read_report(text: str) -> dict[str, object]:
    """Return the fields of HeapCorruptedError that a report tells, from its text alone."""

    def number(pattern: str, default: int | None) -> int | None:
        found = re.search(pattern, text)
        return default if found is None else int(found[1], 0)

    hint = re.search(r"\n  hint:      (.*)\n", text)
    owner = re.search(r", belongs to (.*?)(?: 0x\w+)?\n", text)
    reason = re.search(r"(?:corruption: |reason:    )(.*)\n", text)
    return {
        "text": text,
        "reason": reason[1] if reason else None,
        "hint": hint[1] if hint else "",
        "owner": owner[1] if owner else "",
        "address": number(r"address:   (\w+)", 0),
        "heap": number(r"\n  heap:      (\w+)", 0),
        "owner_heap": number(r", belongs to .*? (0x\w+)\n", 0),
        "block": number(r"block:     (\w+)", 0),
        "block_bytes": number(r"block: .*?, (\d+) bytes", 0),
        "requested_bytes": number(r"\(asked for (\d+)\)", None),
        "block_is_live": ", live, mapping" in text,
        "bin_index": number(r" of bin (\d+)", None),
        "mapping_index": number(r", mapping (\d+)", 0),
        "page_index": number(r", page (\d+)", 0),
        "slot_index": number(r", slot (\d+)", 0),
        "expected": number(r"expected:  (\w+)", None),
        "found": number(r", found (\w+)", None),
        "alloc_site": number(r"allocated: (\w+)", 0),
        "free_site": number(r"freed:     (\w+)", 0),
        "access_site": number(r"accessed:  (\w+)", 0),
    }


def with_names(text: str, names: dict[str, int]) -> str:
    """Return the text with the known numbers' names; a slot's number is checked against the block's address."""
    known = {value: f"<{name}>" for name, value in names.items()}
    told = read_report(text)
    if told["bin_index"] is not None:
        block, page, slot_bytes = (int(str(told[name])) for name in ("block", "page_index", "block_bytes"))
        slot = (block % zmm.CHUNK_BYTES - page * zmm.PAGE_BYTES) // slot_bytes
        text = text.replace(f", slot {slot} of", ", slot <its> of")
    text = re.sub(r"(allocated|freed|accessed):( +)0x[0-9a-f]+", r"\1:\2<site>", text)
    return re.sub("0x[0-9a-f]+", lambda found: known.get(int(found[0], 16), "<unknown>"), text)


Made = Callable[[Row, str], tuple[int, str, dict[str, int], dict[str, Any]]]


def run_program(*arguments: str, preload: str = "") -> subprocess.CompletedProcess[str]:
    """Run Python where nothing but the program says what zmm does."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ZMM_")}
    environment["PYTHONPATH"] = str(ROOT)
    if preload:
        environment["LD_PRELOAD"] = preload
    return subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def preload() -> str:
    """The preload library; builds with AddressSanitizer have none, and other texts."""
    try:
        return zmm.get_mixed_library()
    except FileNotFoundError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def made(preload: str, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """All misuses, made: of each the exit status, stderr, the names of numbers, and what Python raised."""
    folder = tmp_path_factory.mktemp("reports")
    for face, library in (("c", ""), ("python", ""), ("c", preload)):
        done = run_program(misuses.__file__, face, str(folder), library, preload=library)
        assert done.returncode == 0, done.stderr

    def outcome(entry: Row, face: str) -> tuple[int, str, dict[str, int], dict[str, Any]]:
        place = folder / face / entry.name
        names = dict(line.split() for line in (place / "names").read_text().splitlines())
        error = json.loads((place / "error").read_text()) if (place / "error").exists() else {}
        status = int((place / "status").read_text())
        return status, (place / "stderr").read_text(), {name: int(value) for name, value in names.items()}, error

    return outcome


def test_every_phrase_has_a_row_and_every_row_a_text() -> None:
    """The phrases are those of the core's own table: a new one is missed here."""
    assert len(PHRASES) > 20
    assert {entry.phrase for entry in ROWS} == set(PHRASES)
    assert sorted(entry.name for entry in ROWS) == sorted(TEXTS)


@pytest.mark.parametrize("entry", ROWS, ids=lambda entry: entry.name)
def test_c_prints_the_whole_report_and_aborts(entry: Row, made: Made) -> None:
    """Word for word."""
    status, stderr, names, _ = made(entry, "c")
    assert (status, with_names(stderr, names)) == (-6, TEXTS[entry.name])
    assert entry.level == "fast" or read_report(stderr)["reason"] == entry.phrase


@pytest.mark.parametrize("entry", [row for row in ROWS if row.python == RAISES], ids=lambda entry: entry.name)
def test_python_raises_the_same_report_with_all_its_fields(entry: Row, made: Made) -> None:
    """The text is C's, and every field of the exception is what the text says, to the bit."""
    status, stderr, names, error = made(entry, "python")
    assert (status, stderr, error.pop("type")) == (0, "", "HeapCorruptedError")
    at = f" at {error['address']:#x}" if error["address"] else ""
    assert error.pop("str") == f"zmm: heap corruption: {entry.phrase}{at}"
    assert with_names(error["text"], names) == TEXTS[entry.name]
    assert error == read_report(error["text"])


@pytest.mark.parametrize("entry", [row for row in ROWS if row.python == REFUSES], ids=lambda entry: entry.name)
def test_python_refuses_what_is_no_block(entry: Row, made: Made) -> None:
    """With the address that C's report names."""
    status, stderr, names, error = made(entry, "python")
    said = re.search(r"address:   <(\w+)>", TEXTS[entry.name])
    address = names[said[1] if said else "wild"]  # level fast names none
    assert (status, stderr, error["type"], error["address"]) == (0, "", "InvalidBlockError", address)
    assert error["str"] == (
        f"{address:#x} is not the start of a live block of this heap (freed, inside a block, or from elsewhere)"
    )


@pytest.mark.parametrize("entry", [row for row in ROWS if row.python == DIES], ids=lambda entry: entry.name)
def test_python_dies_with_the_report_where_nobody_can_raise(entry: Row, made: Made) -> None:
    """The text is C's."""
    status, stderr, names, error = made(entry, "python")
    assert (status, with_names(stderr, names), error) == (-6, TEXTS[entry.name], {})


def test_python_has_no_such_call_where_a_row_says_so() -> None:
    """A sized free, a copy's length beyond its block, and a block for the C library's free."""
    without = {entry.phrase for entry in ROWS if entry.python == HAS_NO_SUCH_CALL}
    assert without == {"freed with a size it does not have", "read beyond its end", "given to the C library"}
    heap = zmm.Heap(level="release")
    block = heap.alloc(100)
    assert not hasattr(heap, "free_sized")
    with pytest.raises(ValueError, match=r"^length_bytes is 113, but text has only 100 bytes$"):
        heap.strndup(bytes(100), 113)
    assert heap.block_size(heap.realloc2(block, 3000, 2000)) == 3072


def test_a_report_that_changed_is_seen() -> None:
    """A digit of a size, a word of the hint, an address that is another one: none of them is smoothed away."""
    report = TEXTS["overflow-debug"]
    names = {"heap": 0x7000, "block": 0x9000 + 80 * 3 - 0x8000, "was": 2, "found": 3}
    raw = re.sub(r"<(\w+)>", lambda name: hex(names.get(name[1], 0x5500)) if name[1] != "its" else "3", report)
    assert with_names(raw, names) == report
    for old, new in (
        ("asked for 41", "asked for 42"),
        ("more was", "less was"),
        ("0x10f0", "0x10f1"),
        ("slot 3", "slot 4"),
    ):
        assert old in raw
        assert with_names(raw.replace(old, new), names) != report
        assert read_report(raw.replace(old, new)) != read_report(raw)


def test_the_documented_examples_print_what_the_page_says(preload: str, tmp_path: Path) -> None:
    """docs/warnings.md: each program, and what it prints; addresses are 0x... there."""
    page = (ROOT / "docs" / "warnings.md").read_text()
    examples = re.findall(r"```python\n(.*?)```\n.*?```text\n(.*?)```", page, re.DOTALL)
    assert len(examples) == page.count("```python") == 4
    for number, (program, text) in enumerate(examples):
        path = tmp_path / f"{number}.py"
        path.write_text(program)
        done = run_program(str(path), preload=preload if "libc.free" in program else "")
        assert re.sub("0x[0-9a-f]+", "0x...", done.stdout + done.stderr) == text
