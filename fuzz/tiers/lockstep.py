"""Tier `lockstep`: generated programs; abstract model, exact model and target agree on every row."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count

from ..generate import PROFILES, generate
from ..judge import Judge
from ..predict import Scope
from ..program import Program
from .base import INCONCLUSIVE, Budget, Finding, Task, Tick, TierResult
from .workers import Failed, Lost, Send, run_workers

# One round trip performs at least this many steps, so that its fixed price does not count.
BATCH_OPERATIONS = 12_000
# Lengths of programs: most are short enough to shrink in no time, some fill many chunks.
_LENGTHS = (24, 60, 150, 400, 1000, 1000, 2000, 4000)
# Findings after which a worker stops: more of them are mostly the same one again.
FINDINGS_MAX = 3

_PROFILES = tuple(sorted(PROFILES))


@dataclass(frozen=True, slots=True)
class Delta:
    """What a worker has done since its last message."""

    programs: int
    operations: int
    findings: tuple[Finding, ...] = ()
    remark: str = ""


class Lockstep:
    """Generated programs on the target, judged row by row."""

    name = "lockstep"
    sentence = "generated programs; abstract model, exact model and target step by step"
    goal = 1_000_000
    share = 0.22

    def run(self, task: Task, budget: Budget, result: TierResult, tick: Tick) -> None:
        """Runs two workers (or as many as the task says) on disjoint seeds until goal and share are reached."""
        goal = -(-result.goal // task.jobs)
        arguments = [
            (task, worker, budget.seconds, budget.limit_seconds, goal) for worker in range(task.jobs)
        ]
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
    elif isinstance(message, Lost):
        result.status = INCONCLUSIVE
        result.reason = f"a worker process was lost ({message.how}); what it had reported is kept"
    elif isinstance(message, Failed):
        result.status = INCONCLUSIVE
        result.reason = f"a worker stopped: {message.text}"


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
            findings: list[Finding] = []
            remark = ""
            operations = 0
            for verdict in judge.judge_batch(programs):
                operations += len(verdict.program)
                if verdict.lost:
                    remark = verdict.lost
                if verdict.divergence is not None:
                    findings.append(
                        Finding(
                            verdict.divergence, verdict.program, task.target, task.edition, alone=verdict.alone
                        )
                    )
            done += operations
            found += len(findings)
            send(Delta(len(programs), operations, tuple(findings[:FINDINGS_MAX]), remark))
            if found >= FINDINGS_MAX:
                return


def make_batch(task: Task, scope: Scope, number: int) -> list[Program]:
    """The programs of a batch: all profiles in turn, lengths mixed; a function of the task's seed and the number."""
    programs: list[Program] = []
    operations = 0
    # Seeds of batches lie far apart, so that no two batches share a program.
    seed = (task.seed * 1_000_003 + number) << 12
    anchor = scope is not Scope.WHOLE
    while operations < BATCH_OPERATIONS:
        length = _LENGTHS[(seed ^ number) % len(_LENGTHS)]
        profile = _PROFILES[seed % len(_PROFILES)]
        program = generate(seed, profile, length, anchor=anchor)
        programs.append(program)
        operations += len(program)
        seed += 1
    return programs
