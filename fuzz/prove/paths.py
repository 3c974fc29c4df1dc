"""All paths of a Python function over symbolic numbers: run anew for each, until no decision is left untried."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import z3

from . import bits

PATHS_MAX = 100_000
EASY_MILLISECONDS = 500


class TooManyPaths(Exception):
    """More ways through a function than anybody wants to wait for."""


@dataclass(frozen=True, slots=True)
class Path:
    """One way through: what was decided, and the result (or the exception's class, where one ended it)."""

    conditions: tuple[z3.BoolRef, ...]
    result: Any


def explore(
    function: Callable[[], Any],
    assumptions: Sequence[z3.BoolRef] = (),
    *,
    refused: tuple[type[Exception], ...] = (),
) -> Iterator[Path]:
    """
    Every feasible path of a function without arguments, whose symbolic numbers come from its closure.

    Args:
        function: is called anew for each path, and must not keep state between calls.
        assumptions: what is known beforehand.
        refused: exceptions that are results; any other is an error of the model.
    """
    solver = z3.Solver()
    solver.set("timeout", EASY_MILLISECONDS)  # when in doubt both ways are followed
    solver.add(*assumptions)
    todo: list[list[bool]] = [[]]
    count = 0
    while todo:
        prefix = todo.pop()
        taken: list[z3.BoolRef] = []
        solver.push()

        def decide(term: z3.BoolRef, prefix: list[bool] = prefix, taken: list[z3.BoolRef] = taken) -> bool:
            if len(taken) < len(prefix):
                choice = prefix[len(taken)]
            else:
                can_be_true = solver.check(term) != z3.unsat
                can_be_false = not can_be_true or solver.check(z3.Not(term)) != z3.unsat
                choice = can_be_true
                if can_be_true and can_be_false:
                    todo.append([*prefix, False])
                prefix.append(choice)
            condition = term if choice else z3.Not(term)
            taken.append(condition)
            solver.add(condition)
            return choice

        bits._decide.append(decide)
        try:
            result = function()
        except refused as error:
            result = type(error)
        finally:
            bits._decide.pop()
            solver.pop()
        count += 1
        if count > PATHS_MAX:
            raise TooManyPaths(f"more than {PATHS_MAX} paths")
        yield Path(tuple(taken), result)
