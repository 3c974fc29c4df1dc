"""What harm an attack did before anything stopped it, and the name of that: a primitive."""

from __future__ import annotations

from dataclasses import dataclass

from .attack import Attack, misuses_of, writes_directly
from .messages import find_diagnosis
from .run import Run
from .wire import FAULT

# Worst first. A changed block counts only where the attack does not write by itself.
GOALS = ("hijack", "alien", "overlap", "short-alloc", "limit-bypass", "victim")
FALSE_ALARM = "false alarm"


@dataclass(frozen=True, slots=True)
class Primitive:
    """
    A way to do harm: what is misused, and what it gives.

    Its ``signature`` is the same for all attacks of its kind; the catalogue names primitives by it.
    """

    misuses: tuple[str, ...]
    impact: str

    @classmethod
    def of(cls, signature: str) -> Primitive:
        """The primitive of a signature."""
        misuses, _, impact = signature.partition(" -> ")
        return cls(tuple(misuses.split(" + ")) if misuses != "nothing" else (), impact)

    def contains(self, other: Primitive) -> bool:
        """Whether the other does at least this harm with a part of these misuses: then this one is nothing new."""
        if not other.misuses or not set(other.misuses) <= set(self.misuses):
            return False
        if self.impact not in GOALS or other.impact not in GOALS:
            return self.impact == other.impact
        return GOALS.index(other.impact) <= GOALS.index(self.impact)

    @property
    def signature(self) -> str:
        return f"{' + '.join(self.misuses) or 'nothing'} -> {self.impact}"


def impact_of(run: Run, attack: Attack) -> str:
    """The worst harm that was there before a diagnosis or the end, empty when there was none."""
    diagnosis = find_diagnosis(run.stderr)
    if diagnosis is not None and run.report.phase < FAULT:
        return FALSE_ALARM
    direct = writes_directly(attack)
    seen = {
        piece.kind
        for piece in run.report.evidence
        if (diagnosis is None or piece.message_bytes <= diagnosis.offset) and not (direct and piece.kind == "victim")
    }
    if any(piece.phase < FAULT for piece in run.report.evidence):
        return FALSE_ALARM
    return next((goal for goal in GOALS if goal in seen), "")


def primitive_of(run: Run, attack: Attack) -> Primitive | None:
    """The primitive that a run shows, None when it shows no harm."""
    impact = impact_of(run, attack)
    return Primitive(misuses_of(attack), impact) if impact else None
