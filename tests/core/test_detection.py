"""How often randomised defences miss: a hundred thousand corruptions of each kind, none of a whole key unnoticed."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.core.conftest import HERE, LEVELS, ROOT, WARNINGS, find_compiler

TRIALS = 100_000
ROW = re.compile(r"^(\w+) +(.+?) +(\d+)  (.+?) +(\d+) +(\d+)$", re.MULTILINE)
# A page's word is 64 bits of which 24 are a key; how far the page lies behind its run's first is under none.
_SHORT_KEY_BYTES = 3
_SHORT_KEY_MISSES_MAX = 0.03


Rows = list[tuple[str, int, str, int]]  # defence, bytes of its key, corruption, misses


def measure(level: str, folder: Path, trials: int, *definitions: str) -> Rows:
    """Compile the program for a level and run it."""
    compiler = find_compiler("gcc", "clang", "cc")
    if compiler is None:
        pytest.skip("no C compiler is here")
    program = folder / f"detection-{level}"
    includes = [f"-I{ROOT / 'zmm' / 'core'}", f"-I{ROOT / 'zmm' / 'include'}"]
    command = [compiler, "-std=gnu11", "-O1", *WARNINGS, *LEVELS[level], *definitions, *includes]
    subprocess.run([*command, str(HERE / "detection.c"), "-o", str(program)], check=True)
    done = subprocess.run([str(program), str(trials), "1"], capture_output=True, text=True, timeout=240, check=False)
    assert done.stderr == ""
    rows = [(name, int(key), what, int(missed)) for _, name, key, what, _, missed in ROW.findall(done.stdout)]
    whole_missed = any(missed and key > _SHORT_KEY_BYTES and "8 bytes" in what for _, key, what, missed in rows)
    assert done.returncode == int(whole_missed)
    return rows


@pytest.mark.parametrize("level", ["release", "hardened"])
def test_no_corruption_of_an_eight_byte_key_is_missed(level: str, tmp_path: Path) -> None:
    """
    Whole words, the same word everywhere, one byte, a zero byte, three bits: none in a hundred thousand each.

    A page word's key has three bytes: it misses one whole word in a million, and changes of the four bits that it
    does not cover.
    """
    rows = measure(level, tmp_path, TRIALS)
    assert len(rows) >= 15
    assert [row for row in rows if row[1] > _SHORT_KEY_BYTES and row[3] > 0] == []
    short = [row for row in rows if row[1] == _SHORT_KEY_BYTES]
    assert len(short) == 5
    assert [row for row in short if row[3] > TRIALS * _SHORT_KEY_MISSES_MAX] == []
    assert [row for row in short if "8 bytes" in row[2] and row[3] > 1] == []


def test_a_defence_without_a_key_is_seen_to_miss(tmp_path: Path) -> None:
    """With canaries that nobody compares, the table says so and the exit status with it."""
    rows = measure("hardened", tmp_path, 1000, "-DDETECTION_BLIND")
    assert [row[3] for row in rows if row[0] == "canary" and row[2] == "8 bytes"] == [1000]
