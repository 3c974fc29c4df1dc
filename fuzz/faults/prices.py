"""What a target's everyday calls cost, measured in the same run as its detection."""

from __future__ import annotations

import re
import shutil
import subprocess

from ..cachegrind import OPTIONS, read_instructions
from ..targets.base import TargetError
from .subject import Subject

_SECONDS = 300
# Two counts whose difference is the loop's alone.
_FEW, _MANY = 10_000, 110_000
_NAMES = {"pair_ns": "pair", "random_ns": "random", "large_ns": "large", "memory": "memory"}
LOOPS = tuple(_NAMES.values())


def measure_prices(subject: Subject) -> dict[str, float]:
    """
    Nanoseconds of a pair of 40 bytes, of random sizes up to 512 bytes among 4096 live blocks, of pairs of 4 to 36 KiB;
    resident bytes for each requested byte; instructions of a 40-byte pair, loop included, when valgrind is there.

    Minima of five rounds.  Prices that cannot be had are left out.

    :raises TargetError: the runner cannot be started.
    """
    prices = {}
    for name, loop in _NAMES.items():
        value = _run([*subject.command, "--price", loop], subject)
        if value is not None:
            prices[name] = float(value)
    instructions = measure_instructions(subject)
    if instructions is not None:
        prices["instructions"] = instructions
    return prices


def _run(command: list[str], subject: Subject) -> str | None:
    try:
        done = subprocess.run(
            command,
            env=dict(subject.environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None
    except OSError as error:
        raise TargetError(f"cannot run {command[0]}: {error.strerror}; install zmm anew") from None
    text = done.stdout.strip()
    return text if done.returncode == 0 and re.fullmatch(r"-?[0-9.]+", text) else None


def measure_loop(subject: Subject, loop: str) -> float | None:
    """One of :data:`LOOPS` in a process of its own, the minimum of five rounds; None when it cannot be had."""
    value = _run([*subject.command, "--price", loop], subject)
    return None if value is None else float(value)


def measure_instructions(subject: Subject) -> float | None:
    """Instructions of one 40-byte pair, loop included, as callgrind counts them; None without valgrind."""
    tool = shutil.which("valgrind")
    if tool is None or subject.name in ("asan", "valgrind"):
        return None
    counts = [_count(tool, subject, turns) for turns in (_FEW, _MANY)]
    if counts[0] is None or counts[1] is None:
        return None
    return round((counts[1] - counts[0]) / (_MANY - _FEW), 1)


def _count(tool: str, subject: Subject, turns: int) -> int | None:
    try:
        done = subprocess.run(
            [tool, *OPTIONS, *subject.command, "--price", f"pairs-{turns}"],
            env=dict(subject.environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return read_instructions(done.stderr) if done.returncode == 0 else None
