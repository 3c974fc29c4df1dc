"""What the tests of the command line share: a way to run it as a user does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]
COMMAND = [sys.executable, "-P", "-m", "zmm_fuzz"]


@pytest.fixture
def environment() -> dict[str, str]:
    """The environment without what changes how output looks."""
    return {name: value for name, value in os.environ.items() if name not in ("CI", "NO_COLOR", "FORCE_COLOR")}


@pytest.fixture
def zmm(tmp_path: Path, environment: dict[str, str]) -> Run:
    """Runs `zmm ARGUMENTS` in an empty directory; never with a traceback."""

    def run(*arguments: str | Path, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*COMMAND, *map(str, arguments)],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert "Traceback" not in done.stderr
        assert "Traceback" not in done.stdout
        return done

    return run


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A small legal program."""
    path = tmp_path / "program.zmm"
    path.write_text("zmm-program 1\na = alloc 40\nb = calloc 10 8\na = realloc a 128\nfree b\ngc\ncheck\n")
    return path
