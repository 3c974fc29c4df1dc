"""Plants a bug: applies a patch to a copy of the core and compiles the copy as a shared library.

A patch is a unified diff behind comment lines ``# key: value``: what it ``breaks``, the rules it is ``caught by``, the
most ``operations`` its smallest program may have, and the ``tier`` that finds it. Line numbers and white space are not
used: the old lines of each hunk must occur in the file exactly once, so a patch outlives a new layout of the code, and
fails loudly when the code means something else.

Run by itself it builds libraries to play with: ``python build.py FOLDER NAME ...``.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ZMM = HERE.parent.parent / "zmm"


class PlantError(Exception):
    """The patch does not apply, or the result does not compile."""


@dataclass(frozen=True, slots=True)
class Patch:
    """A planted bug: its name, what its comment says, its hunks as (file, old lines, new lines)."""

    name: str
    breaks: str
    caught_by: frozenset[str]
    operations_max: int
    tier: str
    hunks: tuple[tuple[str, str, str], ...]


def read_patch(path: Path) -> Patch:
    """
    Read a patch file.

    :raises PlantError: a comment is missing, or a hunk belongs to no file.
    """
    lines = path.read_text().splitlines(keepends=True)
    notes = dict(line[2:].rstrip("\n").split(": ", 1) for line in lines if line.startswith("# "))
    try:
        rules = frozenset(notes["caught by"].split(", "))
        return Patch(path.stem, notes["breaks"], rules, int(notes["operations"]), notes["tier"], tuple(_hunks(lines)))
    except (KeyError, ValueError) as error:
        raise PlantError(f"{path.name}: {error}") from error


def _hunks(lines: list[str]) -> Iterator[tuple[str, str, str]]:
    file, old, new = "", "", ""
    for line in [*lines, "@@"]:
        if line.startswith(("@@", "---")) and old + new:
            yield file, old, new
            old, new = "", ""
        if line.startswith("+++ b/"):
            file = line[6:].strip()
        elif line.startswith(("---", "@@", "#")):
            continue
        else:
            old += line[1:] if line[0] in " -" else ""
            new += line[1:] if line[0] in " +" else ""


def all_patches() -> list[Patch]:
    """Return every planted bug, by name."""
    return [read_patch(path) for path in sorted(HERE.glob("*.patch"))]


def replace_once(text: str, old: str, new: str) -> str:
    """
    Put ``new`` for ``old``, which is compared without white space.

    :raises PlantError: ``old`` does not occur exactly once.
    """
    places = [place for place, letter in enumerate(text) if not letter.isspace()]
    packed = "".join(text[place] for place in places)
    wanted = "".join(old.split())
    count = packed.count(wanted)
    if count != 1:
        raise PlantError(f"the old lines of a hunk occur {count} times:\n{old}")
    first = packed.index(wanted)
    return text[: places[first]] + new.strip() + text[places[first + len(wanted) - 1] + 1 :]


def plant(patch: Patch | None, folder: Path, compiler: str = "cc") -> Path:
    """
    Build the core with the bug (None: without one) and return the shared library.

    :param folder: receives the copy of the sources and the library.
    :raises PlantError: the patch does not apply, or the result does not compile.
    """
    name = patch.name if patch is not None else "sound"
    sources = folder / name / "zmm"
    for part in ("core", "include"):
        shutil.copytree(ZMM / part, sources / part, dirs_exist_ok=True)
    for file, old, new in patch.hunks if patch is not None else ():
        path = sources.parent / file
        try:
            path.write_text(replace_once(path.read_text(), old, new))
        except PlantError as error:
            raise PlantError(f"{name}.patch: {file}: {error}") from None
    library = folder / f"libzmm-{name}.so"
    command = [compiler, "-std=gnu11", "-O1", "-fPIC", "-shared", "-fvisibility=hidden", "-DZMM_EXPORT=1"]
    command += ["-DZMM_LEVEL=1", f"-I{sources / 'include'}", str(sources / "core" / "unity.c"), "-o", str(library)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise PlantError(f"{name}: does not compile:\n{done.stderr}")
    return library


if __name__ == "__main__":
    for wanted in sys.argv[2:]:
        print(plant(read_patch(HERE / f"{wanted}.patch"), Path(sys.argv[1])))
