"""From a target's name to what the misuse catalogue runs: zmm's levels, PHP, malloc libraries, sanitizers."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from importlib import resources
from pathlib import Path

from ..targets.base import TargetError
from ..targets.php import find_php, php_environment, php_loader
from ..targets.runner import child_environment
from .subject import Subject, faults_runner

NAMES = (
    "zmm, zmm:LEVEL, zmm:/path, php, php:VERSION, php:/path, libc, libc:check, jemalloc, tcmalloc, tcmalloc:debug, "
    "mimalloc, mimalloc:secure, malloc:/path, asan or valgrind, each with +VARIABLE=VALUE behind it"
)
# Environment switches of an allocator, such as zmm:hardened+ZMM_WIPE=1.
_SWITCH = re.compile(r"\+([A-Z][A-Z0-9_]*)=([^+]*)")
# Those that zmm reads (zmm/core/switches.c): any other ZMM_... would be measured as if it did something.
ZMM_SWITCHES = ("ZMM_LEVEL", "ZMM_WIPE", "ZMM_GUARD", "ZMM_CHECK_EVERY")
ZMM_LEVELS = ("fast", "release", "hardened", "debug")
# jemalloc and others keep their state in static thread-local storage, which a library loaded late has little of.
_STATIC_TLS = "glibc.rtld.optional_static_tls=16384"
_LIBRARY_FOLDERS = ("/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/local/lib")
_MALLOC_LIBRARIES = {
    "jemalloc": "libjemalloc.so*",
    "tcmalloc": "libtcmalloc_minimal.so*",
    "tcmalloc:debug": "libtcmalloc_minimal_debug.so*",
    "mimalloc": "libmimalloc.so*",
    "mimalloc:secure": "libmimalloc-secure.so*",
}
_COMPILERS = ("clang-19", "clang", "gcc", "cc")
# A hang under a tool that is fifty times slower takes longer to be one.
_VALGRIND_PATIENCE = 10.0
_TOOL_SECONDS = 60


class Subjects:
    """Finds subjects; what a sanitizer needs is built once into a folder that lives as long as this object."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._accesses: dict[str, str] = {}

    def __enter__(self) -> Subjects:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def find(self, name: str) -> Subject:
        """
        The subject of a name.

        :raises TargetError: there is no such name, or what it names is not here.
        """
        settings = dict(_SWITCH.findall(name))
        if settings:
            subject = self.find(_SWITCH.sub("", name))
            for switch in settings:
                _check_switch(subject, switch)
            return replace(subject, name=name, environment={**subject.environment, **settings})
        kind, _, what = name.partition(":")
        if kind == "zmm":
            return self._zmm(name, what)
        if kind == "php":
            return self._php(name, what)
        if name == "libc":
            return self._malloc(name, "", {})
        if name == "libc:check":
            return self._libc_check(name)
        if name in _MALLOC_LIBRARIES:
            return self._malloc(name, _installed(name, _MALLOC_LIBRARIES[name]), {})
        if kind == "malloc" and what:
            return self._malloc(name, _existing(what), {})
        if name == "asan":
            return self._asan(name)
        if name == "valgrind":
            return self._valgrind(name)
        raise TargetError(f"unknown target {name!r}; it is {NAMES}")

    def found(self) -> Iterator[tuple[str, Subject | TargetError]]:
        """Every name that needs no path, with its subject or why there is none."""
        names = (
            *(f"zmm:{level}" for level in ZMM_LEVELS),
            "php",
            "php:8.4",
            "libc",
            "libc:check",
            *_MALLOC_LIBRARIES,
            "asan",
            "valgrind",
        )
        for name in names:
            try:
                yield name, self.find(name)
            except TargetError as error:
                yield name, error

    # ---- each kind ----

    def _zmm(self, name: str, what: str) -> Subject:
        library = _existing(what) if "/" in what else _zmm_library(what or "release")
        level = what if what in ZMM_LEVELS else _level_of(library)
        # Debug is measured with all that it can do; zmm:debug+ZMM_GUARD=off is the level without pages for each block.
        guard = {"ZMM_GUARD": "all"} if level == "debug" else {}
        return _subject(name, "zmm", library, guard, level=level)

    def _php(self, name: str, what: str) -> Subject:
        library = _existing(what) if "/" in what else find_php(what)
        version = re.search(r"php-(\d+\.\d+\.\d+)", library)
        return _subject(
            name,
            "php",
            library,
            php_environment(library),
            prefix=php_loader(library),
            version=version[1] if version else "",
        )

    def _malloc(self, name: str, library: str, additions: dict[str, str]) -> Subject:
        environment = {"GLIBC_TUNABLES": _STATIC_TLS, "MIMALLOC_SHOW_ERRORS": "1", **additions}
        return _subject(name, "malloc", library, environment, version=_version_of(library))

    def _libc_check(self, name: str) -> Subject:
        library = _installed(name, "libc_malloc_debug.so*")
        environment = {"LD_PRELOAD": library, "MALLOC_CHECK_": "3", "GLIBC_TUNABLES": "glibc.malloc.check=3"}
        return _subject(name, "malloc", "", environment)

    def _asan(self, name: str) -> Subject:
        compiler, accesses = self._instrumented("address")
        environment = {
            "LD_PRELOAD": _runtime(compiler),
            "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1:allocator_may_return_null=0:symbolize=0",
            "ZMM_FAULTS_ACCESSES": accesses,
        }
        return _subject(name, "malloc", "", environment, version=Path(compiler).name, patience=2.0)

    def _valgrind(self, name: str) -> Subject:
        tool = shutil.which("valgrind")
        if tool is None:
            raise TargetError("valgrind is not installed; install it, or leave it out")
        command = (
            tool,
            "-q",
            "--exit-on-first-error=yes",
            "--error-exitcode=99",
            "--undef-value-errors=no",
            "--leak-check=no",
        )
        return _subject(
            name, "malloc", "", {}, prefix=command, patience=_VALGRIND_PATIENCE, runs_max=1, version=_tool_version(tool)
        )

    def _instrumented(self, sanitizer: str) -> tuple[str, str]:
        """A compiler and the library, made by it, that does a script's accesses under a sanitizer."""
        compiler = next((found for found in map(shutil.which, _COMPILERS) if found), None)
        if compiler is None:
            raise TargetError("there is no C compiler for AddressSanitizer's part; install clang or gcc")
        if sanitizer not in self._accesses:
            folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="zmm-faults-")))
            source = folder / "accesses.c"
            source.write_text(resources.files(__package__).joinpath("accesses.c").read_text("utf-8"), "utf-8")
            library = folder / "accesses.so"
            done = subprocess.run(
                [compiler, "-O1", f"-fsanitize={sanitizer}", "-fPIC", "-shared", "-o", library, source],
                capture_output=True,
                text=True,
                timeout=_TOOL_SECONDS,
                check=False,
            )
            if done.returncode:
                raise TargetError(f"{Path(compiler).name} has no {sanitizer} sanitizer; install its runtime library")
            self._accesses[sanitizer] = str(library)
        return compiler, self._accesses[sanitizer]


