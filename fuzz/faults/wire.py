"""What a run leaves behind: the report of native/faults/shared.h, unpacked."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

PHASES: Final = (
    "load",
    "setup",
    "fault",
    "after",
    "check",
    "refill",
    "free",
    "churn",
    "gc",
    "more",
    "request-end",
    "one",
    "shutdown",
    "done",
)
LOAD, SETUP, FAULT, AFTER = 0, 1, 2, 3
DONE: Final = len(PHASES) - 1
EVIDENCE: Final = (
    "?",
    "overlap",
    "alien",
    "victim",
    "leak",
    "hijack",
    "limit-bypass",
    "short-alloc",
    "size-of-freed",
)
FLAG_NOT_APPLICABLE, FLAG_OUT_OF_REACH, FLAG_REFUSED, FLAG_BROKEN = 1, 2, 4, 8

_MAGIC: Final = 0x544C5541465A4D4D
_VERSION: Final = 1
_EVIDENCE_MAX: Final = 16
_HEAD = struct.Struct(f"<Q4I{len(PHASES)}I2I192s")
_PIECE = struct.Struct("<4I108s")
# The compiler pads the head to the alignment of its first field.
_PIECES_OFFSET: Final = _HEAD.size
REPORT_BYTES: Final = (_PIECES_OFFSET + _EVIDENCE_MAX * _PIECE.size + 7) // 8 * 8


@dataclass(frozen=True, slots=True)
class Evidence:
    """Damage that the driver saw by itself. ``message_bytes`` had been said on stderr by then."""

    kind: str
    phase: int
    line: int
    message_bytes: int
    text: str


@dataclass(frozen=True, slots=True)
class Report:
    """How far a run came and what it saw. ``message_bytes`` had been said on stderr when each phase began."""

    phase: int
    line: int
    flags: int
    message_bytes: tuple[int, ...]
    refused_count: int
    reason: str
    evidence: tuple[Evidence, ...]


def empty_report() -> bytes:
    """The bytes that a run starts from."""
    return struct.pack("<QI", _MAGIC, _VERSION).ljust(REPORT_BYTES, b"\0")


def unpack_report(data: bytes) -> Report:
    """The report of a run that has ended in whatever way."""
    head = _HEAD.unpack_from(data)
    phase, line, flags = head[2:5]
    message_bytes = head[5 : 5 + len(PHASES)]
    evidence_count, refused_count, reason = head[5 + len(PHASES) :]
    evidence = []
    for index in range(min(evidence_count, _EVIDENCE_MAX)):
        kind, at, where, said, text = _PIECE.unpack_from(data, _PIECES_OFFSET + index * _PIECE.size)
        evidence.append(Evidence(EVIDENCE[kind], at, where, said, _string(text)))
    return Report(phase, line, flags, message_bytes, refused_count, _string(reason), tuple(evidence))


def _string(data: bytes) -> str:
    return data.partition(b"\0")[0].decode("utf-8", "replace")
