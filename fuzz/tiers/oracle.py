"""Tier `oracle`: zmm with edition php-8.2 against PHP's own ZendMM, place by place and counter by counter."""

from __future__ import annotations

from itertools import count

from zmm_model.op import Operation, Settings

from ..compare import RULES, Divergence, first_difference, first_unfit_row, operation_at, unpack_row
from ..driver import Trace
from ..predict import Scope
from ..program import Program
from ..targets import Target, TargetError, find_target
from ..versus import Versus
from ..wire import EDITION_PHP, Burst, BurstFlag, BurstProfile
from .base import SKIPPED, Budget, Finding, Task, Tick, TierResult, trimmed
from .lockstep import FINDINGS_MAX, Delta, absorb, make_batch
from .workers import Send, run_workers

# The later library with soft limits: everything but refusals is compared with it as well, one batch in four.
SECOND = "php:8.2.36"
_SECOND_EVERY = 4
# Bursts of one round: heaps, bursts on each, operations in each.
_HEAPS, _BURSTS, _BURST_OPERATIONS = 4, 3, 4000


class Oracle:
    """PHP itself says where each block belongs."""

    name = "oracle"
    sentence = "zmm --edition php-8.2 against PHP, place by place, counter by counter"
    goal = 1_000_000
    share = 0.2

    def run(self, task: Task, budget: Budget, result: TierResult, tick: Tick) -> None:
        """Runs workers on disjoint seeds until goal and share are reached."""
        target = find_target(task.target)
        if target.kind != "zmm":
            result.status = SKIPPED
            result.reason = f"{task.target} is not zmm; this tier compares zmm with PHP"
            return
        if not target.is_exact:
            result.status = SKIPPED
            result.reason = trimmed(target)
            return
        try:
            found = [find_target(task.oracle)]
        except TargetError as error:
            result.status = SKIPPED
            result.reason = f"php: not present ({error})"
            return
        second = second_oracle(found[0])
        if second is not None:
            found.append(second)
        goal = -(-result.goal // task.jobs)
        arguments = [
            (task, [php.name for php in found], worker, budget.seconds, budget.limit_seconds, goal)
            for worker in range(task.jobs)
        ]
        for message in run_workers(f"{__name__}:work", arguments):
            absorb(message, result)
            tick()
        result.reason = result.reason or "PHP " + " and ".join(
            php.version + (" (refusals left out)" if php.soft_limits else "") for php in found
        )


def second_oracle(first: Target) -> Target | None:
    """The library with soft limits, when it is here and is not the first one."""
    try:
        second = find_target(SECOND)
    except TargetError:
        return None
    return second if second.library != first.library else None


def work(
    send: Send, task: Task, oracles: list[str], worker: int, seconds: float, limit_seconds: float, goal: int
) -> None:
    """A worker's loop: a batch of programs, then bursts, on one of the oracles."""
    budget = Budget(seconds, limit_seconds)
    target = find_target(task.target)
    rivals = [Versus(target, find_target(name), EDITION_PHP) for name in oracles]
    done = found = 0
    try:
        for number in count():
            if budget.over(done, goal) or found >= FINDINGS_MAX:
                return
            rival = rivals[1] if len(rivals) > 1 and number % _SECOND_EVERY == 1 else rivals[0]
            mine = number * task.jobs + worker
            for delta in (programs(task, rival, mine), bursts(task, rival, mine)):
                done += delta.operations
                found += len(delta.findings)
                send(delta)
    finally:
        for rival in rivals:
            rival.close()


def programs(task: Task, rival: Versus, number: int) -> Delta:
    """A batch of generated programs: both targets and the exact model say the same."""
    batch = make_batch(task, Scope.DEFINED, number)
    operations = 0
    remark = ""
    findings: list[Finding] = []
    performed = 0
    for verdict in rival.judge_batch(batch):
        performed += 1
        operations += len(verdict.program)
        remark = verdict.lost or remark
        if verdict.divergence is not None:
            findings.append(
                Finding(
                    verdict.divergence,
                    verdict.program,
                    task.target,
                    EDITION_PHP,
                    rival.reference.name,
                    alone=verdict.alone,
                )
            )
            if len(findings) >= FINDINGS_MAX:
                break
    return Delta(performed, operations, tuple(findings), remark)


def bursts(task: Task, rival: Versus, number: int) -> Delta:
    """Operations made up natively by both sides, their rows compared by digest."""
    operations = 0
    findings: list[Finding] = []
    profiles = list(BurstProfile)
    for heap in range(_HEAPS):
        seed = ((task.seed * 1_000_003 + number) * _HEAPS + heap) << 8
        flags = BurstFlag.GC
        settings = Settings(extend=bool(heap & 1), truncate=bool(heap & 2))
        if rival.reference.refuses_exactly:
            flags |= BurstFlag.LIMITS | BurstFlag.OVERFLOWS
        if heap == _HEAPS - 1:
            # Requests end on kernel storage only: PHP hands the storage record's memory out again.
            settings = Settings(storage="kernel", extend=bool(number & 1))
            flags |= BurstFlag.REQUESTS
        made = [
            Burst(seed + index, _BURST_OPERATIONS, profiles[(number + heap + index) % len(profiles)], flags)
            for index in range(_BURSTS)
        ]
        ours, theirs = rival.run_bursts(settings, made)
        operations += sum(burst.operations + 1 for burst in made)
        if ours.rows != theirs.rows or first_unfit_row(ours.rows, len(made) + 2) is not None:
            findings.append(explain_burst(task, rival, settings, made, ours, theirs))
            break
    return Delta(_HEAPS, operations, tuple(findings))


def explain_burst(
    task: Task, rival: Versus, settings: Settings, made: list[Burst], ours: Trace, theirs: Trace
) -> Finding:
    """The finding behind bursts that differ: their operations, up to the first step that differs."""
    at = first_difference(theirs.rows, ours.rows)
    upto = len(made) if at is None else min(at, len(made))
    operations: list[Operation] = []
    for burst in made[:upto]:
        operations += rival.expand(burst)
    program = Program(settings, tuple(operations), (), f"bursts {', '.join(map(str, made[:upto]))}")
    divergence: Divergence | None = rival.judge(program)
    alone = divergence is not None
    if divergence is None:
        # Step by step they agree: only the digests tell that something differed.
        at = at or 0
        divergence = Divergence(
            "EXACT-STATE",
            len(program),
            operation_at(program.operations, len(program)),
            "digest of a burst",
            f"{unpack_row(theirs.rows, at).value:#010x}",
            f"{unpack_row(ours.rows, at).value:#010x}",
            RULES["EXACT-STATE"],
        )
    return Finding(divergence, program, task.target, EDITION_PHP, rival.reference.name, alone=alone)
