"""How soon generated programs find a mutant: the same mutant under programs of many seeds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from ..session import Session
from ..targets import TargetError
from .core_decks import Decks
from .core_lab import CoreLab
from .core_tiers import HANG_SECONDS, processor_seconds
from .deck import hold
from .mutant import Mutant
from .record import DetectionRow
from .statistics import band


def measure_detection(
    lab: CoreLab, mutants: Sequence[Mutant], seeds: int, budget_seconds: float
) -> Iterator[DetectionRow]:
    """
    For each mutant the operations and the processor seconds until generated programs of each seed find it.

    Args:
        lab: compiles the mutants.
        mutants: that some generated program found before.
        seeds: how many; one that does not find a mutant within the budget has no part in its band.
        budget_seconds: for one mutant and one seed.
    """
    sound = lab.arena.sound
    decks = [Decks(sound, 1000 + seed, frozenset({"lockstep"})) for seed in range(seeds)]
    try:
        for mutant in mutants:
            made = lab.make(mutant)
            if not made.digest:
                continue
            library = lab.library_of(mutant)
            found = [_one(library, deck, lab, budget_seconds) for deck in decks]
            lab.discard(made)
            hits = [one for one in found if one is not None]
            operations, seconds = band([one[0] for one in hits]), band([one[1] for one in hits])
            yield DetectionRow(mutant.key, mutant.story(), seeds, len(hits), *operations, *seconds)
    finally:
        for deck in decks:
            deck.close()


def _one(library: Path, decks: Decks, lab: CoreLab, budget_seconds: float) -> tuple[float, float] | None:
    target = replace(lab.arena.sound, name=f"zmm:{library}", library=str(library))
    operations = 0
    spent = 0.0
    try:
        with Session(target, hang_seconds=HANG_SECONDS) as session:
            for deck in decks:
                begin = processor_seconds(session)
                kill = hold(deck, session, target, explain=False)
                spent += processor_seconds(session) - begin
                if kill is not None:
                    return operations + kill.operations, spent
                operations += deck.operations
                if spent >= budget_seconds:
                    return None
    except TargetError:
        return float(operations), spent
    return None
