"""The free map and the runs in it: the core's IR against the model's chunk, for all maps or for a window of them.

The model keeps its map as one number; the table of masks that it reads (`MASKS`) is replaced by its formula, which
:mod:`.claims_finite` holds against the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import z3

from .bits import Number, Truth, symbol
from .executor import Executor, State
from .memory import Object
from .operations import population
from .subject import Subject, agrees, end_of, ends, number

PAGES = 512
# Maps are open in their first words, so that runs cross a border of words; the pages behind are used.
OPEN_WORDS = 2
OPEN_PAGES = 64 * OPEN_WORDS
# The same for what takes longer.
WINDOW_FIRST, WINDOW_PAGES = 52, 24
# Runs of the fast level are looked at: from level release on the same functions check the maps first.
FAST = 0


class Masks:
    """`MASKS` as a formula: the n lowest bits."""

    def __getitem__(self, count: Any) -> Any:
        return (1 << Number.of(count)) - 1


class Forgetful(dict[Any, Any]):
    """The model's dictionary of runs where only the map and the counters matter."""

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def __delitem__(self, key: Any) -> None:
        pass


def model_chunk(subject: Subject, used: Any, free_pages: Any, free_tail: Any) -> Any:
    """A chunk of the model's in any state."""
    pages = subject.part("pages")
    pages.MASKS = Masks()
    chunk = pages.Chunk(0, 0)
    chunk.used, chunk.free_pages, chunk.free_tail = used, free_pages, free_tail
    chunk.runs = Forgetful()
    return chunk


def window_words() -> list[z3.BitVecRef]:
    """A map of which some pages across a border of words are open, and all else is used."""
    opened = z3.BitVec("window", WINDOW_PAGES)
    fixed = ((1 << PAGES) - 1) & ~(((1 << WINDOW_PAGES) - 1) << WINDOW_FIRST)
    whole = z3.BitVecVal(fixed, PAGES) | (z3.ZeroExt(PAGES - WINDOW_PAGES, opened) << WINDOW_FIRST)
    return [z3.simplify(z3.Extract(64 * index + 63, 64 * index, whole)) for index in range(8)]


def whole_map(words: Sequence[z3.BitVecRef]) -> Number:
    """Eight words of the core's as the model's one number."""
    return Number(z3.simplify(z3.Concat(*reversed(list(words)))), 0, (1 << PAGES) - 1)


def chunk_of(subject: Subject, executor: Executor, words: Sequence[z3.BitVecRef], **fields: Number) -> Object:
    """A chunk's record with a map and counters."""
    chunk = executor.add_object("chunk", subject.constant("bytes_of_chunk", FAST))
    at = subject.constant("place_chunk_free_map", FAST)
    for index, word in enumerate(words):
        chunk.put(at + 8 * index, word)
    for name, value in fields.items():
        chunk.put(subject.constant(f"place_chunk_{name}", FAST), value.at_width(32))
    return chunk


def words_after(subject: Subject, state: State, name: str = "chunk") -> list[z3.BitVecRef]:
    """The map at a path's end."""
    at = subject.constant("place_chunk_free_map", FAST) if name == "chunk" else 0
    return [state.objects[name].get(at + 8 * index, 8) for index in range(8)]


def field(subject: Subject, state: State, name: str) -> Number:
    """A counter of the chunk's at a path's end."""
    return number(state.objects["chunk"].get(subject.constant(f"place_chunk_{name}", FAST), 4))


def any_words(opened: int = 8) -> list[z3.BitVecRef]:
    """Any map at all, or one of which only the first words are open and all else is used."""
    full = z3.BitVecVal(2**64 - 1, 64)
    return [z3.BitVec(f"map[{index}]", 64) if index < opened else full for index in range(8)]


# ---- the map's own operations ---------------------------------------------------------------------------


def mask(subject: Subject) -> int:
    """All pairs of 0 <= from < to <= 64."""
    low, known = symbol("from", 32, 0, 63)
    high, more = symbol("to", 32, 1, 64)
    executor = subject.executor([*known, *more, (low < high).term], level=FAST)
    masks = Masks()
    return sum(
        agrees(executor, lambda found=found: found == masks[high] - masks[low], "other bits")
        for _, found in end_of(executor, "face_mask", [low, high])
    )


def assign(subject: Subject) -> int:
    """Any map, any run of pages in it, either value."""
    count = 0
    for value in (0, 1):
        words = any_words(OPEN_WORDS)
        first, known = symbol("first", 32, 0, OPEN_PAGES)
        length, more = symbol("count", 32, 0, OPEN_PAGES)
        executor = subject.executor([*known, *more, (first + length <= OPEN_PAGES).term], level=FAST)
        made = executor.add_object("map", 64)
        for index, word in enumerate(words):
            made.put(8 * index, word)
        before, masks = whole_map(words), Masks()
        arguments = [made.base, first, length, z3.BitVecVal(value, 1)]
        for state, _ in ends(executor, "face_assign", arguments):
            after = whole_map(words_after(subject, state, "map"))

            def expected(after: Number = after, value: int = value) -> Any:
                run = masks[length] << first
                return after == (before | run if value else (before | run) - run)

            count += agrees(executor, expected, "other bits are changed")
    return count


