"""The alphabet: every operation that a program may contain, with its arguments.  Imports nothing of ours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Operation(NamedTuple):
    """
    One operation of a program.

    ``label`` is the index of the block it makes or takes (-1: none).  ``a``, ``b`` and ``c`` are
    the word's arguments in the order of :data:`WORDS`; ``text`` is the literal of ``strdup`` and
    ``strndup`` (no NUL inside).
    """

    word: str
    label: int = -1
    a: int = 0
    b: int = 0
    c: int = 0
    text: bytes = b""


@dataclass(frozen=True, slots=True)
class Word:
    """What the language says of one word: its wire code, its arguments, what it does to its label."""

    name: str
    code: int
    arguments: tuple[str, ...]
    takes_label: bool
    makes_block: bool
    takes_text: bool = False


# Codes are written in tapes and on the wire: append, never renumber.
WORDS: dict[str, Word] = {
    word.name: word
    for word in (
        Word("alloc", 1, ("size_bytes",), True, True),
        Word("calloc", 2, ("count", "size_bytes"), True, True),
        Word("safe_alloc", 3, ("count", "size_bytes", "offset_bytes"), True, True),
        Word("realloc", 4, ("size_bytes",), True, True),
        Word("realloc2", 5, ("size_bytes", "copy_bytes"), True, True),
        Word("safe_realloc", 6, ("count", "size_bytes", "offset_bytes"), True, True),
        Word("strdup", 7, (), True, True, takes_text=True),
        Word("strndup", 8, ("length_bytes",), True, True, takes_text=True),
        Word("free", 9, (), True, False),
        Word("write", 10, ("offset_bytes", "length_bytes", "seed"), True, False),
        Word("limit", 11, ("limit_bytes",), False, False),
        Word("gc", 12, (), False, False),
        Word("reset_peak", 13, (), False, False),
        Word("request_end", 14, (), False, False),
        Word("check", 15, (), False, False),
        # What no correct program does: performed in a child, whose end is predicted (model/misuse.py).
        Word("misuse.free_freed", 32, (), True, False),
        Word("misuse.realloc_freed", 33, ("size_bytes",), True, False),
        Word("misuse.size_freed", 34, (), True, False),
        Word("misuse.free_interior", 35, ("offset_bytes",), True, False),
        Word("misuse.free_malloc", 36, ("size_bytes",), False, False),
        Word("misuse.free_stack", 37, (), False, False),
        Word("misuse.free_static", 38, (), False, False),
        Word("misuse.free_wild", 39, (), False, False),
        Word("misuse.other_heap", 40, (), True, False),
        Word("misuse.stale_request", 41, (), True, False),
        Word("misuse.overflow", 42, ("length_bytes",), True, False),
        Word("misuse.write_freed", 43, ("offset_bytes",), True, False),
    )
}

# The words for misuse, and all others.
MISUSE: frozenset[str] = frozenset(name for name in WORDS if name.startswith("misuse."))
LEGAL: frozenset[str] = frozenset(WORDS) - MISUSE

# Wire codes that no program contains: the driver adds them around each program.
OPEN_CODE = 128
CLOSE_CODE = 129

SIZE_MAX = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Settings:
    """
    The heap a program runs on.

    ``storage`` is ``"handlers"`` (memory from the driver's storage handlers: places, kernel calls
    and failures are deterministic; what PHP is compared on) or ``"kernel"`` (zmm's own kernel seam,
    served by the driver's fake kernel).  ``extend`` and ``truncate`` say whether the storage grants
    these in place.  ``data_bytes`` is the size of the data kept behind the storage record.
    ``failing_calls`` are the numbers (from 1) of the fallible storage calls (alloc, truncate,
    extend, counted together) that must fail.
    """

    limit_bytes: int | None = None
    storage: str = "handlers"
    extend: bool = True
    truncate: bool = True
    data_bytes: int = 0
    failing_calls: tuple[int, ...] = ()
