"""A runner process: performs packed steps on a target, survives its death, tells how it died.

::

    from zmm_fuzz.session import Session
    from zmm_fuzz.targets import find_target
    from zmm_fuzz.wire import pack_program, unpack_rows
    with Session(find_target("php")) as session:
        reply = session.perform(*pack_program(operations, settings, edition="php-8.2"))
        rows, death = unpack_rows(reply.rows), reply.death

Heaps and labels live on from one call to the next, so a long trace goes in pieces.  After a death the next call starts
a new process.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import select
import signal
import struct
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from typing import BinaryIO, Final, Literal, Self

from .targets import Target, TargetError
from .targets.runner import child_environment, parse_identity, runner_path
from .wire import ABI_VERSION, HEADER, HEADER_MAGIC, ROW, STEP, Burst, Message, unpack_messages

HANG_SECONDS: Final = 20.0
_START_SECONDS: Final = 60.0
_STDERR_TAIL_BYTES: Final = 4096

# The shared memory: header, steps, rows, text, messages. Untouched pages of it cost nothing.
_STEPS_OFFSET: Final = 4096
_STEPS: Final = 1 << 16
_ROWS_OFFSET: Final = _STEPS_OFFSET + _STEPS * STEP.size
_ROWS: Final = _STEPS
_TEXT_OFFSET: Final = _ROWS_OFFSET + _ROWS * ROW.size
_TEXT_BYTES: Final = 1 << 28
_MESSAGES_OFFSET: Final = _TEXT_OFFSET + _TEXT_BYTES
_MESSAGES_BYTES: Final = 1 << 22
_SHARED_BYTES: Final = _MESSAGES_OFFSET + _MESSAGES_BYTES

# Offsets of the header's fields (struct header in native/abi.h).
_STEP_COUNT: Final = 72
_EXPAND_FROM: Final = 80
_ROWS_DONE: Final = 88
_PROGRESS: Final = 96
_BURST_PROGRESS: Final = 104
_MESSAGES_USED: Final = 112
_MESSAGES_LOST: Final = 120
_EXPANDED: Final = 128
_HEAP_OPEN: Final = 136
_U64: Final = struct.Struct("<Q")


@dataclass(frozen=True, slots=True)
class Death:
    """
    How the process ended before its time.

    ``kind`` is ``"signal"`` (``number`` is the signal's), ``"exit"`` (the exit status; 134 after a panic) or
    ``"hang"`` (no progress for too long; killed).  ``step`` is the step it was at, counted from the first of the call;
    ``burst_step`` the operation within that step when it was a burst.  ``stderr`` is the end of what the call printed.
    """

    kind: Literal["signal", "exit", "hang"]
    number: int
    step: int
    burst_step: int
    stderr: str

    @property
    def external(self) -> bool:
        """Whether the signal is one that a process does not give itself: somebody else may have sent it."""
        return self.kind == "signal" and self.number in (
            signal.SIGKILL,
            signal.SIGTERM,
            signal.SIGINT,
            signal.SIGHUP,
            signal.SIGQUIT,
        )

    @property
    def detail(self) -> str:
        """The death in a few words."""
        if self.kind == "hang":
            return "no progress, killed"
        if self.kind == "exit":
            return f"exit status {self.number}"
        try:
            return signal.Signals(self.number).name
        except ValueError:
            return f"signal {self.number}"


@dataclass(frozen=True, slots=True)
class Reply:
    """
    What came of a call: packed rows (as many as were reached), messages by step, and the death if there was one.

    A panic leaves its row (status PANIC) as the last one.  ``messages_lost`` counts messages that did not fit.
    """

    rows: bytes
    messages: list[Message] = field(default_factory=list)
    messages_lost: int = 0
    death: Death | None = None

    @property
    def rows_done(self) -> int:
        """How many steps have a row."""
        return len(self.rows) // ROW.size


class Session:
    """
    One runner process after another for one target.

    Args:
        target: what to load.
        hang_seconds: a step that makes no progress for this long is a hang: its process is killed.

    :raises TargetError: when the process does not start or the library is not what it has to be.
    """

    def __init__(self, target: Target, *, hang_seconds: float = HANG_SECONDS) -> None:
        self.target = target
        self.hang_seconds = hang_seconds
        self.identity: dict[str, str] = {}
        self.starts = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._commands = self._replies = -1
        self._closed = False
        self._texts: bytes | None = None
        self._stderr: BinaryIO = tempfile.TemporaryFile("a+b", buffering=0)  # noqa: SIM115 (lives as long as we)
        try:
            self._memory_file = os.memfd_create("zmm-runner")
        except BaseException:
            self._stderr.close()
            raise
        try:
            os.ftruncate(self._memory_file, _SHARED_BYTES)
            self._memory = mmap.mmap(self._memory_file, _SHARED_BYTES)
            self._start()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __del__(self) -> None:
        # A session that was forgotten must not leave a process behind.
        if not getattr(self, "_closed", True):
            self.close()

    # ---- the life of processes -------------------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        """Whether there is a process that can go on."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """The process's number."""
        return None if self._process is None else self._process.pid

    def restart(self) -> None:
        """Ends the process, its heap with it, and starts a new one."""
        self._end()
        self._start()

    def close(self) -> None:
        """Ends the process and gives everything back."""
        if self._closed:
            return
        self._closed = True
        self._end()
        memory: mmap.mmap | None = getattr(self, "_memory", None)
        if memory is not None:
            memory.close()
        os.close(self._memory_file)
        self._stderr.close()

    def _start(self) -> None:
        self._memory[: HEADER.size] = HEADER.pack(
            HEADER_MAGIC, ABI_VERSION,
            _STEPS_OFFSET, _STEPS, _ROWS_OFFSET, _ROWS,
            _TEXT_OFFSET, _TEXT_BYTES, _MESSAGES_OFFSET, _MESSAGES_BYTES,
            *([0] * 9),
        )  # fmt: skip
        self._truncate_stderr()
        runner = str(runner_path())
        child_commands, self._commands = os.pipe()
        self._replies, child_replies = os.pipe()
        files = (self._memory_file, child_commands, child_replies)
        try:
            self._process = subprocess.Popen(
                [runner, self.target.kind, self.target.library, *map(str, files)],
                env=child_environment(self.target.environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._stderr,
                pass_fds=files,
            )
        except OSError as error:
            self._end()
            raise TargetError(f"cannot run {runner}: {error.strerror}; install zmm anew") from None
        finally:
            os.close(child_commands)
            os.close(child_replies)
        self._greet()
        self.starts += 1

    def _greet(self) -> None:
        """Waits for the process to have loaded its library, and for what it says of itself."""
        name = self.target.library or "the C library"
        answer = self._answer(_START_SECONDS)
        if answer is None:
            self._end()
            raise TargetError(f"{name} does not load within {_START_SECONDS:.0f} s; check that it is a plain library")
        said = bytes(self._messages_area()).decode(errors="replace")
        if answer == b"X":
            self._end()
            raise TargetError(f"{said}; name another file, or add what is missing")
        if answer != b"R":
            status = self._end()
            raise TargetError(f"{name} ended its process while being loaded (status {status}); name another file")
        self.identity = dict(parse_identity(said))

    def _end(self) -> int:
        """Kills the process if there is one; returns its status as subprocess gives it."""
        for file in (self._commands, self._replies):
            if file >= 0:
                os.close(file)
        self._commands = self._replies = -1
        self._texts = None
        process, self._process = self._process, None
        if process is None:
            return 0
        if process.poll() is None:
            process.kill()
        return process.wait()

    # ---- calls -----------------------------------------------------------------------------------------------

    def perform(self, steps: bytes, texts: bytes = b"") -> Reply:
        """
        Performs packed steps.

        Args:
            steps: whole 32-byte steps, any number of them.
            texts: the text area that they refer to.

        :raises ValueError: when ``steps`` is no multiple of a step or ``texts`` is larger than 256 MiB.
        :raises TargetError: when a new process is needed and does not start.
        """
        if len(steps) % STEP.size != 0:
            raise ValueError(f"{len(steps)} bytes are not a number of {STEP.size}-byte steps")
        self._prepare(texts)
        piece_bytes = _STEPS * STEP.size
        if len(steps) <= piece_bytes:
            return self._batch(steps, 0)
        rows = bytearray()
        messages: list[Message] = []
        lost = 0
        for first in range(0, len(steps), piece_bytes):
            reply = self._batch(steps[first : first + piece_bytes], first // STEP.size)
            rows += reply.rows
            messages += reply.messages
            lost += reply.messages_lost
            if reply.death is not None:
                return Reply(bytes(rows), messages, lost, reply.death)
        return Reply(bytes(rows), messages, lost)

    def expand_burst(self, burst: Burst, first: int = 0, count: int | None = None) -> bytes:
        """
        The operations of a burst as packed steps, with offsets into :data:`~.wire.BURST_TEXT`; the last is its check.

        Nothing is performed; the heap is left as it is.

        Args:
            burst: what to expand.
            first: the first operation wanted.
            count: how many, all by default.

        :raises TargetError: when the process died or does not start.
        """
        wanted = burst.operations + 1 - first if count is None else count
        steps = bytearray()
        while len(steps) < wanted * STEP.size:
            self._prepare(b"")
            self._memory[_STEPS_OFFSET : _STEPS_OFFSET + STEP.size] = burst.pack()
            self._write(_EXPAND_FROM, first + len(steps) // STEP.size)
            if self._command(b"E") != b"D":
                death = self._death(0)
                raise TargetError(f"the runner died ({death.detail}) while it made up operations; try again")
            made = self._read(_EXPANDED)
            if made == 0:
                break
            steps += self._memory[_ROWS_OFFSET : _ROWS_OFFSET + made * STEP.size]
        return bytes(steps[: wanted * STEP.size])

    def _prepare(self, texts: bytes) -> None:
        if self._closed:
            raise ValueError("the session is closed")
        if len(texts) > _TEXT_BYTES:
            raise ValueError(f"{len(texts)} bytes of text are more than {_TEXT_BYTES}: perform in more calls")
        if self._process is None or (self._process.poll() is not None and not self._read(_HEAP_OPEN)):
            # Died while nothing was at stake.
            self.restart()
        if texts != self._texts:
            self._memory[_TEXT_OFFSET : _TEXT_OFFSET + len(texts)] = texts
            self._texts = texts

    def _batch(self, steps: bytes, first_step: int) -> Reply:
        count = len(steps) // STEP.size
        self._memory[_STEPS_OFFSET : _STEPS_OFFSET + len(steps)] = steps
        self._write(_STEP_COUNT, count)
        for field_offset in (_ROWS_DONE, _PROGRESS, _BURST_PROGRESS, _MESSAGES_USED, _MESSAGES_LOST):
            self._write(field_offset, 0)
        self._truncate_stderr()
        if self._command(b"B") == b"D":
            death, done = None, count
        else:
            done = max(self._read(_ROWS_DONE), self._read(_PROGRESS))
            death = self._death(first_step)
        rows = bytes(self._memory[_ROWS_OFFSET : _ROWS_OFFSET + done * ROW.size])
        messages: list[Message] = []
        if self._read(_MESSAGES_USED):
            messages = unpack_messages(self._messages_area(), first_step)
        return Reply(rows, messages, self._read(_MESSAGES_LOST), death)

    def _command(self, command: bytes) -> bytes | None:
        """Sends a command; returns the reply, ``b""`` when the process died, None when it hung."""
        try:
            with contextlib.suppress(BrokenPipeError):
                os.write(self._commands, command)
            return self._answer(self.hang_seconds)
        except BaseException:
            # Interrupted in the middle of a command: the process is of no use any more.
            self._end()
            raise

    def _answer(self, patience_seconds: float) -> bytes | None:
        poll = select.poll()
        poll.register(self._replies, select.POLLIN)
        progress = (self._read(_PROGRESS), self._read(_BURST_PROGRESS))
        deadline = time.monotonic() + patience_seconds
        while True:
            remaining_ms = (deadline - time.monotonic()) * 1000
            if remaining_ms > 0 and poll.poll(min(remaining_ms, 1e9)):
                return os.read(self._replies, 1)
            if remaining_ms <= 0:
                now = (self._read(_PROGRESS), self._read(_BURST_PROGRESS))
                if now == progress:
                    return None
                progress, deadline = now, time.monotonic() + patience_seconds

    def _death(self, first_step: int) -> Death:
        """Ends what is left of the process and says how it died."""
        process = self._process
        step, burst_step = first_step + self._read(_PROGRESS), self._read(_BURST_PROGRESS)
        hung = False
        if process is not None and process.poll() is None:
            # The reply pipe closes a moment before the process can be waited for.
            try:
                process.wait(0.5 if self._pipe_is_closed() else 0)
            except subprocess.TimeoutExpired:
                hung = True
        status = self._end()
        kind: Literal["signal", "exit", "hang"] = "hang" if hung else "signal" if status < 0 else "exit"
        return Death(kind, 0 if hung else abs(status), step, burst_step, self._stderr_tail())

    def _pipe_is_closed(self) -> bool:
        poll = select.poll()
        poll.register(self._replies, select.POLLIN)
        return any(event & select.POLLHUP for _, event in poll.poll(0))

    # ---- memory and files --------------------------------------------------------------------------------------

    def _read(self, offset: int) -> int:
        value: int = _U64.unpack_from(self._memory, offset)[0]
        return value

    def _write(self, offset: int, value: int) -> None:
        _U64.pack_into(self._memory, offset, value)

    def _messages_area(self) -> bytes:
        used = min(self._read(_MESSAGES_USED), _MESSAGES_BYTES)
        return bytes(self._memory[_MESSAGES_OFFSET : _MESSAGES_OFFSET + used])

    def _truncate_stderr(self) -> None:
        # The process appends, so it goes on at the new end.
        os.ftruncate(self._stderr.fileno(), 0)

    def _stderr_tail(self) -> str:
        end = self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, end - _STDERR_TAIL_BYTES))
        return self._stderr.read().decode(errors="replace")
