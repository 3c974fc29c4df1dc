"""Variants by rule: many, different, reproducible, and all of them can be performed."""

from __future__ import annotations

from collections import Counter

from zmm_fuzz.faults.fault import load_catalogue
from zmm_fuzz.faults.script import check_script
from zmm_fuzz.faults.variants import variants


def test_there_are_more_than_500_variants() -> None:
    """They differ from each other and from the catalogue, and have names of their own."""
    faults = load_catalogue()
    made = variants(faults, 600, seed=1)
    assert len(made) == 600
    assert len({variant.id for variant in made}) == 600
    assert len({(variant.id.partition(".")[0], variant.sequence) for variant in made}) == 600
    originals = {fault.id: fault.sequence for fault in faults}
    assert all(variant.sequence.strip() != originals[variant.id.partition(".")[0]].strip() for variant in made)


def test_every_fault_has_as_many_variants_as_the_next() -> None:
    """No class counts more than in the catalogue: their rates can be compared."""
    counts = Counter(variant.id.partition(".")[0] for variant in variants(load_catalogue(), 540, seed=3))
    assert len(counts) == 135
    assert set(counts.values()) == {4}


def test_the_seed_decides() -> None:
    """The same seed gives the same variants, another one others."""
    faults = load_catalogue()
    assert variants(faults, 200, seed=5) == variants(faults, 200, seed=5)
    assert variants(faults, 200, seed=5) != variants(faults, 200, seed=6)


def test_variants_can_be_performed_and_keep_their_promise() -> None:
    """A variant is a legal script, of the same class and level as its source."""
    sources = {fault.id: fault for fault in load_catalogue()}
    for variant in variants(tuple(sources.values()), 1000, seed=2):
        check_script(variant.sequence)
        source = sources[variant.id.partition(".")[0]]
        assert (variant.kind, variant.level, variant.applies) == (source.kind, source.level, source.applies)
