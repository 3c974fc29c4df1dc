"""Performs a trace on an allocator with zmm-player, and says what it cost."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ..cachegrind import OPTIONS, read_instructions
from ..targets.base import TargetError
from ..targets.native import find_native
from ..targets.runner import child_environment

_SECONDS = 300
_VALGRINDS = re.compile(r"(==|--)\d+(==|--) ")


@dataclass(frozen=True, slots=True)
class Cost:
    """
    What performing a trace took, in bytes and nanoseconds; ``real_peak_bytes`` is 0 for a malloc library.

    ``collected_bytes`` is what a gc at the end gave back, when one was asked for.
    """

    operations: int
    live_peak_bytes: int
    size_peak_bytes: int
    real_peak_bytes: int
    resident_peak_bytes: int
    nanoseconds: int
    collected_bytes: int


class Player:
    """
    Plays traces on one allocator.

    Args:
        kind: ``"zmm"`` or ``"malloc"``.
        library: its shared library; empty for the C library's malloc.
    """

    def __init__(self, kind: str, library: str) -> None:
        self.kind = kind
        self.library = library
        self._program = str(_find_program())
        self._nothing: dict[bool, int] = {}

    def play(self, records: bytes, *, gc: bool = False) -> Cost:
        """
        Performs a trace.

        :raises TargetError: the allocator died, refused a block or cannot be loaded.
        """
        return Cost(*(int(word) for word in self._run(records, (), gc=gc).stdout.split()))

    def count_instructions(self, records: bytes, *, gc: bool = False) -> int:
        """
        Instructions that a trace costs more than an empty one, the loop around it included, as cachegrind counts them.

        :raises TargetError: as :meth:`play`, or valgrind is not here.
        """
        if gc not in self._nothing:
            self._nothing[gc] = self._count(b"", gc=gc)
        return self._count(records, gc=gc) - self._nothing[gc]

    def _count(self, records: bytes, *, gc: bool) -> int:
        tool = find_valgrind()
        count = read_instructions(self._run(records, (tool, *OPTIONS), gc=gc).stderr)
        if count is None:
            raise TargetError("cachegrind says nothing of instructions; install valgrind 3.15 or newer")
        return count

    def _run(self, records: bytes, prefix: tuple[str, ...], *, gc: bool) -> subprocess.CompletedProcess[str]:
        with tempfile.NamedTemporaryFile(prefix="zmm-", suffix=".bin") as file:
            file.write(records)
            file.flush()
            command = [*prefix, self._program, self.kind, self.library, file.name, *(["--gc"] if gc else [])]
            try:
                done = subprocess.run(
                    command,
                    env=child_environment({}),
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    text=True,
                    errors="replace",
                    timeout=_SECONDS,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                raise TargetError(f"{self.library or 'the C library'}: a trace took longer than {_SECONDS} s") from None
        if done.returncode:
            raise TargetError(
                f"{self.library or 'the C library'}: a trace ended with {done.returncode}: {last_words(done.stderr)}"
            )
        return done


def last_words(stderr: str) -> str:
    """The last line that the program itself has said: valgrind's own, with the process' number, come behind it."""
    lines = [line for line in stderr.splitlines() if line.strip()]
    return next(
        (line for line in reversed(lines) if not _VALGRINDS.match(line)), lines[-1] if lines else "no reason given"
    )


@functools.cache
def find_valgrind() -> str:
    """
    The path of valgrind.

    :raises TargetError: there is none.
    """
    tool = shutil.which("valgrind")
    if tool is None:
        raise TargetError("instructions are counted by valgrind, which is not here; apt-get install valgrind")
    return tool


def _find_program() -> Path:
    found = find_native("zmm-player")
    if found is None:
        raise TargetError("this installation has no zmm-player; install zmm anew with a C compiler there")
    return found
