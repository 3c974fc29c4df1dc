"""
Builds the harness: the core, the C interpreter of tapes and its shadow model as one executable for an engine.

Compiles only what changed (objects are kept by the digest of what they are made of). Needs a checkout: a wheel carries
no sources of the core. By itself::

    python -m zmm_fuzz.harness.build heap php --engine libfuzzer --sanitize -o build/fuzzers
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from . import PYTHON, TARGETS

_NATIVE: Final = Path(__file__).resolve().parent.parent / "native"
_HARNESS: Final = _NATIVE / "harness"
_TREE_CORE: Final = _NATIVE.parent.parent / "zmm" / "core"
# The runner's parts that the harness is made of: it decodes, performs and stores as the runner does.
_RUNNER_PARTS: Final = ("tape", "labels", "pattern", "perform", "storage", "crc", "digest", "target_zmm")
_HARNESS_PARTS: Final = ("pages_kept", "linked", "shadow", "play", "features", "spare", "entry")

_CLANGS: Final = ("clang-19", "clang", "clang-20", "clang-18", "clang-17", "clang-16", "clang-15", "clang-14")
_COMMON: Final = ("-std=gnu11", "-g", "-O2")
# What clang builds for an engine runs a hundred thousand times a second; a sanitizer's report unwinds by tables. With a
# sanitizer's checks in it, what -O3 inlines no longer fits the caches: there -O2 is a tenth quicker.
_QUICK: Final = ("-O3", "-fomit-frame-pointer")
_QUICK_SANITIZED: Final = ("-fomit-frame-pointer",)
WARNINGS: Final = ("-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Wstrict-prototypes")
_SANITIZERS: Final = (
    "-fsanitize=address",
    "-fno-sanitize-recover=all",
    # Nobody in the core keeps the address of a local variable; a heap of frames would cost a tenth.
    "-fsanitize-address-use-after-return=never",
)
_UNDEFINED: Final = ("-fsanitize=undefined", "-fno-sanitize-recover=all")
# What touches blocks, besides the core, is watched; the rest of the harness is not what is tested.
_WATCHED_PARTS: Final = ("pattern", "labels", "tape", "spare")
# Blocks of the core are none of malloc's. Those are the engine's and Python's, a dozen for each play: each would be
# filled, would wait among 256 MiB of freed ones (so that memory is always cold), and have its call chain looked up.
_ASAN_OPTIONS: Final = (
    "detect_leaks=0:handle_abort=1:malloc_context_size=0:max_malloc_fill_size=0:quarantine_size_mb=1:"
    "thread_local_quarantine_size_kb=64"
)
# Comparisons are not traced: they cost half the executions, and the mutator knows the numbers that matter.
_COUNTERS: Final = (
    "-fsanitize-coverage=inline-8bit-counters,pc-table",
    f"-fsanitize-coverage-ignorelist={_HARNESS / 'uncounted.txt'}",
)


class BuildError(Exception):
    """What is missing or does not compile, and the remedy, in one line."""


@dataclass(frozen=True, slots=True)
class Engine:
    """How the harness is compiled and linked for one engine."""

    suffix: str
    compilers: tuple[str, ...]
    remedy: str
    define: str = ""
    counters: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    link: tuple[str, ...] = ()

    @property
    def is_library(self) -> bool:
        """Whether Python loads what is built."""
        return "-shared" in self.link


_NO_COMPILER: Final = "a C compiler is needed (Debian: apt-get install gcc libc6-dev)"

ENGINES: Final[dict[str, Engine]] = {
    "libfuzzer": Engine(
        "",
        _CLANGS,
        "libFuzzer needs clang (Debian: apt-get install clang-19 libclang-rt-19-dev)",
        "ZMM_ENGINE_LIBFUZZER",
        _COUNTERS,
        ("mutate", "mutator"),
        ("-fsanitize=fuzzer",),
    ),
    "afl": Engine(
        "-afl",
        ("afl-clang-fast",),
        "AFL++ is not here (Debian: apt-get install afl++)",
        "ZMM_ENGINE_AFL",
        (),
        (),
        ("-fsanitize=fuzzer",),
    ),
    "atheris": Engine(
        "-atheris",
        _CLANGS,
        "Atheris drives code that clang has compiled (Debian: apt-get install clang-19)",
        "ZMM_ENGINE_ATHERIS",
        _COUNTERS,
        ("mutate", "callback"),
        ("-shared",),
    ),
    # For Python without an engine: tests.
    "library": Engine("-library", ("cc", "gcc", "clang"), _NO_COMPILER, "", (), ("mutate",), ("-shared",)),
    "replay": Engine(
        "-replay",
        ("cc", "gcc", "clang"),
        _NO_COMPILER,
        "",
        (),
        ("replay",),
    ),
}


def find_compiler(engine: Engine) -> str:
    """
    The compiler for an engine; ``CC`` of the environment decides where any will do.

    Raises:
        BuildError: none is here.
    """
    asked = os.environ.get("CC", "")
    names = (asked, *engine.compilers) if asked and "cc" in engine.compilers else engine.compilers
    for name in names:
        if name and shutil.which(name):
            return name
    raise BuildError(engine.remedy)


def executable_name(target: str, engine: str, *, sanitize: bool = False, undefined: bool = True) -> str:
    """The name of the executable that :func:`build` makes."""
    sanitized = ("-asan" if undefined else "-asan-alone") if sanitize else ""
    return f"zmm-fuzz-{target}{ENGINES[engine].suffix}{sanitized}"


def _headers_digest(core: Path) -> bytes:
    """A digest of everything that any object may include."""
    digest = hashlib.sha256()
    folders = (_NATIVE, _HARNESS, core, core.parent / "include")
    for path in sorted(path for folder in folders for path in folder.glob("*.[ch]*") if path.is_file()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.digest()


def _run(command: Sequence[str]) -> None:
    # AFL++ reads the list of what not to count from here.
    environment = dict(os.environ, AFL_LLVM_DENYLIST=str(_HARNESS / "uncounted.txt"), AFL_QUIET="1")
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines()
        raise BuildError(f"`{' '.join(command)}` failed: {lines[0] if lines else done.returncode}")


def _compile(compiler: str, source: Path, flags: Sequence[str], objects: Path, salt: bytes) -> Path:
    key = hashlib.sha256(salt + source.read_bytes() + "\0".join((compiler, str(source), *flags)).encode())
    result = objects / f"{source.stem}-{key.hexdigest()[:16]}.o"
    if not result.exists():
        partial = result.with_suffix(f".{os.getpid()}")
        _run([compiler, *flags, "-c", str(source), "-o", str(partial)])
        partial.replace(result)
    return result


@dataclass(frozen=True, slots=True)
class _Job:
    """What is built, and of what."""

    target: str
    engine: str
    sanitize: bool
    core: Path
    folder: Path
    level: int
    flags: tuple[str, ...]
    undefined: bool = True

    @property
    def how(self) -> Engine:
        return ENGINES[self.engine]

    def common(self) -> list[str]:
        """The flags of every object."""
        quick = _QUICK_SANITIZED if self.sanitize else _QUICK
        frames = ("-fno-omit-frame-pointer",) if self.sanitize else ()
        flags = [*_COMMON, *(quick if self.how.counters else frames), *self.flags, f"-DZMM_LEVEL={self.level}"]
        if self.how.is_library:
            flags += ["-fPIC", "-fvisibility=hidden", "-DZMM_HARNESS_LIBRARY=1"]
        return flags + ([f"-D{self.how.define}=1", "-DZMM_MUTATOR_HAS_TARGET=1"] if self.how.define else [])

    def sanitizers(self) -> list[str]:
        """The further flags of what is watched."""
        # The runtime that Atheris brings is older than the newest checks.
        older = ["-fno-sanitize=function"] if self.engine == "atheris" else []
        undefined = [*_UNDEFINED, *older] if self.undefined else []
        return [*_SANITIZERS, *undefined] if self.sanitize else []

    def sources(self) -> list[tuple[Path, list[str]]]:
        """Every source with its flags."""
        common = self.common()
        unity = [f'-DZMM_CORE_UNITY="{self.core / "unity.c"}"', f"-I{self.core.parent / 'include'}"]
        watched = [*common, *self.sanitizers()]
        counted = ("tape",) if self.target == "tape" else ()
        sources = [
            (_NATIVE / f"{part}.c", [*watched, *self.how.counters] if part in counted else how)
            for part in _RUNNER_PARTS
            for how in [watched if part in _WATCHED_PARTS else common]
        ]
        sources += [
            (_HARNESS / f"{part}.c", watched if part in _WATCHED_PARTS else common)
            for part in (*_HARNESS_PARTS, *self.how.parts)
        ]
        target = _HARNESS / "targets" / f"{self.target}.c"
        # A target that plays no tape has nothing of the core to be guided by.
        decoder = [*watched, *self.how.counters] if self.target == "tape" else common
        sources.append((target, decoder))
        sources.append((_HARNESS / "core.c", [*watched, *unity, *self.how.counters]))
        return sources


def _link(compiler: str, parts: Sequence[Path], flags: Sequence[str], path: Path, objects: Path) -> Path:
    stamp = objects / f"{path.name}.txt"
    made_of = "\n".join([compiler, *flags, *(part.name for part in parts)])
    if not path.exists() or not stamp.exists() or stamp.read_text() != made_of:
        partial = path.with_name(f"{path.name}.{os.getpid()}")
        _run([compiler, *map(str, parts), *flags, "-o", str(partial)])
        partial.replace(path)
        stamp.write_text(made_of)
    return path


def _compiler_of(job: _Job, source: Path, compiler: str) -> str:
    """AFL++'s compiler counts whatever it compiles: it is given the core alone."""
    if job.engine != "afl" or job.sanitize or source.name == "core.c":
        return compiler
    return find_compiler(ENGINES["replay"])


