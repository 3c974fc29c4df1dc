"""Ctrl-C and SIGTERM end a command in order: the first time by an exception, the second by the signal's default."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from ..tiers.base import Interrupted

# timeout(1) sends a signal to the process and then to its group: a second one so soon is the first.
_SAME_SECONDS = 1.0
_AGAIN_SECONDS = 0.05


class _Interrupt:
    """The handler of one command: remembers when it was asked to end."""

    def __init__(self) -> None:
        self.asked: float | None = None

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.asked is None:
            self.asked = now
            raise Interrupted(signal.Signals(number).name)
        if now - self.asked > _SAME_SECONDS:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    def ask_again(self, lost: sys.UnraisableHookArgs) -> None:
        """An unraisablehook: what was raised in a finalizer or a callback of the collector went nowhere."""
        if isinstance(lost.exc_value, Interrupted):
            self.asked = None
            number = signal.Signals[lost.exc_value.signal_name]
            threading.Timer(_AGAIN_SECONDS, os.kill, (os.getpid(), number)).start()
        else:
            sys.__unraisablehook__(lost)


@contextmanager
def signals() -> Iterator[None]:
    """
    SIGINT and SIGTERM raise Interrupted in the main thread; a second one, later, does what it does by default.

    Once one came this stays so: the second may find the process on its way out.
    """
    if threading.current_thread() is not threading.main_thread():
        # Only the main thread may say what a signal does; whoever runs a command elsewhere has said it already.
        yield
        return
    handler = _Interrupt()
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    hook = sys.unraisablehook
    sys.unraisablehook = handler.ask_again
    try:
        yield
    finally:
        sys.unraisablehook = hook
        if handler.asked is None:
            for number, old in before.items():
                signal.signal(number, old)


def interruption_behind(error: BaseException) -> Interrupted | None:
    """The interruption on whose way up a library raised an error of its own, as Hypothesis does; None without one."""
    behind: BaseException | None = error
    while behind is not None and not isinstance(behind, Interrupted):
        behind = behind.__context__
    return behind
