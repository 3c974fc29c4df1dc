"""Sizes, counters and the limit: the core's IR against the model's functions, for all inputs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from .bits import Number, symbol
from .executor import Executor
from .memory import Object
from .subject import Subject, agrees, end_of, ends, number

WORD = 64


def anything(name: str) -> Number:
    """A number of 64 bits that nothing is known of."""
    return symbol(name, WORD)[0]


def heap_of(subject: Subject, executor: Executor, **fields: Number) -> Object:
    """A heap's record; every field that is not named may hold anything."""
    heap = executor.add_object("heap", subject.constant("bytes_of_heap"))
    for name, value in fields.items():
        heap.put(subject.constant(f"place_heap_{name}"), value.at_width(WORD))
    return heap


def field(subject: Subject, state: Any, name: str) -> Number:
    """A field of the heap's record at a path's end."""
    return number(state.objects["heap"].get(subject.constant(f"place_heap_{name}"), WORD // 8))


def bin_of_size(subject: Subject) -> int:
    size, known = symbol("size", WORD, 0, subject.part("sizes").SMALL_BYTES_MAX)
    executor = subject.executor(known)
    return sum(
        agrees(executor, lambda result=result: subject.part("sizes").bin_of(size) == result, "another bin")
        for _, result in end_of(executor, "face_bin_of_size", [size])
    )


def small_bytes(subject: Subject) -> int:
    size, known = symbol("size", WORD, 0, subject.part("sizes").SMALL_BYTES_MAX)
    executor = subject.executor(known)
    return sum(
        agrees(executor, lambda result=result: subject.part("sizes").block_bytes(size) == result, "another size")
        for _, result in end_of(executor, "face_small_bytes", [size])
    )


def bin_tables(subject: Subject) -> int:
    sizes = subject.part("sizes")
    count = 0
    for face, function in (
        ("face_bin_bytes", sizes.bin_bytes),
        ("face_bin_pages", sizes.bin_pages),
        ("face_bin_elements", sizes.bin_elements),
    ):
        index, known = symbol("bin", 32, 0, sizes.BIN_COUNT - 1)
        executor = subject.executor(known)
        for _, result in end_of(executor, face, [index]):
            count += agrees(executor, lambda result=result, function=function: function(index) == result, face)
    return count


def huge_round(subject: Subject) -> int:
    size = anything("size")
    sizes = subject.part("sizes")
    executor = subject.executor()
    count = 0
    for _, result in end_of(executor, "face_huge_round", [size]):

        def expected(result: Number = result) -> Any:
            if sizes.huge_overflows(size):
                return result < size
            return result == sizes.round_up(size, sizes.PAGE_BYTES)

        count += agrees(executor, expected, "rounded wrong, or an overflow unseen")
    return count


def choice(subject: Subject) -> int:
    """Who is asked for a block beyond the bins, for how much; or that it is refused."""
    sizes = subject.part("sizes")
    size, known = symbol("size", WORD, sizes.SMALL_BYTES_MAX + 1)
    executor = subject.executor(known, stops=("supply_run", "supply_may_map_huge", "refuse"))
    heap = heap_of(subject, executor)
    count = 0
    for state, _ in ends(executor, "face_beyond_small", [heap.base, size]):
        name, arguments = state.calls[-1]

        def expected(name: str = name, arguments: Any = arguments) -> Any:
            if not sizes.is_huge(size):
                return name == "supply_run" and number(arguments[1]) == sizes.pages_for(size)
            if sizes.huge_overflows(size):
                return name == "refuse"
            return name == "supply_may_map_huge" and number(arguments[1]) == sizes.round_up(size, sizes.PAGE_BYTES)

        count += agrees(executor, expected, f"{name} is called")
    return count


def product(subject: Subject) -> int:
    """All 2**192 arguments of the overflow check."""
    factors = [anything(name) for name in ("count", "size", "offset")]
    executor = subject.executor(stops=("refuse",))
    heap = heap_of(subject, executor)
    total = executor.add_object("total", 8, is_known=False)
    count = 0
    for state, result in ends(executor, "face_product", [heap.base, *factors, total.base]):

        def expected(state: Any = state, result: Any = result) -> Any:
            exact = subject.part("sizes").safe_size(*factors)
            if exact is None:
                return state.ended == "refuse"
            if state.ended:
                return False
            return number(result) == 1 and number(state.objects["total"].get(0, 8)) == exact

        count += agrees(executor, expected, "another product, or another refusal")
    return count


def keeps_slot(subject: Subject) -> int:
    sizes = subject.part("sizes")
    size = anything("size")
    index, known = symbol("bin", 32, 0, sizes.BIN_COUNT - 1)
    executor = subject.executor(known)
    heap = heap_of(subject, executor)
    count = 0
    for _, result in end_of(executor, "face_keeps_slot", [heap.base, index, size]):

        def expected(result: Number = result) -> Any:
            return result == int(bool(sizes.stays_in_bin(index, size)))

        count += agrees(executor, expected, "kept where the model moves, or the other way round")
    return count


def may_map(subject: Subject) -> int:
    """All 2**192 states of limit and real_size, and bytes that are asked for."""
    limit, real, more = anything("limit"), anything("real_size"), anything("more")
    twin = Number((~limit.term), 0, (1 << WORD) - 1)
    executor = subject.executor()
    heap = heap_of(subject, executor, limit=limit, limit_twin=twin, real_size=real)
    state = SimpleNamespace(limit=limit, real_size=real)
    over_limit = subject.part("state").HeapState.over_limit
    return sum(
        agrees(
            executor,
            lambda result=result: result == int(not over_limit(state, more)),
            "allowed where the model refuses, or the other way round",
        )
        for _, result in end_of(executor, "face_may_map", [heap.base, more])
    )


def limit_twin(subject: Subject) -> int:
    """A limit that was set is obeyed; one that somebody wrote over it is a panic."""
    limit, written, more = anything("limit"), anything("written"), anything("more")
    executor = subject.executor()
    heap = heap_of(subject, executor)
    count = 0
    for state, _ in ends(executor, "face_set_limit", [heap.base, limit]):
        second = subject.executor(executor.solver.assertions())
        other = heap_of(subject, second, limit=written, limit_twin=field(subject, state, "limit_twin"))
        for after, _ in ends(second, "face_may_map", [other.base, more]):
            second.check(
                (written.term == limit.term) if not after.ended else (written.term != limit.term),
                "a limit that was overwritten is obeyed" if not after.ended else "a limit that was set is a panic",
            )
            count += 1
    return count


def usage_add(subject: Subject) -> int:
    """The core keeps size as what lies between it and its peak."""
    below, peak, more = anything("below the peak"), anything("peak"), anything("more")
    size = peak - below
    count_in_model = subject.part("supply")._count
    known = [(below <= peak).term, (size + more <= subject.part("sizes").SIZE_MAX).term]
    executor = subject.executor(known)
    heap = heap_of(subject, executor, below_peak=below, peak=peak)
    count = 0
    for state, _ in ends(executor, "face_usage_add", [heap.base, more]):

        def expected(state: Any = state) -> Any:
            model = SimpleNamespace(size=size, peak=peak)
            count_in_model(model, more)
            peak_after = field(subject, state, "peak")
            return bool(peak_after - field(subject, state, "below_peak") == model.size) and peak_after == model.peak

        count += agrees(executor, expected, "size or peak differs")
    return count


def usage_map(subject: Subject) -> int:
    real, peak, more = anything("real_size"), anything("real_peak"), anything("more")
    acquired = subject.part("state").HeapState.acquired
    known = [(real + more <= subject.part("sizes").SIZE_MAX).term]
    executor = subject.executor(known)
    heap = heap_of(subject, executor, real_size=real, real_peak=peak)
    count = 0
    for state, _ in ends(executor, "face_usage_map", [heap.base, more]):

        def expected(state: Any = state) -> Any:
            model = SimpleNamespace(real_size=real, real_peak=peak)
            acquired(model, more)
            places = (field(subject, state, "real_size"), field(subject, state, "real_peak"))
            return bool(places[0] == model.real_size) and places[1] == model.real_peak

        count += agrees(executor, expected, "real_size or its peak differs")
    return count
