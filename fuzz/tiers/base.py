"""What a tier is: one way of producing and judging programs, its budget, its progress, its result."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from ..compare import Divergence
from ..program import Program
from ..targets import Target

PASS, FAIL, INCONCLUSIVE, SKIPPED = "pass", "fail", "inconclusive", "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """
    A divergence and the program that shows it.

    ``against`` names the second target when two targets were compared (empty: the models judged).
    ``alone`` is false when the program only diverges after others in the same process; such a program is kept as
    it is, because there is nothing to shrink it against. ``all_calls``: requests for the allocator's own records
    were made to fail as well.
    """

    divergence: Divergence
    program: Program
    target: str
    edition: str
    against: str = ""
    alone: bool = True
    all_calls: bool = False
    files: tuple[str, ...] = ()
    note: str = ""


@dataclass(slots=True)
class TierResult:
    """
    What a tier did. ``goal`` is the number of operations it promises (0: the whole of a fixed list of programs).

    ``operations`` are operations performed on the target and judged. ``reason`` says why a tier is skipped or
    inconclusive, in words that end in a remedy where there is one.
    """

    name: str
    status: str = PASS
    reason: str = ""
    programs: int = 0
    operations: int = 0
    goal: int = 0
    seconds: float = 0.0
    findings: list[Finding] = field(default_factory=list)

    @property
    def operations_per_second(self) -> float:
        """Checked operations per second of wall-clock time."""
        return self.operations / self.seconds if self.seconds > 0 else 0.0

    def settle(self) -> TierResult:
        """Turns counts and findings into the status; a finding outweighs everything else."""
        if self.findings:
            self.status = FAIL
        elif self.status == PASS and self.goal and self.operations < self.goal:
            self.status = INCONCLUSIVE
            self.reason = self.reason or (
                f"the budget ended after {self.operations:,} of {self.goal:,} operations (give more with --time-budget)"
            )
        return self


class Budget:
    """
    A share of wall-clock time: ``seconds`` to use, and at most ``limit_seconds`` when a goal is not yet reached.

    A tier with a goal stops at its share when the goal is reached, and at the limit otherwise.
    """

    def __init__(
        self, seconds: float, limit_seconds: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self.start = clock()
        self.seconds = seconds
        self.limit_seconds = max(seconds, limit_seconds if limit_seconds is not None else seconds)

    def elapsed(self) -> float:
        """Seconds since the budget began."""
        return self._clock() - self.start

    def spent(self) -> bool:
        """The share is used up."""
        return self.elapsed() >= self.seconds

    def exhausted(self) -> bool:
        """The limit is used up, goal or not."""
        return self.elapsed() >= self.limit_seconds

    def over(self, done: int, goal: int) -> bool:
        """Whether to stop after ``done`` operations of ``goal``."""
        return self.exhausted() or (done >= goal and self.spent())

    def left(self) -> float:
        """Seconds until the limit."""
        return max(0.0, self.limit_seconds - self.elapsed())


# Called by a tier as often as it likes, after it has updated its result.
Tick = Callable[[], None]


def no_tick() -> None:
    """Shows nothing."""


@dataclass(frozen=True, slots=True)
class Task:
    """
    What `zmm verify` was asked for.

    ``target`` and ``edition`` are names as on the command line; ``oracle`` names the PHP target to compare with;
    ``jobs`` is the number of worker processes; ``profile`` names the Hypothesis profile of the tier ``machine``.
    """

    target: str
    edition: str
    seed: int = 0
    jobs: int = 2
    oracle: str = "php"
    profile: str = "dev"
    journal_directory: str = ""


class Tier(Protocol):
    """One way of producing and judging programs."""

    name: str
    sentence: str
    goal: int
    share: float  # of the whole budget; the shares of all tiers add up to about 1

    def run(self, task: Task, budget: Budget, result: TierResult, tick: Tick) -> None:
        """
        Runs within the budget and keeps ``result`` up to date, so that an interrupted run loses nothing.

        Raises:
            TargetError: there is no such target, or it cannot be started.
        """
        ...


def trimmed(target: Target) -> str:
    """Why a ZendMM-like target is not held to places and counters; empty for all others."""
    if not target.is_zendmm or target.is_exact:
        return ""
    return f"level {target.level} has trims around its blocks, so they lie elsewhere; run this on zmm or zmm:fast"


class Interrupted(BaseException):
    """
    Raised in the main thread by SIGINT and SIGTERM: the run ends, and what was found so far is reported.

    Like KeyboardInterrupt it is no Exception, so that nothing swallows it on the way up.
    """

    def __init__(self, signal_name: str) -> None:
        super().__init__(signal_name)
        self.signal_name = signal_name


__all__ = [
    "FAIL",
    "INCONCLUSIVE",
    "PASS",
    "SKIPPED",
    "Budget",
    "Finding",
    "Interrupted",
    "Task",
    "Tick",
    "Tier",
    "TierResult",
    "no_tick",
    "trimmed",
]
