"""The door of the command ``zmm``: says what to install when the extra is missing, else runs the command line."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

# What the command line imports at once; one of these missing means that the extra was not asked for.
_EXTRA = frozenset({"jinja2", "msgspec", "rich", "typer"})


def main() -> int:
    """Run the command line and return its exit code; 2 with one line when the extra is not installed."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)
    try:
        from .cli import run
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        print("zmm's command line needs the extra: pip install 'zmm[verify]'", file=sys.stderr)
        return 2
    return run()


def _end(number: int, _frame: FrameType | None) -> None:
    """Before a command has begun and after it is over there is nothing to keep, so nothing is unwound."""
    os.write(2, f"zmm: interrupted by {signal.Signals(number).name}\n".encode())
    os._exit(3)


if __name__ == "__main__":
    sys.exit(main())
