"""Every rule and every invariant has a bug that it alone sees: switched off, the bug is missed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from zmm_fuzz.compare import RULES as EXACT_RULES
from zmm_fuzz.mutate.ablation import only_killers
from zmm_fuzz.mutate.invariants import invariant_sentences, only_seen_by, without_invariant
from zmm_fuzz.mutate.record import MutantRow
from zmm_fuzz.mutate.slips import PROGRAMS, abstract_violation, own_rows, search_abstract, search_exact, true_rows
from zmm_model import RULES as ABSTRACT_RULES
from zmm_model.accounting import Accounting


@pytest.mark.slow
def test_every_abstract_rule_has_a_slip_that_only_it_sees() -> None:
    """A rule without one is one too many, or lacks its bug."""
    found = search_abstract()
    assert [rule for rule in ABSTRACT_RULES if rule not in found] == []


def test_some_abstract_rules_have_a_slip_that_only_they_see() -> None:
    """The same for a few rules, quickly."""
    wanted = ("ABS-2", "ABS-13", "ABS-14", "ABS-16", "ABS-25")
    assert set(search_abstract(wanted)) == set(wanted)


def test_every_rule_of_the_exact_comparison_has_a_slip_that_only_it_sees() -> None:
    """Also those of deaths and of hangs."""
    found = search_exact()
    assert [rule for rule in EXACT_RULES if rule not in found] == []
    assert all(slip.story() for slip in found.values())


def test_programs_of_the_slips_are_right_as_they_are() -> None:
    """The control: without a slip no rule objects, whatever the accounting."""
    for accounting in Accounting:
        level = "hardened" if accounting is Accounting.OWN else "release"
        rows = [own_rows(program, true_rows(program, level), accounting) for program in PROGRAMS]
        judged = [abstract_violation(program, one, accounting) for program, one in zip(PROGRAMS, rows, strict=True)]
        assert judged.count(None) >= 1, accounting
    assert all(abstract_violation(one, true_rows(one), Accounting.ZENDMM) is None for one in PROGRAMS)


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no C compiler is here (apt-get install gcc)")
def test_an_invariant_has_damage_that_only_it_sees(root: Path, tmp_path: Path) -> None:
    """With its check taken out, zmm_heap_check says nothing of a damage that it names otherwise."""
    found = only_seen_by(root, tmp_path, "release", ["RUN-3"])
    assert "free_tail" in found["RUN-3"]


@pytest.mark.nightly
@pytest.mark.slow
def test_every_invariant_has_damage_that_only_it_sees(root: Path, tmp_path: Path) -> None:
    """As above, one invariant after the other."""
    names = list(invariant_sentences(root))
    assert len(names) > 15
    found = only_seen_by(root, tmp_path, "release", names)
    assert [name for name in names if name not in found] == []


def test_taking_an_invariant_out_leaves_the_others(root: Path) -> None:
    """Each id is gone once it is taken out, and no other."""
    text = (root / "zmm/core/check.c").read_text()
    code = text.split("*/", 1)[1]
    for name in invariant_sentences(root):
        left = without_invariant(code, name)
        assert f'"{name}"' not in left
        assert all(f'"{other}"' in left for other in invariant_sentences(root) if other != name)


def test_mutants_that_one_rule_sees_are_its_own() -> None:
    """Only killed mutants with a single broken rule count; the shortest story stands for all."""

    def row(key: str, new: str, rules: tuple[str, ...]) -> MutantRow:
        return MutantRow(key, "core", "a.c", "f", 1, "old", new, "bound", "killed", rules=rules)

    found = only_killers([row("1", "longer", ("A",)), row("2", "new", ("A",)), row("3", "x", ("A", "B"))])
    assert found == {"A": "a.c:1: old -> new"}
