"""What tools can see: style, types, and stubs that tell the truth."""

from __future__ import annotations

import os
import re
import shutil
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


def _clang_format() -> str:
    """The formatter of the version whose layout is kept; others differ in details."""
    for name in ("clang-format-19", "clang-format"):
        if shutil.which(name) is not None:
            said = subprocess.run([name, "--version"], capture_output=True, text=True, check=True).stdout
            if re.search(r"version 19\.", said):
                return name
    pytest.skip("needs clang-format 19 (Debian: apt-get install clang-format-19)")


def test_c_is_laid_out_as_clang_format_does(root: Path, files: list[str]) -> None:
    """`clang-format-19 -i FILE` brings a file into shape; the style is .clang-format."""
    sources = [name for name in files if name.endswith((".c", ".h"))]
    done = subprocess.run(
        [_clang_format(), "--dry-run", "--Werror", *sources], cwd=root, capture_output=True, text=True, check=False
    )
    other = sorted({line.partition(":")[0] for line in done.stderr.splitlines() if "clang-format-violations" in line})

    assert other == []
    assert done.returncode == 0, done.stderr
