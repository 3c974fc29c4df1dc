"""The sources under proof: where they are, copies with one thing changed, and what compilers make of them."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).resolve().parent
# In a checkout the folders of the three packages lie side by side.
ROOT = HERE.parent.parent
MODEL_COPY = "zmm_model_copy"
# No vectors and no unrolled loops: the executor reads scalar code, and goes round loops by itself.
IR_FLAGS = ("-S", "-emit-llvm", "-O2", "-fno-vectorize", "-fno-slp-vectorize", "-fno-unroll-loops")
# As meson compiles the release library.
LIBRARY_FLAGS = ("-O3", "-fPIC", "-shared", "-fvisibility=hidden")
# For calling: nothing depends on speed.
FACES_FLAGS = ("-O1", "-fPIC", "-shared", "-fvisibility=hidden")


class Missing(Exception):
    """A tool or a file that a proof needs is not here: what, and how to get it."""


class Inapplicable(Exception):
    """A planted change does not fit the source any more: the table needs a look."""


@dataclass(frozen=True, slots=True)
class Change:
    """One thing put for another in one file of the checkout; ``old`` occurs there exactly once."""

    file: str
    old: str
    new: str

    def apply(self, text: str) -> str:
        """
        The text with the change, blanks compared loosely.

        Raises:
            Inapplicable: ``old`` does not occur exactly once.
        """
        pattern = r"\s*".join(re.escape(word) for word in re.findall(r"\w+|[^\w\s]", self.old))
        found = list(re.finditer(pattern, text))
        if len(found) != 1:
            raise Inapplicable(f"{self.file}: {self.old!r} occurs {len(found)} times")
        return text[: found[0].start()] + self.new + text[found[0].end() :]


def need_sources() -> None:
    """
    Proofs read the sources themselves.

    Raises:
        Missing: this is an installed copy without them.
    """
    if not (ROOT / "zmm" / "core" / "unity.c").is_file() or not (ROOT / "model" / "sizes.py").is_file():
        raise Missing("the sources are not here; run zmm prove from a checkout (ci/setup)")


def find_clang() -> str:
    """
    The compiler whose IR is proved.

    Raises:
        Missing: there is none.
    """
    for name in (os.environ.get("ZMM_CLANG", ""), "clang-19", "clang"):
        if name and (path := shutil.which(name)):
            return path
    raise Missing("clang is not here (Debian: apt-get install clang-19)")


def find_compiler() -> str:
    """
    The compiler that the package's build would use.

    Raises:
        Missing: there is none.
    """
    for name in (os.environ.get("CC", "").partition(" ")[0], "cc", "gcc", "clang"):
        if name and (path := shutil.which(name)):
            return path
    raise Missing("a C compiler is not here (Debian: apt-get install gcc libc6-dev)")


def copy_core(folder: Path, change: Change | None) -> Path:
    """The core's folder, or a copy with the change, as `core` beside `include`."""
    if change is None or not change.file.startswith("zmm/"):
        return ROOT / "zmm" / "core"
    for part in ("core", "include"):
        shutil.copytree(ROOT / "zmm" / part, folder / "zmm" / part, dirs_exist_ok=True)
    path = folder / change.file
    path.write_text(change.apply(path.read_text()))
    return folder / "zmm" / "core"


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Inapplicable(f"does not compile: {done.stderr.strip().splitlines()[-1] if done.stderr else command[0]}")


def _arguments(core: Path, level: int) -> list[str]:
    return ["-std=gnu11", f"-DZMM_LEVEL={level}", f"-I{core}", f"-I{core.parent / 'include'}", "-w"]


def compile_ir(folder: Path, change: Change | None, level: int) -> str:
    """The IR of faces.c on the core (or a changed copy of it) at a level."""
    core = copy_core(folder, change)
    out = folder / f"faces-{level}.ll"
    _run([find_clang(), *IR_FLAGS, *_arguments(core, level), str(HERE / "faces.c"), "-o", str(out)])
    return out.read_text()


def compile_faces(folder: Path, change: Change | None, level: int) -> Path:
    """The same as a library that can be called."""
    core = copy_core(folder, change)
    out = folder / f"faces-{level}.so"
    _run([find_compiler(), *FACES_FLAGS, *_arguments(core, level), str(HERE / "faces.c"), "-o", str(out)])
    return out


def compile_library(folder: Path, change: Change, level: int) -> Path:
    """A changed copy of a level's library, compiled as meson compiles the one that is shipped."""
    core = copy_core(folder, change)
    out = folder / "libzmm.so"
    flags = [*LIBRARY_FLAGS, *_arguments(core, level), "-std=c11", "-DZMM_EXPORT=1", "-DNDEBUG"]
    _run([find_compiler(), *flags, str(core / "unity.c"), "-o", str(out)])
    return out


def load_model(folder: Path, change: Change | None) -> ModuleType:
    """The specification, or a copy of it with the change, as a package of another name."""
    if change is None or not change.file.startswith("model/"):
        return importlib.import_module("zmm_model")
    copy = folder / "model"
    shutil.copytree(ROOT / "model", copy, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    path = folder / change.file
    path.write_text(change.apply(path.read_text()))
    spec = importlib.util.spec_from_file_location(
        MODEL_COPY, copy / "__init__.py", submodule_search_locations=[str(copy)]
    )
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules[MODEL_COPY] = package
    spec.loader.exec_module(package)
    return package
