"""Mask forms against the model's arithmetic, and the model's own chunk against plain statements: z3, no compiler."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import z3

from .bits import Number, symbol
from .claims_runs import Masks, model_chunk
from .executor import Broken, Undecided
from .operations import population
from .paths import explore
from .subject import Subject, number, truth

WORD = 64
MODULO = 2**64


def _holds(statement: Callable[[], Any], known: list[z3.BoolRef], what: str) -> int:
    """
    A statement over symbolic numbers, on each of its paths.

    Raises:
        Broken: it does not hold for some numbers.
        Undecided: nobody knows.
    """
    count = 0
    for path in explore(statement, known):
        solver = z3.SolverFor("QF_BV")
        solver.add(*known, *path.conditions, z3.Not(truth(path.result)))
        answer = solver.check()
        if answer == z3.sat:
            raise Broken(what, solver.model())
        if answer == z3.unknown:
            raise Undecided(f"{what}: {solver.reason_unknown()}")
        count += 1
    return count


def form(subject: Subject, text: str, expected: Callable[[Subject, Number, Number], Any]) -> int:
    """
    A mask form, written as in C, for all x of 64 bits (and all powers of two a from 4096 to 2**32).

    Args:
        subject: with the change.
        text: the form; a planted change may replace it (the change's file is "form").
        expected: what the model says it is, modulo 2**64.
    """
    if subject.change is not None and subject.change.file == "form":
        text = subject.change.apply(text)
    x, _ = symbol("x", WORD)
    shift, known = symbol("shift", 6, 12, 32)
    a = Number(z3.BitVecVal(1, WORD) << shift.at_width(WORD), 1 << 12, 1 << 32)
    found = eval(compile(text, "form", "eval"), {"x": x.term, "a": a.term, "LShR": z3.LShR})
    return _holds(lambda: found == Number.of(expected(subject, x, a)).at_width(WORD), known, "the forms differ")


def round_to_page(subject: Subject) -> int:
    return form(subject, "(x + 4096 - 1) & ~(4096 - 1)", lambda s, x, _: s.part("sizes").round_up(x, 4096))


def round_to_chunk(subject: Subject) -> int:
    return form(subject, "(x + 2097152 - 1) & ~(2097152 - 1)", lambda s, x, _: s.part("sizes").round_up(x, 2097152))


def pages_by_shift(subject: Subject) -> int:
    """The shift loses the carry: equal for every size whose rounding does not overflow."""
    x, _ = symbol("x", WORD)
    sizes = subject.part("sizes")
    text = "LShR(x + 4095, 12)"
    if subject.change is not None and subject.change.file == "form":
        text = subject.change.apply(text)
    found = number(eval(compile(text, "form", "eval"), {"x": x.term, "LShR": z3.LShR}))
    return _holds(lambda: True if sizes.huge_overflows(x) else found == sizes.pages_for(x), [], "the forms differ")


def align_down(subject: Subject) -> int:
    """For every power of two from 4096 to 2**32: the mask form is the multiple below."""
    return form(subject, "x & ~(a - 1)", lambda _s, x, a: x // a * a)


def distance_to_aligned(subject: Subject) -> int:
    """For every power of two: what has to be cut off before an aligned place, as kernel.c computes it."""
    return form(subject, "(a - (x & (a - 1))) & (a - 1)", lambda _s, x, a: -x % a)


def seal_and_open(subject: Subject) -> int:
    """Multiplying by the factor and then by its inverse changes no number: sealing is one to one."""
    return form(subject, "x * 0x9E3779B97F4A7C15 * 0xF1DE83E19937733D", lambda _s, x, _a: x)


def over_limit(subject: Subject) -> int:
    """The unsigned difference: while no more than the limit is in use, exactly what passes the limit is refused."""
    limit, real, more = (symbol(name, WORD)[0] for name in ("limit", "real_size", "more"))
    state = SimpleNamespace(limit=limit, real_size=real)
    refuses = subject.part("state").HeapState.over_limit

    def statement() -> Any:
        return bool(refuses(state, more)) == bool(real + more > limit) if real <= limit else True

    return _holds(statement, [], "refused below the limit, or allowed above it")


# ---- the model's chunk: states are open, as the constructor's arguments ---------------------------------

PAGES = 512


def _window(first: int, pages: int) -> tuple[Number, Number]:
    """A map whose window is open and whose other pages are used, and its free pages."""
    opened = z3.BitVec("window", pages)
    fixed = ((1 << PAGES) - 1) & ~(((1 << pages) - 1) << first)
    whole = z3.simplify(z3.BitVecVal(fixed, PAGES) | (z3.ZeroExt(PAGES - pages, opened) << first))
    free = z3.simplify(pages - population(z3.ZeroExt(8, opened)))
    return Number(whole, fixed, (1 << PAGES) - 1), Number(free, 0, pages)


def best_fit(subject: Subject) -> int:
    """
    The model's search, bit tricks and all, against the rule in words: among the gaps that are long enough the shortest
    wins, the lowest of equals; no gap, no page.
    """
    first, pages = 61, 5
    used, free = _window(first, pages)
    wanted, known = symbol("pages", 10, 1, PAGES - 1)

    def statement() -> Any:
        chunk = model_chunk(subject, used, free, Number.of(1))
        found = chunk.find(wanted)
        best = Number.of(0)
        best_pages = Number.of(PAGES)
        start = first
        while start < first + pages:
            if bool((used >> start) & 1):
                start += 1
                continue
            end = start
            while end < first + pages and not bool((used >> end) & 1):
                end += 1
            if bool(wanted <= end - start) and bool(best_pages > end - start):
                best, best_pages = Number.of(start), Number.of(end - start)
            start = end
        return found == best

    return _holds(statement, known, "not the best gap")


def chunk_keeps_count(subject: Subject) -> int:
    """Taking, shrinking, growing and giving back keep `free_pages` the number of free pages; from any such state."""
    pages = 24
    opened = z3.BitVec("window", pages)
    fixed = ((1 << PAGES) - 1) & ~(((1 << pages) - 1) << 52)
    whole = Number(
        z3.simplify(z3.BitVecVal(fixed, PAGES) | (z3.ZeroExt(PAGES - pages, opened) << 52)), fixed, (1 << PAGES) - 1
    )

    def free_of(used: Any) -> Number:
        part = z3.Extract(52 + pages - 1, 52, Number.of(used).at_width(PAGES))
        return Number(z3.simplify(pages - population(z3.ZeroExt(8, part))), 0, pages)

    page, known = symbol("page", 10, 52, 52 + pages - 1)
    length, more = symbol("length", 10, 1, pages)
    wanted, also = symbol("wanted", 10, 1, pages)
    known = [*known, *more, *also, (page + length <= 52 + pages).term, (page + wanted <= 52 + pages).term]
    masks = Masks()
    run = masks[length] << page

    def kept(chunk: Any) -> Any:
        return chunk.free_pages == free_of(chunk.used)

    def taking() -> Any:
        if bool((whole & run) != 0):
            return True
        chunk = model_chunk(subject, whole, free_of(whole), Number.of(1))
        chunk.take(page, length, 0)
        return kept(chunk)

    def changing(what: str) -> Any:
        if bool((whole & run) != run):
            return True
        chunk = model_chunk(subject, whole, free_of(whole), Number.of(1))
        if what == "give_back":
            chunk.give_back(page, length)
        elif what == "shrink" and bool(wanted < length):
            chunk.shrink(page, length, wanted)
        elif what == "grow" and bool(wanted > length):
            chunk.grow(page, length, wanted)
        return kept(chunk)

    count = _holds(taking, known, "take: another count")
    for what in ("give_back", "shrink", "grow"):
        count += _holds(partial(changing, what), known, f"{what}: another count")
    return count


def limit_is_stored(subject: Subject) -> int:
    """After a limit was accepted no more than it is in use (edition zmm, nothing in the cache)."""
    real, asked, before = (symbol(name, WORD)[0] for name in ("real_size", "limit", "old limit"))
    set_limit = subject.part("request").set_limit

    def statement() -> Any:
        state = SimpleNamespace(real_size=real, limit=before, cached=[], is_php=False)
        accepted = set_limit(state, asked)
        if accepted:
            return bool(state.limit == asked) and real <= state.limit
        return bool(state.limit == before) and asked < real

    return _holds(statement, [], "a limit below what is in use is accepted, or one above it is not")