def _make(job: _Job) -> Path:
    """Compiles and links the C of one job."""
    compiler = find_compiler(job.how)
    objects = job.folder / "objects"
    objects.mkdir(parents=True, exist_ok=True)
    salt = _headers_digest(job.core)
    with ThreadPoolExecutor(max_workers=2) as pool:
        parts = list(
            pool.map(
                lambda one: _compile(_compiler_of(job, one[0], compiler), one[0], one[1], objects, salt), job.sources()
            )
        )
    name = executable_name(job.target, job.engine, sanitize=job.sanitize, undefined=job.undefined)
    path = job.folder / (f"lib{name}.so" if job.how.is_library else name)
    flags = [*job.sanitizers(), *job.flags, *job.how.link]
    return _link(compiler, parts, flags, path, objects)


def build_mutator(folder: Path) -> Path:
    """
    Builds the mutator by itself, as a library: for AFL++ (``AFL_CUSTOM_MUTATOR_LIBRARY``) and for Atheris (preloaded).

    Raises:
        BuildError: as :func:`build`.
    """
    compiler = find_compiler(ENGINES["replay"])
    objects = folder / "objects"
    objects.mkdir(parents=True, exist_ok=True)
    flags = [*_COMMON, "-fPIC", "-fvisibility=hidden"]
    sources = [_NATIVE / "tape.c", _HARNESS / "mutate.c", _HARNESS / "mutator.c"]
    salt = _headers_digest(_TREE_CORE)
    parts = [_compile(compiler, source, flags, objects, salt) for source in sources]
    return _link(compiler, parts, ["-shared"], folder / "libzmm-mutator.so", objects)


