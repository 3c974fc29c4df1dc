"""Compiles mutants of the core, and drops those that are none: invalid ones, and those whose machine code is known.

Trivial compiler equivalence: two sources that the compiler turns into the same bytes are the same program.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError
from .mutant import Mutant

LEVELS = {"fast": 0, "release": 1, "hardened": 2, "debug": 3}
_COMPILE_SECONDS = 60
_FLAGS = ("-std=gnu11", "-pipe", "-w", "-fPIC", "-fvisibility=hidden", "-DZMM_EXPORT=1")


@dataclass(frozen=True, slots=True)
class Built:
    """What the compiler made of a mutant: the digest of its stripped library, empty when it does not compile."""

    digest: str
    library: Path | None = None
    error: str = ""


class Workshop:
    """A copy of the core in which one file at a time is changed; one for each thread."""

    def __init__(self, root: Path, folder: Path, level: str) -> None:
        self.level = level
        self._root = root
        self._folder = folder
        self._core = folder / "zmm" / "core"
        for part in ("core", "include"):
            shutil.copytree(root / "zmm" / part, folder / "zmm" / part, dirs_exist_ok=True)
        self.compiler = find_compiler()

    def path_of(self, file: str) -> Path:
        """Where the copy of a file of the tree lies."""
        return self._folder / file

    def change(self, mutant: Mutant) -> None:
        """Plants a mutant in the copy; what was planted before must have been taken back."""
        self.path_of(mutant.file).write_text(mutant.apply((self._root / mutant.file).read_text()))

    def restore(self, mutant: Mutant) -> None:
        """Takes a mutant back."""
        shutil.copyfile(self._root / mutant.file, self.path_of(mutant.file))

    def library(self, output: Path) -> Built:
        """Compiles the copy as it is, as a library of the level; the digest is that of the stripped file."""
        includes = f"-I{self._folder / 'zmm' / 'include'}"
        base = [self.compiler, *_FLAGS, f"-DZMM_LEVEL={LEVELS[self.level]}", includes]
        source = str(self._core / "unity.c")
        # Most invalid mutants are seen by the parser, in a twentieth of the time.
        if error := _run([*base, "-fsyntax-only", source]):
            return Built("", error=error)
        options = ("-O2", "-g0", "-shared", "-s", "-Wl,--build-id=none", f"-ffile-prefix-map={self._folder}=.")
        if error := _run([*base, *options, source, "-o", str(output)]):
            return Built("", error=error)
        return Built(hashlib.sha256(output.read_bytes()).hexdigest()[:24], output)

    def build(self, mutant: Mutant, output: Path) -> Built:
        """Plants a mutant, compiles the library, and takes the mutant back."""
        self.change(mutant)
        try:
            return self.library(output)
        finally:
            self.restore(mutant)

    def cases(self, output: Path) -> str:
        """Compiles the core's own cases on the copy as it is; empty when that worked, else what the compiler said."""
        folders = (self._core, self._folder / "zmm" / "include", self._root / "tests" / "core")
        includes = [f"-I{folder}" for folder in folders]
        source = str(self._root / "tests" / "core" / "core_tests.c")
        flags = ["-std=gnu11", "-pipe", "-w", "-O0", f"-DZMM_LEVEL={LEVELS[self.level]}"]
        return _run([self.compiler, *flags, *includes, source, "-o", str(output), "-pthread"])


def find_compiler() -> str:
    """
    The C compiler.

    Raises:
        UserError: there is none.
    """
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("cc")
    if not compiler:
        raise UserError("zmm mutate needs a C compiler, and there is none here (apt-get install gcc)")
    return compiler


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_COMPILE_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"the compiler took longer than {_COMPILE_SECONDS} s"
    return "" if done.returncode == 0 else (done.stderr.strip() or f"exit status {done.returncode}")
