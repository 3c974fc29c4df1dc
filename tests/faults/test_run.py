"""One run of a fault: a process that is stuck or runs for ever is ended, one that waits for its turn is not."""

from __future__ import annotations

import sys

import pytest
from zmm_fuzz.faults.run import HANG_SECONDS, run_once
from zmm_fuzz.faults.subject import Subject

# Five times a little work and a rest: what a process on a busy machine looks like from outside.
SELDOM = """
import time
for _ in range(5):
    end = time.process_time() + 0.04
    while time.process_time() < end:
        pass
    time.sleep(0.5)
"""


@pytest.mark.parametrize(
    ("code", "hung"),
    [
        ("import time; time.sleep(1000)", True),
        ("while True: pass", True),
        (SELDOM, False),
        ("", False),
    ],
    ids=["stuck", "for ever", "seldom its turn", "ends"],
)
def test_a_run_is_ended_when_it_leads_nowhere(code: str, hung: bool) -> None:
    """With a patience of a second: by what the process uses of the processor, not by the clock on the wall alone."""
    subject = Subject("any", "malloc", (sys.executable, "-I", "-S", "-c", code), patience=1 / HANG_SECONDS)
    run = run_once(subject, "fault")
    assert run.hung is hung
    assert (run.signal, run.exit_status) == (0, 0)
