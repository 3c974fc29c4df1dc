"""What a path reads, writes and asks: every access stays in its object, or the property is refuted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import z3

from . import operations
from .llvm import Module
from .memory import Object, Unsupported
from .operations import Value

FORKED_CELLS_MAX = 16
EASY_MILLISECONDS = 500


class Broken(Exception):
    """Undefined behaviour is possible: what, and for which inputs."""

    def __init__(self, what: str, model: z3.ModelRef | None = None) -> None:
        super().__init__(what)
        self.model = model


class Undecided(Exception):
    """The solver gave up on a question."""


@dataclass(slots=True)
class State:
    """What changes along a path: objects, and the calls that hooks wrote down."""

    objects: dict[str, Object]
    calls: list[tuple[str, tuple[z3.BitVecRef, ...]]] = field(default_factory=list)
    ended: str = ""  # the hooked function at which the path was cut off

    def copy(self) -> State:
        return State(dict(self.objects), list(self.calls), self.ended)

    def changed(self, name: str) -> Object:
        """An object that may be written to without other paths seeing it."""
        self.objects[name] = self.objects[name].copy()
        return self.objects[name]


class Access:
    """
    The solver of one question, and the objects that its paths begin with.

    Args:
        module: the IR.
        assumptions: what is known of the arguments.
    """

    def __init__(self, module: Module, assumptions: Sequence[z3.BoolRef]) -> None:
        self.module = module
        self.solver = z3.Solver()
        self.solver.add(*assumptions)
        self.start = State({})
        # For memory that the kernel gave: addresses into it are numbers, and nobody looks at `inbounds`.
        self.loose_addresses = False
        self._locals = 0

    def add_object(self, name: str, size_bytes: int, *, is_known: bool = True) -> Object:
        """A record of the caller's, at any address that is a multiple of 16."""
        base = z3.BitVec(f"address of {name}", 64)
        self.solver.add(base & 15 == 0, base != 0, z3.ULE(base, 2**47 - size_bytes))
        made = Object(name, base, size_bytes, is_known=is_known)
        self.start.objects[name] = made
        return made

    def local(self, kind: str, state: State) -> Value:
        """A variable of a function: nothing may be read from it before it is written."""
        self._locals += 1
        made = self.add_object(f"local {self._locals}", self.module.layout.size(kind), is_known=False)
        state.objects[made.name] = made
        return Value(made.base)

    # ---- questions

    def check(self, condition: z3.BoolRef, what: str) -> None:
        """
        Makes sure that something holds on this path.

        Raises:
            Broken: it need not.
            Undecided: nobody knows.
        """
        simple = z3.simplify(condition)
        if z3.is_true(simple):
            return
        # The incremental solver is quick at easy questions; hard ones are better put to one that simplifies first.
        solver = self.solver
        self.solver.set("timeout", EASY_MILLISECONDS)
        answer = solver.check(z3.Not(simple))
        self.solver.set("timeout", 0)
        if answer == z3.unknown:
            solver = z3.SolverFor("QF_BV")
            solver.add(*self.solver.assertions(), z3.Not(simple))
            answer = solver.check()
        if answer == z3.sat:
            raise Broken(what, solver.model())
        if answer == z3.unknown:
            raise Undecided(f"{what}: {solver.reason_unknown()}")

    def sound(self, value: Value, what: str) -> z3.BitVecRef:
        """The term of a value that must not be poison."""
        if value.poison is not None:
            self.check(z3.Not(value.poison), f"{what} is poison")
        return value.term

    def is_feasible(self, term: z3.BoolRef) -> bool:
        simple = z3.simplify(term)
        if z3.is_true(simple) or z3.is_false(simple):
            return bool(z3.is_true(simple))
        self.solver.set("timeout", EASY_MILLISECONDS)
        answer = self.solver.check(simple)
        self.solver.set("timeout", 0)
        return bool(answer != z3.unsat)  # when in doubt the path is walked

    # ---- accesses

    def resolve(self, term: z3.BitVecRef) -> tuple[Object, z3.BitVecRef] | None:
        """The object that an address points into, by the symbol that is its base, and the offset."""
        parts = term.children() if term.decl().kind() == z3.Z3_OP_BADD else [term]
        for made in self.start.objects.values():
            rest = [part for part in parts if not part.eq(made.base)]
            if len(rest) == len(parts) - 1:
                offset = z3.simplify(z3.Sum(rest)) if rest else z3.BitVecVal(0, 64)
                return made, offset
        return None

    def _place(self, pointer: Value, size: int, state: State) -> tuple[Object, z3.BitVecRef]:
        """Where an access goes; it lies in one object, whole."""
        term = z3.simplify(self.sound(pointer, "an address"))
        found = self.resolve(term)
        if found is None:
            raise Unsupported("an access through an address that is not known")
        made, offset = found
        self.check(z3.ULE(offset, made.size_bytes - size), f"an access outside of {made.name}")
        return state.objects[made.name], offset

    def _cells(self, made: Object, offset: z3.BitVecRef) -> list[int] | None:
        """The offsets that are possible, None when they are many."""
        if z3.is_bv_value(offset):
            return [offset.as_long()]
        if made.is_constant:
            return None
        found: list[int] = []
        self.solver.push()
        while (answer := self.solver.check()) == z3.sat:
            value = self.solver.model().eval(offset, model_completion=True).as_long()
            found.append(value)
            if len(found) > FORKED_CELLS_MAX:
                break
            self.solver.add(offset != value)
        self.solver.pop()
        if answer == z3.unknown:
            raise Undecided("which places an access may go to")
        return sorted(found) if len(found) <= FORKED_CELLS_MAX else None

    def load(self, kind: str, pointer: Value, state: State) -> Iterator[object]:
        width = operations.width(kind)
        size = self.module.layout.size(kind)
        made, offset = self._place(pointer, size, state)
        cells = self._cells(made, offset)
        if cells is None:
            self.check(z3.URem(offset, z3.BitVecVal(size, 64)) == 0, "an access that is not aligned")
            terms = [made.get(at, size) for at in range(0, made.size_bytes - size + 1, size)]
            index = z3.simplify(z3.UDiv(offset, z3.BitVecVal(size, 64)))
            yield Value(_low(_chosen(terms, index, len(terms).bit_length() - 1), width))
            return
        if len(cells) == 1:
            yield Value(_low(made.get(cells[0], size), width))
            return
        for at in cells:
            yield offset == at, state.copy(), Value(_low(made.get(at, size), width))

    def store(self, value: z3.BitVecRef, pointer: Value, state: State) -> Iterator[object]:
        if value.size() % 8:
            value = z3.ZeroExt(8 - value.size() % 8, value)
        size = value.size() // 8
        made, offset = self._place(pointer, size, state)
        if made.is_constant:
            raise Broken(f"a write into the table {made.name}")
        cells = self._cells(made, offset)
        if cells is None:
            raise Unsupported(f"a write to any place of {made.name}")
        if len(cells) == 1:
            state.changed(made.name).put(cells[0], value)
            yield None
            return
        for at in cells:
            after = state.copy()
            after.changed(made.name).put(at, value)
            yield offset == at, after, None

    def memset(self, arguments: Sequence[Value], state: State) -> Iterator[object]:
        length = arguments[2].term
        if not z3.is_bv_value(length):
            raise Unsupported("a memset of unknown length")
        made, offset = self._place(arguments[0], length.as_long(), state)
        if not z3.is_bv_value(offset):
            raise Unsupported("a memset at an unknown place")
        after = state.changed(made.name)
        for at in range(length.as_long()):
            after.put(offset.as_long() + at, arguments[1].term)
        yield None


def _chosen(terms: Sequence[z3.BitVecRef], index: z3.BitVecRef, bit: int) -> z3.BitVecRef:
    """One of a row of terms, as a tree of decisions on the bits of the index; the index is within the row."""
    if len(terms) == 1 or all(one.eq(terms[0]) for one in terms):
        return terms[0]
    low, high = terms[: 1 << bit], terms[1 << bit :]
    if not high:
        return _chosen(low, index, bit - 1)
    upper = z3.Extract(bit, bit, index) == 1
    return z3.If(upper, _chosen(high, index, bit - 1), _chosen(low, index, bit - 1))


def _low(term: z3.BitVecRef, width: int) -> z3.BitVecRef:
    return term if term.size() == width else z3.Extract(width - 1, 0, term)
