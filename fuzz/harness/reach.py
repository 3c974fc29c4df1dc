"""
Which lines of the core tapes reach: corpora are played on a build that counts, and the rest is held against a list.

``python -m zmm_fuzz.harness.reach --seconds 600`` first grows a corpus for each target with libFuzzer. Lines that no
tape has reached are in the groups of ``unreached.toml``, each with its reason; a line that is in none, and a group that
has become void, are printed, and the status is 1. Needs gcc and gcovr, and a checkout.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from . import TARGETS
from .build import BuildError, build

LIST: Final = Path(__file__).resolve().parent / "unreached.toml"
_TREE: Final = Path(__file__).resolve().parent.parent.parent
_FLAGS: Final = ("--coverage", "-O0")
# Both editions, and what else makes a heap's life different.
PLAYED: Final = ("heap", "php", "limit", "gc", "realloc", "request")


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the core."""

    file: str
    function: str
    text: str
    number: int


@dataclass(frozen=True, slots=True)
class Group:
    """Lines that no tape reaches for one reason: a whole file, functions, or lines by a piece of their text."""

    reason: str
    file: str
    functions: tuple[str, ...]
    lines: tuple[str, ...]

    def explains(self, line: Line) -> bool:
        """Whether a line is one of these."""
        if self.file and line.file != self.file:
            return False
        if self.functions and line.function not in self.functions:
            return False
        return not self.lines or any(piece in line.text for piece in self.lines)


class ReachError(Exception):
    """What is missing, in one line with the remedy."""


def grow(target: str, folder: Path, seconds: float) -> Path:
    """A corpus of a target, grown for so many seconds from what is there."""
    corpus = folder / f"corpus-{target}"
    corpus.mkdir(parents=True, exist_ok=True)
    path = build(target, folder=folder)
    # Short tapes are quick, long ones fill chunks: half of the time each.
    for most in (96, 2048):
        flags = [
            f"-max_len={most}",
            f"-max_total_time={max(1, round(seconds / 2))}",
            "-rss_limit_mb=4096",
            "-verbosity=0",
        ]
        done = subprocess.run([path, *flags, corpus], capture_output=True, text=True, errors="replace", check=False)
        if done.returncode != 0:
            said = [line for line in done.stderr.splitlines() if line.startswith("zmm-fuzz:")]
            raise ReachError(f"target {target} found something: {said[0] if said else done.returncode}")
    return corpus


def find_gcovr() -> str:
    """
    What counts: gcovr, beside this Python or anywhere else, and gcc.

    Raises:
        ReachError: one of them is not here.
    """
    if shutil.which("gcc") is None:
        raise ReachError("gcc is not here (Debian: apt-get install gcc)")
    beside = Path(sys.executable).with_name("gcovr")
    found = str(beside) if beside.is_file() else shutil.which("gcovr")
    if found is None:
        raise ReachError("gcovr is not here (pip install gcovr, or Debian: apt-get install gcovr)")
    return found


def count(folder: Path, corpora: dict[str, Iterable[Path]]) -> list[dict[str, Any]]:
    """Plays corpora on a build that counts lines; returns gcovr's records of the core's files."""
    gcovr = find_gcovr()
    counted = folder / "counted"
    for stale in counted.rglob("*.gcda") if counted.exists() else ():
        stale.unlink()
    for target, paths in corpora.items():
        path = build(target, folder=counted, engine="replay", flags=_FLAGS)
        done = subprocess.run([path, *paths], capture_output=True, text=True, errors="replace", check=False)
        if done.returncode != 0:
            raise ReachError(f"the corpus of {target} does not play: {done.stderr.strip().splitlines()[-1]}")
    records = folder / "records.json"
    command = [gcovr, "--root", str(_TREE), "--filter", "zmm/core/", "--json", str(records), str(counted)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ReachError(f"gcovr failed: {done.stderr.strip().splitlines()[-1]}")
    files: list[dict[str, Any]] = json.loads(records.read_text())["files"]
    return files


def unreached(files: Sequence[dict[str, Any]]) -> tuple[list[Line], int]:
    """The lines that nothing reached, and how many lines there are."""
    missing: list[Line] = []
    total = 0
    for file in files:
        path = _TREE / file["file"]
        source = path.read_text().splitlines()
        counts: dict[int, tuple[int, str]] = {}
        for line in file["lines"]:
            number = line["line_number"]
            # A function that is inlined in several places has its lines several times.
            counts[number] = (counts.get(number, (0, ""))[0] + line["count"], line.get("function_name") or "")
        total += len(counts)
        missing += [
            Line(path.name, name, source[number - 1].strip(), number)
            for number, (times, name) in sorted(counts.items())
            if not times
        ]
    return missing, total


def read_list(path: Path = LIST) -> list[Group]:
    """
    What ``unreached.toml`` admits.

    Raises:
        ReachError: a group has no reason.
    """
    groups = []
    for row in tomllib.loads(path.read_text())["group"]:
        group = Group(row["reason"], row.get("file", ""), tuple(row.get("functions", ())), tuple(row.get("lines", ())))
        if not group.reason.strip():
            raise ReachError(f"{path.name}: a group of {group.file or 'every file'} has no reason; give one")
        groups.append(group)
    return groups


def differences(missing: Sequence[Line], groups: Sequence[Group]) -> list[str]:
    """A line for each place that no group explains, and for each group that explains nothing any more."""
    said = [
        f"{line.file}:{line.number}: `{line.text}` was not reached, and no group of {LIST.name} says why"
        for line in missing
        if not any(group.explains(line) for group in groups)
    ]
    said += [
        f"{LIST.name}: the group of {group.file or 'every file'} ({group.reason}) explains nothing: take it out"
        for group in groups
        if not any(group.explains(line) for line in missing)
    ]
    return said


def main() -> int:
    """Grow, play, count, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600.0, help="of growing, over all targets [600]")
    parser.add_argument("-o", dest="folder", type=Path, default=Path("build/reach"))
    parser.add_argument("--show", action="store_true", help="print every line that was not reached")
    options = parser.parse_args()
    try:
        find_gcovr()  # before the long part
        corpora: dict[str, Iterable[Path]] = {}
        for target in PLAYED:
            assert target in TARGETS
            corpora[target] = [grow(target, options.folder, options.seconds / len(PLAYED))]
        missing, total = unreached(count(options.folder, corpora))
        said = differences(missing, read_list())
    except (ReachError, BuildError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{total - len(missing)} of {total} lines of the core are reached by tapes")
    for line in missing if options.show else ():
        print(f"{line.file}:{line.number}: {line.function}: {line.text}")
    for sentence in said:
        print(sentence, file=sys.stderr)
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main())
