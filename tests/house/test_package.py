"""The wheel: what it installs, and that it works where nothing else is installed."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.xdist_group("wheel")  # the wheel is built once

# A wheel is built from a copy of these: a build in the tree would share its folder with the editable install.
SOURCES = ("LICENSE", "README.md", "ci", "fuzz", "meson.build", "meson.options", "model", "pyproject.toml", "zmm")


def _run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    names = ("CC", "HOME", "TMPDIR", "PIP_CONFIG_FILE")
    environment = {"PATH": path, **{name: os.environ[name] for name in names if name in os.environ}}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode in {0, 2}, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from this tree, with byte code of another interpreter lying about in it."""
    folder = tmp_path_factory.mktemp("wheel")
    tree = folder / "tree"
    tree.mkdir()
    for name in SOURCES:
        _run("cp", "-R", ROOT / name, tree, cwd=folder)
    (tree / "model" / "__pycache__").mkdir(exist_ok=True)
    (tree / "model" / "__pycache__" / "op.cpython-399.pyc").write_bytes(b"")
    pip = (sys.executable, "-P", "-m", "pip", "wheel", "--no-build-isolation", "--no-deps", "--no-index")
    _run(*pip, "--wheel-dir", folder / "dist", tree, cwd=folder)
    (built,) = (folder / "dist").iterdir()
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment with the wheel and nothing else."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    python = folder / "venv" / "bin" / "python"
    pip = (sys.executable, "-P", "-m", "pip", "--python", python, "install", "--no-deps", "--no-index")
    _run(*pip, wheel, cwd=folder)
    return python


def test_the_wheel_installs_only_our_names(wheel: Path) -> None:
    """Three packages and the wheel's own record."""
    names = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}

    assert {name for name in names if not name.endswith(".dist-info")} == {"zmm", "zmm_fuzz", "zmm_model"}
    assert len(names) == 4


def test_the_wheel_carries_what_is_needed_and_no_more(wheel: Path) -> None:
    """Every Python file, the libraries, the header and the runner; no byte code, no sources of the core."""
    names = set(zipfile.ZipFile(wheel).namelist())
    ours = {"zmm": "zmm", "model": "zmm_model", "fuzz": "zmm_fuzz"}
    wanted = {
        package + "/" + path.relative_to(ROOT / folder).as_posix()
        for folder, package in ours.items()
        for path in (ROOT / folder).rglob("*.py")
        if "native" not in path.parts
    }
    wanted |= {"zmm/py.typed", "zmm/_core.pyi", "zmm/include/zmm.h", "zmm_fuzz/native/zmm-runner"}
    wanted |= {f"zmm/lib/libzmm{level}.so" for level in ("", "-fast", "-hardened", "-debug")}

    assert wanted - names == set()
    assert [name for name in names if name.endswith((".pyc", ".pyx", "meson.build"))] == []
    assert [name for name in names if name.startswith("zmm/core")] == []


def test_the_wheel_works_without_any_dependency(installed: Path, tmp_path: Path) -> None:
    """Allocate, find the libraries, see that the runner may be executed."""
    program = (
        "import os, zmm, zmm_fuzz, zmm_model\n"
        "with zmm.Heap() as heap: print(heap.block_size(heap.alloc(40)))\n"
        "print([os.path.exists(zmm.get_library(level)) for level in zmm.LEVELS])\n"
        "print(os.access(os.path.join(os.path.dirname(zmm_fuzz.__file__), 'native', 'zmm-runner'), os.X_OK))\n"
    )

    assert _run(installed, "-c", program, cwd=tmp_path).stdout == "40\n[True, True, True, True]\nTrue\n"


def test_the_command_line_without_its_extra_says_how_to_get_it(installed: Path, tmp_path: Path) -> None:
    """One line and exit code 2."""
    done = _run(installed.with_name("zmm"), "verify", cwd=tmp_path)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "zmm's command line needs the extra: pip install 'zmm[verify]'\n"
