"""Prints the folders below one folder that a wheel must not carry: byte code, and those named on the command line."""

from __future__ import annotations

import sys
from pathlib import Path


def main(root: str, *excluded: str) -> None:
    """Print one path a line, relative to ``root``: every ``__pycache__``, then each of ``excluded``."""
    for cache in sorted(Path(root).rglob("__pycache__")):
        print(cache.relative_to(root).as_posix())
    for name in excluded:
        print(name)


if __name__ == "__main__":
    main(*sys.argv[1:])
