"""Compiles the cases on the core: one program for each build, kept until a source changes."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
LEVELS = {
    "fast": ["-DZMM_LEVEL=0"],
    "release": ["-DZMM_LEVEL=1"],
    "checked": ["-DZMM_LEVEL=1", "-DZMM_ASSERTS=1"],
    "hardened": ["-DZMM_LEVEL=2"],
    "debug": ["-DZMM_LEVEL=3"],
}
WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wshadow", "-Wconversion", "-Wstrict-prototypes")
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")


Compiled = Callable[[str, bool], Path]


def find_compiler(*families: str) -> str | None:
    """Return a compiler of the first family that is here."""
    for family in families:
        for name in (family, *(f"{family}-{version}" for version in range(22, 11, -1))):
            if shutil.which(name):
                return name
    return None


def _digest(command: list[str]) -> str:
    digest = hashlib.sha256("\0".join(command).encode())
    sources = [*HERE.glob("*.[ch]"), *HERE.glob("cases/*.c"), *(ROOT / "zmm").glob("*/*.[ch]")]
    for path in sorted(sources):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


@pytest.fixture(scope="session")
def compiled(request: pytest.FixtureRequest) -> Compiled:
    """
    Return the program of a level: plain from gcc, with sanitizers from clang, or else from the other of the two.

    Skips when there is no compiler, or none that brings the sanitizers' libraries.
    """
    cache = request.config.cache
    assert cache is not None
    folder = cache.mkdir("core_tests")
    done: dict[str, Path] = {}

    def compile_level(level: str, sanitized: bool) -> Path:
        name = f"{level}-sanitized" if sanitized else level
        if name in done:
            return done[name]
        compiler = find_compiler(*(("clang", "gcc", "cc") if sanitized else ("gcc", "clang", "cc")))
        if compiler is None:
            pytest.skip("no C compiler is here")
        if sanitized and not _links(compiler):
            pytest.skip(f"{compiler} has no address and undefined-behaviour sanitizers here")
        options = ["-std=gnu11", "-g", "-O1", *WARNINGS, *(SANITIZERS if sanitized else ())]
        includes = [f"-I{ROOT / 'zmm' / 'core'}", f"-I{ROOT / 'zmm' / 'include'}", f"-I{HERE}"]
        command = [compiler, *options, *LEVELS[level], *includes, str(HERE / "core_tests.c")]
        program = folder / f"{name}.{_digest(command)}"
        with (folder / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # another worker may be compiling the same program
            if not program.exists():
                for old in folder.glob(f"{name}.[0-9a-f]*"):
                    old.unlink()
                new = folder / f"{name}.new"
                made = subprocess.run(
                    [*command, "-o", str(new), "-pthread"], capture_output=True, text=True, check=False
                )
                assert made.returncode == 0, made.stderr
                new.rename(program)
        done[name] = program
        return program

    return compile_level


def _links(compiler: str) -> bool:
    """Whether a program with the sanitizers can be linked: Debian packs their libraries apart from the compiler."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "empty.c"
        source.write_text("int main(void) { return 0; }\n")
        command = [compiler, *SANITIZERS, str(source), "-o", str(source.with_suffix(""))]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture
def run_cases() -> Callable[[Path, list[str]], None]:
    """Run cases of a program, each in a process of its own; fails with what they wrote."""

    def run(program: Path, cases: list[str]) -> None:
        environment = dict(os.environ, ASAN_OPTIONS="detect_leaks=0", UBSAN_OPTIONS="print_stacktrace=1")
        result = subprocess.run(
            [str(program), *cases], env=environment, capture_output=True, text=True, timeout=240, check=False
        )
        assert result.returncode == 0, result.stderr or f"{cases} ended with status {result.returncode}"

    return run
