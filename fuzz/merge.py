"""Proposals for the shrinker: one large block in the place of several operations, which fills a chunk as well."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from zmm_model.op import Operation

from .boundaries import LARGE_BYTES_MAX, PAGE_BYTES
from .program import requested_bytes

# Proposals grow with the square of the length; longer programs are for the other passes first.
OPERATIONS_MAX = 20
# What often matters is how many pages of a chunk are left; with the storage record one of them is always taken.
_PAGES_LEFT = range(6)


def merged(operations: Sequence[Operation]) -> Iterator[tuple[Operation, ...]]:
    """
    Programs with a stretch of at least two operations replaced by one allocation, the longest stretches first.

    The block has a label of its own. Its size is what the stretch asked for, in whole pages, or a chunk less a few
    pages. Later operations on labels of the stretch stay: a free of nothing does nothing, a realloc allocates.
    """
    if len(operations) > OPERATIONS_MAX:
        return
    label = max((operation.label for operation in operations), default=-1) + 1
    for length in range(len(operations), 1, -1):
        for first in range(len(operations) - length + 1):
            stretch = operations[first : first + length]
            for size_bytes in _sizes(stretch):
                block = Operation("alloc", label, size_bytes)
                yield (*operations[:first], block, *operations[first + length :])


def _sizes(stretch: Sequence[Operation]) -> list[int]:
    asked = [requested_bytes(operation) or 0 for operation in stretch]
    total = sum(-(-size_bytes // PAGE_BYTES) for size_bytes in asked if size_bytes <= LARGE_BYTES_MAX) * PAGE_BYTES
    sizes = [LARGE_BYTES_MAX - left * PAGE_BYTES for left in _PAGES_LEFT]
    return sizes if total in sizes or not 0 < total <= LARGE_BYTES_MAX else [*sizes, total]
