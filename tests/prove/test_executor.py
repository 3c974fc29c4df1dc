"""The executor of the compiler's IR: what it computes, and that nothing undefined passes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import z3
from zmm_fuzz.prove.access import Broken, State
from zmm_fuzz.prove.executor import Executor
from zmm_fuzz.prove.llvm import read_module
from zmm_fuzz.prove.memory import Unsupported

X, Y = z3.BitVec("x", 32), z3.BitVec("y", 32)


def run(text: str, *arguments: z3.BitVecRef, known: tuple[Any, ...] = ()) -> Iterator[tuple[Executor, State, Any]]:
    """Every end of the function `f` of an IR text."""
    executor = Executor(read_module(text), assumptions=known)
    for state, value in executor.run("f", arguments):
        yield executor, state, value


def body(lines: str, result: str = "i32") -> str:
    return f"define {result} @f(i32 %x, i32 %y) {{\n{lines}\n}}\n"


def holds(text: str, expected: Any, *, known: tuple[Any, ...] = ()) -> None:
    """The function's result is a term, on every path."""
    count = 0
    for executor, _, value in run(text, X, Y, known=known):
        executor.check(value == expected, "another result")
        count += 1
    assert count > 0


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("%r = add i32 %x, %y\nret i32 %r", X + Y),
        ("%r = lshr i32 %x, 7\nret i32 %r", z3.LShR(X, 7)),
        ("%c = icmp slt i32 %x, %y\n%r = select i1 %c, i32 %x, i32 %y\nret i32 %r", z3.If(X < Y, X, Y)),
        ("%a = zext i32 %x to i64\n%b = mul i64 %a, %a\n%r = trunc i64 %b to i32\nret i32 %r", X * X),
        # Poison that is thrown away does no harm.
        ("%p = shl i32 %x, 32\n%r = select i1 true, i32 %y, i32 %p\nret i32 %r", Y),
    ],
)
def test_results(lines: str, expected: Any) -> None:
    """Arithmetic, comparisons, casts, selection."""
    holds(body(lines), expected)


BRANCHES = """
%c = icmp ult i32 %x, 10
br i1 %c, label %small, label %great
small:
br label %end
great:
%d = add i32 %x, 1
br label %end
end:
%r = phi i32 [ 0, %small ], [ %d, %great ]
ret i32 %r
"""


def test_both_branches_are_walked() -> None:
    """A value that depends on the way it came."""
    holds(body(BRANCHES), z3.If(z3.ULT(X, 10), z3.BitVecVal(0, 32), X + 1))


@pytest.mark.parametrize(
    "lines",
    [
        "%r = add nsw i32 %x, %y\nret i32 %r",
        "%r = add nuw i32 %x, %y\nret i32 %r",
        "%r = sub nuw i32 %x, %y\nret i32 %r",
        "%r = mul nuw i32 %x, %y\nret i32 %r",
        "%r = shl i32 %x, %y\nret i32 %r",
        "%r = shl nuw i32 %x, 3\nret i32 %r",
        "%r = lshr exact i32 %x, 2\nret i32 %r",
        "%r = or disjoint i32 %x, %y\nret i32 %r",
        "%r = udiv i32 %x, %y\nret i32 %r",
        "%z = zext nneg i32 %x to i64\n%r = trunc i64 %z to i32\nret i32 %r",
        "%r = trunc nuw i32 %x to i8\n%s = zext i8 %r to i32\nret i32 %s",
        "%p = shl i32 1, %y\n%c = icmp eq i32 %p, 0\nbr i1 %c, label %a, label %b\na:\nret i32 0\nb:\nret i32 1",
        "%s = alloca i32\n%r = load i32, ptr %s\nret i32 %r",
        "%c = icmp ult i32 %x, 5\nbr i1 %c, label %a, label %b\na:\nunreachable\nb:\nret i32 1",
        "%a = alloca [4 x i32]\n%i = zext i32 %x to i64\n%p = getelementptr [4 x i32], ptr %a, i64 0, i64 %i\n"
        "store i32 1, ptr %p\nret i32 0",
    ],
)
def test_what_may_be_undefined_is_no_result(lines: str) -> None:
    """Overflow, a shift too wide, division by 0, memory never written, a place outside: never a quiet answer."""
    with pytest.raises((Broken, Unsupported)):
        list(run(body(lines), X, Y))


def test_the_same_is_fine_where_it_cannot_happen() -> None:
    """The flag's condition is decided on the path, not assumed."""
    holds(body("%r = add nuw i32 %x, %y\nret i32 %r"), X + Y, known=(z3.ULT(X, 10), z3.ULT(Y, 10)))


@pytest.mark.parametrize(
    "lines",
    ["%f = sitofp i32 %x to double\nret i32 0", "%v = call i32 @elsewhere(i32 %x)\nret i32 %v"],
)
def test_what_is_not_known_is_said(lines: str) -> None:
    """An instruction or a function that the executor does not model ends the proof without a verdict."""
    with pytest.raises(Unsupported):
        holds(body(lines) + "declare i32 @elsewhere(i32)\n", z3.BitVecVal(0, 32))


def test_a_write_is_read_back() -> None:
    """In whole and in parts, little-endian."""
    lines = (
        "%s = alloca i32\nstore i32 %x, ptr %s\n%p = getelementptr i8, ptr %s, i64 1\n%b = load i8, ptr %p\n"
        "%r = zext i8 %b to i32\nret i32 %r"
    )
    holds(body(lines), z3.ZeroExt(24, z3.Extract(15, 8, X)))


TABLE = """
%record = type { [2 x i32], [3 x i32] }
@table = constant %record { [2 x i32] zeroinitializer, [3 x i32] [i32 5, i32 7, i32 9] }
define i32 @f(i32 %x, i32 %y) {
%i = zext i32 %x to i64
%p = getelementptr inbounds [3 x i32], ptr getelementptr inbounds (%record, ptr @table, i64 0, i32 1), i64 0, i64 %i
%r = load i32, ptr %p, align 4
ret i32 %r
}
"""


def test_a_table_in_a_record_is_read() -> None:
    """What lies before it in the record is none of its entries."""
    expected = z3.If(X == 0, z3.BitVecVal(5, 32), z3.If(X == 1, z3.BitVecVal(7, 32), z3.BitVecVal(9, 32)))
    holds(TABLE, expected, known=(z3.ULT(X, 3),))