def _atheris_script(target: str, folder: Path, library: Path | None, sanitize: bool, undefined: bool) -> Path:
    """The executable that puts the runtime in place and hands over to ``drive.py``."""
    found = importlib.util.find_spec("atheris")
    if found is None or found.origin is None:
        raise BuildError("Atheris is not here (pip install 'zmm[fuzz]'; Linux and Python 3.11 to 3.13)")
    path = folder.resolve() / executable_name(target, "atheris", sanitize=sanitize, undefined=undefined)
    lines = ["#!/bin/sh", "# Made by zmm_fuzz.harness.build: Python drives, the C harness is driven."]
    if library is not None:
        runtime = Path(found.origin).parent.parent / f"{'asan' if sanitize else 'ubsan'}_with_fuzzer.so"
        preload = f"{build_mutator(folder).resolve()}:{runtime}"
        # Not kept in the environment: whatever else Python starts is no part of the harness.
        lines.append(f"export LD_PRELOAD={shlex.quote(preload)}")
        lines.append(f'export ASAN_OPTIONS="{_ASAN_OPTIONS}${{ASAN_OPTIONS:+:$ASAN_OPTIONS}}"')
    call = [sys.executable, "-P", "-m", "zmm_fuzz.harness.drive", target, str(path)]
    call.append(str(library.resolve()) if library is not None else "-")
    lines.append(f'exec {shlex.join(call)} "$@"')
    path.write_text("\n".join(lines) + "\n")
    path.chmod(0o755)
    return path


