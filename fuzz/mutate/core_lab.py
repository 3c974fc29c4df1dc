"""The laboratory of the core: mutants as shared libraries, tried in the arena."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from ..errors import UserError
from ..processor import processor_seconds
from .build import Workshop
from .campaign import Made, Verdict
from .core_tiers import Arena, Death
from .mutant import Mutant


class CoreLab:
    """
    Makes and tries mutants of the core; every process has a workshop of its own.

    Args:
        root: the tree.
        folder: for copies and libraries; it can be removed afterwards.
        level: of the libraries.
        seed: of the generated programs.
        tiers: the ones to try.

    Raises:
        UserError: the core does not compile as it is.
    """

    def __init__(self, root: Path, folder: Path, level: str, seed: int, tiers: Sequence[str]) -> None:
        # A copy, so that whoever edits the sources meanwhile changes nothing.
        self._root = folder / "tree"
        for part in ("zmm/core", "zmm/include", "tests/core"):
            if (root / part).is_dir():
                shutil.copytree(root / part, self._root / part, dirs_exist_ok=True)
        self._folder = folder
        self._level = level
        self._shop: tuple[int, Workshop] | None = None
        library = folder / f"libzmm-{level}-sound.so"
        built = self._workshop().library(library)
        if not built.digest:
            raise UserError(f"the core does not compile as it is: {built.error.splitlines()[0]}")
        self.original = built.digest
        self.arena = Arena(self._root, library, level, seed, tiers)
        self.arena.prepare()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.arena.close()

    def _workshop(self) -> Workshop:
        """The workshop of this process."""
        if self._shop is None or self._shop[0] != os.getpid():
            self._shop = os.getpid(), Workshop(self._root, self._folder / f"work-{os.getpid()}", self._level)
        return self._shop[1]

    def library_of(self, mutant: Mutant) -> Path:
        """Where a mutant's library lies."""
        return self._folder / f"libzmm-{self._level}-{mutant.key}.so"

    def make(self, mutant: Mutant) -> Made:
        """Compiles a mutant."""
        begin = processor_seconds()
        built = self._workshop().build(mutant, self.library_of(mutant))
        return Made(mutant, built.digest, processor_seconds() - begin)

    def try_out(self, made: Made, budget_seconds: float) -> Verdict:
        """Gives a mutant to the tiers."""
        library = self.library_of(made.mutant)
        if not library.exists():
            self.make(made.mutant)
        death = self.arena.try_mutant(library, self._workshop(), made.mutant, budget_seconds)
        return Verdict(death.kill, death.seconds, death.operations)

    def try_in(self, arena: Arena, mutant: Mutant, budget_seconds: float) -> Death:
        """Gives a mutant to the tiers of another arena; its library stays for the next one."""
        library = self.library_of(mutant)
        if not library.exists():
            self.make(mutant)
        return arena.try_mutant(library, self._workshop(), mutant, budget_seconds)

    def discard(self, made: Made) -> None:
        """Removes a mutant's library."""
        with suppress(OSError):
            self.library_of(made.mutant).unlink()


def core_files(root: Path) -> dict[str, str]:
    """The core's sources by their path in the tree; unity.c only lists them."""
    paths = sorted((root / "zmm" / "core").glob("*.[ch]"))
    return {str(path.relative_to(root)): path.read_text() for path in paths if path.name != "unity.c"}