def following(subject: Subject) -> int:
    """The next used or free page of a map with open first words, from any page: the lowest bit of what is left."""
    count = 0
    for value in (0, 1):
        words = any_words(OPEN_WORDS)
        start, known = symbol("from", 32)
        executor = subject.executor(known, level=FAST)
        made = executor.add_object("map", 64)
        for index, word in enumerate(words):
            made.put(8 * index, word)
        used = whole_map(words)
        for _, found in end_of(executor, "face_next", [made.base, start, z3.BitVecVal(value, 1)]):

            def expected(found: Number = found, value: int = value) -> Any:
                """Stated by its definition: the bit found has the value, and no bit from the start up to it has."""
                wanted = used if value else (1 << PAGES) - 1 - used
                inside = start.within(0, PAGES - 1)
                if inside is None:
                    return found == PAGES
                rest = wanted >> inside
                if bool(found == PAGES):
                    return rest == 0
                steps = (found - inside).within(0, PAGES - 1)
                return False if steps is None else (rest & ((2 << steps) - 1)) == (1 << steps)

            count += agrees(executor, expected, "another page")
    return count


def population_count(subject: Subject) -> int:
    """The core adds up words, the definition adds up bits: one word is free, the others are as they are."""
    count = 0
    for place in range(8):
        words = [z3.BitVecVal(0 if place % 2 else 2**64 - 1, 64) for _ in range(8)]
        words[place] = z3.BitVec("map", 64)
        executor = subject.executor(level=FAST)
        made = executor.add_object("map", 64)
        for index, word in enumerate(words):
            made.put(8 * index, word)
        others = sum(word.as_long().bit_count() for index, word in enumerate(words) if index != place)
        for _, found in end_of(executor, "face_count", [made.base]):
            bits = number(population(words[place]))
            count += agrees(executor, lambda found=found, bits=bits: found == bits + others, "another count")
    return count


# ---- runs -----------------------------------------------------------------------------------------------


def _run(name: str, first: int = 1, end: int = OPEN_PAGES) -> tuple[Number, Number, list[z3.BoolRef]]:
    """A run anywhere between two pages: first page, pages."""
    page, known = symbol(f"{name} page", 32, first, end - 1)
    pages, more = symbol(f"{name} pages", 32, 1, end - first)
    return page, pages, [*known, *more, (page + pages <= end).term]


def _counters() -> tuple[Number, Number, list[z3.BoolRef]]:
    free, known = symbol("free_pages", 32, 0, PAGES - 1)
    tail, more = symbol("free_tail", 32, 1, PAGES)
    return free, tail, [*known, *more]


def _same(subject: Subject, state: State, model: Any) -> Any:
    """The three things that the core keeps of a chunk's pages are the model's."""
    is_map = whole_map(words_after(subject, state)) == model.used
    is_free = field(subject, state, "free_pages") == model.free_pages
    is_tail = field(subject, state, "free_tail") == model.free_tail
    terms = [one.term for one in (is_map, is_free, is_tail) if isinstance(one, Truth)]
    return z3.And(*terms)


def take(subject: Subject) -> int:
    """Any map, any free run of it."""
    words = any_words(OPEN_WORDS)
    used = whole_map(words)
    page, pages, known = _run("taken")
    free, tail, more = _counters()
    is_free = (used & (((1 << pages) - 1) << page)) == 0
    executor = subject.executor([*known, *more, is_free.term, (pages <= free).term], level=FAST)
    chunk = chunk_of(subject, executor, words, free_pages=free, free_tail=tail)
    count = 0
    for state, _ in ends(executor, "face_take", [chunk.base, page, pages]):

        def expected(state: State = state) -> Any:
            model = model_chunk(subject, used, free, tail)
            model.take(page, pages, 0)
            return _same(subject, state, model)

        count += agrees(executor, expected, "map, free_pages or free_tail differs")
    return count


def give_back(subject: Subject) -> int:
    """Any map, any used run of it."""
    words = any_words(OPEN_WORDS)
    used = whole_map(words)
    page, pages, known = _run("given back")
    free, tail, more = _counters()
    run = ((1 << pages) - 1) << page
    executor = subject.executor([*known, *more, ((used & run) == run).term, (pages + free < PAGES).term], level=FAST)
    chunk = chunk_of(subject, executor, words, free_pages=free, free_tail=tail)
    count = 0
    for state, _ in ends(executor, "face_give_back", [chunk.base, page, pages]):

        def expected(state: State = state) -> Any:
            model = model_chunk(subject, used, free, tail)
            model.give_back(page, pages)
            return _same(subject, state, model)

        count += agrees(executor, expected, "map, free_pages or free_tail differs")
    return count


