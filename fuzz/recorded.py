"""Recorded traces (``.bin``, ``.bin.gz``): validated, as wire steps for targets or operations for models."""

from __future__ import annotations

import functools
import gzip
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from zmm_model.op import WORDS, Operation, Settings

from .program import LABEL_COUNT_MAX, Program, ProgramError
from .wire import NO_LABEL, STEP

# op, slot, size
RECORD = struct.Struct("<BIQ")

ALLOC, FREE, REALLOC, CALLOC, RESET = range(5)
_OP_WORDS = ("alloc", "free", "realloc", "calloc", "request_end")
PIECE_RECORDS = 1 << 16

_make = functools.partial(tuple.__new__, Operation)


@dataclass(frozen=True, slots=True)
class RecordedTrace:
    """
    A validated trace: every alloc takes a free slot, every free and realloc a live one.

    ``records`` is the raw body, ``record_count`` its length in records, ``slot_count`` the number of labels that a
    replay needs.
    """

    source: str
    records: bytes
    record_count: int
    slot_count: int

    def __len__(self) -> int:
        """The number of records, which is the number of operations."""
        return self.record_count

    @property
    def name(self) -> str:
        """The file's name without its endings."""
        return Path(self.source).name.removesuffix(".gz").removesuffix(".bin")

    def steps(self, piece_records: int = PIECE_RECORDS) -> Iterator[bytes]:
        """The trace as packed wire steps, in pieces of at most ``piece_records`` steps."""
        pack = STEP.pack
        alloc, free, realloc, calloc, end = (WORDS[word].code for word in _OP_WORDS)
        for start in range(0, len(self.records), piece_records * RECORD.size):
            packed: list[bytes] = []
            add = packed.append
            piece = self.records[start : start + piece_records * RECORD.size]
            for op, slot, size in RECORD.iter_unpack(piece):
                if op == ALLOC:
                    add(pack(alloc, 0, 0, slot, size, 0, 0))
                elif op == FREE:
                    add(pack(free, 0, 0, slot, 0, 0, 0))
                elif op == REALLOC:
                    add(pack(realloc, 0, 0, slot, size, 0, 0))
                elif op == CALLOC:
                    add(pack(calloc, 0, 0, slot, 1, size, 0))
                else:
                    add(pack(end, 0, 0, NO_LABEL, 0, 0, 0))
            yield b"".join(packed)

    def operations(self, piece_records: int = PIECE_RECORDS) -> Iterator[list[Operation]]:
        """The trace as operations, in pieces of at most ``piece_records`` operations."""
        make = _make
        for start in range(0, len(self.records), piece_records * RECORD.size):
            made: list[Operation] = []
            add = made.append
            piece = self.records[start : start + piece_records * RECORD.size]
            for op, slot, size in RECORD.iter_unpack(piece):
                if op == ALLOC:
                    add(make(("alloc", slot, size, 0, 0, b"")))
                elif op == FREE:
                    add(make(("free", slot, 0, 0, 0, b"")))
                elif op == REALLOC:
                    add(make(("realloc", slot, size, 0, 0, b"")))
                elif op == CALLOC:
                    add(make(("calloc", slot, 1, size, 0, b"")))
                else:
                    add(make(("request_end", -1, 0, 0, 0, b"")))
            yield made

    def program(self, operation_count: int | None = None, settings: Settings | None = None) -> Program:
        """The first ``operation_count`` operations (all, if None) as a program."""
        wanted = self.record_count if operation_count is None else operation_count
        operations: list[Operation] = []
        for piece in self.operations():
            operations += piece[: wanted - len(operations)]
            if len(operations) >= wanted:
                break
        return Program(settings or Settings(), tuple(operations), (), self.source)


def read_trace(path: Path | str) -> RecordedTrace:
    """
    Reads and validates a trace, compressed or not.

    Raises :class:`ProgramError` with the number of the first bad record; ``OSError`` when the file cannot be opened.
    """
    path = Path(path)
    data = path.read_bytes()
    return parse_trace(data, str(path))


def parse_trace(data: bytes, source: str = "") -> RecordedTrace:
    """Validates a trace given as bytes, compressed or not.  ``source`` is named in errors."""
    if data[:2] == b"\x1f\x8b":
        try:
            data = gzip.decompress(data)
        except EOFError:
            raise ProgramError("the compressed file is cut off; get a whole copy of it", source=source) from None
        except (gzip.BadGzipFile, zlib.error, struct.error) as error:
            raise ProgramError(
                f"the compressed file is damaged ({error}); get a whole copy of it", source=source
            ) from None
    elif source.endswith(".gz"):
        raise ProgramError("not a gzip file; a trace without compression is named .bin", source=source)
    if not data:
        raise ProgramError("no records: the trace is empty", source=source)
    whole, rest = divmod(len(data), RECORD.size)
    if rest:
        raise ProgramError(
            f"cut off: {rest} of {RECORD.size} bytes are there; a trace is whole records of {RECORD.size} bytes"
            " (op, slot, size)",
            source=source,
            place=f"record {whole + 1}",
        )
    return RecordedTrace(source, data, whole, _validate(data, source))


def _validate(data: bytes, source: str) -> int:
    """The number of slots in use.  Raises :class:`ProgramError` for the first bad record."""
    # A table of LABEL_COUNT_MAX bytes instead of a set: one index and no hash for each record.
    live = bytearray(LABEL_COUNT_MAX)
    slot_count = 0
    number = 0
    for op, slot, _size in RECORD.iter_unpack(data):
        number += 1
        if op == RESET:
            live[:slot_count] = bytes(slot_count)
            continue
        if op > RESET:
            raise _bad(source, number, f"unknown op {op}; there are 0 alloc ... 4 reset")
        if slot >= LABEL_COUNT_MAX:
            raise _bad(source, number, f"slot {slot}; at most {LABEL_COUNT_MAX} slots are possible")
        if op == FREE:
            if not live[slot]:
                raise _bad(source, number, f"free of slot {slot}, which holds no block")
            live[slot] = 0
        elif op == REALLOC:
            if not live[slot]:
                raise _bad(source, number, f"realloc of slot {slot}, which holds no block")
        else:
            if live[slot]:
                raise _bad(source, number, f"{_OP_WORDS[op]} into slot {slot}, which holds a block")
            live[slot] = 1
            if slot >= slot_count:
                slot_count = slot + 1
    return slot_count


def _bad(source: str, number: int, problem: str) -> ProgramError:
    return ProgramError(f"{problem}; the trace is damaged", source=source, place=f"record {number}")


# ---- the traces that come with the package ---------------------------------------------------------------------------


def trace_directory() -> Path:
    """Where the traces of the package lie."""
    return Path(__file__).parent / "traces"


def trace_paths() -> list[Path]:
    """The traces of the package, by name."""
    return sorted(trace_directory().glob("*.bin.gz"))
