"""A corpus: a folder of inputs, each named by the SHA-1 of its bytes, as libFuzzer names them."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_RENAME_EXCHANGE = 2
_AT_FDCWD = -100


def input_name(data: bytes) -> str:
    """The name of an input's file."""
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()


class Corpus:
    """
    The inputs in a folder.

    Engines write into it without asking anybody, and may be killed while they do; :meth:`repair` puts that right.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def make(self) -> Corpus:
        """Makes the folder if need be."""
        self.path.mkdir(parents=True, exist_ok=True)
        return self

    def files(self) -> list[Path]:
        """Every input's file, in a fixed order."""
        with suppress(FileNotFoundError):
            return sorted(path for path in self.path.iterdir() if path.is_file() and not path.name.startswith("."))
        return []

    def inputs(self) -> Iterator[bytes]:
        """Every input; files that vanish meanwhile are passed over."""
        for path in self.files():
            with suppress(FileNotFoundError):
                yield path.read_bytes()

    def add(self, data: bytes) -> bool:
        """
        Adds an input, whole or not at all; false when it is there already.

        Raises:
            OSError: the disk is full, ...
        """
        path = self.path / input_name(data)
        if path.exists():
            return False
        write_whole(path, data)
        return True

    def discard(self, data: bytes) -> None:
        """Removes an input, if it is there."""
        (self.path / input_name(data)).unlink(missing_ok=True)

    def repair(self) -> int:
        """
        Renames or removes files that are not what their name says: what a full disk or a killed engine left half
        written.

        Any bytes are an input, so a torn one is kept under its own name unless it is empty.

        Returns:
            how many there were.
        """
        damaged = 0
        for path in self.files():
            data = path.read_bytes()
            right = self.path / input_name(data)
            if path != right:
                damaged += len(path.name) == len(right.name)
                if not data or right.exists():
                    path.unlink()
                else:
                    path.rename(right)
        for path in self.path.glob(".*.part"):
            path.unlink(missing_ok=True)
        return damaged


def write_whole(path: Path, data: bytes) -> None:
    """
    Writes a file whole or not at all: into a hidden one beside it, which is then renamed.

    Raises:
        OSError: the disk is full, ...
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        Path(name).chmod(0o644)
        Path(name).rename(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


def replace_folder(new: Path, old: Path) -> None:
    """
    Puts one folder in the place of another in one step, and removes the old one; both lie on one file system.

    Raises:
        OSError: it cannot be done; then ``old`` is as it was.
    """
    if not old.exists():
        new.rename(old)
        return
    if not _exchange(new, old):
        # No such call here: for a moment there is no folder, but never half of one.
        aside = Path(tempfile.mkdtemp(dir=old.parent, prefix=f".{old.name}."))
        old.rename(aside / "old")
        new.rename(old)
        new = aside
    shutil.rmtree(new, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Both names change places (Linux: renameat2)."""
    call = getattr(ctypes.CDLL(None), "renameat2", None)
    if call is None:
        return False
    done: int = call(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
    return done == 0
