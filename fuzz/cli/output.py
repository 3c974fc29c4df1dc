"""Where results go: the console, and files that are checked before the work and written whole or not at all."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from rich.console import Console

from ..errors import UserError, explain_os_error

# As many as the system follows.
_LINKS_MAX = 40
_TURNS = 3


def make_console(*, stderr: bool = False) -> Console:
    """A console that is plain when it is not a terminal or in CI; rich itself honours NO_COLOR."""
    plain = os.environ.get("CI", "").lower() in ("1", "true", "yes")
    return Console(
        file=sys.stderr if stderr else sys.stdout,
        force_terminal=False if plain else None,
        no_color=True if plain else None,
        highlight=False,
        emoji=False,
    )


def say_error(text: str) -> None:
    """One line on stderr."""
    with suppress(OSError):
        sys.stderr.write(f"zmm: {text}\n")
        sys.stderr.flush()


def check_outputs(files: Mapping[str, Path | None], folders: Mapping[str, Path | None] | None = None) -> None:
    """
    Tells a user before the work, not after it, that something cannot be written where an option says.

    Raises:
        UserError: a file or folder cannot be, or a file would take the place of another output.
    """
    taken: dict[Path, str] = {}
    for option, folder in (folders or {}).items():
        if folder is not None:
            check_directory(folder, option)
            taken[Path(os.path.realpath(folder))] = option
    for option, path in files.items():
        if path is None:
            continue
        check_writable(path)
        place, direct = _place_of(path)
        # Two reports go to a terminal or a pipe one after the other.
        if not direct and place in taken:
            raise UserError(f"{taken[place]} and {option} both name {path}; give each a place of its own")
        taken[place] = option


def check_writable(path: Path | None) -> None:
    """
    Tells a user before the work, not after it, that a file cannot be written there.

    Raises:
        UserError: it cannot be.
    """
    if path is None:
        return
    try:
        place, direct = _place_of(path)
        if place.is_fifo():
            # Whoever reads it would take an opening and a closing for the end.
            if not os.access(place, os.W_OK):
                raise PermissionError(errno.EACCES, "")
            return
        if direct or place.exists():
            with place.open("ab"):
                pass
        if not direct:
            _try_file_beside(place)
    except OSError as error:
        raise UserError(explain_os_error(error, f"write {path}")) from None


def write_file(path: Path, data: bytes) -> None:
    """
    Writes a file whole or not at all; a link stays one, and the file that it names is written.

    What is no regular file (devices, pipes), and what a process has open (/dev/stdout), is written directly, after what
    is there.

    Raises:
        UserError: the disk is full, the place is not writable, ...
    """
    try:
        place, direct = _place_of(path)
        if direct:
            # If this is standard output: what was said before stands before.
            sys.stdout.flush()
            with place.open("ab") as stream:
                stream.write(data)
            return
        handle, name = _open_beside(place)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
            # mkstemp makes private files; a report has the usual permissions.
            mask = os.umask(0)
            os.umask(mask)
            Path(name).chmod(0o666 & ~mask)
            Path(name).replace(place)
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise
    except OSError as error:
        raise UserError(explain_os_error(error, f"write {path}")) from None


def _place_of(path: Path) -> tuple[Path, bool]:
    """
    Where links lead, and whether it can only be written directly: no other file may take its place.

    A link below /proc is not followed: it stands for something that a process has open, be it a file. /dev/stdout and
    /dev/fd/3 are such links.

    Raises:
        OSError: links lead in a circle.
    """
    place = path
    for _ in range(_LINKS_MAX):
        place = Path(os.path.realpath(place.parent)) / place.name
        if place.is_relative_to("/proc"):
            return place, True
        if not place.is_symlink():
            return place, place.exists() and not place.is_file()
        place = place.parent / place.readlink()
    raise OSError(errno.ELOOP, "")


def _open_beside(place: Path) -> tuple[int, str]:
    """A new file in the folder of another, whose place it takes when it is whole."""
    return tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}.")


def _try_file_beside(place: Path) -> None:
    """Raises OSError when there can be no new file in the folder of another."""
    handle, name = _open_beside(place)
    os.close(handle)
    Path(name).unlink()


def check_directory(path: Path, option: str = "--out") -> None:
    """
    Tells a user before the work that a directory cannot be made or written to: by doing both, and undoing it.

    Raises:
        UserError: there is something else of that name, no permission, or nothing can be made there.
    """
    parent = path
    while not parent.exists() and parent != parent.parent:
        parent = parent.parent
    if not parent.is_dir():
        raise UserError(f"cannot write to {path}: {parent} is not a directory; choose another with {option}")
    for turn in range(_TURNS):
        try:
            _try_directory(path)
            return
        except OSError as error:
            # Another command that tries the same directory may have undone it meanwhile.
            if not isinstance(error, FileNotFoundError) or turn == _TURNS - 1:
                said = os.strerror(error.errno or 0).lower()
                raise UserError(f"cannot write to {path}: {said}; choose another directory with {option}") from None


def _try_directory(path: Path) -> None:
    made: list[Path] = []
    try:
        for folder in reversed([path, *path.parents]):
            if not folder.is_dir():
                folder.mkdir(exist_ok=True)
                made.append(folder)
        _try_file_beside(path / "zmm")
    finally:
        for folder in reversed(made):
            with suppress(OSError):
                folder.rmdir()
