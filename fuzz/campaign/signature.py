"""The abstract state in which a rule broke: what makes two findings one, however different their programs are."""

from __future__ import annotations

from zmm_model.op import WORDS, Operation
from zmm_model.outcome import Row

from ..boundaries import CHUNK_BYTES, LARGE_BYTES_MAX
from ..predict import predict
from ..program import Program, requested_bytes

_SMALL_BYTES_MAX = 3072


def state_of(program: Program, step: int, edition: str) -> str:
    """
    The state before a step (counted from 1), as a few words without sizes or places.

    Such as "realloc of a small block; small and huge live; 1 chunk; limit": the operation and the kind of its block,
    the kinds of the live ones, how many chunks the edition would have, and what the settings add.
    """
    index = min(max(step, 1), len(program)) - 1
    live: dict[int, str] = {}
    for operation in program.operations[: max(index, 0)]:
        _follow(live, operation)
    parts = [_act(program.operations[index], live) if program.operations else "no operation"]
    kinds = sorted(set(live.values()))
    parts.append(f"{' and '.join(kinds)} live" if kinds else "nothing live")
    parts.extend(_chunks(program, index, edition))
    if program.settings.limit_bytes is not None or any(one.word == "limit" for one in program.operations):
        parts.append("limit")
    if program.settings.failing_calls:
        parts.append("failing calls")
    if program.settings.storage == "kernel":
        parts.append("kernel")
    return "; ".join(parts)


def _kind(size_bytes: int) -> str:
    if size_bytes <= _SMALL_BYTES_MAX:
        return "small"
    return "large" if size_bytes <= LARGE_BYTES_MAX else "huge"


def _follow(live: dict[int, str], operation: Operation) -> None:
    """What an operation does to the live blocks, if nothing is refused."""
    if operation.word == "request_end":
        live.clear()
    elif operation.word == "free":
        live.pop(operation.label, None)
    elif WORDS[operation.word].makes_block:
        size = requested_bytes(operation)
        if size is not None and size < CHUNK_BYTES * 4096:
            live[operation.label] = _kind(size)


def _act(operation: Operation, live: dict[int, str]) -> str:
    said = operation.word
    if operation.label in live:
        said += f" of a {live[operation.label]} block"
    size = requested_bytes(operation)
    return said if size is None else f"{said} to {_kind(size)}"


def _chunks(program: Program, index: int, edition: str) -> list[str]:
    """How many chunks, and whether some are cached, by the exact model; nothing where it does not apply."""
    rows = predict(program, edition).tuples
    if not 0 <= index < len(rows):
        return []
    row = Row._make(rows[index])
    said = ["1 chunk" if row.chunk_count == 1 else "2 chunks" if row.chunk_count == 2 else "more chunks"]
    return [*said, "cached"] if row.cached_count else said
