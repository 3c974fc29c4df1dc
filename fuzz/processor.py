"""Processor time: on a busy machine the only time that says how far somebody has come."""

from __future__ import annotations

import os
import time


def processor_seconds_of(pid: int) -> float:
    """
    What a process has used so far.

    :raises OSError: there is no such process.
    """
    # The clock of a process by its number, as clock_getcpuclockid(3) makes it.
    return time.clock_gettime((~pid << 3) | 2)


def processor_seconds() -> float:
    """What this process has used so far, and those of its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
