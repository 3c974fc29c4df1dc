"""Performs one fault once, in a process of its own, and keeps what is left of it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ..processor import processor_seconds_of
from ..targets.base import TargetError
from .fault import Fault
from .script import lines_for
from .subject import Subject
from .wire import REPORT_BYTES, Report, empty_report, unpack_report

HANG_SECONDS = 8.0
# Who got less of the processor than this in ``HANG_SECONDS`` does not wait for the processor: it is stuck. Who got
# more, but not this part of it, shares the machine with others and is given more time.
_IDLE_SECONDS = 0.02
_PART_OF_PROCESSOR = 0.5
_BUSY_ROUNDS_MAX = 20
RUNS = 8
# Sanitizers can say a lot; the beginning is what counts.
_STDERR_BYTES_MAX = 1 << 16


@dataclass(frozen=True, slots=True)
class Run:
    """
    The end of one process. ``signal`` is the number of the one that ended it, 0 for none; ``hung`` says that it was
    killed: it did nothing for ``HANG_SECONDS`` (times the target's patience), or used the processor for half as long.
    """

    report: Report
    stderr: bytes
    exit_status: int
    signal: int
    hung: bool


def run_once(subject: Subject, script: str) -> Run:
    """
    Performs a script (as ``lines_for`` writes it) on a target.

    :raises TargetError: the runner itself cannot be started.
    """
    with (
        _memory("script", script.encode()) as script_file,
        _memory("report", empty_report()) as report_file,
        _memory("stderr", b"") as stderr_file,
    ):
        try:
            process = subprocess.Popen(
                [*subject.command, f"/proc/self/fd/{script_file.number}", str(report_file.number)],
                env=dict(subject.environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr_file.number,
                pass_fds=(script_file.number, report_file.number),
            )
        except OSError as error:
            raise TargetError(f"cannot run {subject.command[0]}: {error.strerror}; install zmm anew") from None
        try:
            hung = not _ends(process, HANG_SECONDS * subject.patience)
        finally:
            process.kill()
            code = process.wait()
        report = unpack_report(os.pread(report_file.number, REPORT_BYTES, 0))
        stderr = os.pread(stderr_file.number, _STDERR_BYTES_MAX, 0)
    number = -code if code < 0 else 0
    # A shell or a tool in between turns the signal into a status.
    if code > 128 and code - 128 in (signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGTRAP):
        number = code - 128
    return Run(report, stderr, max(code, 0), 0 if hung else number, hung)


def _ends(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Whether a process comes to its end by itself; not if it is stuck, or runs for longer than its turn."""
    used = 0.0
    for _ in range(_BUSY_ROUNDS_MAX):
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            before, used = used, processor_seconds_of(process.pid)
            if used - before < _IDLE_SECONDS or used >= _PART_OF_PROCESSOR * seconds:
                return False
        else:
            return True
    return False


def run_faults(
    subject: Subject,
    faults: Iterable[Fault],
    *,
    runs: int = RUNS,
    jobs: int = 2,
    observe: Callable[[Fault], None] | None = None,
) -> Iterator[tuple[Fault, Sequence[Run]]]:
    """Performs every fault that the target's kind has, ``runs`` times each, some processes at a time."""
    count = min(runs, subject.runs_max)
    with ThreadPoolExecutor(jobs) as pool:
        waiting = [
            (fault, [pool.submit(run_once, subject, lines_for(fault.sequence, subject.kind)) for _ in range(count)])
            for fault in faults
            if fault.applies_to(subject.kind)
        ]
        try:
            for fault, futures in waiting:
                results = [future.result() for future in futures]
                if observe is not None:
                    observe(fault)
                yield fault, results
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@dataclass(frozen=True, slots=True)
class _Memory:
    number: int

    def __enter__(self) -> _Memory:
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self.number)


def _memory(name: str, data: bytes) -> _Memory:
    number = os.memfd_create(f"zmm-faults-{name}", os.MFD_CLOEXEC)
    if data:
        os.pwrite(number, data, 0)
    return _Memory(number)
