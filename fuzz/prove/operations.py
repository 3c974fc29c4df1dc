"""LLVM's arithmetic on z3 terms, with the conditions under which each result is poison."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import z3

from .memory import Unsupported

CASTS = frozenset({"zext", "sext", "trunc", "ptrtoint", "inttoptr", "bitcast"})


@dataclass(frozen=True, slots=True)
class Value:
    """A term, and when it is poison (None: never)."""

    term: z3.BitVecRef
    poison: z3.BoolRef | None = None


def width(kind: str) -> int:
    """Bits of a value of a type."""
    if kind == "ptr":
        return 64
    if match := re.fullmatch(r"i(\d+)", kind):
        return int(match[1])
    raise Unsupported(f"values of the type {kind}")


def either(*conditions: z3.BoolRef | None) -> z3.BoolRef | None:
    """Poison by any of several reasons."""
    found = [one for one in conditions if one is not None]
    return None if not found else found[0] if len(found) == 1 else z3.Or(*found)


def sign_extend(term: z3.BitVecRef, bits: int) -> z3.BitVecRef:
    """A number at a greater width."""
    return z3.simplify(z3.SignExt(bits - term.size(), term)) if term.size() < bits else term


def _wraps_unsigned(opcode: str, left: z3.BitVecRef, right: z3.BitVecRef) -> z3.BoolRef:
    bits = left.size()
    if opcode == "add":
        return z3.Extract(bits, bits, z3.ZeroExt(1, left) + z3.ZeroExt(1, right)) == 1
    if opcode == "sub":
        return z3.ULT(left, right)
    if opcode == "mul":
        return z3.Extract(2 * bits - 1, bits, z3.ZeroExt(bits, left) * z3.ZeroExt(bits, right)) != 0
    return z3.LShR(left << right, right) != left  # shl


def _wraps_signed(opcode: str, left: z3.BitVecRef, right: z3.BitVecRef) -> z3.BoolRef:
    bits = left.size()
    if opcode == "shl":
        return ((left << right) >> right) != left
    more = bits if opcode == "mul" else 1
    first, second = z3.SignExt(more, left), z3.SignExt(more, right)
    exact = first + second if opcode == "add" else first - second if opcode == "sub" else first * second
    return z3.SignExt(more, z3.Extract(bits - 1, 0, exact)) != exact


BINARY: dict[str, Callable[[z3.BitVecRef, z3.BitVecRef], z3.BitVecRef]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b,
    "shl": lambda a, b: a << b,
    "lshr": z3.LShR,
    "ashr": lambda a, b: a >> b,
    "udiv": z3.UDiv,
    "urem": z3.URem,
}


def binary(opcode: str, flags: frozenset[str], left: Value, right: Value) -> Value:
    """An operation of two operands."""
    a, b = left.term, right.term
    reasons = [left.poison, right.poison]
    if opcode in ("shl", "lshr", "ashr"):
        reasons.append(z3.UGE(b, z3.BitVecVal(a.size(), b.size())))
    if "nuw" in flags:
        reasons.append(_wraps_unsigned(opcode, a, b))
    if "nsw" in flags:
        reasons.append(_wraps_signed(opcode, a, b))
    if "exact" in flags:
        reasons.append((BINARY[opcode](a, b) << b) != a if opcode in ("lshr", "ashr") else z3.URem(a, b) != 0)
    if "disjoint" in flags:
        reasons.append((a & b) != 0)
    return _made(BINARY[opcode](a, b), reasons)


def _made(term: z3.BitVecRef, reasons: Sequence[z3.BoolRef | None]) -> Value:
    simple = [z3.simplify(one) for one in reasons if one is not None]
    return Value(z3.simplify(term), either(*[one for one in simple if not z3.is_false(one)]))


def cast(opcode: str, flags: frozenset[str], value: Value, kind: str) -> Value:
    """A number of another width."""
    now, then = value.term.size(), width(kind)
    reasons = [value.poison]
    if opcode == "sext":
        return _made(z3.SignExt(then - now, value.term), reasons)
    if then > now:
        if "nneg" in flags:
            reasons.append(z3.Extract(now - 1, now - 1, value.term) == 1)
        return _made(z3.ZeroExt(then - now, value.term), reasons)
    if then == now:
        return value
    cut = z3.Extract(then - 1, 0, value.term)
    if "nuw" in flags:
        reasons.append(z3.ZeroExt(now - then, cut) != value.term)
    if "nsw" in flags:
        reasons.append(z3.SignExt(now - then, cut) != value.term)
    return _made(cut, reasons)


_PREDICATES: dict[str, Callable[[z3.BitVecRef, z3.BitVecRef], z3.BoolRef]] = {
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "ult": z3.ULT,
    "ule": z3.ULE,
    "ugt": z3.UGT,
    "uge": z3.UGE,
    "slt": lambda a, b: a < b,
    "sle": lambda a, b: a <= b,
    "sgt": lambda a, b: a > b,
    "sge": lambda a, b: a >= b,
}


def as_bit(condition: z3.BoolRef) -> z3.BitVecRef:
    """A condition as a number of one bit."""
    return z3.If(condition, z3.BitVecVal(1, 1), z3.BitVecVal(0, 1))


def compare(predicate: str, left: Value, right: Value) -> Value:
    """A comparison: one bit."""
    return _made(as_bit(_PREDICATES[predicate](left.term, right.term)), [left.poison, right.poison])


def select(condition: Value, yes: Value, no: Value) -> Value:
    """One of two: poison of the other does not matter."""
    is_yes = condition.term == 1
    poison = None
    if yes.poison is not None or no.poison is not None:
        never = z3.BoolVal(False)
        reasons = [never if one.poison is None else one.poison for one in (yes, no)]
        poison = z3.If(is_yes, *reasons)
    return _made(z3.If(is_yes, yes.term, no.term), [condition.poison, poison])


def population(term: z3.BitVecRef) -> z3.BitVecRef:
    """The number of set bits, as a term of the same width: a sum of its bits."""
    bits = term.size()
    return z3.Sum([z3.ZeroExt(bits - 1, z3.Extract(at, at, term)) for at in range(bits)])


def trailing_zeros(term: z3.BitVecRef) -> z3.BitVecRef:
    """The place of the lowest set bit; the width when there is none."""
    bits = term.size()
    found = z3.BitVecVal(bits, bits)
    for at in reversed(range(bits)):
        found = z3.If(z3.Extract(at, at, term) == 1, z3.BitVecVal(at, bits), found)
    return found


def leading_zeros(term: z3.BitVecRef) -> z3.BitVecRef:
    """The number of clear bits above the highest set one; the width when there is none."""
    bits = term.size()
    found = z3.BitVecVal(bits, bits)
    for at in range(bits):
        found = z3.If(z3.Extract(at, at, term) == 1, z3.BitVecVal(bits - 1 - at, bits), found)
    return found


def intrinsic(name: str, arguments: Sequence[Value]) -> Value | tuple[Value, ...]:
    """
    A function of the compiler's own.

    Raises:
        Unsupported: not one of those that the core's IR has.
    """
    what = name.split(".")[1]
    terms = [value.term for value in arguments]
    reasons = [value.poison for value in arguments]
    if what in ("umul", "uadd", "usub") and ".with.overflow." in name:
        opcode = what[1:]
        poison = either(*reasons)
        result = BINARY[opcode](*terms)
        return Value(z3.simplify(result), poison), Value(as_bit(_wraps_unsigned(opcode, *terms)), poison)
    if what in ("umin", "umax", "smin", "smax"):
        less = (z3.ULT if what[0] == "u" else lambda a, b: a < b)(*terms)
        return _made(z3.If(less == (what[1:] == "min"), *terms), reasons)
    if what == "fshl":
        bits = terms[0].size()
        by = z3.ZeroExt(bits, z3.URem(terms[2], z3.BitVecVal(bits, bits)))
        return _made(z3.Extract(2 * bits - 1, bits, z3.Concat(terms[0], terms[1]) << by), reasons)
    if what == "ctpop":
        return _made(population(terms[0]), reasons)
    if what in ("cttz", "ctlz"):
        count = trailing_zeros if what == "cttz" else leading_zeros
        return _made(count(terms[0]), [*reasons, z3.And(terms[1] == 1, terms[0] == 0)])
    if what == "expect":
        return arguments[0]
    if what == "usub" and ".sat." in name:
        return _made(z3.If(z3.ULT(*terms), z3.BitVecVal(0, terms[0].size()), terms[0] - terms[1]), reasons)
    raise Unsupported(f"the intrinsic {name}")
