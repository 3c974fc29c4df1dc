"""Engines by name: which binary feeds a harness, how it is told what to do, and what to install where it is missing."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import UserError, one_line
from ..harness import TARGETS
from ..harness.build import BuildError, build
from ..harness.processor import processor_level

ENGINES = ("libfuzzer", "atheris", "afl")
# A folder of engines that were built elsewhere, under the same names; nothing is built then.
ENGINES_VARIABLE = "ZMM_FUZZ_ENGINES"
_SUFFIXES = {"libfuzzer": "", "atheris": "-atheris", "afl": "-afl", "replay": "-replay"}
# Short inputs (about eight operations of a tape) are many, long ones reach further: workers take turns. What merges and
# repeats takes any.
_LENGTHS = {"tape": (24, 512, 64), "bytes": (256, 4096)}
_LENGTH_MAX = 1 << 20
# Up to this length inputs are chosen evenly: preferring those with rare features costs a tenth of Atheris' executions
# there and finds less. Of longer ones it finds more.
_EVENLY_BYTES = 24
_SANITIZED = {
    "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1:handle_abort=1:symbolize=1",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
}
# Variables of other people's runs that would change what an engine does.
_DROPPED = ("LD_PRELOAD", "ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS", "AFL_")


class EngineError(UserError):
    """An engine cannot be had: one line that names the thing and the remedy."""


@dataclass(frozen=True, slots=True)
class Engine:
    """
    A built engine: ``style`` is the way in which it wants to be spoken to (``libfuzzer`` or ``afl``).

    ``kind`` says what an input is: ``tape`` (a bare tape body, so a program) or ``bytes`` (a file of some format).
    ``twin`` is the same with AddressSanitizer alone, which is quicker: every other worker has it.
    """

    name: str
    target: str
    path: Path
    kind: str = "tape"
    edition: str = "zmm"
    sanitized: bool = False
    twin: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def style(self) -> str:
        """Whose command line it has."""
        return "afl" if self.name == "afl" else "libfuzzer"

    def path_of(self, worker: int) -> Path:
        """What a worker runs: the first the quicker twin where there is one, the second what sees more, and so on."""
        return self.twin if self.twin is not None and worker % 2 == 0 else self.path

    def length_bytes(self, worker: int) -> int:
        """The longest input that a worker makes."""
        lengths = _LENGTHS[self.kind]
        return lengths[worker % len(lengths)]

    def flags(self, length_bytes: int = _LENGTH_MAX) -> list[str]:
        """What every run of a libFuzzer-like engine is told; ``length_bytes`` is that of the longest input."""
        return [
            f"-max_len={length_bytes}",
            "-timeout=10",
            "-rss_limit_mb=4096",
            "-report_slow_units=1000",
            "-print_final_stats=1",
        ]

    def worker_flags(self, worker: int) -> list[str]:
        """What a worker of a campaign is told: :meth:`flags` for its length, and how it chooses inputs."""
        length_bytes = self.length_bytes(worker)
        evenly = ["-entropic=0"] if length_bytes <= _EVENLY_BYTES else []
        return [*self.flags(length_bytes), *evenly]

    def child_environment(self) -> dict[str, str]:
        """The environment of an engine's process."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_DROPPED)}
        return {**kept, **_SANITIZED, **self.environment}

    def perform(
        self, arguments: Sequence[str | Path], folder: Path, seconds: float | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """
        Runs a libFuzzer-like engine to its end, outside of a campaign's life; ``stdout`` is all that it said.

        Args:
            arguments: what it is told beside :meth:`flags`.
            folder: where it runs, and leaves whatever it writes.
            seconds: after so long it is killed; None lets it take its time.

        Raises:
            subprocess.TimeoutExpired: the time was over.
            OSError: it cannot be started.
        """
        return subprocess.run(
            [self.path, *self.flags(), f"-artifact_prefix={folder}/", *arguments],
            cwd=folder,
            env={**self.child_environment(), "TMPDIR": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=seconds,
            check=False,
        )


def target_names() -> list[str]:
    """The harnesses there are, in their order."""
    return list(TARGETS)


def find_engine(
    name: str, target: str, *, sanitize: bool = False, folder: Path | None = None, core: Path | None = None
) -> Engine:
    """
    The engine of a harness, built if need be.

    Args:
        name: one of :data:`ENGINES`; empty for libFuzzer where the harness is native, else what it has.
        target: one of :func:`target_names`.
        sanitize: with AddressSanitizer and UndefinedBehaviorSanitizer.
        folder: where built engines are kept.
        core: a copy of the core's sources in the place of the tree's own.

    Raises:
        EngineError: there is no such engine or harness, or something has to be installed first.
    """
    if name and name not in ENGINES:
        raise EngineError(f"unknown engine {name!r}; there are {', '.join(ENGINES)}")
    found = TARGETS.get(target)
    if found is None:
        raise EngineError(f"unknown fuzz target {target!r}; there are {', '.join(TARGETS)}")
    name = name or next(one for one in ENGINES if one in found.engines)
    if name not in found.engines:
        raise EngineError(f"fuzz target {target} has no engine {name}; it has {', '.join(found.engines)}")
    if name == "afl" and shutil.which("afl-fuzz") is None:
        raise EngineError("engine afl needs afl-fuzz, which is not here (Debian: apt-get install afl++)")
    path = _prebuilt(name, target, sanitize) or _build(name, target, sanitize, folder, core)
    twin = None
    # Under libFuzzer the plays take less of the time.
    if name == "atheris" and sanitize and found.kind == "tape":
        beside = path.with_name(f"{path.name}-alone")
        if not os.environ.get(ENGINES_VARIABLE):
            twin = _build(name, target, sanitize, folder, core, undefined=False)
        elif os.access(beside, os.X_OK):
            twin = beside
    return Engine(name, target, path, found.kind, found.edition, sanitize, twin)


def _prebuilt(name: str, target: str, sanitize: bool) -> Path | None:
    folder = os.environ.get(ENGINES_VARIABLE)
    if not folder:
        return None
    path = Path(folder).resolve() / f"zmm-fuzz-{target}{_SUFFIXES[name]}{'-asan' if sanitize else ''}"
    if not os.access(path, os.X_OK):
        raise EngineError(f"{ENGINES_VARIABLE}={folder} has no {path.name}; build it there, or unset the variable")
    return path


def _build(
    name: str, target: str, sanitize: bool, folder: Path | None, core: Path | None, *, undefined: bool = True
) -> Path:
    home = folder or engines_folder()
    level = processor_level()
    if level:
        # A folder that several machines share holds an engine for each kind of processor.
        home /= level
    if core is not None:
        # An engine of its own: a campaign on the tree's core that runs meanwhile starts its engines by their names.
        home /= f"core-{hashlib.sha256(str(core.resolve()).encode()).hexdigest()[:12]}"
    try:
        return build(
            target,
            engine=name,
            sanitize=sanitize,
            undefined=undefined,
            folder=home,
            core=core,
            flags=[f"-march={level}"] if level else [],
        )
    except BuildError as error:
        raise EngineError(one_line(str(error))) from None


def checkout() -> Path | None:
    """The root of the tree that this package belongs to; None in an installed copy."""
    root = Path(__file__).resolve().parents[2]
    return root if (root / "meson.build").is_file() and (root / "zmm" / "core").is_dir() else None


def engines_folder() -> Path:
    """Where engines are built: in the checkout's build folder, or in the user's cache."""
    root = checkout()
    if root is not None:
        return root / "build" / "engines"
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "zmm" / "engines"
