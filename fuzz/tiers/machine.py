"""Tier `machine`: Hypothesis state machines over the Python API, in a process that may die."""

from __future__ import annotations

import importlib.util
import os
import tempfile
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from ..compare import RULES, Divergence, operation_at
from ..program import Program, ProgramError
from ..targets import find_target
from ..text import parse_text
from .base import INCONCLUSIVE, PASS, SKIPPED, Budget, Finding, Task, Tick, TierResult
from .lockstep import Delta, absorb
from .workers import Lost, Send, run_workers


@dataclass(frozen=True, slots=True)
class Profile:
    """How much Hypothesis does at least: examples in all, and the most steps of an example."""

    examples: int
    steps: int


# Every seed is made from the task's, so all of them repeat themselves exactly.
PROFILES = {"dev": Profile(50, 30), "ci": Profile(200, 50), "nightly": Profile(5000, 100)}
# Examples of one run of Hypothesis: each run reports, and begins with a seed of its own.
_ROUND_EXAMPLES = 50


class Machine:
    """Programs that Hypothesis makes up step by step, through `zmm.Heap`."""

    name = "machine"
    sentence = "Hypothesis state machines: the Python API, a runner and a model side by side"
    goal = 0
    share = 0.12

    def run(self, task: Task, budget: Budget, result: TierResult, tick: Tick) -> None:
        """Runs rounds in worker processes until the profile's examples are done and the share is used up."""
        target = find_target(task.target)
        if target.kind != "zmm" or "/" in target.name:
            result.status = SKIPPED
            result.reason = f"{task.target} has no Python API; it is that of zmm and its levels by name"
            return
        if importlib.util.find_spec("hypothesis") is None:
            result.status = SKIPPED
            result.reason = "Hypothesis is not installed (pip install 'zmm[verify]')"
            return
        with tempfile.TemporaryDirectory(prefix="zmm-machine-") as directory:
            journals = [str(Path(directory, f"journal-{worker}.zmm")) for worker in range(task.jobs)]
            arguments = [
                (task, worker, journals[worker], target.level, budget.seconds, budget.limit_seconds)
                for worker in range(task.jobs)
            ]
            for message in run_workers(f"{__name__}:work", arguments):
                if isinstance(message, Lost):
                    self._died(task, result, Path(journals[message.worker]), message)
                else:
                    absorb(message, result)
                tick()
        examples = PROFILES[task.profile].examples
        if result.status == PASS and not result.findings and result.programs < examples:
            result.status = INCONCLUSIVE
            result.reason = (
                f"the budget ended after {result.programs} of {examples} examples (give more with --time-budget)"
            )

    def _died(self, task: Task, result: TierResult, journal: Path, lost: Lost) -> None:
        """A worker's death is a result: the journal says what it was about to do."""
        if "SIGKILL" in lost.how or "SIGTERM" in lost.how:
            absorb(lost, result)
            return
        program = read_journal(journal)
        if program is None:
            result.status = INCONCLUSIVE
            result.reason = f"a worker died ({lost.how}) before its first operation"
            return
        step = len(program)
        divergence = Divergence(
            "DEATH", step, operation_at(program.operations, step), "status", "an answer", lost.how, RULES["DEATH"]
        )
        result.findings.append(
            Finding(divergence, program, task.target, task.edition, note="found through the Python API")
        )


def read_journal(path: Path) -> Program | None:
    """The program that a dead worker was about to perform; None when there is none."""
    try:
        # A line that was being written when the process died is no operation yet.
        text, _, _ = path.read_bytes().rpartition(b"\n")
        return parse_text(text + b"\n", str(path)) if text else None
    except (OSError, ProgramError):
        return None


def work(send: Send, task: Task, worker: int, journal: str, level: str, seconds: float, limit_seconds: float) -> None:
    """A worker's loop: rounds of Hypothesis, each with a seed of its own."""
    import hypothesis
    from hypothesis import HealthCheck, Phase
    from hypothesis.reporting import with_reporter
    from hypothesis.stateful import run_state_machine_as_test

    from ..driver import Driver
    from .machine_own import OwnMachine
    from .machine_rules import HeapMachine

    budget = Budget(seconds, limit_seconds)
    profile = PROFILES[task.profile]
    mine = -(-profile.examples // task.jobs)
    counts = [0, 0]
    done = 0

    def report(operations: int) -> None:
        counts[0] += 1
        counts[1] += operations
        if budget.over(done + counts[0], mine) and HeapMachine.found() is None:
            raise _Enough

    HeapMachine.edition = task.edition
    HeapMachine.level = level
    target = find_target(task.target)
    HeapMachine.driver = Driver(target, task.edition)
    kind = HeapMachine if target.is_exact else OwnMachine
    HeapMachine.journal = os.open(journal, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    HeapMachine.report = staticmethod(report)
    settings = hypothesis.settings(
        max_examples=_ROUND_EXAMPLES,
        stateful_step_count=profile.steps,
        deadline=None,
        database=None,
        print_blob=False,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    try:
        for number in count():
            HeapMachine.failure = None
            seed = (task.seed * 1009 + worker) * 1_000_003 + number
            machine = hypothesis.seed(seed)(type("Machine", (kind,), {}))
            stopped = False
            with with_reporter(lambda _text: None):
                try:
                    run_state_machine_as_test(machine, settings=settings)
                except _Enough:
                    stopped = True
                except Exception:
                    # Hypothesis may dress a divergence up (flaky, several at once); without one it is our own bug.
                    if HeapMachine.found() is None:
                        raise
            findings: tuple[Finding, ...] = ()
            found = HeapMachine.found()
            if found is not None:
                program, divergence = found
                findings = (
                    Finding(divergence, program, task.target, task.edition, note="found through the Python API"),
                )
            send(Delta(counts[0], counts[1], findings))
            done += counts[0]
            counts[:] = [0, 0]
            if stopped or findings or budget.over(done, mine):
                return
    finally:
        HeapMachine.driver.close()
        os.close(HeapMachine.journal)


class _Enough(BaseException):
    """The share is used up: ends Hypothesis from inside an example without being an error to it."""
