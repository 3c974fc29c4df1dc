"""Machine code on symbolic arguments: angr runs a function of a shared library along every path, z3 has the last word.

Where angr would choose one address of many, and so look at less than there is, it is made to give up instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import z3

from .bits import Number, Truth
from .paths import explore

HEAP_ADDRESS = 0x1000_0000
BLOCK_ADDRESS = 0x2000_0000
RETURN_ADDRESS = 0xDEAD_0000
STEPS_MAX = 2000
READ_RANGE_MAX = 4096
# Registers of arguments in the calling convention of x86-64 systems.
ARGUMENTS = ("rdi", "rsi", "rdx", "rcx", "r8", "r9")


class Wrong(Exception):
    """The claim does not hold: for which inputs."""


class Unclear(Exception):
    """Nobody knows: angr or z3 gave up."""


@dataclass(frozen=True, slots=True)
class End:
    """A path's end: the function at which it was cut off ("" when it returned), registers, memory, conditions."""

    stopped: str
    state: Any
    conditions: tuple[z3.BoolRef, ...]

    def argument(self, index: int, bits: int = 64) -> Number:
        """What was passed to the function at which the path was cut off."""
        return _number(to_z3(getattr(self.state.regs, ARGUMENTS[index])), bits)

    def result(self, bits: int) -> Number:
        """What was returned."""
        return _number(to_z3(self.state.regs.rax), bits)

    def word(self, offset: int) -> Number:
        """A word of the heap's record."""
        return _number(to_z3(self.state.memory.load(HEAP_ADDRESS + offset, 8, endness="Iend_LE")), 64)


def _number(term: z3.BitVecRef, bits: int) -> Number:
    term = z3.simplify(z3.Extract(bits - 1, 0, term) if bits < term.size() else term)
    return Number(term, 0, (1 << bits) - 1)


_FOLDED: dict[str, Callable[[Any, Any], Any]] = {
    "__add__": lambda a, b: a + b,
    "__sub__": lambda a, b: a - b,
    "__mul__": lambda a, b: a * b,
    "__and__": lambda a, b: a & b,
    "__or__": lambda a, b: a | b,
    "__xor__": lambda a, b: a ^ b,
    "__lshift__": lambda a, b: a << b,
    "__rshift__": lambda a, b: a >> b,  # arithmetic, as z3's
    "__floordiv__": z3.UDiv,
    "__mod__": z3.URem,
    "LShR": z3.LShR,
    "Concat": z3.Concat,
    "And": z3.And,
    "Or": z3.Or,
    "__eq__": lambda a, b: a == b,
    "__ne__": lambda a, b: a != b,
    "ULT": z3.ULT,
    "ULE": z3.ULE,
    "UGT": z3.UGT,
    "UGE": z3.UGE,
    "__lt__": z3.ULT,
    "__le__": z3.ULE,
    "__gt__": z3.UGT,
    "__ge__": z3.UGE,
    "SLT": lambda a, b: a < b,
    "SLE": lambda a, b: a <= b,
    "SGT": lambda a, b: a > b,
    "SGE": lambda a, b: a >= b,
    "RotateLeft": z3.RotateLeft,
    "RotateRight": z3.RotateRight,
}


def to_z3(tree: Any) -> Any:
    """
    A term of angr's as one of z3's.

    Raises:
        Unclear: an operation that is not known here.
    """
    known: dict[int, Any] = {}

    def walk(node: Any) -> Any:
        if not hasattr(node, "op"):
            return node
        key = node.hash() if callable(node.hash) else node.hash
        if key not in known:
            known[key] = made(node)
        return known[key]

    def made(node: Any) -> Any:
        operation, arguments = node.op, node.args
        if operation == "BVS":
            return z3.BitVec(arguments[0], node.size())
        if operation == "BVV":
            return z3.BitVecVal(arguments[0], arguments[1])
        if operation == "BoolV":
            return z3.BoolVal(arguments[0])
        if operation == "BoolS":
            return z3.Bool(arguments[0])
        if operation == "Extract":
            return z3.Extract(arguments[0], arguments[1], walk(arguments[2]))
        if operation in ("ZeroExt", "SignExt"):
            extend = z3.ZeroExt if operation == "ZeroExt" else z3.SignExt
            return extend(arguments[0], walk(arguments[1]))
        terms = [walk(one) for one in arguments]
        if operation == "If":
            return z3.If(*terms)
        if operation == "Not":
            return z3.Not(terms[0])
        if operation in ("__invert__", "__neg__"):
            return ~terms[0] if operation == "__invert__" else -terms[0]
        if operation == "Reverse":
            bits = terms[0].size()
            parts = [z3.Extract(at + 7, at, terms[0]) for at in range(0, bits, 8)]
            return z3.Concat(*parts) if len(parts) > 1 else terms[0]
        if operation in _FOLDED and len(terms) > 1:
            found = terms[0]
            for term in terms[1:]:
                found = _FOLDED[operation](found, term)
            return found
        raise Unclear(f"angr's operation {operation}")

    return walk(tree)


