"""
Builds the harness: the core, the C interpreter of tapes and its shadow model as one executable for an engine.

Compiles only what changed (objects are kept by the digest of what they are made of), in a checkout and in an installed
copy alike: a wheel carries the C sources. By itself::

    python -m zmm_fuzz.harness.build heap php --engine libfuzzer --sanitize -o build/fuzzers
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from . import TARGETS

_NATIVE: Final = Path(__file__).resolve().parent.parent / "native"
_HARNESS: Final = _NATIVE / "harness"
# The runner's parts that the harness is made of: it decodes, performs and stores as the runner does.
_RUNNER_PARTS: Final = ("tape", "labels", "pattern", "perform", "storage", "crc", "digest", "target_zmm")
_HARNESS_PARTS: Final = ("pages_kept", "linked", "shadow", "play", "features", "entry")

_CLANGS: Final = ("clang-19", "clang", "clang-20", "clang-18", "clang-17", "clang-16", "clang-15", "clang-14")
_COMMON: Final = ("-std=gnu11", "-g", "-O2", "-fno-omit-frame-pointer")
WARNINGS: Final = ("-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Wstrict-prototypes")
_SANITIZERS: Final = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
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
    "replay": Engine(
        "-replay",
        ("cc", "gcc", "clang"),
        "a C compiler is needed (Debian: apt-get install gcc libc6-dev)",
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


def executable_name(target: str, engine: str, *, sanitize: bool = False) -> str:
    """The name of the executable that :func:`build` makes."""
    return f"zmm-fuzz-{target}{ENGINES[engine].suffix}{'-asan' if sanitize else ''}"


def _headers_digest(core: Path) -> bytes:
    """A digest of everything that any object may include."""
    digest = hashlib.sha256()
    folders = (_NATIVE, _HARNESS, core, core.parent / "include")
    for path in sorted(path for folder in folders for path in folder.glob("*.[ch]*") if path.is_file()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.digest()


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
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


def build(
    target: str,
    *,
    folder: Path,
    engine: str = "libfuzzer",
    sanitize: bool = False,
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
        core: the folder of the core's sources (its ``unity.c``) when it is not this tree's; ``include`` lies beside it.
        level: of the core, as in ``config.h``; 1 is release.
        flags: further flags of the compiler, for everything.

    Raises:
        BuildError: a compiler or the sources are missing, or something does not compile.
    """
    if target not in TARGETS or engine not in TARGETS[target].engines:
        known = ", ".join(name for name, one in TARGETS.items() if engine in one.engines)
        raise BuildError(f"no target {target!r} for {engine}; there are: {known}")
    core = (core or _NATIVE.parent.parent / "zmm" / "core").resolve()
    if not (core / "unity.c").exists() or not (_HARNESS / "core.c").exists():
        raise BuildError(f"the C sources are not in {core}; fuzz from a checkout, or install zmm anew")
    how = ENGINES[engine]
    compiler = find_compiler(how)
    objects = folder / "objects"
    objects.mkdir(parents=True, exist_ok=True)
    salt = _headers_digest(core)

    common = [*_COMMON, *flags, *(_SANITIZERS if sanitize else ()), f"-DZMM_LEVEL={level}"]
    common += [f"-D{how.define}=1", "-DZMM_MUTATOR_HAS_TARGET=1"] if how.define else []
    unity = [f'-DZMM_CORE_UNITY="{core / "unity.c"}"', f"-I{core.parent / 'include'}", *how.counters]
    sources = [(_NATIVE / f"{part}.c", common) for part in _RUNNER_PARTS]
    sources += [(_HARNESS / f"{part}.c", common) for part in (*_HARNESS_PARTS, *how.parts)]
    sources += [(_HARNESS / "core.c", common + unity), (_HARNESS / "targets" / f"{target}.c", common)]
    with ThreadPoolExecutor(max_workers=2) as pool:
        jobs = [pool.submit(_compile, compiler, source, how_to, objects, salt) for source, how_to in sources]
        parts = [job.result() for job in jobs]

    path = folder / executable_name(target, engine, sanitize=sanitize)
    stamp = objects / f"{path.name}.txt"
    made_of = "\n".join([compiler, *flags, *(part.name for part in parts)])
    if not path.exists() or not stamp.exists() or stamp.read_text() != made_of:
        partial = path.with_suffix(f".{os.getpid()}")
        sanitizers = _SANITIZERS if sanitize else ()
        _run([compiler, *sanitizers, *flags, *map(str, parts), *how.link, "-o", str(partial)])
        partial.replace(path)
        stamp.write_text(made_of)
    return path


def main() -> int:
    """Builds what is named on the command line; prints the paths."""
    parser = argparse.ArgumentParser(description="build the fuzzing harness")
    parser.add_argument("targets", nargs="+", choices=TARGETS, metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--engine", choices=ENGINES, default="libfuzzer")
    parser.add_argument("--sanitize", action="store_true", help="with ASan and UBSan")
    parser.add_argument("--level", type=int, default=1, help="of the core: 0 fast, 1 release")
    parser.add_argument("--core", type=Path, help="another folder of the core's sources")
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
            )
            print(path)
    except BuildError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
