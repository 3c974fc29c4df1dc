"""One life of a libFuzzer process: started, read, stopped, and judged by how it ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..tiers.workers import describe_exit
from .status import Progress, Reader, Violation

_GRACE_SECONDS = 5.0
# What stands in a process's exit status when libFuzzer itself says that an input is wrong (crash, timeout, memory).
_FOUND_CODES = (77, 70, 71)
# A child of ours dies with us: whoever kills `zmm fuzz` for good leaves no engine behind.
DIE_WITH_PARENT = (
    "import ctypes, os, resource, sys; ctypes.CDLL(None).prctl(1, 9); "
    "resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); "
    "os.getppid() == int(sys.argv[1]) or os._exit(1); os.execv(sys.argv[2], sys.argv[2:])"
)


@dataclass(frozen=True, slots=True)
class Crash:
    """An input that the engine found to be wrong, with what was said about it."""

    data: bytes
    violation: Violation
    report: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ended:
    """
    How a life ended: ``how`` is empty for an orderly end, else "killed by SIGKILL", "exit status 1", ...

    ``crash`` has ended it; ``more`` are crashes that an engine has outlived (AFL++ does).
    """

    executions: int
    crash: Crash | None
    how: str
    last_words: str = ""
    more: tuple[Crash, ...] = ()


class Life:
    """
    One engine process.

    The artifact of a crash goes to a file in memory, not to a disk: a full one can not swallow it.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], folder: Path, progress: Progress | None = None
    ) -> None:
        self.progress = progress or Progress()
        self._command = list(command)
        self._environment = dict(environment)
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False
        self._lock = threading.Lock()

    def run(self) -> Ended:
        """Runs it to its end; another thread may call :meth:`stop` meanwhile."""
        reader = Reader(self.progress)
        artifact = os.memfd_create("artifact")
        try:
            with self._lock:
                if self._stopped:
                    return Ended(0, None, "")
                self._process = subprocess.Popen(
                    [
                        *(sys.executable, "-I", "-S", "-c", DIE_WITH_PARENT, str(os.getpid())),
                        *self._command,
                        f"-exact_artifact_path=/proc/self/fd/{artifact}",
                    ],
                    cwd=self._folder,
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    pass_fds=(artifact,),
                )
            process = self._process
            assert process.stdout is not None
            with process.stdout:
                for line in process.stdout:
                    reader.feed(line)
            code = process.wait()
            data = _contents(artifact)
        finally:
            os.close(artifact)
        return self._ended(code, data, reader)

    def _ended(self, code: int, data: bytes, reader: Reader) -> Ended:
        executions = self.progress.executions
        last_words = next((line for line in reversed(reader.tail) if line), "")
        # A process may die of an empty input, too: then only its exit status tells.
        if code in _FOUND_CODES or (data and code != 0 and not self._stopped):
            return Ended(executions, Crash(data, reader.violation(), tuple(reader.tail)), "")
        if code == 0 or self._stopped:
            return Ended(executions, None, "")
        return Ended(executions, None, describe_exit(code), last_words)

    @property
    def pid(self) -> int:
        """The process's number, 0 while there is none."""
        return self._process.pid if self._process is not None else 0

    def stop(self) -> None:
        """Asks the engine to end, which prints its figures; an engine that does not is killed."""
        with self._lock:
            self._stopped = True
            process = self._process
        if process is None:
            return
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)

    def kill_after_grace(self) -> None:
        """Makes sure of the end of a stopped engine."""
        process = self._process
        if process is None:
            return
        try:
            process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()


def _contents(handle: int) -> bytes:
    size = os.fstat(handle).st_size
    return os.pread(handle, size, 0) if size else b""