def _subject(
    name: str,
    kind: str,
    library: str,
    additions: dict[str, str],
    *,
    version: str = "",
    level: str = "",
    prefix: tuple[str, ...] = (),
    patience: float = 1.0,
    runs_max: int = 1000,
) -> Subject:
    environment = child_environment({"LIBC_FATAL_STDERR_": "1", **additions})
    command = (*prefix, str(faults_runner()), kind, library)
    return Subject(name, kind, command, version, level, environment, patience, runs_max)


def _check_switch(subject: Subject, name: str) -> None:
    """Raises TargetError when a switch of zmm would change nothing, and a figure would say that it had."""
    if not name.startswith("ZMM_"):
        return
    if name not in ZMM_SWITCHES:
        raise TargetError(f"zmm has no switch {name}; it has {', '.join(ZMM_SWITCHES)} (docs/switches.md)")
    if not subject.is_zmm:
        raise TargetError(f"{subject.name} does not read {name}, a switch of zmm; leave +{name} out")
    if name == "ZMM_LEVEL":
        raise TargetError("ZMM_LEVEL chooses a level for Python's heaps only; write zmm:LEVEL")


def _zmm_library(level: str) -> str:
    if level not in ZMM_LEVELS:
        raise TargetError(f"zmm has no level {level!r}; it has {', '.join(ZMM_LEVELS)}")
    try:
        from zmm.paths import get_library

        return str(get_library(level))
    except (ImportError, FileNotFoundError, ValueError) as error:
        raise TargetError(f"zmm's level {level} is not built here ({error}); install zmm with ci/setup") from None


def _level_of(library: str) -> str:
    """The level that a library's name tells; release, the default, when it tells none."""
    return next((level for level in ZMM_LEVELS if level in Path(library).name), "release")


def _existing(path: str) -> str:
    if not Path(path).is_file():
        raise TargetError(f"{path} is no file; check the path")
    return str(Path(path).resolve())


def _installed(name: str, pattern: str) -> str:
    for folder in _LIBRARY_FOLDERS:
        for path in sorted(Path(folder).glob(pattern)):
            if path.is_file():
                return str(path.resolve())
    raise TargetError(f"{name} is not installed; install it, or name a library with malloc:/path")


def _version_of(library: str) -> str:
    found = re.search(r"\.so\.(\d[\d.]*)$", library)
    return found[1] if found else ""


def _tool_version(tool: str) -> str:
    try:
        done = subprocess.run([tool, "--version"], capture_output=True, text=True, timeout=_TOOL_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip().rpartition("-")[2]


def _runtime(compiler: str) -> str:
    """AddressSanitizer's shared runtime of a compiler, to be loaded before everything else."""
    name = "libasan.so" if "gcc" in Path(compiler).name or compiler.endswith("/cc") else "libclang_rt.asan-x86_64.so"
    done = subprocess.run(
        [compiler, f"-print-file-name={name}"], capture_output=True, text=True, timeout=_TOOL_SECONDS, check=False
    )
    path = done.stdout.strip()
    if not Path(path).is_file():
        raise TargetError(f"{Path(compiler).name} has no shared AddressSanitizer runtime; install it")
    return str(Path(path).resolve())
