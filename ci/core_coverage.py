"""Measures which lines and branches of the core its tests reach, and compares the rest with tests/core/uncovered.toml.

Level release, gcc, no optimisation. ``--lockstep TIME`` adds generated programs on a library built the same way (they
reach nothing that the cases do not, but show it). Needs .venv (ci/setup).
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CORE = ROOT / "zmm" / "core"
TESTS = ROOT / "tests" / "core"
FOLDER = ROOT / "build" / "core-coverage"
BIN = ROOT / ".venv" / "bin"

Place = tuple[str, str]  # a file of the core, and the text of a line in it


class CoverageError(Exception):
    """What went wrong and the remedy, in one line."""


def run(command: list[str | Path], cwd: Path) -> str:
    """Run one step; its output is shown when it fails."""
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        print(done.stdout, file=sys.stderr)
        raise CoverageError(f"`{Path(command[0]).name}` failed with status {done.returncode}; its output is above")
    return done.stdout


def measure(lockstep: str) -> None:
    """Compile with counters and run everything that counts."""
    if shutil.which("gcc") is None:
        raise CoverageError("coverage needs gcc, which is not here (apt-get install gcc)")
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    command = [
        "gcc",
        "-std=gnu11",
        "-g",
        "-O0",
        "--coverage",
        "-DZMM_LEVEL=1",
        f"-I{CORE}",
        f"-I{ROOT / 'zmm/include'}",
    ]
    tests = ["-DTEST_COVERAGE", f"-I{TESTS}", str(TESTS / "core_tests.c"), "-o", "core_tests", "-pthread"]
    run([*command, *tests], FOLDER)
    run([FOLDER / "core_tests"], FOLDER)
    if lockstep:
        library = FOLDER / "libzmm.so"
        run([*command, "-fPIC", "-shared", "-DZMM_EXPORT=1", str(CORE / "unity.c"), "-o", str(library)], FOLDER)
        verify = ["verify", "--target", f"zmm:{library}", "--tier", "lockstep", "--time-budget", lockstep, "--quiet"]
        done = subprocess.run([BIN / "zmm", *verify], cwd=FOLDER, capture_output=True, text=True, check=False)
        print(done.stdout, end="")
        if done.returncode not in (0, 3):  # 3: the budget ended first
            raise CoverageError(f"the run of lockstep failed with status {done.returncode}: {done.stderr}")


def report() -> list[dict[str, Any]]:
    """Print gcovr's table and return its records of the core's files."""
    records = FOLDER / "records.json"
    command: list[str | Path] = [
        BIN / "gcovr",
        "--root",
        ROOT,
        FOLDER,
        "--filter",
        "zmm/core/",
        "--exclude-unreachable-branches",
    ]
    outputs: list[str | Path] = ["--txt-metric", "branch", "--txt", "-", "--print-summary", "--json", records]
    print(run([*command, *outputs], ROOT))
    files: list[dict[str, Any]] = json.loads(records.read_text())["files"]
    return files


def untaken_branches(files: list[dict[str, Any]]) -> Counter[Place]:
    """How many branches were not taken, by file and text of the line."""
    untaken: Counter[Place] = Counter()
    for file in files:
        path = ROOT / file["file"]
        source = path.read_text().splitlines()
        for line in file["lines"]:
            missing = sum(branch["count"] == 0 for branch in line["branches"])
            if missing:
                untaken[path.name, source[line["line_number"] - 1].strip()] += missing
    return untaken


def listed_branches() -> Counter[Place]:
    """What tests/core/uncovered.toml admits, with a reason for each."""
    listed: Counter[Place] = Counter()
    for row in tomllib.loads((TESTS / "uncovered.toml").read_text())["branch"]:
        if not row["reason"].strip():
            raise CoverageError(f"uncovered.toml: {row['file']}: `{row['line']}` has no reason; give one, or test it")
        listed[row["file"], row["line"]] += row["untaken"]
    return listed


def compare(untaken: Counter[Place], listed: Counter[Place]) -> list[str]:
    """One line for each place where the list and the measurement differ."""
    return [
        f"{file}: `{text}`: {untaken[file, text]} branches not taken, {listed[file, text]} listed in uncovered.toml"
        for file, text in sorted(untaken.keys() | listed.keys())
        if untaken[file, text] != listed[file, text]
    ]


def main() -> int:
    """Measure, print, compare; 0 when the list is exact, 1 when it is not, 2 when nothing could be measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lockstep", default="15s", metavar="TIME", help="how long, or 0 for not at all [15s]")
    lockstep = parser.parse_args().lockstep
    try:
        measure("" if lockstep == "0" else lockstep)
        differences = compare(untaken_branches(report()), listed_branches())
    except CoverageError as error:
        print(error, file=sys.stderr)
        return 2
    for line in differences:
        print(line, file=sys.stderr)
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
