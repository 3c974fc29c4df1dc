"""Proposals for the shrinker: other operations that may show the same, made without asking whether they do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from zmm_model.op import SIZE_MAX, WORDS, Operation
from zmm_model.sizes import bin_of, bin_pages

from .boundaries import BIN_BYTES, LARGE_BYTES_MAX, PAGE_BYTES, SMALL_BYTES_MAX
from .program import requested_bytes

# Where every stretch is proposed, proposals grow with the square of the length.
_FEW_OPERATIONS = 20
_STRETCHES_OPERATIONS_MAX = 48
_MERGED_OPERATIONS_MAX = 400
# What often matters is how many pages of a chunk are left; with the storage record one of them is always taken.
_PAGES_LEFT = range(6)


def merged(operations: Sequence[Operation]) -> Iterator[tuple[Operation, ...]]:
    """
    Programs with a stretch of at least two operations replaced by one allocation, the longest stretches first.

    The block has a label of its own. Its size is what the stretch asked for, in whole pages, or a chunk less a few
    pages. Later operations on labels of the stretch stay: a free of nothing does nothing, a realloc allocates.
    Programs of more than a few operations are halved, and halved again, with stretches that overlap by half.
    """
    count = len(operations)
    if count > _MERGED_OPERATIONS_MAX:
        return
    label = max((operation.label for operation in operations), default=-1) + 1
    length, few = count, count <= _FEW_OPERATIONS
    while length > 1:
        for first in range(0, count - length + 1, 1 if few else (length + 1) // 2):
            stretch = operations[first : first + length]
            for size_bytes in _sizes(stretch):
                block = Operation("alloc", label, size_bytes)
                yield (*operations[:first], block, *operations[first + length :])
        length = length - 1 if few else (length + 1) // 2 if length > 2 else 1


def _sizes(stretch: Sequence[Operation]) -> list[int]:
    asked = [requested_bytes(operation) or 0 for operation in stretch]
    total = sum(-(-size_bytes // PAGE_BYTES) for size_bytes in asked if size_bytes <= LARGE_BYTES_MAX) * PAGE_BYTES
    sizes = [LARGE_BYTES_MAX - left * PAGE_BYTES for left in _PAGES_LEFT]
    return sizes if total in sizes or not 0 < total <= LARGE_BYTES_MAX else [*sizes, total]


def stretches(operations: Sequence[Operation]) -> Iterator[tuple[Operation, ...]]:
    """A small program without a stretch of three operations or more, the longest first."""
    count = len(operations)
    if count > _STRETCHES_OPERATIONS_MAX:
        return
    for length in range(count - 1, 2, -1):
        for first in range(count - length + 1):
            yield (*operations[:first], *operations[first + length :])


def coarser(operations: Sequence[Operation]) -> Iterator[tuple[Operation, ...]]:
    """
    Small blocks as runs of their own, which are free again without a gc; then all blocks of a bin in the largest bin
    instead, of which four fill a run.

    Only words whose size is one number, and only bins that several operations ask for.
    """
    asked = [_small_bytes(operation) for operation in operations]
    if any(size is not None for size in asked):
        runs = [None if size is None else bin_pages(bin_of(size)) * PAGE_BYTES for size in asked]
        yield _with_sizes(operations, runs)
    for index in range(len(BIN_BYTES) - 1):
        same = [SMALL_BYTES_MAX if size is not None and bin_of(size) == index else None for size in asked]
        if sum(size is not None for size in same) > 2:
            yield _with_sizes(operations, same)


def _small_bytes(operation: Operation) -> int | None:
    return operation.a if operation.word in ("alloc", "realloc") and operation.a <= SMALL_BYTES_MAX else None


def _with_sizes(operations: Sequence[Operation], sizes: Sequence[int | None]) -> tuple[Operation, ...]:
    return tuple(
        operation if size is None else operation._replace(a=size)
        for operation, size in zip(operations, sizes, strict=True)
    )


def lifetimes(operations: Sequence[Operation]) -> list[list[int]]:
    """The positions of the operations of each block, from its creation to its end, in order of creation."""
    groups: list[list[int]] = []
    current: dict[int, list[int]] = {}
    for position, operation in enumerate(operations):
        label = operation.label
        if label < 0:
            if operation.word == "request_end":
                current.clear()
            continue
        word = WORDS[operation.word]
        if label not in current or (word.makes_block and "realloc" not in word.name):
            current[label] = []
            groups.append(current[label])
        current[label].append(position)
        if operation.word == "free":
            del current[label]
    return groups


def numbers(operations: Sequence[Operation]) -> set[int]:
    return {number for operation in operations for number in operation[2:5] if number > 8}


def simpler(operation: Operation) -> Iterator[Operation]:
    """Simpler operations that ask for as many bytes, simplest first."""
    size = requested_bytes(operation)
    if size is None or size > SIZE_MAX:
        return
    label, word = operation.label, operation.word
    if word != "alloc":
        yield Operation("alloc", label, size)
    if word in ("safe_realloc", "realloc2"):
        yield Operation("realloc", label, size)
    if word == "safe_alloc":
        yield Operation("calloc", label, 1, size)
    if word == "strndup":
        yield Operation("strdup", label, text=operation.text[: operation.a])
    if word in ("calloc", "safe_alloc", "safe_realloc") and (operation.a, operation.c) != (1, 0):
        yield operation._replace(a=1, b=size, c=0)
