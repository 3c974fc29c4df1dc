"""Every form in which a finding can be reproduced: text, tape, pytest case, stand-alone C."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

from ..program import ProgramError
from ..tape import encode_file
from ..text import write_text
from .c_source import c_source
from .pytest_case import pytest_case

if TYPE_CHECKING:
    from ..tiers.base import Finding

# Sources of longer programs are more than a compiler or a reader can take; text and tape hold them all the same.
SOURCE_OPERATIONS_MAX = 50_000


def reproducers(finding: Finding) -> dict[str, bytes]:
    """
    The contents of a finding's files, by the ending that each file's name gets.

    The tape is left out for a program with more labels than a tape can hold, the pytest case and the C file for one of
    more than :data:`SOURCE_OPERATIONS_MAX` operations (a recorded trace that could not be shrunk).
    """
    program = replace(finding.program, origin=origin_of(finding))
    files = {".zmm": write_text(program).encode()}
    with contextlib.suppress(ProgramError):
        files[".tape"] = encode_file(program)
    if len(program) <= SOURCE_OPERATIONS_MAX:
        files["_test.py"] = pytest_case(finding).encode()
        files[".c"] = c_source(finding).encode()
    return files


def origin_of(finding: Finding) -> str:
    """What a reader of the text form has to know, a line each."""
    against = f" against {finding.against}" if finding.against else ""
    lines = [
        f"{finding.divergence.rule} on {finding.target}{against}, edition {finding.edition}",
        finding.divergence.story(),
    ]
    if finding.program.origin:
        lines.append(f"made from: {finding.program.origin}")
    return "\n".join(" ".join(line.split()) for line in lines)
