"""All short programs over a tiny alphabet: what random programs might miss, exhaustively."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from zmm_model.op import Operation, Settings

from .boundaries import CHUNK_BYTES, LARGE_BYTES_MAX, SMALL_BYTES_MAX
from .program import Program

TINY_SIZES = (8, SMALL_BYTES_MAX, LARGE_BYTES_MAX, CHUNK_BYTES)


def all_programs(
    bound: int,
    *,
    sizes: Sequence[int] = TINY_SIZES,
    labels: int = 2,
    others: Sequence[str] = ("gc",),
    settings: Settings | None = None,
) -> Iterator[Program]:
    """
    Every program of 1 ... ``bound`` operations over a tiny alphabet, shortest first: alloc and realloc of each of
    ``sizes``, free, and the words of ``others`` (without arguments), over ``labels`` labels.

    Programs that differ only in the numbers of their labels, or in steps without any effect (free of nothing, an
    allocation into a live label), are made once or not at all.
    """
    settings = settings or Settings()
    for length in range(1, bound + 1):
        for operations in _all_operations(length, frozenset(), sizes, labels, others):
            yield Program(settings, operations, (), f"one of all programs of {length} operations")


def _all_operations(
    length: int, live: frozenset[int], sizes: Sequence[int], labels: int, others: Sequence[str]
) -> Iterator[tuple[Operation, ...]]:
    if length == 0:
        yield ()
        return
    choices: list[tuple[Operation, frozenset[int]]] = []
    label = next((label for label in range(labels) if label not in live), None)
    if label is not None:
        choices += [(Operation("alloc", label, size), live | {label}) for size in sizes]
    for label in sorted(live):
        choices += [(Operation("realloc", label, size), live) for size in sizes]
        choices.append((Operation("free", label), live - {label}))
    for word in others:
        choices.append((Operation(word), frozenset() if word == "request_end" else live))
    for operation, after in choices:
        for rest in _all_operations(length - 1, after, sizes, labels, others):
            yield (operation, *rest)
