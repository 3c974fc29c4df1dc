"""Where the runner is, and what it says of a library.

The build makes it.  By hand, from the repository's root::

    cc -O2 -rdynamic -o build/zmm-runner fuzz/native/*.c -ldl
    export ZMM_RUNNER=build/zmm-runner
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from .base import TargetError
from .native import find_native

RUNNER_VARIABLE = "ZMM_RUNNER"
_START_SECONDS = 30
# What would put another allocator, or other rules, under every target.
_DROPPED_PREFIXES = (
    "LD_PRELOAD",
    "LD_AUDIT",
    "MALLOC_",
    "GLIBC_TUNABLES",
    "USE_ZEND_ALLOC",
    "USE_TRACKED_ALLOC",
    "ZEND_",
)


def runner_path() -> Path:
    """
    The runner's executable.

    :raises TargetError: when the build has left it out.
    """
    named = os.environ.get(RUNNER_VARIABLE)
    if named:
        path = Path(named)
        if not os.access(path, os.X_OK):
            raise TargetError(f"{RUNNER_VARIABLE}={named} is no program; unset it, or name the zmm-runner")
        return path.resolve()
    found = find_native("zmm-runner")
    if found is not None:
        return found
    raise TargetError(
        "this installation has no zmm-runner; install zmm anew with a C compiler there, "
        f"or build it by hand (see {Path(__file__).name}) and set {RUNNER_VARIABLE}"
    )


def child_environment(additions: Mapping[str, str]) -> dict[str, str]:
    """The environment of a runner: ours without what changes allocators, and what the target needs."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_DROPPED_PREFIXES)}
    environment.update(additions)
    search = (additions.get("LD_LIBRARY_PATH"), os.environ.get("LD_LIBRARY_PATH"))
    if any(search):
        environment["LD_LIBRARY_PATH"] = ":".join(path for path in search if path)
    return environment


def identify(kind: str, library: str, environment: Mapping[str, str]) -> dict[str, str]:
    """
    What a library says of itself (allocator, version, path, ...), asked in a process of its own.

    Args:
        kind: ``zmm``, ``php`` or ``malloc``.
        library: its path; empty for the C library.
        environment: what the process needs beside ours.

    :raises TargetError: when it cannot be loaded or is something else.
    """
    stamp = 0
    if library:
        try:
            stamp = Path(library).stat().st_mtime_ns
        except OSError as error:
            raise TargetError(f"cannot read {library}: {error.strerror}; check the path") from None
    return dict(_identify(str(runner_path()), kind, library, stamp, tuple(sorted(environment.items()))))


@lru_cache(maxsize=64)
def _identify(
    runner: str, kind: str, library: str, _stamp: int, environment: tuple[tuple[str, str], ...]
) -> tuple[tuple[str, str], ...]:
    try:
        done = subprocess.run(
            [runner, kind, library],
            env=child_environment(dict(environment)),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_START_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise TargetError(
            f"{library or 'the C library'} does not load within {_START_SECONDS} s; check that it is a plain library"
        ) from None
    except OSError as error:
        raise TargetError(f"cannot run {runner}: {error.strerror}; install zmm anew") from None
    if done.returncode != 0:
        raise TargetError(_reason(done, library))
    return parse_identity(done.stdout)


def parse_identity(text: str) -> tuple[tuple[str, str], ...]:
    """The pairs of an identity: lines of ``key=value``."""
    return tuple((key, value) for key, _, value in (line.partition("=") for line in text.splitlines()))


def _reason(done: subprocess.CompletedProcess[str], library: str) -> str:
    lines = done.stderr.strip().splitlines()
    said = lines[-1].removeprefix("zmm-runner: ") if lines else ""
    if done.returncode > 0 and said:
        return f"{said}; name another file, or add what is missing"
    ended = f"signal {-done.returncode}" if done.returncode < 0 else f"exit status {done.returncode}"
    return f"{library or 'the C library'} ended its process while being loaded ({ended}); name another file"
