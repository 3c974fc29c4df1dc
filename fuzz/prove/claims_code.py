"""The shipped library's machine code against the model's functions; runs in the Python that has angr."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import zmm_model.request
import zmm_model.sizes
import zmm_model.state

from .bits import Number
from .machine_code import BLOCK_ADDRESS, HEAP_ADDRESS, Code, End, agrees, covers

# On symbolic numbers, of which their types know nothing.
request: Any = zmm_model.request
sizes: Any = zmm_model.sizes
state: Any = zmm_model.state

BEYOND = "heap_alloc_beyond_small"
# At the levels with trims an allocation is a call, which shows what reaches it; below it is part of the face.
WITH_TRIMS = "trim_alloc"
MODULO = 2**64


def choice(code: Code) -> int:
    """Who is asked for a block beyond the bins, for how much; or that it is refused."""
    term, size = code.symbol("size")
    stops = ("supply_run", "supply_may_map_huge", "refuse_overflow2")
    ends = code.run(BEYOND, [HEAP_ADDRESS, term], stops=stops)
    covers(ends)
    count = 0
    for end in ends:

        def expected(end: End = end) -> Any:
            if not sizes.is_huge(size):
                return end.stopped == "supply_run" and end.argument(1, 32) == sizes.pages_for(size)
            if sizes.huge_overflows(size):
                return end.stopped == "refuse_overflow2"
            rounded = sizes.round_up(size, sizes.PAGE_BYTES)
            return end.stopped == "supply_may_map_huge" and end.argument(1) == rounded

        count += agrees(end, expected, f"{end.stopped} is called")
    return count


def _product(code: Code, name: str, factors: list[Any], taker: str, place: int) -> int:
    """A checked product: what reaches the allocation is exact, or it is refused."""
    terms = [one[0] for one in factors]
    numbers = [one[1] for one in factors]
    arguments = [HEAP_ADDRESS, *([BLOCK_ADDRESS] if taker == "resize" else []), *terms]
    ends = code.run(name, arguments, stops=(taker, "refuse_overflow3"), is_lazy=True)
    covers(ends)
    count = 0
    for end in ends:

        def expected(end: End = end) -> Any:
            count_, size, *rest = numbers
            exact = sizes.safe_size(count_, size, rest[0] if rest else Number.of(0))
            if exact is None:
                return end.stopped == "refuse_overflow3"
            return end.stopped == taker and end.argument(place) == exact

        count += agrees(end, expected, f"{end.stopped} is called")
    return count


def safe_alloc(code: Code) -> int:
    """All 2**192 arguments."""
    factors = [code.symbol(name) for name in ("count", "size", "offset")]
    return _product(code, "zmm_heap_safe_alloc", factors, WITH_TRIMS, 1)


def safe_realloc(code: Code) -> int:
    """All 2**192 arguments."""
    factors = [code.symbol(name) for name in ("count", "size", "offset")]
    return _product(code, "zmm_heap_safe_realloc", factors, "resize", 2)


def calloc(code: Code) -> int:
    """All 2**128 arguments."""
    factors = [code.symbol(name) for name in ("count", "size")]
    return _product(code, "zmm_heap_calloc", factors, WITH_TRIMS, 1)


def _limits(code: Code) -> tuple[Mapping[int, Any], Number, Number]:
    """A heap whose limit is what was set, whatever it is; whatever is in use."""
    limit_term, limit = code.symbol("limit")
    real_term, real = code.symbol("real_size")
    places = code.places
    return {places["limit"]: limit_term, places["limit_twin"]: ~limit_term, places["real_size"]: real_term}, limit, real


def set_limit(code: Code) -> int:
    """All limits, old and new, and all bytes in use; nothing in the cache."""
    heap, limit, real = _limits(code)
    term, asked = code.symbol("asked")
    places = code.places
    ends = code.run(
        "zmm_heap_set_limit", [HEAP_ADDRESS, term], heap={**heap, places["cached"]: 0, places["edition"]: 1}
    )
    covers(ends)
    count = 0
    for end in ends:

        def expected(end: End = end) -> Any:
            model = SimpleNamespace(real_size=real, limit=limit, cached=[], is_php=False)
            accepted = request.set_limit(model, asked)
            is_answer = bool(end.result(8) == int(accepted))
            is_twin = bool(end.word(places["limit_twin"]) == MODULO - 1 - model.limit)
            return is_answer and is_twin and end.word(places["limit"]) == model.limit

        count += agrees(end, expected, "accepted or stored otherwise")
    return count


def may_map_huge(code: Code) -> int:
    """All limits, bytes in use, and bytes asked for: allowed at once, or collection is asked to make room."""
    heap, limit, real = _limits(code)
    term, more = code.symbol("more")
    ends = code.run("supply_may_map_huge", [HEAP_ADDRESS, term], stops=("gc_collect",), heap=heap)
    covers(ends)
    model = SimpleNamespace(limit=limit, real_size=real)
    over_limit = state.HeapState.over_limit
    count = 0
    for end in ends:

        def expected(end: End = end) -> Any:
            if over_limit(model, more):
                return end.stopped == "gc_collect"
            return end.stopped == "" and end.result(8) == 1

        count += agrees(end, expected, "allowed where the model refuses, or the other way round")
    return count


def bin_of_size(code: Code) -> int:
    """All sizes: of a heap without slots a slot of the model's bin is asked for; beyond the bins, somebody else is."""
    term, size = code.symbol("size")
    places = code.places
    heap = {places["free_tiny"]: 0, places["range_granules"]: 0}
    heap |= {places["free_slot"] + 8 * index: 0 for index in range(sizes.BIN_COUNT)}
    ends = code.run("zmm_heap_alloc", [HEAP_ADDRESS, term], stops=("small_alloc_slow", BEYOND), heap=heap)
    covers(ends)
    count = 0
    for end in ends:

        def expected(end: End = end) -> Any:
            small = size.within(0, sizes.SMALL_BYTES_MAX)
            if small is None:
                return end.stopped == BEYOND and end.argument(1) == size
            return end.stopped == "small_alloc_slow" and end.argument(1, 32) == sizes.bin_of(small)

        count += agrees(end, expected, f"{end.stopped} is called")
    return count
