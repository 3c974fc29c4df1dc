"""Instructions of a whole process, as valgrind's cachegrind counts them: the command before it, the figure after it."""

from __future__ import annotations

import re

OPTIONS = ("--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null")


def read_instructions(stderr: str) -> int | None:
    """What cachegrind says at the end of a process; None when it says nothing."""
    found = re.search(r"I\s+refs:\s+([0-9,]+)", stderr)
    return int(found[1].replace(",", "")) if found else None