class Code:
    """
    A library.

    Args:
        library: path.
        places: where the heap's record keeps its fields.
    """

    def __init__(self, library: str, places: Mapping[str, int]) -> None:
        import angr

        self._angr = angr
        self.places = places
        self.project = angr.Project(library, auto_load_libs=False)

    def symbol(self, name: str, bits: int = 64) -> tuple[Any, Number]:
        """A number that nothing is known of, for angr and for the model."""
        return self._angr.claripy.BVS(name, bits, explicit_name=True), _number(z3.BitVec(name, bits), bits)

    def addresses(self, name: str) -> list[int]:
        """Of a function, its specialised copies included."""
        found = set()
        for one in self.project.loader.main_object.symbols:
            base, _, kind = one.name.partition(".")
            if base == name and not kind.startswith(("cold", "part")) and one.is_function and one.size:
                found.add(one.rebased_addr)
        return sorted(found)

    def run(
        self,
        name: str,
        arguments: Sequence[Any],
        *,
        stops: Sequence[str] = (),
        heap: Mapping[int, Any] | None = None,
        is_lazy: bool = False,
    ) -> list[End]:
        """
        Every end of a function's paths.

        Args:
            name: a function of the library, exported or not.
            arguments: numbers and symbols.
            stops: functions at whose call a path is cut off.
            heap: words of the heap's record by offset; all that is not named may hold anything.
            is_lazy: both ways of a branch are walked without asking whether they can be; z3 sees at the end that some
                cannot. For code without loops, whose conditions are hard.

        Raises:
            Unclear: the function is not there, or angr gave up on a path.
        """
        options = self._angr.options
        found = self.addresses(name)
        if len(found) != 1:
            raise Unclear(f"{len(found)} functions {name} in the library")
        wanted = {place: stop for stop in stops for place in self.addresses(stop)}
        if missing := [stop for stop in stops if stop not in wanted.values() and not stop.endswith("?")]:
            raise Unclear(f"no function {missing[0]} in the library")
        state = self.project.factory.call_state(
            found[0],
            *arguments,
            ret_addr=RETURN_ADDRESS,
            add_options={
                options.SYMBOL_FILL_UNCONSTRAINED_MEMORY,
                options.SYMBOL_FILL_UNCONSTRAINED_REGISTERS,
                *([options.LAZY_SOLVES] if is_lazy else []),
            },
        )
        strategies = self._angr.concretization_strategies
        state.memory.read_strategies = [strategies.SimConcretizationStrategySolutions(READ_RANGE_MAX)]
        state.memory.write_strategies = [strategies.SimConcretizationStrategySolutions(1)]
        for offset, value in (heap or {}).items():
            word = self._angr.claripy.BVV(value, 64) if isinstance(value, int) else value
            state.memory.store(HEAP_ADDRESS + offset, word, endness="Iend_LE")
        manager = self.project.factory.simulation_manager(state)
        manager.explore(find=[*wanted, RETURN_ADDRESS], num_find=STEPS_MAX, n=STEPS_MAX)
        if manager.errored:
            raise Unclear(f"angr: {manager.errored[0].error}")
        if left := [stash for stash in ("active", "deadended", "unconstrained") if getattr(manager, stash)]:
            raise Unclear(f"paths left {left[0]}")
        return [
            End(wanted.get(one.addr, ""), one, tuple(to_z3(condition) for condition in one.solver.constraints))
            for one in manager.found
        ]


def agrees(end: End, expected: Callable[[], Any], what: str) -> int:
    """
    Holds a path's end against the model.

    Raises:
        Wrong: for some input the model says otherwise.
        Unclear: z3 gave up.
    """
    count = 0
    for path in explore(expected, end.conditions):
        value = path.result
        term = value.term if isinstance(value, Truth) else value if z3.is_bool(value) else z3.BoolVal(bool(value))
        solver = z3.SolverFor("QF_BV")
        solver.add(*end.conditions, *path.conditions, z3.Not(term))
        answer = solver.check()
        if answer == z3.sat:
            model = solver.model()
            inputs = sorted(f"{one} = {model[one]}" for one in model.decls() if not str(one).startswith("mem"))
            raise Wrong(f"{what}: {', '.join(inputs[:6])}")
        if answer == z3.unknown:
            raise Unclear(f"{what}: {solver.reason_unknown()}")
        count += 1
    return count


def covers(ends: Sequence[End]) -> None:
    """
    The ends are all there is: no input is on none of the paths.

    Raises:
        Unclear: some input is on no path.
    """
    solver = z3.SolverFor("QF_BV")
    solver.add(z3.Not(z3.Or(*[z3.And(*end.conditions) for end in ends])))
    if solver.check() != z3.unsat:
        raise Unclear("some inputs are on no path")
