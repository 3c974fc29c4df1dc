"""The ablation table: for each numbered rule and invariant the planted bug that is missed when it alone is off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from zmm_model import RULES as ABSTRACT_RULES

from ..compare import RULES as EXACT_RULES
from .invariants import invariant_sentences, only_seen_by
from .record import KILLED, AblationRow, MutantRow
from .slips import Slip, search_abstract, search_exact


def make_ablation(root: Path, folder: Path, level: str, mutants: Sequence[MutantRow]) -> list[AblationRow]:
    """
    A row for each rule of the abstract model, each of the exact comparison and each invariant.

    Args:
        root: the tree with the core's cases.
        folder: for what is compiled.
        level: at which the heap is damaged.
        mutants: those of a run; the ones whose rows break a single rule stand beside that rule's slip.
    """
    invariants = invariant_sentences(root)
    seen = only_seen_by(root, folder, level, list(invariants))
    alone = only_killers(mutants)
    return [
        *_rows("rule of the abstract model", {name: rule.sentence for name, rule in ABSTRACT_RULES.items()},
               _stories(search_abstract()), alone),
        *_rows("rule of the exact comparison", EXACT_RULES, _stories(search_exact()), alone),
        *_rows("invariant", invariants, seen, alone),
    ]  # fmt: skip


def only_killers(mutants: Sequence[MutantRow]) -> dict[str, str]:
    """For each rule the shortest story of a mutant of the core whose rows break no other rule."""
    found: dict[str, str] = {}
    for row in mutants:
        if row.status != KILLED:
            continue
        broken = row.rules
        if len(broken) == 1:
            name = broken[0]
            story = f"{row.file}:{row.line}: {row.old} -> {row.new}"
            if name not in found or len(story) < len(found[name]):
                found[name] = story
    return found


def _stories(slips: Mapping[str, Slip]) -> dict[str, str]:
    return {name: slip.story() for name, slip in slips.items()}


def _rows(
    kind: str, sentences: Mapping[str, str], only_it: Mapping[str, str], mutants: Mapping[str, str]
) -> list[AblationRow]:
    return [
        AblationRow(name, sentence, only_it.get(name, ""), kind, mutants.get(name, ""))
        for name, sentence in sentences.items()
    ]
