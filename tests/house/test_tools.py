"""What tools can see: style, types, and stubs that tell the truth."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


@pytest.mark.parametrize(
    "command",
    [
        pytest.param([BIN / "ruff", "check", "--quiet"], id="ruff-check"),
        pytest.param([BIN / "ruff", "format", "--check", "--quiet"], id="ruff-format"),
        pytest.param([BIN / "mypy", "--no-error-summary"], id="mypy"),
        pytest.param(
            [
                *(sys.executable, "-P", "-m", "mypy.stubtest", "zmm._core"),
                *("--allowlist", "ci/stubtest.txt", "--ignore-unused-allowlist"),
            ],
            id="stubtest",
        ),
    ],
)
def test_a_tool_finds_nothing(command: list[str | Path]) -> None:
    """Each with the settings of pyproject.toml, over the whole tree."""
    environment = dict(os.environ, MYPYPATH=str(ROOT / "build" / "types"))
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout.replace("Success: no issues found in 1 module\n", "")) == (0, ""), done.stderr
