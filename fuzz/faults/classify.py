"""From the end of a process to the one letter that says what the target made of the fault."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from .fault import Fault
from .messages import Diagnosis, find_diagnosis
from .run import Run
from .wire import (
    DONE,
    FAULT,
    FLAG_BROKEN,
    FLAG_NOT_APPLICABLE,
    FLAG_OUT_OF_REACH,
    FLAG_REFUSED,
    LOAD,
    PHASES,
    Evidence,
)

# The letters, and what each says. '!' is no result: the run went wrong before the fault.
MEANINGS = {
    "D": "diagnosed at the faulty call or write",
    "R": "refused: NULL or an error",
    "s": "stopped at the faulty access by a fault of the machine, without a message",
    "L": "diagnosed later, before any damage was seen",
    "l": "diagnosed later, after damage was seen",
    "S": "crashed later, without a message, before any damage was seen",
    "C": "silent corruption: damage was seen and the run ended normally",
    "c": "damage was seen, then a crash or a hang without a message",
    "H": "hung",
    "n": "nothing noticed and no damage seen",
    "E": "the object under attack has no writable mapping",
    "-": "not applicable",
    "!": "no result: the run ended before the fault was performed",
}
IN_TIME = frozenset("DRLs")
AT_ONCE = frozenset("DRs")
DIAGNOSED = frozenset("DRLl")
SILENT = frozenset("CcH")
COUNTED = frozenset("DRsLlSCcHn")
_TRAPS = frozenset({signal.SIGABRT, signal.SIGILL, signal.SIGTRAP})
_CRASHES = frozenset({signal.SIGSEGV, signal.SIGBUS})


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run: its letter, and what the letter was read from."""

    code: str
    phase: str
    message: str
    evidence: tuple[Evidence, ...]
    ended: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Cell:
    """All runs of one fault on one target."""

    fault: Fault
    target: str
    outcomes: tuple[Outcome, ...]

    @property
    def code(self) -> str:
        """The most frequent letter; of equally frequent ones the worst."""
        return _most_frequent(self.outcomes) if self.outcomes else "-"

    @property
    def mixed(self) -> bool:
        return len({outcome.code for outcome in self.outcomes}) > 1

    @property
    def text(self) -> str:
        return self.code + ("~" if self.mixed else "")

    @property
    def shown(self) -> Outcome | None:
        """A run that ended as most did."""
        return next((outcome for outcome in self.outcomes if outcome.code == self.code), None)

    def share(self, codes: frozenset[str]) -> float:
        """The part of the counted runs whose letter is one of ``codes``; 0 when no run counts."""
        counted = [outcome.code for outcome in self.outcomes if outcome.code in COUNTED]
        return sum(code in codes for code in counted) / len(counted) if counted else 0.0

    @property
    def counts(self) -> bool:
        """Whether the fault applies to the target: it then enters the rates."""
        return any(outcome.code in COUNTED for outcome in self.outcomes)


_WORST_FIRST = "!HcCSlnsLRD-E"


def _most_frequent(outcomes: Sequence[Outcome]) -> str:
    counter = Counter(outcome.code for outcome in outcomes)
    return min(counter, key=lambda code: (-counter[code], _WORST_FIRST.index(code)))


def judge(run: Run) -> Outcome:
    """The outcome of one run."""
    report = run.report
    diagnosis = find_diagnosis(run.stderr)
    ended = _ending(run)

    def outcome(code: str, phase: int = report.phase, reason: str = "") -> Outcome:
        return Outcome(code, PHASES[phase], diagnosis.text if diagnosis else "", report.evidence, ended, reason)

    if report.flags & FLAG_BROKEN:
        return outcome("!", reason=report.reason)
    if report.flags & FLAG_NOT_APPLICABLE:
        return outcome("-", reason=report.reason)
    if report.flags & FLAG_OUT_OF_REACH:
        return outcome("E", reason=report.reason)
    deliberate = diagnosis is None and run.signal in _TRAPS
    if diagnosis is not None or deliberate:
        phase = _phase_of(report.message_bytes, report.phase, diagnosis)
        if phase < FAULT:
            return outcome("!", phase, f"a diagnosis before the fault: {diagnosis.text if diagnosis else ended}")
        if phase == FAULT:
            return outcome("D", phase)
        said_before = diagnosis.offset if diagnosis else None
        seen = any(said_before is None or piece.message_bytes <= said_before for piece in report.evidence)
        return outcome("l" if seen else "L", phase)
    if report.phase < FAULT:
        return outcome("!", reason=f"the run ended before the fault ({ended})")
    if run.signal in _CRASHES:
        if report.phase == FAULT:
            return outcome("s")
        return outcome("c" if report.evidence else "S")
    if run.hung:
        return outcome("c" if report.evidence else "H")
    if report.phase != DONE or run.signal or run.exit_status:
        # Death of another kind (a status of its own, a kill from outside) is a crash without a message.
        return outcome("c" if report.evidence else "S")
    if report.evidence:
        return outcome("C")
    return outcome("R" if report.flags & FLAG_REFUSED else "n")


def could_not_begin(run: Run) -> bool:
    """
    Whether a run came to no operation of its script: the target cannot be loaded, makes no heap, or cannot be asked.

    What the target makes of an operation, be it a crash at the first, is something else.
    """
    return bool(run.report.flags & FLAG_BROKEN) or run.report.phase == LOAD


def _phase_of(message_bytes: Sequence[int], last: int, diagnosis: Diagnosis | None) -> int:
    """The phase in which a diagnosis was said: the last one that began before it."""
    if diagnosis is None:
        return last
    return max(phase for phase in range(last + 1) if phase == 0 or 0 < message_bytes[phase] <= diagnosis.offset + 1)


def _ending(run: Run) -> str:
    if run.hung:
        return "hung"
    if run.signal:
        try:
            return signal.Signals(run.signal).name
        except ValueError:
            return f"signal {run.signal}"
    return f"exit status {run.exit_status}"


def kept_promise(cell: Cell, level: str) -> bool:
    """
    Whether a level of zmm did what the catalogue says of it: every run stopped in time, or what the fault allows.

    True as well where nothing is promised or the fault does not apply, and of runs without a result: they say nothing.
    """
    fault = cell.fault
    allowed = set(IN_TIME) | {"-", "E", "!"}
    if fault.late:
        allowed.add("l")
    if fault.neutral_at(level):
        allowed.add("n")
    elif not fault.promised_by(level):
        return True
    return all(outcome.code in allowed for outcome in cell.outcomes)
