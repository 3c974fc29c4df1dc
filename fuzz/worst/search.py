"""Searches for the trace with the worst figure: a hill climb with new starts, from a seed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from ..recorded import FREE, RECORD
from .objectives import LIVE_PEAK_BYTES_MIN, Objective
from .phases import COMB, STAIRS, Phase, change, draw_phase, expand
from .player import Player

# So many changes without a gain, and the climb begins anew somewhere else.
_PATIENCE = 150
_PATIENCE_WHEN_SLOW = 40


@dataclass(frozen=True, slots=True)
class Climb:
    """The worst trace so far: its figure, its phases, and after how many measurements it was found."""

    figure: float
    phases: tuple[Phase, ...]
    measured: int


def climb(objective: Objective, player: Player, seed: int, seconds: float) -> Iterator[Climb]:
    """
    Yields each trace that is worse than all before, until the time is up.

    Args:
        objective: what to make large.
        player: the allocator.
        seed: where the search begins; the same seed makes the same proposals.
        seconds: how long to go on; at least one trace is measured.

    :raises TargetError: the allocator cannot be measured.
    """
    random = Random(f"{seed}:{objective.name}")
    end = time.monotonic() + seconds
    best = 0.0
    measured = 0
    patience = _PATIENCE_WHEN_SLOW if objective.takes_seconds else _PATIENCE
    # The best of the known starts first, then drawn ones.
    starts = [(_measure(objective, player, phases), phases) for phases in (STAIRS, COMB)]
    starts.sort(key=lambda start: start[0])
    while True:
        here: tuple[Phase, ...] = tuple(draw_phase(random) for _ in range(random.randint(1, 6)))
        if starts:
            height, here = starts.pop()
        else:
            height = _measure(objective, player, here)
        measured += 1
        idle = 0
        while idle < patience:
            if height > best:
                best = height
                yield Climb(best, here, measured)
            if time.monotonic() >= end:
                return
            there = change(here, random)
            found = _measure(objective, player, there)
            measured += 1
            # Equally bad is accepted too: it lets the search wander along plains.
            idle = 0 if found > height else idle + 1
            if found >= height:
                here, height = there, found


def _measure(objective: Objective, player: Player, phases: tuple[Phase, ...]) -> float:
    """The figure, or 0 for a trace too small to say anything."""
    records = expand(phases)
    if not records or _live_peak(records) < LIVE_PEAK_BYTES_MIN:
        return 0.0
    return objective.measure(player, records)


def _live_peak(records: bytes) -> int:
    sizes: dict[int, int] = {}
    live = peak = 0
    for op, slot, size in RECORD.iter_unpack(records):
        live -= sizes.pop(slot, 0)
        if op != FREE:
            sizes[slot] = size
            live += size
            peak = max(peak, live)
    return peak
