"""A planted bug as a file: comment lines that say what it is and what finds it, then a unified diff of the core."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# What a patch file may say of itself, in comment lines `# key: value`. The first four every patch says; the others are
# for bugs that really happened somewhere else: which project, where it can be read, what it did there.
REQUIRED = ("breaks", "caught by", "operations", "tier")
OPTIONAL = ("level", "project", "source", "did")


class PlantError(Exception):
    """The patch cannot be read, does not apply, or the result does not compile."""


@dataclass(frozen=True, slots=True)
class Patch:
    """
    A planted bug.

    ``caught_by`` are the rules (tier ``faults``: the ids of the faults) one of which must speak; ``operations_max`` is
    the most that its smallest program may have; ``tier`` is the one that finds it; ``level`` the level of the build.
    ``hunks`` are (file, old lines, new lines). ``project``, ``source`` and ``did`` are empty for bugs of our own.
    """

    name: str
    breaks: str
    caught_by: frozenset[str]
    operations_max: int
    tier: str
    hunks: tuple[tuple[str, str, str], ...]
    level: str = "release"
    project: str = ""
    source: str = ""
    did: str = ""


def read_patch(path: Path) -> Patch:
    """
    Read a patch file.

    :raises PlantError: a comment is missing or unknown, or a hunk belongs to no file.
    """
    lines = path.read_text("utf-8").splitlines(keepends=True)
    notes = _notes(path, lines)
    missing = [key for key in REQUIRED if key not in notes]
    if missing:
        raise PlantError(f"{path.name}: there is no line '# {missing[0]}: ...'")
    if not notes["operations"].isdecimal():
        raise PlantError(f"{path.name}: operations: {notes['operations']} is no number")
    return Patch(
        path.stem,
        notes["breaks"],
        frozenset(notes["caught by"].split(", ")),
        int(notes["operations"]),
        notes["tier"],
        tuple(_hunks(path, lines)),
        notes.get("level", "release"),
        notes.get("project", ""),
        notes.get("source", ""),
        notes.get("did", ""),
    )


def read_folder(folder: Path) -> list[Patch]:
    """Return every planted bug of a folder, by name."""
    return [read_patch(path) for path in sorted(folder.glob("*.patch"))]


def _notes(path: Path, lines: list[str]) -> dict[str, str]:
    """The comment lines; one that begins with three spaces goes on with the line before it."""
    notes: dict[str, str] = {}
    key = ""
    for line in lines:
        if not line.startswith("#"):
            break
        text = line[2:].rstrip("\n")
        if text.startswith("  ") and key:
            notes[key] += f" {text.strip()}"
            continue
        key, colon, value = text.partition(": ")
        if not colon or key not in (*REQUIRED, *OPTIONAL):
            raise PlantError(f"{path.name}: '# {text}' is no line '# key: value' with a known key")
        notes[key] = value.strip()
    return notes


def _hunks(path: Path, lines: list[str]) -> Iterator[tuple[str, str, str]]:
    file, old, new = "", "", ""
    for line in [*lines, "@@"]:
        if line.startswith(("@@", "---")) and old + new:
            if not file or not old.strip():
                raise PlantError(f"{path.name}: a hunk has no file or no old lines")
            yield file, old, new
            old, new = "", ""
        if line.startswith("+++ b/"):
            file = line[6:].strip()
        elif line.startswith(("---", "@@", "#")):
            continue
        else:
            old += line[1:] if line[0] in " -" else ""
            new += line[1:] if line[0] in " +" else ""
