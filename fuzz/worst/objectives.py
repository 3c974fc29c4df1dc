"""What a search makes as bad as it can: one figure of a trace each, with the sentence that says what it means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .player import Player


@dataclass(frozen=True, slots=True)
class Objective:
    """A figure of a trace; larger is worse. ``takes_seconds`` says that one measurement is slow (valgrind)."""

    name: str
    unit: str
    sentence: str
    measure: Callable[[Player, bytes], float]
    takes_seconds: bool = False


def _fragmentation(player: Player, records: bytes) -> float:
    cost = player.play(records)
    return cost.real_peak_bytes / max(cost.live_peak_bytes, 1)


def _resident(player: Player, records: bytes) -> float:
    cost = player.play(records)
    return cost.resident_peak_bytes / max(cost.live_peak_bytes, 1)


def _instructions(player: Player, records: bytes) -> float:
    operations = player.play(records).operations
    return player.count_instructions(records) / max(operations, 1)


def _gc(player: Player, records: bytes) -> float:
    return float(player.count_instructions(records, gc=True) - player.count_instructions(records))


# A ratio over next to nothing says nothing: what is live at the peak must be worth half a chunk at least.
LIVE_PEAK_BYTES_MIN = 1 << 20
OBJECTIVES = (
    Objective(
        "fragmentation",
        "bytes mapped for each byte live",
        "real peak over the most bytes ever live at once",
        _fragmentation,
    ),
    Objective(
        "resident",
        "bytes resident for each byte live",
        "peak of resident memory over the most bytes ever live at once",
        _resident,
    ),
    Objective(
        "instructions",
        "instructions for each operation",
        "all instructions of a trace, the loop around it included, over its operations",
        _instructions,
        takes_seconds=True,
    ),
    Objective(
        "gc",
        "instructions of one collection",
        "what a gc at the end of the trace costs",
        _gc,
        takes_seconds=True,
    ),
)


def find_objective(name: str) -> Objective:
    """The objective of a name; ``KeyError`` when there is none."""
    return {objective.name: objective for objective in OBJECTIVES}[name]
