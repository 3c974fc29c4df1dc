"""The main job: runs the tiers one after the other within a budget, shrinks and saves what they find."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from .findings import SaveError, save_finding, shrink_finding
from .targets import TargetError
from .tiers import TIERS
from .tiers.base import (
    FAIL,
    INCONCLUSIVE,
    SKIPPED,
    Budget,
    Finding,
    Interrupted,
    Task,
    Tier,
    TierResult,
)

# Of the time left, what shrinking may use for one finding, and never more than this.
_SHRINK_SHARE = 0.25
_SHRINK_SECONDS_MAX = 20.0
_SHRINK_SECONDS_MIN = 3.0
# What a tier has at least when earlier ones took more than their share.
_TIER_SECONDS_MIN = 5.0


class Observer(Protocol):
    """Whoever shows a run: told when a tier begins, moves, ends, and when there is something to say."""

    def begin(self, tier: Tier, result: TierResult) -> None: ...
    def tick(self) -> None: ...
    def end(self, result: TierResult) -> None: ...
    def say(self, line: str) -> None: ...


class Silent:
    """Shows nothing."""

    def begin(self, tier: Tier, result: TierResult) -> None: ...
    def tick(self) -> None: ...
    def end(self, result: TierResult) -> None: ...
    def say(self, line: str) -> None: ...


@dataclass(slots=True)
class Outcome:
    """What a run of all tiers came to, complete or interrupted."""

    results: list[TierResult] = field(default_factory=list)
    interrupted: str = ""
    seconds: float = 0.0


def verify(
    task: Task,
    budget_seconds: float,
    *,
    tiers: Sequence[Tier] = TIERS,
    limit_seconds: float | None = None,
    out: Path | None = None,
    observer: Observer | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Outcome:
    """
    Runs the tiers.

    Args:
        task: target, edition, seed, number of workers.
        budget_seconds: for everything; each tier has its share of what is left when it begins.
        limit_seconds: how long it may take at most when goals are not reached within the budget (a busy machine);
            the budget itself by default.
        tiers: which ones, in order.
        out: where reproducers go; None saves nothing.
        observer: is told how it goes.
        clock: where the time comes from.
    """
    show = observer or Silent()
    outcome = Outcome()
    start = clock()
    try:
        for number, tier in enumerate(tiers):
            share = tier.share / (sum(later.share for later in tiers[number:]) or 1.0)
            elapsed = clock() - start
            left = max(0.0, (limit_seconds or budget_seconds) - elapsed)
            seconds = max((budget_seconds - elapsed) * share, min(_TIER_SECONDS_MIN, left * share))
            # A tier that has not reached its goal may borrow from the later ones, but leaves them something.
            budget = Budget(seconds, left * min(1.0, 1.6 * share + 0.05), clock)
            result = TierResult(tier.name, goal=tier.goal)
            outcome.results.append(result)
            deadline = start + (limit_seconds or budget_seconds)
            _run_tier(tier, task, budget, result, show, out, deadline, clock)
    except (KeyboardInterrupt, Interrupted) as error:
        outcome.interrupted = error.signal_name if isinstance(error, Interrupted) else "SIGINT"
        _close_interrupted(outcome, tiers, out, show)
    outcome.seconds = clock() - start
    return outcome


def _run_tier(
    tier: Tier,
    task: Task,
    budget: Budget,
    result: TierResult,
    show: Observer,
    out: Path | None,
    deadline: float,
    clock: Callable[[], float],
) -> None:
    show.begin(tier, result)
    begin = clock()

    def tick() -> None:
        result.seconds = clock() - begin
        show.tick()

    try:
        tier.run(task, budget, result, tick)
    except TargetError as error:
        # It was there when the run began: what other tiers did and will do still counts.
        result.status = INCONCLUSIVE
        result.reason = str(error)
    finally:
        result.seconds = clock() - begin
    result.settle()
    result.findings = distinct(result.findings)
    for index, finding in enumerate(result.findings):
        left = deadline - clock()
        seconds = min(_SHRINK_SECONDS_MAX, max(_SHRINK_SECONDS_MIN, left * _SHRINK_SHARE))
        show.say(f"{tier.name}: {finding.divergence.rule} found; shrinking for at most {seconds:.0f} s")
        result.findings[index] = shrink_finding(finding, seconds)
        if out is not None:
            result.findings[index] = _save(result.findings[index], out, show)
    result.findings = without_twins(result.findings)
    show.end(result)


def without_twins(findings: Sequence[Finding]) -> list[Finding]:
    """Findings that shrank to the same program are one; what shows itself alone and in few operations comes first."""
    seen: dict[tuple[object, ...], Finding] = {}
    for finding in findings:
        seen.setdefault(
            (finding.divergence.rule, finding.against, finding.program.settings, finding.program.operations), finding
        )
    return sorted(seen.values(), key=lambda finding: (not finding.alone, len(finding.program)))


def distinct(findings: Sequence[Finding]) -> list[Finding]:
    """One finding for each rule and operation: the one with the shortest program."""
    best: dict[tuple[str, str], Finding] = {}
    for finding in findings:
        key = (finding.divergence.rule, finding.divergence.operation.word)
        if key not in best or len(finding.program) < len(best[key].program):
            best[key] = finding
    return list(best.values())


def _save(finding: Finding, out: Path, show: Observer) -> Finding:
    try:
        return save_finding(finding, out)
    except SaveError as error:
        # What was found is still reported: the program is part of every report.
        show.say(str(error))
        return finding


def _close_interrupted(outcome: Outcome, tiers: Sequence[Tier], out: Path | None, show: Observer) -> None:
    """Gives each tier an honest end; what was found is saved as it is, without shrinking."""
    result = outcome.results[-1]
    result.settle()
    if result.status != FAIL:
        result.status = INCONCLUSIVE
        result.reason = f"interrupted by {outcome.interrupted} after {result.operations:,} operations"
    result.findings = distinct(result.findings)
    if out is not None:
        result.findings = [finding if finding.files else _save(finding, out, show) for finding in result.findings]
    show.end(result)
    for tier in tiers[len(outcome.results) :]:
        outcome.results.append(
            TierResult(tier.name, SKIPPED, f"interrupted by {outcome.interrupted} before it began", goal=tier.goal)
        )


def skip(result: TierResult, reason: str) -> None:
    """Marks a tier as skipped, with what would make it run."""
    result.status = SKIPPED
    result.reason = reason


__all__ = ["Observer", "Outcome", "Silent", "TargetError", "distinct", "skip", "verify"]
