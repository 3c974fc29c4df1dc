"""Where results go: the console, and files that are checked before the work and written whole or not at all."""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from rich.console import Console

from ..errors import UserError, explain_os_error


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


def check_writable(path: Path | None) -> None:
    """
    Tells a user before the work, not after it, that a file cannot be written there.

    Raises:
        UserError: it cannot be opened for writing.
    """
    if path is None:
        return
    existed = path.exists()
    try:
        with path.open("ab"):
            pass
        if not existed:
            path.unlink()
    except OSError as error:
        raise UserError(explain_os_error(error, f"write {path}")) from None


def write_file(path: Path, data: bytes) -> None:
    """
    Writes a file whole or not at all (a regular one; pipes and devices are written directly).

    Raises:
        UserError: the disk is full, the place is not writable, ...
    """
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(data)
            return
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
            # mkstemp makes private files; a report has the usual permissions.
            mask = os.umask(0)
            os.umask(mask)
            Path(name).chmod(0o666 & ~mask)
            Path(name).replace(path)
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise
    except OSError as error:
        raise UserError(explain_os_error(error, f"write {path}")) from None


def check_directory(path: Path, option: str = "--out") -> None:
    """
    Tells a user before the work that a directory cannot be made or written to.

    Raises:
        UserError: there is something else of that name, or no permission.
    """
    parent = path
    while not parent.exists() and parent != parent.parent:
        parent = parent.parent
    if not parent.is_dir():
        raise UserError(f"cannot write to {path}: {parent} is not a directory; choose another with {option}")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise UserError(f"cannot write to {path}: permission denied; choose another directory with {option}")
