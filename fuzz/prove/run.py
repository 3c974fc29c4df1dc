"""The run: each property in a process of its own, several at a time, given up when its time is over."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from pathlib import Path

from ..tiers.workers import Failed, Lost, run_workers
from .property import CONFIRMED, INCONCLUSIVE, REFUTED, SKIPPED, Attempt, Property, Result
from .sources import Inapplicable, Missing, compile_ir

_FUNCTION = "zmm_fuzz.prove.work:prove_one"
NOT_RUN = Attempt(SKIPPED, "not run")


def precompile(folder: Path, chosen: Sequence[Property]) -> str:
    """The IR of the sound core, compiled once for all; "" when nobody needs it or it cannot be had."""
    if not any(one.engine == "ir" for one in chosen):
        return ""
    try:
        compile_ir(folder, None, 1)
    except (Missing, Inapplicable):
        return ""  # each property says why
    return str(folder / "faces-1.ll")


class Clock:
    """When a whole run is over; and whether it was interrupted."""

    def __init__(self, budget_seconds: float) -> None:
        self.end = time.monotonic() + budget_seconds
        self.stopped = threading.Event()

    def why_over(self) -> str:
        """The reason, "" while there is time."""
        if self.stopped.is_set():
            return "interrupted"
        return "the time budget ended" if time.monotonic() > self.end else ""


def prove(one: Property, folder: Path, compiled: str, clock: Clock) -> Result:
    """One property; whatever happens to its process, there is a result."""
    attempts = {"sound": NOT_RUN, "planted": NOT_RUN}
    if why := clock.why_over():
        return Result(one, Attempt(INCONCLUSIVE, why), NOT_RUN)
    part, started = "sound", time.monotonic()

    def give_up(reason: str) -> None:
        attempts[part] = Attempt(INCONCLUSIVE, reason, 0, round(time.monotonic() - started, 2))

    folder.mkdir(parents=True, exist_ok=True)
    with closing(run_workers(_FUNCTION, [(one.name, str(folder), compiled)])) as messages:
        for message in messages:
            if isinstance(message, Lost):
                give_up(f"the process was lost ({message.how})")
            elif isinstance(message, Failed):
                give_up(f"{message.kind}: {message.text}")
            elif message is not None:
                part, found = message
                attempts[part] = found
                part, started = "planted", time.monotonic()
                continue
            if why := clock.why_over():
                give_up(why)
                break
            if message is None and time.monotonic() - started > one.seconds:
                give_up(f"given up after {one.seconds:.0f} s")
                break
    return Result(one, attempts["sound"], attempts["planted"])


def prove_all(
    chosen: Sequence[Property], clock: Clock, *, jobs: int, tell: Callable[[Result], None]
) -> Iterator[Result]:
    """All of them; results as they come. An exception in the caller stops what still runs."""
    with tempfile.TemporaryDirectory(prefix="zmm-prove-") as name, ThreadPoolExecutor(jobs) as pool:
        folder = Path(name)
        try:
            compiled = precompile(folder, chosen)
            waiting: set[Future[Result]] = {
                pool.submit(prove, one, folder / one.name, compiled, clock) for one in chosen
            }
            while waiting:
                done, waiting = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
                for future in done:
                    result = future.result()
                    tell(result)
                    yield result
        finally:
            clock.stopped.set()


def overall(results: Sequence[Result]) -> str:
    """pass, fail or inconclusive: as every command says it."""
    statuses = {result.status for result in results}
    if REFUTED in statuses:
        return "fail"
    return "inconclusive" if INCONCLUSIVE in statuses or CONFIRMED not in statuses else "pass"
