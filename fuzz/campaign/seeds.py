"""Seed corpora: small files of text, one tape a line, that a campaign begins with."""

from __future__ import annotations

import base64
import binascii
import textwrap
from collections.abc import Iterable
from pathlib import Path

from ..errors import UserError
from ..load import load_program
from ..program import ProgramError
from ..tape import encode
from .engines import checkout

SEEDS = Path(__file__).resolve().parent / "seeds"


# Harnesses without seeds of their own begin with these, if they take tapes.
_COMMON = "heap"


def seed_file(target: str) -> Path:
    """Where the seeds of a harness are kept: its own file, or the one for all harnesses that take tapes."""
    own = SEEDS / f"{target}.txt"
    return own if own.is_file() else SEEDS / f"{_COMMON}.txt"


def read_seeds(path: Path) -> list[bytes]:
    """
    The inputs in a seed file.

    Raises:
        UserError: the file cannot be read, or a line is not base64.
    """
    inputs = []
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; check the path") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is no seed file: it is not text; one input a line, in base64") from None
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].strip()
        if words:
            try:
                inputs.append(base64.b64decode(words, validate=True))
            except binascii.Error:
                raise UserError(f"{path}, line {number}: not base64; one input a line") from None
    return inputs


def write_seeds(inputs: Iterable[bytes], about: str) -> bytes:
    """The contents of a seed file: what it is, then the inputs, shortest first."""
    lines = [f"# {line}" for line in textwrap.wrap(" ".join(about.split()), 118)]
    ordered = sorted(set(inputs), key=lambda data: (len(data), data))
    return "\n".join([*lines, *(base64.b64encode(data).decode() for data in ordered), ""]).encode()


def seeds_of(target: str, kind: str) -> list[bytes]:
    """
    What a campaign on a harness begins with: its seed file, and every program of tests/regressions as a tape.

    Programs with more labels than a tape can hold are left out.
    """
    path = seed_file(target)
    found = read_seeds(path) if kind == "tape" or path.stem == target else []
    root = checkout()
    if root is not None and kind == "tape":
        for path in sorted((root / "tests" / "regressions").glob("*.zmm")):
            try:
                found.append(encode(load_program(path)))
            except ProgramError:
                continue
    return found
