"""What the tests of the command line share: a program to perform."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A small legal program."""
    path = tmp_path / "program.zmm"
    path.write_text("zmm-program 1\na = alloc 40\nb = calloc 10 8\na = realloc a 128\nfree b\ngc\ncheck\n")
    return path
