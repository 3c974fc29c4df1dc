"""Fuzzing of the readers of files: whatever the bytes, a reader answers with a program or with one clear line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ..program import Program, ProgramError
from ..recorded import RECORD, parse_trace
from ..tape import decode, decode_file, encode, encode_file
from ..text import parse_text, write_text


class ReaderError(Exception):
    """A reader broke its promise."""


def _must_be_same(one: Program, other: Program, form: str) -> None:
    if (one.settings, one.operations) != (other.settings, other.operations):
        raise ReaderError(f"{form}: another program came back")
    for problem in one.problems():
        raise ReaderError(f"{form}: not legal: {problem}")


def read_text(data: bytes) -> None:
    """
    The text form: parsed, written, parsed again.

    Raises:
        ReaderError: it came back as another program.
    """
    try:
        program = parse_text(data)
    except ProgramError:
        return
    _must_be_same(program, parse_text(write_text(program)), "text")


def read_tape_file(data: bytes) -> None:
    """
    A tape with its header, and the bytes as a body, for which there always is a program.

    Raises:
        ReaderError: it came back as another program.
    """
    program = decode(data)
    _must_be_same(program, decode(encode(program)), "tape")
    try:
        program = decode_file(data)
    except ProgramError:
        return
    _must_be_same(program, decode_file(encode_file(program)), "tape file")


def read_recorded(data: bytes) -> None:
    """
    A recorded trace, plain or compressed: as operations and as steps.

    Raises:
        ReaderError: records were lost.
    """
    try:
        trace = parse_trace(data)
    except ProgramError:
        return
    program = trace.program()
    steps = sum(len(piece) for piece in trace.steps())
    if not len(trace) == len(program.operations) == len(trace.records) // RECORD.size or not steps:
        raise ReaderError("trace: records were lost")
    for problem in program.problems():
        raise ReaderError(f"trace: not legal: {problem}")


# By the name of the target.
READERS: Final[dict[str, Callable[[bytes], None]]] = {
    "text": read_text,
    "tape-file": read_tape_file,
    "trace": read_recorded,
}
