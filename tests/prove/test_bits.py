"""Symbolic numbers compute as Python's do, and every path of a function is followed."""

from __future__ import annotations

import operator
import random
from collections.abc import Callable
from typing import Any

import pytest
import z3
from zmm_fuzz.prove.bits import Number, symbol
from zmm_fuzz.prove.paths import explore
from zmm_model import sizes

OPERATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "&": operator.and_,
    "|": operator.or_,
    "^": operator.xor,
    "<<": lambda a, b: a << (b % 70),
    ">>": lambda a, b: a >> (b % 70),
    "//": lambda a, b: a // (b + 1),
    "%": lambda a, b: a % (b + 1),
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "-&": lambda a, b: a & -b,
    "->>": lambda a, b: (a - b) >> 3,
}


def value_of(found: Any, inputs: list[tuple[z3.BitVecRef, int]]) -> int:
    """A result with numbers put in for its symbols."""
    term = z3.simplify(z3.substitute(Number.of(found).term, *[(one, z3.BitVecVal(v, one.size())) for one, v in inputs]))
    width = term.size()
    value: int = term.as_long()
    return value - (1 << width) if Number.of(found).low < 0 and value >> (width - 1) else value


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_is_pythons_own(name: str) -> None:
    """On the least, the greatest and random numbers: exact, without wrapping, negative results included."""
    a, _ = symbol("a", 64)
    b, known = symbol("b", 6)
    paths = list(explore(lambda: OPERATIONS[name](a, b), known))
    draw = random.Random(name)
    for left in (0, 1, 2**63, 2**64 - 1, *(draw.getrandbits(64) for _ in range(5))):
        for right in (0, 1, 62, 63, draw.getrandbits(6)):
            inputs = [(a.term, left), (b.term, right)]
            values = [(one, z3.BitVecVal(value, one.size())) for one, value in inputs]
            met = [
                path
                for path in paths
                if all(z3.is_true(z3.simplify(z3.substitute(one, *values))) for one in path.conditions)
            ]
            assert len(met) == 1
            assert value_of(met[0].result, inputs) == int(OPERATIONS[name](left, right))


def test_a_functions_paths_are_all_followed() -> None:
    """The paths of the model's bin_of are disjoint, cover everything, and give what the function gives."""
    size, known = symbol("size", 64, 0, sizes.SMALL_BYTES_MAX)
    paths = list(explore(lambda: sizes.bin_of(size), known))  # type: ignore[arg-type]
    for value in range(sizes.SMALL_BYTES_MAX + 1):
        put = [(size.term, z3.BitVecVal(value, size.term.size()))]
        met = [path for path in paths if all(z3.is_true(z3.simplify(z3.substitute(c, *put))) for c in path.conditions)]
        assert [value_of(path.result, [(size.term, value)]) for path in met] == [sizes.bin_of(value)]
