"""Reads whatever holds a program: text, tape or recorded trace, told apart by name and first bytes."""

from __future__ import annotations

from pathlib import Path

from zmm_model.op import Settings

from .program import Program, ProgramError
from .recorded import parse_trace
from .tape import MAGIC, decode_file
from .text import parse_text

_GZIP = b"\x1f\x8b"
# Recorded traces end requests while the heap's storage record lives, which only kernel storage makes comparable.
TRACE_SETTINGS = Settings(storage="kernel")


def load_program(path: Path) -> Program:
    """
    The program of a file.

    Raises:
        ProgramError: the file cannot be read or does not hold a program; one line with the place and the remedy.
    """
    try:
        data = path.read_bytes()
    except IsADirectoryError:
        raise ProgramError("is a directory; name a .zmm, .tape, .bin or .bin.gz file", source=str(path)) from None
    except FileNotFoundError:
        raise ProgramError("no such file; check the path", source=str(path)) from None
    except OSError as error:
        raise ProgramError(f"cannot be read: {error.strerror}", source=str(path)) from None
    name = path.name
    if name.endswith(".tape") or data.startswith(MAGIC):
        return decode_file(data, str(path))
    if name.endswith((".bin", ".bin.gz")) or data.startswith(_GZIP):
        return parse_trace(data, str(path)).program(settings=TRACE_SETTINGS)
    return parse_text(data, str(path))
