"""Recorded traces: read, validated, and turned into steps and operations."""

from __future__ import annotations

import gzip
import struct
import time
from pathlib import Path

import pytest
from zmm_fuzz.program import LABEL_COUNT_MAX, ProgramError
from zmm_fuzz.recorded import RecordedTrace, parse_trace, read_trace, trace_paths
from zmm_fuzz.wire import TextArea, pack_steps, unpack_steps
from zmm_model.op import Operation, Settings

Record = tuple[int, int, int]

TINY: tuple[Record, ...] = ((0, 0, 40), (3, 1, 80), (2, 0, 128), (1, 1, 0), (0, 1, 8), (1, 0, 56), (4, 0, 0))
TINY_OPERATIONS = (
    Operation("alloc", 0, 40),
    Operation("calloc", 1, 1, 80),
    Operation("realloc", 0, 128),
    Operation("free", 1),
    Operation("alloc", 1, 8),
    Operation("free", 0),
    Operation("request_end"),
)


def pack(*records: Record) -> bytes:
    return b"".join(struct.pack("<BIQ", *record) for record in records)


def test_each_record_is_an_operation() -> None:
    """The five ops become words; a calloc's product is one factor, a sized free forgets its size."""
    trace = parse_trace(pack(*TINY))
    assert trace.program().operations == TINY_OPERATIONS
    assert (len(trace), trace.slot_count) == (7, 2)


def test_steps_and_operations_say_the_same() -> None:
    """The packed steps are those of the operations, in whatever pieces they come."""
    trace = parse_trace(pack(*TINY))
    for piece_records in (1, 3, 100):
        assert b"".join(trace.steps(piece_records)) == pack_steps(TINY_OPERATIONS, TextArea())
        assert [o for piece in trace.operations(piece_records) for o in piece] == list(TINY_OPERATIONS)


def test_a_part_of_a_trace_is_a_program() -> None:
    """The first operations, on a heap of one's choice."""
    program = parse_trace(pack(*TINY), "x/tiny.bin").program(3, Settings(storage="kernel"))
    assert program.operations == TINY_OPERATIONS[:3]
    assert program.settings.storage == "kernel"
    assert program.origin == "x/tiny.bin"


def test_compression_is_told_by_the_first_bytes(tmp_path: Path) -> None:
    """A compressed trace is read whatever its name says, and knows its name."""
    path = tmp_path / "tiny.bin.gz"
    path.write_bytes(gzip.compress(pack(*TINY)))
    assert read_trace(path).name == "tiny"
    assert parse_trace(path.read_bytes(), "tiny.bin").record_count == 7


@pytest.mark.parametrize(
    ("records", "said"),
    [
        (((0, 0, 8), (0, 0, 8)), "record 2: alloc into slot 0, which holds a block"),
        (((3, 5, 8), (3, 5, 8)), "record 2: calloc into slot 5, which holds a block"),
        (((1, 0, 0),), "record 1: free of slot 0, which holds no block"),
        (((0, 0, 8), (1, 0, 0), (1, 0, 0)), "record 3: free of slot 0"),
        (((2, 9, 8),), "record 1: realloc of slot 9, which holds no block"),
        (((0, 0, 8), (4, 0, 0), (1, 0, 0)), "record 3: free of slot 0"),
        (((5, 0, 0),), "record 1: unknown op 5"),
        (((0, LABEL_COUNT_MAX, 8),), f"record 1: slot {LABEL_COUNT_MAX}"),
    ],
)
def test_a_record_that_makes_no_sense_is_named(records: tuple[Record, ...], said: str) -> None:
    """A trace that frees what is not there, or overwrites what is, was damaged: the record's number is told."""
    with pytest.raises(ProgramError) as caught:
        parse_trace(pack(*records), "t.bin")
    assert str(caught.value).startswith(f"t.bin: {said}")


def test_a_trace_cut_off_in_a_record_is_refused() -> None:
    """Half a record at the end is an error with its number."""
    with pytest.raises(ProgramError, match=r"t\.bin: record 7: cut off: 12 of 13 bytes"):
        parse_trace(pack(*TINY)[:-1], "t.bin")


def test_an_empty_trace_is_refused() -> None:
    """Neither an empty file nor an empty archive holds a trace."""
    for data in (b"", gzip.compress(b"")):
        with pytest.raises(ProgramError, match="no records"):
            parse_trace(data, "t.bin")


def test_a_damaged_archive_is_refused() -> None:
    """Cut off, altered, or no archive at all: one line each."""
    whole = gzip.compress(pack(*TINY) * 1)
    with pytest.raises(ProgramError, match="cut off"):
        parse_trace(whole[:-9], "t.bin.gz")
    with pytest.raises(ProgramError, match="damaged"):
        parse_trace(whole[:-8] + b"12345678", "t.bin.gz")
    with pytest.raises(ProgramError, match="damaged"):
        parse_trace(whole[:12] + b"\xff\xff\xff\xff" + whole[16:], "t.bin.gz")
    with pytest.raises(ProgramError, match="not a gzip file"):
        parse_trace(pack(*TINY), "t.bin.gz")


# ---- the traces of the package -------------------------------------------------------------------------------------

# Records and slots of each, from the list that they came with.
PACKAGED = {
    "bigarrays": (316028, 30069),
    "json_codec": (217366, 11274),
    "libc_python": (802774, 164107),
    "libc_sqlite": (167760, 4953),
    "phpparser": (245026, 28383),
    "sort_objects": (992727, 71113),
    "string_build": (303477, 40797),
    "template": (756075, 1733),
    "zend_bench": (411237, 40293),
}


def test_all_traces_are_installed() -> None:
    """The package carries its nine traces."""
    assert [path.name for path in trace_paths()] == [f"{name}.bin.gz" for name in PACKAGED]


@pytest.mark.parametrize("name", PACKAGED)
def test_a_packaged_trace_is_whole(name: str) -> None:
    """Every record is valid, and there are as many as its list says."""
    trace = read_trace(next(path for path in trace_paths() if path.name.startswith(f"{name}.")))
    assert (trace.record_count, trace.slot_count) == PACKAGED[name]
    assert trace.name == name


def smallest() -> RecordedTrace:
    return read_trace(next(path for path in trace_paths() if "sqlite" in path.name))


def test_a_real_trace_reads_the_same_as_steps_and_as_operations() -> None:
    """What a target performs is what the models are told."""
    trace = smallest()
    for steps, operations in zip(trace.steps(), trace.operations(), strict=True):
        assert unpack_steps(steps) == operations


def test_a_trace_is_read_quickly() -> None:
    """More than 500,000 records a second become steps, validation included."""
    begin = time.process_time()
    trace = smallest()
    assert sum(len(piece) for piece in trace.steps()) == 32 * len(trace)
    assert len(trace) / (time.process_time() - begin) > 500_000
