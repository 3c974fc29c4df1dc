"""What a proof works on: the model and the compiled core, sound or with one planted change."""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import z3

from .bits import Number, Truth
from .executor import Answer, Broken, Executor, State
from .llvm import Module, read_module
from .operations import width
from .paths import explore
from .sources import Change, compile_faces, compile_ir, load_model


class Subject:
    """
    One side of a proof.

    Args:
        folder: receives copies and compiled files.
        change: what is planted; None for the sources as they are.
        compiled: IR of the sound core at level release, when somebody compiled it already.
    """

    def __init__(self, folder: Path, change: Change | None = None, compiled: str | None = None) -> None:
        self.folder = folder
        self.change = change
        self._compiled = compiled
        self._modules: dict[int, Module] = {}

    @cached_property
    def model(self) -> ModuleType:
        """The package of the specification."""
        return load_model(self.folder, self.change)

    def part(self, name: str) -> Any:
        """A module of the specification."""
        return importlib.import_module(f"{self.model.__name__}.{name}")

    def module(self, level: int = 1) -> Module:
        """The core's IR at a level."""
        if level not in self._modules:
            is_sound = self.change is None or not self.change.file.startswith("zmm/")
            text = self._compiled if is_sound and level == 1 else None
            self._modules[level] = read_module(text or compile_ir(self.folder, self.change, level))
        return self._modules[level]

    @cached_property
    def library(self) -> ctypes.CDLL:
        """The core's faces as functions to call."""
        return ctypes.CDLL(str(compile_faces(self.folder, self.change, 1)))

    def constant(self, name: str, level: int = 1) -> int:
        """A number that faces.c writes down: the place of a field, the size of a record."""
        return int(self.module(level).globals[name].initial.split(",")[0])

    def executor(
        self,
        known: Sequence[z3.BoolRef] = (),
        *,
        stops: Sequence[str] = (),
        answers: Mapping[str, Answer] | None = None,
        level: int = 1,
    ) -> Executor:
        """An executor of the core's IR that knows something of its arguments."""
        return Executor(self.module(level), assumptions=known, stops=stops, answers=answers)


def truth(value: Any) -> z3.BoolRef:
    """A condition as a term."""
    if isinstance(value, Truth):
        return value.term
    return value if isinstance(value, z3.BoolRef) else z3.BoolVal(bool(value))


def cut(value: Any, bits: int) -> z3.BitVecRef:
    """A number of the model's as a term of so many bits, modulo 2**bits."""
    return Number.of(value).at_width(bits)


def agrees(executor: Executor, expected: Any, what: str) -> int:
    """
    Holds the path that an executor stands on against the model.

    Args:
        executor: its solver knows the path.
        expected: a function of the model's, on symbolic numbers, whose result is the condition that must hold.
        what: is said when it does not.

    Returns:
        the number of the model's paths.
    """
    count = 0
    for path in explore(expected, executor.solver.assertions()):
        executor.solver.push()
        executor.solver.add(*path.conditions)
        executor.check(truth(path.result), what)
        executor.solver.pop()
        count += 1
    return count


def number(term: z3.BitVecRef) -> Number:
    """A term as a number without a sign."""
    return Number(term, 0, (1 << term.size()) - 1)


def ends(executor: Executor, face: str, arguments: Sequence[Any]) -> Iterator[tuple[State, z3.BitVecRef | None]]:
    """Every end of a face, arguments brought to its widths; ``state.ended`` names a call that cut it off."""
    kinds = [kind for kind, _ in executor.module.functions[face].parameters]
    pairs = zip(arguments, kinds, strict=True)
    terms = [one.at_width(width(kind)) if isinstance(one, Number) else one for one, kind in pairs]
    yield from executor.run(face, terms)


def end_of(executor: Executor, face: str, arguments: Sequence[Any]) -> Iterator[tuple[State, Number]]:
    """The same for a face that gives a number and never panics."""
    for state, term in ends(executor, face, arguments):
        executor.check(z3.BoolVal(not state.ended), f"{state.ended} is called")
        assert term is not None
        yield state, number(term)


__all__ = ["Broken", "Subject", "agrees", "cut", "end_of", "ends", "number", "truth"]
