"""Coverage-guided fuzzing: the targets there are, and what each asks of the allocator or of a reader of files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# Stand-alone C, AFL++'s persistent mode, Python in the lead, and no engine at all.
NATIVE: Final = ("libfuzzer", "afl", "atheris", "replay")
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
)

TARGETS: Final[dict[str, Target]] = {target.name: target for target in _ALL}
