"""A process that performs script after script, each in a child of its own: some hundred a second."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
from typing import Self

from ..targets.base import TargetError
from .run import Run
from .script import lines_for
from .subject import Subject
from .wire import REPORT_BYTES, empty_report, unpack_report

# Addresses and keys are the process's; a new one now and then has others.
_SCRIPTS_MAX = 2000
_STDERR_BYTES_MAX = 1 << 14
_STATUS = struct.Struct("<i")


class Server:
    """Performs scripts on one target; the detonation is shorter than that of the catalogue."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self._process: subprocess.Popen[bytes] | None = None
        self._files = [os.memfd_create(f"zmm-search-{name}", os.MFD_CLOEXEC) for name in ("script", "report", "stderr")]
        os.pwrite(self._files[1], empty_report(), 0)
        self._performed = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
        for file in self._files:
            os.close(file)

    def close(self) -> None:
        """Ends the process; the next script starts another."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None
        self._performed = 0

    def run(self, script: str) -> Run:
        """
        Performs a script.

        :raises TargetError: the process cannot be started, or does not live.
        """
        text = lines_for(script, self.subject.kind).encode()
        script_file, report_file, stderr_file = self._files
        os.ftruncate(script_file, 0)
        os.pwrite(script_file, text, 0)
        if self._performed >= _SCRIPTS_MAX:
            self.close()
        process = self._process or self._start()
        self._process = process
        assert process.stdin is not None
        assert process.stdout is not None
        self._performed += 1
        try:
            process.stdin.write(b"\n")
            process.stdin.flush()
            answer = process.stdout.read(_STATUS.size)
        except BrokenPipeError:
            answer = b""
        if len(answer) != _STATUS.size:
            said = os.pread(stderr_file, 200, 0).decode("utf-8", "replace").strip()
            self.close()
            raise TargetError(
                f"{self.subject.name}: the process that performs attacks ended{f' ({said})' if said else ''}"
            )
        (status,) = _STATUS.unpack(answer)
        ended = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        hung = ended == -signal.SIGALRM
        report = unpack_report(os.pread(report_file, REPORT_BYTES, 0))
        stderr = os.pread(stderr_file, _STDERR_BYTES_MAX, 0)
        return Run(report, stderr, max(ended, 0), 0 if hung else max(-ended, 0), hung)

    def _start(self) -> subprocess.Popen[bytes]:
        script_file, report_file, stderr_file = self._files
        command = [*self.subject.command, f"/proc/self/fd/{script_file}", str(report_file), "--serve"]
        try:
            return subprocess.Popen(
                command,
                env=dict(self.subject.environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr_file,
                pass_fds=(script_file, report_file),
            )
        except OSError as error:
            raise TargetError(f"cannot run {command[0]}: {error.strerror}; install zmm anew") from None
