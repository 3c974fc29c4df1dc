"""Integers as z3 bit-vectors that are always wide enough: exact, as Python's own, over all values at once.

A number knows the least and the most it can be, so its width is that of its range and no operation ever wraps.  The
model's functions run on such numbers unchanged; where they branch, :mod:`.paths` follows both ways.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import z3

# Set by paths.py: decides a branch on a symbolic condition.
_decide: list[Callable[[z3.BoolRef], bool]] = []


class Truth:
    """A condition on symbolic numbers; asked for its truth it makes the path fork."""

    __slots__ = ("term",)

    def __init__(self, term: z3.BoolRef) -> None:
        self.term = term

    def __bool__(self) -> bool:
        term = z3.simplify(self.term)
        if z3.is_true(term):
            return True
        if z3.is_false(term):
            return False
        if not _decide:
            raise RuntimeError("a symbolic condition outside of paths.explore")
        return _decide[-1](term)


def width_of(low: int, high: int) -> int:
    """Bits that hold every number of a range: unsigned when none is negative, else two's complement."""
    if low >= 0:
        return max(1, high.bit_length())
    return max(low.bit_length() if low < -1 else 1, high.bit_length()) + 1


class Number:
    """An exact integer between two bounds."""

    __slots__ = ("high", "low", "term")

    def __init__(self, term: z3.BitVecRef, low: int, high: int) -> None:
        self.term = term
        self.low = low
        self.high = high

    # ---- making and reading

    @staticmethod
    def of(value: int | bool | Number | Truth) -> Number:
        if isinstance(value, Number):
            return value
        if isinstance(value, Truth):
            return Number(z3.If(value.term, z3.BitVecVal(1, 1), z3.BitVecVal(0, 1)), 0, 1)
        value = int(value)
        return Number(z3.BitVecVal(value, width_of(value, value)), value, value)

    def at_width(self, width: int) -> z3.BitVecRef:
        """The term at a width that holds its range, or cut to a smaller one (modulo 2**width)."""
        now = self.term.size()
        if width < now:
            return z3.Extract(width - 1, 0, self.term)
        if width == now:
            return self.term
        return z3.ZeroExt(width - now, self.term) if self.low >= 0 else z3.SignExt(width - now, self.term)

    def _constant(self) -> int | None:
        return self.low if self.low == self.high else None

    def _made(self, term: z3.BitVecRef, low: int, high: int) -> Number:
        if low == high:
            return Number.of(low)
        return Number(z3.simplify(term), low, high)

    # ---- arithmetic

    def _common(self, other: Any, low: int, high: int) -> tuple[z3.BitVecRef, z3.BitVecRef, int]:
        """Both operands at a width that holds them and a result."""
        right = Number.of(other)
        width = width_of(min(low, self.low, right.low), max(high, self.high, right.high))
        return self.at_width(width), right.at_width(width), width

    def _fit(self, term: z3.BitVecRef, low: int, high: int) -> Number:
        width = width_of(low, high)
        return self._made(z3.Extract(width - 1, 0, term) if width < term.size() else term, low, high)

    def __add__(self, other: Any) -> Number:
        right = Number.of(other)
        low, high = self.low + right.low, self.high + right.high
        left_term, right_term, _ = self._common(right, low, high)
        return self._fit(left_term + right_term, low, high)

    def __radd__(self, other: int) -> Number:
        return Number.of(other) + self

    def __sub__(self, other: Any) -> Number:
        right = Number.of(other)
        low, high = self.low - right.high, self.high - right.low
        left_term, right_term, _ = self._common(right, low, high)
        return self._fit(left_term - right_term, low, high)

    def __rsub__(self, other: int) -> Number:
        return Number.of(other) - self

    def __neg__(self) -> Number:
        return Number.of(0) - self

    def __invert__(self) -> Number:
        return Number.of(-1) - self

    def __mul__(self, other: Any) -> Number:
        right = Number.of(other)
        ends = [left * right_end for left in (self.low, self.high) for right_end in (right.low, right.high)]
        low, high = min(ends), max(ends)
        if self.low >= 0 and right.low >= 0:
            # The sum of both widths, as machines multiply: so both sides of a comparison hold the same term.
            width = self.term.size() + right.term.size()
            return self._fit(self.at_width(width) * right.at_width(width), low, high)
        left_term, right_term, _ = self._common(right, low, high)
        return self._fit(left_term * right_term, low, high)

    def __rmul__(self, other: int) -> Number:
        return Number.of(other) * self

    def _divisor(self, other: Any) -> int:
        divisor = Number.of(other)._constant()
        if divisor is None:
            divisor = int(other)
        if divisor <= 0:
            raise NotImplementedError("division by a number that is not above 0")
        return divisor

    def _natural(self) -> Number:
        """The same number where the path knows that it is not negative."""
        if self.low >= 0:
            return self
        if self < 0:
            raise NotImplementedError("a negative number divided, or its bit_length")
        return self._fit(self.term, 0, self.high)

    def __floordiv__(self, other: Any) -> Number:
        divisor = self._divisor(other)
        if divisor & (divisor - 1) == 0:
            return self >> (divisor.bit_length() - 1)
        natural = self._natural()
        left, right, _ = natural._common(divisor, 0, divisor)
        return self._fit(z3.UDiv(left, right), natural.low // divisor, natural.high // divisor)

    def __rfloordiv__(self, other: int) -> Number:
        return Number.of(other) // self

    def __mod__(self, other: Any) -> Number:
        divisor = self._divisor(other)
        if divisor & (divisor - 1) == 0:
            return self & (divisor - 1)
        natural = self._natural()
        left, right, _ = natural._common(divisor, 0, divisor)
        return self._fit(z3.URem(left, right), 0, min(natural.high, divisor - 1))

    def __rpow__(self, other: int) -> Number:
        if other != 2:
            raise NotImplementedError("powers of anything but 2")
        return Number.of(1) << self

    # ---- bits

    def __lshift__(self, other: Any) -> Number:
        by = Number.of(other)._natural()
        if (places := by._constant()) is not None:
            return self * (1 << places)
        low, high = min(self.low, self.low << by.high), max(self.high << by.high, 0)
        left_term, by_term, _ = self._common(by, low, high)
        return self._fit(left_term << by_term, low, high)

    def __rlshift__(self, other: int) -> Number:
        return Number.of(other) << self

    def __rshift__(self, other: Any) -> Number:
        by = Number.of(other)._natural()
        low, high = min(self.low >> by.low, self.low >> by.high), max(self.high >> by.low, self.high >> by.high)
        left_term, by_term, width = self._common(by, self.low, self.high)
        if self.low < 0:
            return self._fit(left_term >> by_term, low, high)
        if (places := by._constant()) is not None and places >= width:
            return Number.of(0)
        return self._fit(z3.LShR(left_term, by_term), low, high)

    def __rrshift__(self, other: int) -> Number:
        return Number.of(other) >> self

    def _bitwise(self, other: Any, what: Callable[[Any, Any], Any], low: int, high: int) -> Number:
        left_term, right_term, _ = self._common(other, low, high)
        return self._fit(what(left_term, right_term), low, high)

    def __and__(self, other: Any) -> Number:
        right = Number.of(other)
        if self.low >= 0 or right.low >= 0:
            bounds = [one.high for one in (self, right) if one.low >= 0]
            return self._bitwise(right, lambda a, b: a & b, 0, min(bounds))
        low = -(1 << (width_of(min(self.low, right.low), 0) - 1))
        return self._bitwise(right, lambda a, b: a & b, low, max(self.high, right.high, 0))

    def _upper(self, right: Number) -> int:
        return (1 << max(self.high.bit_length(), right.high.bit_length())) - 1

    def __or__(self, other: Any) -> Number:
        right = Number.of(other)
        if self.low < 0 or right.low < 0:
            raise NotImplementedError("or of negative numbers")
        return self._bitwise(right, lambda a, b: a | b, max(self.low, right.low), self._upper(right))

    def __xor__(self, other: Any) -> Number:
        right = Number.of(other)
        if self.low < 0 or right.low < 0:
            raise NotImplementedError("exclusive or of negative numbers")
        return self._bitwise(right, lambda a, b: a ^ b, 0, self._upper(right))

    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__

    def bit_length(self) -> int:
        """Concrete: one path for each length that is possible."""
        natural = self._natural()
        least, most = natural.low.bit_length(), natural.high.bit_length()
        while least < most:
            middle = (least + most) // 2
            if natural < (1 << middle):
                most = middle
            else:
                least = middle + 1
        return most

    def within(self, low: int, high: int) -> Number | None:
        """The same number with narrower bounds on the path on which it has them; None on the others."""
        if low > self.low and self < low:
            return None
        if high < self.high and self > high:
            return None
        return self._fit(self.term, max(low, self.low), min(high, self.high))

    # ---- comparing

    def _compare(self, other: Any, signed: Callable[[Any, Any], Any], unsigned: Callable[[Any, Any], Any]) -> Truth:
        right = Number.of(other)
        left_term, right_term, _ = self._common(right, 0, 0)
        what = unsigned if self.low >= 0 and right.low >= 0 else signed
        return Truth(what(left_term, right_term))

    def __lt__(self, other: Any) -> Truth:
        return self._compare(other, lambda a, b: a < b, z3.ULT)

    def __le__(self, other: Any) -> Truth:
        return self._compare(other, lambda a, b: a <= b, z3.ULE)

    def __gt__(self, other: Any) -> Truth:
        return self._compare(other, lambda a, b: a > b, z3.UGT)

    def __ge__(self, other: Any) -> Truth:
        return self._compare(other, lambda a, b: a >= b, z3.UGE)

    def __eq__(self, other: object) -> Any:
        if other is None:
            return False
        return self._compare(other, lambda a, b: a == b, lambda a, b: a == b)

    def __ne__(self, other: object) -> Any:
        if other is None:
            return True
        return self._compare(other, lambda a, b: a != b, lambda a, b: a != b)

    def __bool__(self) -> bool:
        return bool(self != 0)

    def __index__(self) -> int:
        """Concrete: one path for each value that is possible."""
        least, most = self.low, self.high
        while least < most:
            middle = (least + most) // 2
            if self <= middle:
                most = middle
            else:
                least = middle + 1
        return most

    __int__ = __index__

    def __hash__(self) -> int:
        return hash(self.__index__())


def symbol(name: str, bits: int, low: int = 0, high: int | None = None) -> tuple[Number, list[z3.BoolRef]]:
    """A number that may be anything from ``low`` to ``high`` (all of its bits when not given), and what says so."""
    top = (1 << bits) - 1 if high is None else high
    term = z3.BitVec(name, width_of(low, top))
    if low < 0:
        return Number(term, low, top), [term >= low, term <= top]
    said = [] if low == 0 and top == (1 << term.size()) - 1 else [z3.UGE(term, low), z3.ULE(term, top)]
    return Number(term, low, top), said
