"""What a target's everyday calls cost, measured in the same run as its detection."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from pathlib import Path

from ..cachegrind import OPTIONS, read_instructions
from ..targets.base import TargetError
from .subject import Subject

_SECONDS = 300
_PT_INTERP = 3
_ELF_HEADER_BYTES = 64
# Two counts whose difference is the loop's alone.
_FEW, _MANY = 10_000, 110_000
_NAMES = {"pair_ns": "pair", "random_ns": "random", "large_ns": "large", "memory": "memory"}
LOOPS = tuple(_NAMES.values())


def measure_prices(subject: Subject) -> dict[str, float]:
    """
    Nanoseconds of a pair of 40 bytes, of random sizes up to 512 bytes among 4096 live blocks, of pairs of 4 to 36 KiB;
    resident bytes for each requested byte; instructions of a 40-byte pair, loop included, when valgrind is there.

    Minima of five rounds, in time of the processor.  Prices that cannot be had are left out.

    :raises TargetError: the runner cannot be started.
    """
    prices = {}
    for name, loop in _NAMES.items():
        value = measure_loop(subject, loop)
        if value is not None:
            prices[name] = value
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
    value = _run([*_through_loader(subject.command), "--price", loop], subject)
    return None if value is None else float(value)


def _through_loader(command: tuple[str, ...]) -> tuple[str, ...]:
    """
    The command begun by the dynamic loader, as that of a PHP with a C library of its own is anyway.

    The loader puts a program next to its libraries, the system far away from them, and calls over such a distance cost
    more. So every target is called from near by.
    """
    loader = interpreter_of(Path(command[0]))
    return (loader, *command) if loader else command


def interpreter_of(program: Path) -> str:
    """The loader that a dynamically linked ELF program of this machine names; empty for any other file."""
    data = program.read_bytes() if program.is_file() else b""
    if data[:6] != b"\x7fELF\x02\x01" or len(data) < _ELF_HEADER_BYTES:
        return ""
    start, size, count = *struct.unpack_from("<Q", data, 32), *struct.unpack_from("<HH", data, 54)
    for index in range(count):
        kind, _, offset, _, _, length = struct.unpack_from("<IIQQQQ", data, start + index * size)
        if kind == _PT_INTERP:
            return data[offset : offset + length].rstrip(b"\0").decode()
    return ""


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
