"""What a campaign is asked for, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from .harvest import Harvested
from .merge import Merged

PASS, FAIL, INCONCLUSIVE = "pass", "fail", "inconclusive"


@dataclass(frozen=True, slots=True)
class Plan:
    """
    A campaign: which engine (empty: the harness' first) feeds which harness, for how long, and where things are kept.

    ``corpus`` is a folder (or, with a cluster, the URL of one). ``output`` gets every form of a finding;
    ``regressions`` its program, None keeps the tree as it is. ``target`` is the library on which findings are judged.
    """

    engine: str
    fuzz_target: str
    seconds: float
    jobs: int
    seed: int
    corpus: str
    output: Path
    regressions: Path | None = None
    target: str = "zmm"
    sanitize: bool = False
    core: Path | None = None
    scheduler: str = ""
    prune: bool = True


@dataclass(slots=True)
class WorkerRow:
    """One worker in the report: a local one or a member of a cluster; ``longest_bytes`` of its inputs, 0: any."""

    name: str
    longest_bytes: int = 0
    executions: int = 0
    crashes: int = 0
    deaths: list[str] = field(default_factory=list)
    trouble: str = ""


@dataclass(slots=True)
class Outcome:
    """
    What a campaign came to, complete or not.

    ``disk`` is the line about a full disk, ``reason`` why it is inconclusive. ``executions`` are inputs performed;
    ``cpu_seconds`` what the engines of this machine took for them, 0 where that is not known.
    """

    engine: str = ""
    executions: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    coverage: int = 0
    features: int = 0
    seeds: int = 0
    crashes: int = 0
    corpus: Merged | None = None
    workers: list[WorkerRow] = field(default_factory=list)
    findings: list[Harvested] = field(default_factory=list)
    disk: str = ""
    reason: str = ""
    interrupted: str = ""

    @property
    def status(self) -> str:
        """A finding outweighs everything; then whatever makes the run incomplete."""
        if self.findings:
            return FAIL
        return INCONCLUSIVE if self.reason or self.interrupted or self.disk or not self.executions else PASS

    def rate(self) -> float:
        """Executions a second of fuzzing, all workers together."""
        return self.executions / self.seconds if self.seconds > 0 else 0.0

    def cpu_rate(self) -> float:
        """Executions a processor second: what is left of the rate when a machine is busy with other work, too."""
        return self.executions / self.cpu_seconds if self.cpu_seconds > 0 else 0.0


class Observer(Protocol):
    """Whoever shows a campaign: told how it goes, and what has to be said."""

    def begin(self, plan: Plan) -> None: ...
    def tick(self, rows: list[WorkerRow], outcome: Outcome) -> None: ...
    def say(self, line: str) -> None: ...


class Silent:
    """Shows nothing."""

    def begin(self, plan: Plan) -> None: ...
    def tick(self, rows: list[WorkerRow], outcome: Outcome) -> None: ...
    def say(self, line: str) -> None: ...
