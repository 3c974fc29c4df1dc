"""The door of the command ``zmm``: says what to install when the extra is missing, else runs the command line."""

from __future__ import annotations

import sys

# What the command line imports at once; one of these missing means that the extra was not asked for.
_EXTRA = frozenset({"jinja2", "msgspec", "rich", "typer"})


def main() -> int:
    """Run the command line and return its exit code; 2 with one line when the extra is not installed."""
    try:
        from .cli import run
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        print("zmm's command line needs the extra: pip install 'zmm[verify]'", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("zmm: interrupted by SIGINT", file=sys.stderr)
        return 3
    return run()


if __name__ == "__main__":
    sys.exit(main())
