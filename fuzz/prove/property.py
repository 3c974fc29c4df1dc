"""What a property is: a claim, the engine that decides it, and the change that it must not survive."""

from __future__ import annotations

from dataclasses import dataclass

from .sources import Change

CONFIRMED, REFUTED, INCONCLUSIVE, SKIPPED = "confirmed", "refuted", "inconclusive", "skipped"

ENGINES = {
    "crosshair": "CrossHair follows every path of the model's functions against their contracts",
    "hypothesis": "Hypothesis with CrossHair's backend: symbolic arguments for ordinary property tests",
    "z3": "z3 bit-vectors: mask forms, and the model's functions on symbolic numbers",
    "ir": "the compiler's IR of the core, executed on symbolic arguments, against the model",
    "exhaustive": "every value of a finite domain, through the compiled core and the model",
    "angr": "the machine code of the shipped library, executed on symbolic arguments, against the model",
}


@dataclass(frozen=True, slots=True)
class Property:
    """
    One row of the table.

    Args:
        name: short, unique.
        sentence: what holds, for people.
        subject: the function that it is about, with its file.
        engine: a key of :data:`ENGINES`.
        bound: for which inputs.
        claim: "module:function" in this package, or the function under contract (engine crosshair).
        change: what is planted in a copy, which the same engine must refute in the same run.
        seconds: after so many the property is given up, and is inconclusive; for the change anew.
        is_quick: part of the default tests.
        is_extra: asked for by name or with --all only: a search that cannot end in a proof.
    """

    name: str
    sentence: str
    subject: str
    engine: str
    bound: str
    claim: str
    change: Change
    seconds: float = 300.0
    is_quick: bool = False
    is_extra: bool = False


@dataclass(frozen=True, slots=True)
class Attempt:
    """What became of a property, or of its planted change: `remark` is a counterexample or a reason."""

    status: str
    remark: str = ""
    cases: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Result:
    """A property, what became of it, and of its planted change."""

    row: Property
    sound: Attempt
    planted: Attempt

    @property
    def status(self) -> str:
        """Confirmed only when the planted change was refuted in the same run."""
        if self.sound.status == CONFIRMED and self.planted.status == CONFIRMED:
            return REFUTED
        if self.sound.status == CONFIRMED and self.planted.status != REFUTED:
            return INCONCLUSIVE
        return self.sound.status

    @property
    def remark(self) -> str:
        """Why it is not confirmed."""
        if self.sound.status != CONFIRMED:
            return self.sound.remark
        if self.planted.status == CONFIRMED:
            return f"the planted change is confirmed, too: {self.row.change.new}"
        if self.planted.status != REFUTED:
            return f"the planted change was not refuted: {self.planted.remark}"
        return ""

    @property
    def seconds(self) -> float:
        """Of both attempts."""
        return self.sound.seconds + self.planted.seconds
