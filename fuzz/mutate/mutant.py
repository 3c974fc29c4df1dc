"""A mutant: one small change of one source file, identified by what it changes and not by where it stands."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

CORE, MODEL, API = "core", "model", "api"
TOWERS = (CORE, MODEL, API)


@dataclass(frozen=True, slots=True)
class Mutant:
    """
    A change of a source file.

    ``file`` is relative to the tree's root, ``function`` the function (or constant) that it lies in, ``old`` and
    ``new`` are the whole lines, ``first`` is the index of the first of them. ``ordinal`` tells equal changes of equal
    lines of one function apart. ``operator`` says what kind of change it is.
    """

    tower: str
    file: str
    function: str
    first: int
    old: str
    new: str
    operator: str
    ordinal: int = 0

    @property
    def key(self) -> str:
        """Twelve hexadecimal digits that stay when lines move or other functions change."""
        parts = (self.file, self.function, squeeze(self.old), squeeze(self.new), str(self.ordinal))
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]

    def apply(self, text: str) -> str:
        """
        The source with the change.

        Raises:
            ValueError: the lines are no longer there.
        """
        lines = text.splitlines(keepends=True)
        count = len(self.old.splitlines())
        if "".join(lines[self.first : self.first + count]) != self.old:
            raise ValueError(f"{self.file}: line {self.first + 1} is not what it was")
        return "".join([*lines[: self.first], self.new, *lines[self.first + count :]])

    def story(self) -> str:
        """One line for people: the place, and what became of what."""
        old, new = shorten(self.old, self.new)
        return f"{self.file}:{self.first + 1} {self.function}: {old} -> {new}"


def squeeze(text: str) -> str:
    """Text without what a new layout changes."""
    return " ".join(text.split())


def shorten(old: str, new: str) -> tuple[str, str]:
    """The two texts on a line each, without what changes nothing."""
    return squeeze(old) or "(nothing)", squeeze(new) or "(nothing)"


def from_change(
    tower: str, file: str, function: str, text: str, start: int, end: int, replacement: str, operator: str
) -> Mutant:
    """A mutant from offsets into the text: the lines that the change touches become its old and new lines."""
    line_start = text.rfind("\n", 0, start) + 1
    line_end = text.find("\n", end - 1 if end > start else end)
    line_end = len(text) if line_end < 0 else line_end + 1
    old = text[line_start:line_end]
    new = text[line_start:start] + replacement + text[end:line_end]
    return Mutant(tower, file, function, text.count("\n", 0, line_start), old, new, operator)


def number(mutants: Iterable[Mutant]) -> list[Mutant]:
    """The mutants without repetitions, those with equal words numbered in their order."""
    seen: dict[tuple[str, str, str, str], list[int]] = {}
    kept = []
    for mutant in mutants:
        words = (mutant.file, mutant.function, squeeze(mutant.old), squeeze(mutant.new))
        if words[2] == words[3]:
            continue
        places = seen.setdefault(words, [])
        if mutant.first in places:
            continue
        ordinal = len(places)
        places.append(mutant.first)
        kept.append(
            Mutant(
                mutant.tower,
                mutant.file,
                mutant.function,
                mutant.first,
                mutant.old,
                mutant.new,
                mutant.operator,
                ordinal,
            )
            if ordinal
            else mutant
        )
    return kept


def find_root(source: Path | None = None) -> Path | None:
    """The tree with the sources of core, models and tests: the one given, or the one this package is run from."""
    root = source or Path(__file__).resolve().parent.parent.parent
    return root if (root / "zmm" / "core" / "unity.c").is_file() else None
