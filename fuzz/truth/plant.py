"""Plants a bug: applies a patch to a copy of the core and compiles the copy as a shared library."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from .patch import Patch, PlantError

LEVELS = ("fast", "release", "hardened", "debug")


def find_sources() -> Path:
    """
    The folder of the allocator's sources (``core/`` and ``include/``).

    :raises PlantError: this is an installed copy without them.
    """
    sources = Path(__file__).resolve().parent.parent.parent / "zmm"
    if not (sources / "core" / "unity.c").is_file():
        raise PlantError("bugs are planted in the sources of the core: run this in a checkout of the repository")
    return sources


def replace_once(text: str, old: str, new: str) -> str:
    """
    Put ``new`` for ``old``, which is compared without white space, so that a patch outlives a new layout of the code.

    :raises PlantError: ``old`` does not occur exactly once: the code means something else by now.
    """
    places = [place for place, letter in enumerate(text) if not letter.isspace()]
    packed = "".join(text[place] for place in places)
    wanted = "".join(old.split())
    count = packed.count(wanted)
    if count != 1:
        raise PlantError(f"the old lines of a hunk occur {count} times:\n{old}")
    first = packed.index(wanted)
    return text[: places[first]] + new.strip() + text[places[first + len(wanted) - 1] + 1 :]


def plant(patch: Patch | None, folder: Path, compiler: str = "cc", level: str = "release") -> Path:
    """
    Build the core with the bug (None: without one, at ``level``) and return the shared library.

    :param folder: receives the copy of the sources and the library.
    :raises PlantError: the patch does not apply, or the result does not compile.
    """
    level = patch.level if patch is not None else level
    name = _name(patch, level)
    # The misuse catalogue reads the level from the library's name.
    library = folder / (f"libzmm-{name}.so" if level == "release" else f"libzmm-{name}-{level}.so")
    options = ["-O1", "-fPIC", "-shared", "-fvisibility=hidden", "-DZMM_EXPORT=1", "-o", str(library)]
    _compile(_copy(patch, folder / name), compiler, level, options)
    return library


def check(patch: Patch, folder: Path, compiler: str = "cc") -> None:
    """
    See whether a patch applies and compiles, in a fraction of the time that building takes.

    :raises PlantError: it does not.
    """
    _compile(_copy(patch, folder / patch.name), compiler, patch.level, ["-fsyntax-only"])


def _name(patch: Patch | None, level: str) -> str:
    return patch.name if patch is not None else "sound" if level == "release" else f"sound-{level}"


def _copy(patch: Patch | None, folder: Path) -> Path:
    """A copy of the sources with the bug."""
    sources = folder / "zmm"
    for part in ("core", "include"):
        shutil.copytree(find_sources() / part, sources / part, dirs_exist_ok=True)
    for file, old, new in patch.hunks if patch is not None else ():
        path = folder / file
        try:
            path.write_text(replace_once(path.read_text("utf-8"), old, new), "utf-8")
        except (OSError, PlantError) as error:
            raise PlantError(f"{folder.name}.patch: {file}: {error}") from None
    return sources


def _compile(sources: Path, compiler: str, level: str, options: list[str]) -> None:
    command = [compiler, "-std=gnu11", f"-DZMM_LEVEL={LEVELS.index(level)}", f"-I{sources / 'include'}"]
    command += [str(sources / "core" / "unity.c"), *options]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise PlantError(f"{compiler} cannot be run ({error.strerror}); install a C compiler") from None
    if done.returncode != 0:
        raise PlantError(f"{sources.parent.name}: does not compile:\n{done.stderr}")
