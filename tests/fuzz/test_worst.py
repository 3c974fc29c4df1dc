"""Worst cases: phases become legal traces, the search climbs, and what is kept is as bad as it says."""

from __future__ import annotations

import itertools
from pathlib import Path
from random import Random

import pytest
from zmm_fuzz.recorded import ALLOC, FREE, RECORD, parse_trace
from zmm_fuzz.targets import TargetError
from zmm_fuzz.worst.kept import Figure, keep, kept_folder, read_kept
from zmm_fuzz.worst.objectives import LIVE_PEAK_BYTES_MIN, OBJECTIVES, Objective, find_objective
from zmm_fuzz.worst.phases import COMB, LIVE_BYTES_MAX, STAIRS, Phase, change, draw_phase, expand
from zmm_fuzz.worst.player import Player, find_valgrind, last_words
from zmm_fuzz.worst.search import climb

from zmm.paths import get_library

CHUNK_BYTES = 2 << 20


@pytest.fixture
def player() -> Player:
    return Player("zmm", str(get_library("release")))


def live_peak(records: bytes) -> int:
    sizes: dict[int, int] = {}
    peak = 0
    for op, slot, size in RECORD.iter_unpack(records):
        sizes.pop(slot, 0)
        if op != FREE:
            sizes[slot] = size
            peak = max(peak, sum(sizes.values())) if len(sizes) < 300 else peak
    return peak


@pytest.mark.parametrize("seed", range(20))
def test_any_phases_become_a_legal_trace_within_the_bound(seed: int) -> None:
    """However phases are drawn and changed, no slot is taken twice and no more bytes live than are allowed."""
    random = Random(seed)
    phases: tuple[Phase, ...] = (draw_phase(random),)
    for _ in range(12):
        phases = change(phases, random)
    records = expand(phases)

    if records:
        parse_trace(records, "phases")
    assert live_peak(records) <= LIVE_BYTES_MAX


def test_each_kind_of_phase_does_what_it_says() -> None:
    """Fill makes blocks, thin keeps every second, grow resizes, churn leaves nothing, drop frees all."""
    fill = Phase("fill", 64, 10)

    def live(*phases: Phase) -> list[int]:
        sizes: dict[int, int] = {}
        for op, slot, size in RECORD.iter_unpack(expand(phases)):
            sizes.pop(slot, None)
            if op != FREE:
                sizes[slot] = size
        return sorted(sizes.values())

    assert live(fill) == [64] * 10
    assert live(fill, Phase("thin", stride=2)) == [64] * 5
    assert live(fill, Phase("grow", 100, stride=5)) == [64] * 8 + [100] * 2
    assert live(fill, Phase("churn", 32, 7)) == [64] * 10
    assert len(expand((Phase("churn", 32, 7),))) == 14 * RECORD.size
    assert live(fill, Phase("drop")) == []


def test_the_player_counts_what_was_live_and_mapped(player: Player) -> None:
    """Three blocks of 600 KiB, two at a time, fit one chunk."""
    size = 600 << 10
    records = b"".join(
        RECORD.pack(*row) for row in ((ALLOC, 0, size), (ALLOC, 1, size), (FREE, 0, 0), (ALLOC, 2, size))
    )
    cost = player.play(records)

    assert (cost.operations, cost.live_peak_bytes) == (4, 2 * size)
    assert (cost.size_peak_bytes, cost.real_peak_bytes) == (2 * size, CHUNK_BYTES)
    assert cost.resident_peak_bytes >= 2 * size


def test_a_library_that_cannot_be_loaded_is_one_line(tmp_path: Path) -> None:
    """The player's own words reach the user."""
    with pytest.raises(TargetError, match="cannot load"):
        Player("zmm", str(tmp_path / "none.so")).play(b"")


def test_the_stairs_map_many_bytes_for_each_live_one(player: Player) -> None:
    """No bin gives pages to another before a collection: fourteen bins, each filled and emptied, take a chunk each."""
    figure = find_objective("fragmentation").measure(player, expand(STAIRS))

    assert figure > 14


