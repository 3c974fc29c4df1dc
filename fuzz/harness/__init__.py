"""Coverage-guided fuzzing: the targets there are, and what each asks of the allocator or of a reader of files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# Stand-alone C, AFL++'s persistent mode, Python in the lead, no engine at all, and that for Python to load.
NATIVE: Final = ("libfuzzer", "afl", "atheris", "replay", "library")
PYTHON: Final = ("atheris",)


@dataclass(frozen=True, slots=True)
class Target:
    """
    One thing to fuzz: a file in ``native/harness/targets/``, or a function of ``readers.py``.

    ``kind`` is "tape" where an input is the bare body of a tape (every byte string is one), "bytes" where it is a file
    of some format. ``edition`` is the one a tape is performed and judged under.
    """

    name: str
    sentence: str
    kind: str = "tape"
    engines: tuple[str, ...] = NATIVE
    edition: str = "zmm"


_ALL = (
    Target("heap", "every word, every setting, every rule, edition zmm"),
    Target("php", "the same in edition php-8.2, with its harmless quirks", edition="php-8.2"),
    Target("limit", "heaps with a limit; what it refuses could not have been had"),
    Target("gc", "collection; it leaves every live block where it is, as it is"),
    Target("realloc", "blocks that stay, shrink, grow and move; no other block notices"),
    Target("request", "one request after the other; each finds an empty main chunk"),
    Target("tape", "the decoder of tapes itself, in C", engines=("libfuzzer", "afl", "replay", "library")),
    Target("text", "the reader of the text form (.zmm)", "bytes", PYTHON),
    Target("tape-file", "the reader of tapes (.tape), bare ones too", "bytes", PYTHON),
    Target("trace", "the reader of recorded traces (.bin, .bin.gz)", "bytes", PYTHON),
)

TARGETS: Final[dict[str, Target]] = {target.name: target for target in _ALL}
