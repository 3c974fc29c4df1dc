"""Tier `lockstep`: generated programs; abstract model, exact model and target agree on every row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

from ..generate import generate
from ..judge import Judge
from ..predict import Scope
from ..program import Program
from .base import INCONCLUSIVE, Budget, Finding, Task, Tick, TierResult
from .workers import Failed, Lost, Send, run_workers

# What one batch is made of: profiles and lengths. Long programs fill many chunks, short ones shrink in no time; the
# profiles that move megabytes with each operation have fewer of them, so that all get about as much time.
SCHEDULE: tuple[tuple[str, int], ...] = (
    *(("small", length) for length in (4000, 2000, 1000, 400, 60, 24)),
    *(("mixed", length) for length in (2000, 1000, 400, 150, 60, 24)),
    *(("requests", length) for length in (1500, 400, 150)),
    *(("text", length) for length in (1000, 400)),
    *(("large", length) for length in (1000, 400)),
    *(("limit", length) for length in (1000, 150, 60)),
    *(("failing", length) for length in (400, 150, 60)),
    *(("huge", length) for length in (400, 60)),
    *(("realloc", length) for length in (150, 60, 60)),
    *(("misuse", length) for length in (60, 60, 24, 24)),
)
# Findings after which a worker stops: more of them are mostly the same one again.
FINDINGS_MAX = 3


@dataclass(frozen=True, slots=True)
class Delta:
    """What a worker has done since its last message."""

    programs: int
    operations: int
    findings: tuple[Finding, ...] = ()
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A worker's last word when its budget ended before its part of a fixed amount of work was done."""

    what: str


class Lockstep:
    """Generated programs on the target, judged row by row."""

    name = "lockstep"
    sentence = "generated programs; abstract model, exact model and target step by step"
    goal = 1_000_000
    share = 0.22

    def run(self, task: Task, budget: Budget, result: TierResult, tick: Tick) -> None:
        """Runs two workers (or as many as the task says) on disjoint seeds until goal and share are reached."""
        goal = -(-result.goal // task.jobs)
        arguments = [(task, worker, budget.seconds, budget.limit_seconds, goal) for worker in range(task.jobs)]
        for message in run_workers(f"{__name__}:work", arguments):
            absorb(message, result)
            tick()


def absorb(message: object, result: TierResult) -> None:
    """Adds a worker's message to the result; None is only the clock."""
    if isinstance(message, Delta):
        result.programs += message.programs
        result.operations += message.operations
        result.findings.extend(message.findings)
        if message.remark:
            result.reason = message.remark
    elif isinstance(message, Unfinished):
        result.status = INCONCLUSIVE
        result.reason = result.reason or f"the budget ended before {message.what} (give more with --time-budget)"
    elif isinstance(message, Lost):
        result.status = INCONCLUSIVE
        result.reason = f"a worker process was lost ({message.how}); what it had reported is kept"
    elif isinstance(message, Failed):
        result.status = INCONCLUSIVE
        # A user's mistake explains itself; anything else is a bug of ours and is named like one.
        mine = "" if message.kind in ("TargetError", "UserError") else f" ({message.kind}, ZMM_TRACEBACK=1 tells more)"
        result.reason = f"a worker stopped: {message.text}{mine}"


def work(send: Send, task: Task, worker: int, seconds: float, limit_seconds: float, goal: int) -> None:
    """A worker's loop: makes a batch of programs, has it judged, reports."""
    budget = Budget(seconds, limit_seconds)
    done = 0
    found = 0
    with Judge.of(task.target, task.edition) as judge:
        for batch_number in count():
            if budget.over(done, goal):
                return
            programs = make_batch(task, judge.scope, batch_number * task.jobs + worker)
            delta = judge_programs(judge, task, programs)
            done += delta.operations
            found += len(delta.findings)
            send(delta)
            if found >= FINDINGS_MAX:
                return


def judge_programs(judge: Judge, task: Task, programs: Sequence[Program]) -> Delta:
    """Has programs judged, and says what came of them."""
    findings: list[Finding] = []
    remark = ""
    operations = 0
    for verdict in judge.judge_batch(programs):
        operations += len(verdict.program)
        remark = verdict.lost or remark
        if verdict.divergence is not None:
            findings.append(
                Finding(
                    verdict.divergence,
                    verdict.program,
                    task.target,
                    task.edition,
                    alone=verdict.alone,
                    all_calls=judge.all_calls,
                )
            )
            if len(findings) >= FINDINGS_MAX:
                break
    return Delta(len(programs), operations, tuple(findings), remark)


def make_batch(task: Task, scope: Scope, number: int) -> list[Program]:
    """The programs of a batch, a function of the task's seed and the batch's number."""
    # Seeds of batches lie far apart, so that no two batches share a program.
    seed = (task.seed * 1_000_003 + number) << 12
    anchor = scope is not Scope.WHOLE
    return [generate(seed + index, profile, length, anchor=anchor) for index, (profile, length) in enumerate(SCHEDULE)]