def test_a_comb_costs_many_times_what_a_plain_heap_costs(player: Player) -> None:
    """Gaps of one page in every chunk are all looked at for each run of two."""
    try:
        find_valgrind()
    except TargetError as error:
        pytest.skip(str(error))
    instructions = find_objective("instructions")
    plain = (Phase("churn", 8192, 1000),)
    comb = (COMB[0], COMB[1], plain[0])
    churned = 2000

    beside = instructions.measure(player, expand(plain))
    combed = player.count_instructions(expand(comb)) - player.count_instructions(expand(comb[:2]))
    assert combed / churned > 10 * beside


def test_the_search_climbs(player: Player) -> None:
    """From seed to seed the same proposals; each one yielded is worse than the one before."""
    operations = Objective("length", "operations", "the length", lambda _player, records: len(records) / RECORD.size)
    climbs = list(itertools.islice(climb(operations, player, 3, 60), 4))
    again = list(itertools.islice(climb(operations, player, 3, 60), 4))

    figures = [found.figure for found in climbs]
    assert figures == sorted(set(figures))
    assert climbs == again


def test_traces_with_next_to_nothing_live_do_not_count(player: Player) -> None:
    """One byte in a chunk would be the worst ratio of all, and say nothing."""
    assert live_peak(expand((Phase("fill", 8, 1),))) < LIVE_PEAK_BYTES_MIN
    everything = Objective("one", "", "always 1", lambda _player, _records: 1.0)
    found = next(climb(everything, player, 0, 60))

    assert sum(size for op, _slot, size in RECORD.iter_unpack(expand(found.phases)) if op == ALLOC) >= CHUNK_BYTES // 2


def test_kept_programs_are_their_phases_and_as_bad_as_they_say(player: Player) -> None:
    """Placement is exact, so the figure of fragmentation is the same on every machine."""
    kept = read_kept(kept_folder())

    assert [one.objective.name for one in kept] == [objective.name for objective in OBJECTIVES]
    for one in kept:
        assert one.records == expand(one.figure.phases)
        if one.objective.name == "fragmentation":
            assert one.objective.measure(player, one.records) == pytest.approx(one.figure.figure, abs=1e-3)


def test_other_objectives_stay_where_one_is_kept(tmp_path: Path) -> None:
    """A folder is filled one after the other, in any order; the one that is found again is replaced."""
    trace = expand((Phase("fill", 100, 5),))
    for name, value in (("gc", 5.0), ("fragmentation", 2.0), ("gc", 6.0)):
        keep(tmp_path, [Figure(name, value, "release", 7, 1, (Phase("fill", 100, 5),))], {name: trace})
    assert [(one.objective.name, one.figure.figure) for one in read_kept(tmp_path)] == [
        ("fragmentation", 2.0),
        ("gc", 6.0),
    ]


def test_the_reason_is_the_programs_own() -> None:
    """Valgrind's lines come last, and say nothing of why a trace ended."""
    assert last_words("zmm-player: no such function\n==219== \n==219== I   refs:      135,550\n") == (
        "zmm-player: no such function"
    )
    assert last_words("==219== I   refs:  5") == "==219== I   refs:  5"
    assert last_words("") == "no reason given"


def test_what_is_kept_can_be_read(tmp_path: Path) -> None:
    """A figure and its trace come back whole, and the trace is a program like any other."""
    phases = (Phase("fill", 100, 5), Phase("drop"))
    figure = Figure("gc", 5.0, "release", 7, 1, phases)
    keep(tmp_path, [figure], {"gc": expand(phases)})
    (kept,) = read_kept(tmp_path)

    assert (kept.figure, kept.records) == (figure, expand(phases))
    assert len(parse_trace(kept.path.read_bytes(), str(kept.path)).program()) == 10
