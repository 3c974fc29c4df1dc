"""Worker processes of a tier: started, fed, listened to, and never missed when they die."""

from __future__ import annotations

import gc
import importlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType
from typing import IO, Any, NoReturn

# What a worker's function is called with to report something: any picklable value.
Send = Callable[[Any], None]

_LENGTH_BYTES = 8
_GRACE_SECONDS = 2.0
# The exit status of a worker that was told to stop.
_STOPPED = 128 + signal.SIGTERM


@dataclass(frozen=True, slots=True)
class Lost:
    """A worker that ended without saying so: killed from outside, out of memory, or crashed in the interpreter."""

    worker: int
    how: str


@dataclass(frozen=True, slots=True)
class Failed:
    """A worker that stopped with an error: ``kind`` is the exception's class name, ``text`` one line."""

    worker: int
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class _Done:
    worker: int


def run_workers(function: str, arguments: Sequence[tuple[Any, ...]]) -> Generator[Any, None, None]:
    """
    Runs a function in one process for each tuple of arguments, and yields what they send.

    Args:
        function: "module:name" of ``name(send, *arguments)``; it runs to its end or until this generator is closed.
        arguments: picklable; one tuple a worker.

    Yields:
        whatever the workers send, and a :class:`Lost` or :class:`Failed` for each that does not end well.
        Once a second at least: None, so that a caller can look at the clock.
    """
    inbox: queue.Queue[Any] = queue.Queue()
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for number, values in enumerate(arguments):
            process = subprocess.Popen(
                [sys.executable, "-P", "-c", "from zmm_fuzz.tiers.workers import main; main()"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            )
            processes.append(process)
            assert process.stdin is not None
            assert process.stdout is not None
            with suppress(BrokenPipeError):
                _write(process.stdin, (function, values))
            threading.Thread(
                target=_listen, args=(number, process, process.stdout, inbox), daemon=True, name=f"worker {number}"
            ).start()
        open_count = len(processes)
        while open_count:
            try:
                message = inbox.get(timeout=1.0)
            except queue.Empty:
                yield None
                continue
            if isinstance(message, _Done):
                open_count -= 1
                continue
            if isinstance(message, (Lost, Failed)):
                open_count -= 1
            yield message
    finally:
        _stop(processes)


def _listen(number: int, process: subprocess.Popen[bytes], stream: IO[bytes], inbox: queue.Queue[Any]) -> None:
    """Moves a worker's messages into the inbox; its last one says how it ended."""
    ended = False
    while (message := _read(stream)) is not None:
        kind, value = message
        if kind == "sent":
            inbox.put(value)
        elif kind == "done":
            ended = True
            inbox.put(_Done(number))
        else:
            ended = True
            inbox.put(Failed(number, *value))
    if not ended:
        inbox.put(Lost(number, describe_exit(process.wait())))


def describe_exit(code: int) -> str:
    """An exit code as `subprocess` gives it, for people: the signal's name, or the status."""
    if code < 0:
        with suppress(ValueError):
            return f"killed by {signal.Signals(-code).name}"
        return f"killed by signal {-code}"
    return "stopped by SIGTERM" if code == _STOPPED else f"exit status {code}"


def _stop(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Ends what still runs: gently, then surely."""
    for process in processes:
        if process.poll() is None:
            process.terminate()
    for process in processes:
        try:
            process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()


def _write(stream: IO[bytes], value: object) -> None:
    data = pickle.dumps(value)
    stream.write(len(data).to_bytes(_LENGTH_BYTES, "little") + data)
    stream.flush()


def _read(stream: IO[bytes]) -> Any:
    """The next message; None at the end of the stream, also in the middle of a message (the writer died)."""
    try:
        head = stream.read(_LENGTH_BYTES)
        if len(head) < _LENGTH_BYTES:
            return None
        size = int.from_bytes(head, "little")
        data = stream.read(size)
    except (OSError, ValueError):
        return None
    return pickle.loads(data) if len(data) == size else None


def _stop_quietly(_number: int, _frame: FrameType | None) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(_STOPPED)


def main() -> None:
    """The worker's side: one function, its messages, its end."""
    # Ctrl-C reaches the whole process group; only the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # An exception, so that a worker told to stop still ends its own child.
    signal.signal(signal.SIGTERM, _stop_quietly)
    # Batches hold hundreds of thousands of rows without a single cycle: looking for cycles in them is wasted.
    gc.set_threshold(500_000, 50, 50)
    out = os.fdopen(os.dup(1), "wb")
    # Nothing else may write into the stream of messages.
    os.dup2(2, 1)
    task = _read(sys.stdin.buffer)
    if task is None:
        return
    name, values = task
    module, _, attribute = name.partition(":")

    def send(value: object) -> None:
        _write(out, ("sent", value))

    try:
        getattr(importlib.import_module(module), attribute)(send, *values)
        # Nothing is left to be stopped, and an exception at the interpreter's end would only make noise.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _write(out, ("done", None))
    except BrokenPipeError:
        os._exit(0)
    except Exception as error:
        # The parent turns it into one line; with the variable set a developer sees the whole story.
        if os.environ.get("ZMM_TRACEBACK"):
            raise
        text = " ".join(str(error).split())
        _write(out, ("failed", (type(error).__name__, text)))
