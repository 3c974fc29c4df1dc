"""Processor time of another process: on a busy machine the only time that says how far it has come."""

from __future__ import annotations

import time


def processor_seconds_of(pid: int) -> float:
    """
    What a process has used so far.

    :raises OSError: there is no such process.
    """
    # The clock of a process by its number, as clock_getcpuclockid(3) makes it.
    return time.clock_gettime((~pid << 3) | 2)
