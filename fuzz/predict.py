"""The exact model's prediction of a program as packed rows, cut where the original leaves its behaviour undefined."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import starmap

from zmm_model import outcome
from zmm_model.exact import ExactHeap, RowTuple
from zmm_model.op import Operation, Settings
from zmm_model.outcome import Row

from .program import Program, requested_bytes
from .wire import ROW

_CHUNK_BYTES = 2 * 1024 * 1024
_LIMIT_NONE = (2**64 - 1) >> 1
_REFUSALS = frozenset((outcome.REFUSED_LIMIT, outcome.REFUSED_SYSTEM, outcome.REFUSED_OVERFLOW))
_STATUS, _STORAGE_CALLS, _REAL_SIZE, _LIMIT, _VALUE = (
    Row._fields.index(name) for name in ("status", "storage_calls", "real_size", "limit", "value")
)


class Scope(Enum):
    """How far a target can be held to the prediction."""

    WHOLE = "the whole program"
    DEFINED = "up to the first step that the original leaves undefined"
    WILLING = "up to the first step that is undefined, or near a limit or a failure"


@dataclass(frozen=True, slots=True)
class Prediction:
    """A program, possibly cut, and its rows (opening, one for each operation, closing), as tuples and packed."""

    program: Program
    tuples: list[RowTuple]
    rows: bytes


def predict(program: Program, edition: str, scope: Scope = Scope.WHOLE, level: str = "release") -> Prediction:
    """The rows of a program under an edition and a level (empty: PHP itself), and the program cut to its scope."""
    if scope is Scope.WILLING:
        program = cut(program, edition, scope)
    heap = ExactHeap(program.settings, edition, level)
    rows = heap.run(program.operations)
    if scope is Scope.DEFINED and heap.hazard is not None:
        program = cut(program, edition, scope)
        rows = ExactHeap(program.settings, edition, level).run(program.operations)
    return Prediction(program, rows, pack_rows(rows))


def pack_rows(rows: Iterable[RowTuple]) -> bytes:
    """Rows in the form in which targets send them."""
    return b"".join(starmap(ROW.pack, rows))


def cut(program: Program, edition: str, scope: Scope) -> Program:
    """
    The longest beginning of a program that lies within the scope.

    PHP leaves the step that causes a hazard, and everything after it, undefined; PHP 8.2.35 and later refuse by
    other rules, so nothing near a limit or a failing call can be compared with them.
    """
    if scope is Scope.WHOLE:
        return program
    heap = ExactHeap(program.settings, edition)
    row = heap.open()
    willing = scope is Scope.WILLING
    end = 0
    if heap.hazard is None and not (willing and _opening_differs(program.settings, row)):
        end = _within(heap, row, program.operations, program.settings, willing=willing)
    if end == len(program.operations):
        return program
    return program.with_operations(program.operations[:end])


def is_runnable(program: Program, edition: str, scope: Scope) -> bool:
    """Whether even the opening of the program's heap lies within the scope."""
    if scope is not Scope.WILLING:
        return True
    return not _opening_differs(program.settings, ExactHeap(program.settings, edition).open())


def _opening_differs(settings: Settings, row: RowTuple) -> bool:
    limit_bytes = settings.limit_bytes
    return (
        row[_STATUS] in _REFUSALS
        or (limit_bytes is not None and (limit_bytes > _LIMIT_NONE or not row[_VALUE]))
        or _call_failed(settings, row)
    )


def _within(
    heap: ExactHeap, row: RowTuple, operations: Sequence[Operation], settings: Settings, *, willing: bool
) -> int:
    """The number of operations before the first one out of scope."""
    for index, operation in enumerate(operations):
        if willing and _near_limit(operation, row):
            return index
        row = heap.step(operation)
        if heap.hazard is not None:
            return index
        if willing and (row[_STATUS] in _REFUSALS or _call_failed(settings, row) or _limit_differs(operation, row)):
            return index
    return len(operations)


def _near_limit(operation: Operation, row: RowTuple) -> bool:
    """Whether an operation could ask for more memory than the limit leaves, however it is served."""
    size_bytes = requested_bytes(operation)
    if size_bytes is None:
        return False
    # A new chunk for the block or for a huge block's list node, and the huge block itself.
    return size_bytes + 2 * _CHUNK_BYTES > row[_LIMIT] - row[_REAL_SIZE]


def _call_failed(settings: Settings, row: RowTuple) -> bool:
    return bool(settings.failing_calls) and row[_STORAGE_CALLS] >= settings.failing_calls[0]


def _limit_differs(operation: Operation, row: RowTuple) -> bool:
    if operation.word != "limit":
        return False
    return operation.a > _LIMIT_NONE or (bool(row[_VALUE]) and row[_LIMIT] != operation.a)
