"""Variants by rule: many, different, reproducible, and all of them can be performed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
from zmm_fuzz.faults.classify import Cell, Outcome
from zmm_fuzz.faults.fault import load_catalogue
from zmm_fuzz.faults.measure import VARIANTS_MIN, Column, measure, measure_sources
from zmm_fuzz.faults.rates import Rates
from zmm_fuzz.faults.record import FAIL, PASS, make_record
from zmm_fuzz.faults.script import check_script
from zmm_fuzz.faults.subject import Subject
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


def column_of(letter: str, count: int, in_time: float) -> Column:
    """A column of variants that all ended alike, of faults with the rates given."""
    fault = replace(load_catalogue()[0], level="none")
    outcome = Outcome(letter, "fault", "", (), "")
    cells = tuple(Cell(fault, "zmm", (outcome,)) for _ in range(count))
    sources = Rates(135, in_time, in_time, in_time, 0.0)
    return Column(Subject("zmm", "zmm", ("x",), level="release"), cells, 19, (), sources=sources)


def test_variants_that_fare_otherwise_fail_a_level() -> None:
    """By more than three points in a rate, and only where there are enough of them."""
    assert column_of("D", VARIANTS_MIN, 0.98).strays() == []
    assert column_of("D", VARIANTS_MIN, 0.96).strays() == ["in_time", "diagnosed"]
    assert column_of("D", VARIANTS_MIN - 1, 0.5).strays() == []
    assert make_record([column_of("D", VARIANTS_MIN, 0.9)], [], runs=1).status == FAIL
    assert make_record([column_of("D", VARIANTS_MIN, 1.0)], [], runs=1).status == PASS


@pytest.mark.nightly
@pytest.mark.parametrize("level", ["fast", "release", "hardened", "debug"])
def test_variants_are_stopped_at_the_rate_of_the_catalogue(level: str, subject_of: Callable[[str], Subject]) -> None:
    """540 of them, four of each fault: no rate differs by more than three points."""
    subject = subject_of(f"zmm:{level}")
    made = variants(load_catalogue(), 540, seed=1)
    column = measure(subject, made, runs=2)
    assert replace(column, sources=measure_sources(subject, made, load_catalogue(), runs=4)).strays() == []