def build(
    target: str,
    *,
    folder: Path,
    engine: str = "libfuzzer",
    sanitize: bool = False,
    undefined: bool = True,
    core: Path | None = None,
    level: int = 1,
    flags: Sequence[str] = (),
) -> Path:
    """
    Builds one executable, quickly when nothing changed, and returns its path.

    Args:
        target: a name in ``TARGETS``.
        folder: receives the executable, and the objects it is made of in a folder ``objects``.
        engine: a name in ``ENGINES``.
        sanitize: with address and undefined-behaviour sanitizers.
        undefined: false leaves out the latter, which takes a tenth of a play.
        core: the folder of the core's sources (its ``unity.c``) when it is not this tree's; ``include`` lies beside it.
        level: of the core, as in ``config.h``; 1 is release.
        flags: further flags of the compiler, for everything.

    Raises:
        BuildError: a compiler or the sources are missing, or something does not compile.
    """
    if target not in TARGETS or engine not in TARGETS[target].engines:
        known = ", ".join(name for name, one in TARGETS.items() if engine in one.engines)
        raise BuildError(f"no target {target!r} for {engine}; there are: {known}")
    folder.mkdir(parents=True, exist_ok=True)
    if TARGETS[target].engines == PYTHON:
        return _atheris_script(target, folder, None, sanitize=False, undefined=True)
    core = (core or _TREE_CORE).resolve()
    if not (core / "unity.c").exists() or not (_HARNESS / "core.c").exists():
        raise BuildError(f"no sources of the core in {core}: fuzz in a checkout of the repository")
    made = _make(_Job(target, engine, sanitize, core, folder, level, tuple(flags), undefined))
    return _atheris_script(target, folder, made, sanitize, undefined) if engine == "atheris" else made


def main() -> int:
    """Builds what is named on the command line; prints the paths."""
    parser = argparse.ArgumentParser(description="build the fuzzing harness")
    parser.add_argument("targets", nargs="+", choices=TARGETS, metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--engine", choices=ENGINES, default="libfuzzer")
    parser.add_argument("--sanitize", action="store_true", help="with ASan and UBSan")
    parser.add_argument("--level", type=int, default=1, help="of the core: 0 fast, 1 release")
    parser.add_argument("--core", type=Path, help="another folder of the core's sources")
    parser.add_argument("--strict", action="store_true", help="warnings are errors")
    parser.add_argument("-o", dest="folder", type=Path, default=Path("build/fuzzers"))
    options = parser.parse_args()
    try:
        for target in options.targets:
            path = build(
                target,
                folder=options.folder,
                engine=options.engine,
                sanitize=options.sanitize,
                core=options.core,
                level=options.level,
                flags=(*WARNINGS, "-Werror") if options.strict else (),
            )
            print(path)
    except BuildError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