def extend(subject: Subject) -> int:
    """Any map, any run, any greater length: grown where the pages behind are free, else all as it was."""
    words = window_words()
    used = whole_map(words)
    page, pages, known = _run("grown", WINDOW_FIRST, WINDOW_FIRST + WINDOW_PAGES)
    wanted, also = symbol("new pages", 32, 2, WINDOW_PAGES + 4)
    free, tail, more = _counters()
    executor = subject.executor([*known, *more, *also, (pages < wanted).term], level=FAST)
    chunk = chunk_of(subject, executor, words, free_pages=free, free_tail=tail)
    count = 0
    for state, result in ends(executor, "face_extend", [chunk.base, page, pages, wanted]):
        assert result is not None
        executor.solver.push()
        # The model's counter is exact: what is behind the run was counted as free.
        executor.solver.add(z3.Implies(result == 1, (wanted - pages <= free).term))

        def expected(state: State = state, grown: z3.BitVecRef = result) -> Any:
            model = model_chunk(subject, used, free, tail)
            has_grown = model.grow(page, pages, wanted)
            return z3.And(number(grown).term == int(has_grown), _same(subject, state, model))

        count += agrees(executor, expected, "grown where the model is not, or the map or a counter differs")
        executor.solver.pop()
    return count


def truncate(subject: Subject) -> int:
    """Any map, any used run, any smaller length."""
    words = window_words()
    used = whole_map(words)
    page, pages, known = _run("cut", WINDOW_FIRST, WINDOW_FIRST + WINDOW_PAGES)
    wanted, also = symbol("new pages", 32, 1, WINDOW_PAGES - 1)
    free, tail, more = _counters()
    run = ((1 << pages) - 1) << page
    facts = [*known, *more, *also, (wanted < pages).term, ((used & run) == run).term, (pages + free < PAGES).term]
    executor = subject.executor(facts, level=FAST)
    chunk = chunk_of(subject, executor, words, free_pages=free, free_tail=tail)
    count = 0
    for state, _ in ends(executor, "face_truncate", [chunk.base, page, pages, wanted]):

        def expected(state: State = state) -> Any:
            model = model_chunk(subject, used, free, tail)
            model.shrink(page, pages, wanted)
            return _same(subject, state, model)

        count += agrees(executor, expected, "map or free_pages differs")
    return count


# ---- the search -----------------------------------------------------------------------------------------

# Where the open pages lie (first page, pages): at the front, across a border of words, at the end; what is around them.
WINDOWS = ((1, 7, "used"), (60, 7, "used"), (60, 6, "free tail"), (505, 7, "used"))


def _window(first: int, pages: int, around: str) -> tuple[Number, list[z3.BitVecRef]]:
    """A map in which some pages are open, the others used (or, behind the window's next page, free)."""
    opened = z3.BitVec("window", pages)
    fixed = (1 << PAGES) - 1 if around == "used" else (1 << (first + pages + 1)) - 1
    fixed &= ~(((1 << pages) - 1) << first)
    shifted = z3.ZeroExt(PAGES - pages, opened) << first
    whole = z3.simplify(z3.BitVecVal(fixed, PAGES) | shifted)
    words = [z3.simplify(z3.Extract(64 * index + 63, 64 * index, whole)) for index in range(8)]
    return Number(whole, fixed, (1 << PAGES) - 1), words


def find(subject: Subject, windows: Sequence[tuple[int, int, str]] = WINDOWS) -> int:
    """Every map of a window, every number of pages: the same page is found, and free_tail is left the same."""
    count = 0
    for first, pages, around in windows:
        used, words = _window(first, pages, around)
        wanted, known = symbol("pages", 32, 1, PAGES - 1)
        tail, more = symbol("free_tail", 32, 1, PAGES)
        executor = subject.executor([*known, *more], level=FAST)
        free = number(z3.simplify(population(z3.ZeroExt(8, z3.Extract(pages - 1, 0, z3.BitVec("window", pages))))))
        free = pages + (PAGES - used.low.bit_length()) - free
        free = Number(free.term, 0, pages + PAGES - used.low.bit_length())
        chunk = chunk_of(subject, executor, words, free_pages=free, free_tail=tail)
        for state, found in ends(executor, "face_find", [chunk.base, wanted]):
            assert found is not None

            def expected(state: State = state, found: Any = found, used: Number = used, free: Any = free) -> Any:
                model = model_chunk(subject, used, free, tail)
                page = model.find(wanted)
                is_tail = field(subject, state, "free_tail") == model.free_tail
                return z3.And((number(found) == page).term, is_tail.term)

            count += agrees(executor, expected, "another page, or another free_tail")
    return count
