"""The search for new faults: attacks, their names, their reduction, and that the search is awake."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from zmm_fuzz.faults.attack import Attack, Maker, Step, lines_of, misuses_of, script_of, without
from zmm_fuzz.faults.classify import judge
from zmm_fuzz.faults.fault import load_catalogue, parse_fault
from zmm_fuzz.faults.impact import Primitive, impact_of
from zmm_fuzz.faults.known import known_at, load_known
from zmm_fuzz.faults.reduce import reduce_attack
from zmm_fuzz.faults.script import check_script
from zmm_fuzz.faults.search import ATTACKS_MIN, Found, Search, Searched
from zmm_fuzz.faults.search_machine import search_by_machine
from zmm_fuzz.faults.search_record import FAIL, INCONCLUSIVE, PASS, record_of, row_of, to_toml
from zmm_fuzz.faults.serving import Server
from zmm_fuzz.faults.subject import Subject
from zmm_fuzz.faults.subjects import Subjects
from zmm_fuzz.truth.patch import read_patch
from zmm_fuzz.truth.plant import plant

# A search that finds what it looks for ends at once; only one that is asleep takes so long.
PATIENCE_SECONDS = 120.0
PLANTED = Path(__file__).resolve().parent.parent / "planted"
DOUBLE_FREE = (Step("alloc", "a", size=64), Step("free", "a"), Step("free_freed", "a"))
STALE_FREE = (Step("alloc", "a", size=64), Step("free", "a"), Step("alloc", "b", size=64), Step("free_freed", "a"))


def texts(attack: Attack) -> list[str]:
    return [line.text for line in lines_of(attack)]


def attacks(count: int, seed: int = 1) -> list[Attack]:
    maker = Maker(random.Random(seed), zend=True, sized=True)
    return [maker.attack() for _ in range(count)]


# ---- attacks ---------------------------------------------------------------------------------------------------------


def test_a_step_is_named_by_what_became_of_its_block() -> None:
    """The same words are a plain free of a live block, a second free of a dead one, a stale one after reuse."""
    assert misuses_of(DOUBLE_FREE[:2]) == ()
    assert misuses_of(DOUBLE_FREE) == ("free-freed small",)
    assert misuses_of(STALE_FREE) == ("free-freed small reused",)
    assert misuses_of((Step("alloc", "a", size=3 << 20), Step("free_interior", "a", offset=4096))) == (
        "free-interior huge",
    )
    assert misuses_of((Step("alloc", "a", size=64), Step("request_end"), Step("free", "a"))) == ("free-freed small",)


def test_every_part_of_an_attack_is_an_attack() -> None:
    """Steps whose block is gone with the part left out are left out, too: what is left can be performed."""
    draw = random.Random(4)
    for attack in attacks(200):
        part = tuple(step for step in attack if draw.random() < 0.6)
        script = script_of(part)
        assert bool(script) == bool(misuses_of(part))
        if script:
            check_script(script)


def test_a_script_marks_its_first_misuse() -> None:
    """What comes before `fault` is legal, what stands between `fault` and `after` is not."""
    lines = script_of(STALE_FREE).splitlines()
    assert lines == ["size 64", "alloc a 64", "free a", "alloc b 64", "fault", "free a", "after"]


def test_a_block_that_may_stay_in_place_has_one_name() -> None:
    """Nobody could tell a stale pointer from a good one if both are the same address."""
    same = (Step("alloc", "a", size=64), Step("realloc", "a", "b", size=128), Step("free", "a"))
    assert misuses_of(same) == ()
    moved = (Step("alloc", "a", size=64), Step("realloc", "a", "b", size=8192), Step("free", "a"))
    assert texts(moved) == ["alloc a 64", "realloc b a 8192", "free a"]
    assert misuses_of(moved) == ("free-freed small reused",)


def test_misuses_can_be_taken_out() -> None:
    """What is left is the attack without them."""
    both = (*STALE_FREE, Step("overflow", "b", size=8, write="fill", value="0x41"))
    assert misuses_of(both) == ("free-freed small reused", "overflow small")
    assert misuses_of(without(both, ["overflow small"])) == ("free-freed small reused",)


def test_attacks_by_chance_misuse_everything() -> None:
    """Each kind of misuse occurs, and most attacks misuse something."""
    made = attacks(2000)
    seen = Counter(tag.partition(" ")[0] for attack in made for tag in misuses_of(attack))
    assert set(seen) == {
        *("free-freed", "free-interior", "free-foreign", "free-crossed", "free-wrong-size", "realloc-freed"),
        *("write-freed", "copy-freed", "overflow", "underflow"),
    }
    assert sum(bool(misuses_of(attack)) for attack in made) > len(made) // 2


def test_the_seed_decides() -> None:
    """The same seed draws the same attacks."""
    assert attacks(20, seed=9) == attacks(20, seed=9) != attacks(20, seed=10)


# ---- reduction, names ------------------------------------------------------------------------------------------------


def test_reduction_finds_the_smallest_part() -> None:
    """Of a long attack the steps that matter are left, with the common size of their kind."""
    needed = (Step("alloc", "a", size=320), Step("free", "a"), Step("free_freed", "a"))
    noise = attacks(1, seed=3)[0]
    whole = tuple(step._replace(name="h", other="h") for step in noise) + needed

    def shows(attack: Attack) -> bool:
        return "free-freed small" in misuses_of(tuple(step for step in attack if step.name == "a"))

    assert reduce_attack(whole, shows) == tuple(step._replace(size=64) if step.size else step for step in needed)


def test_a_primitive_contains_a_smaller_one_that_does_as_much() -> None:
    """More misuse for no more harm is nothing new; more harm is."""
    small = Primitive.of("free-freed small reused -> overlap")
    assert Primitive.of("free-freed small reused + overflow large -> overlap").contains(small)
    assert Primitive.of("free-freed small reused -> victim").contains(small)
    assert not Primitive.of("free-freed small reused + overflow large -> alien").contains(small)
    assert not Primitive.of("overflow large -> overlap").contains(small)
    assert Primitive.of(small.signature) == small


# ---- awake -----------------------------------------------------------------------------------------------------------


def searched(subject: Subject, enough: int, known: frozenset[str] = frozenset()) -> Searched:
    return Search(subject, 1, known, jobs=1, enough=enough).run(PATIENCE_SECONDS)


def test_a_level_that_checks_little_falls_quickly(subject_of: Callable[[str], Subject]) -> None:
    """`fast` has what PHP 8.2 checks: two primitives at least, each seen again by the catalogue's own protocol."""
    result = searched(subject_of("zmm:fast"), 2)
    assert len(result.found) >= 2
    for found in result.found.values():
        assert found.shown > 0
        assert len(found.attack) <= 8
        assert parse_fault(to_toml(found, "zmm:fast"), "found").sequence == found.script


@pytest.mark.oracle
def test_php_falls_quickly(subject_of: Callable[[str], Subject]) -> None:
    """The real ZendMM, too."""
    assert searched(subject_of("php"), 1).found


def test_a_planted_hole_is_found(tmp_path: Path) -> None:
    """A build of level release that takes an inner address for a block: that is new, although much else is known."""
    library = plant(read_patch(PLANTED / "inner_address_passes.patch"), tmp_path)
    with (
        Subjects() as subjects,
        Server(subjects.find(f"zmm:{library}")) as planted,
        Server(subjects.find("zmm")) as sound,
    ):
        attack = (
            Step("alloc", "a", size=8192),
            Step("free_interior", "a", offset=64),
            Step("alloc", "b", size=8192),
        )
        assert impact_of(planted.run(script_of(attack)), attack) == "overlap"
        assert impact_of(sound.run(script_of(attack)), attack) == ""
        result = searched(subjects.find(f"zmm:{library}"), 1, known_at("release"))
    assert [one.primitive.misuses for one in result.found.values()] == [("free-interior large",)]


def test_the_machine_finds_them_as_well(subject_of: Callable[[str], Subject]) -> None:
    """Hypothesis' state machine, by itself."""
    search = Search(subject_of("zmm:fast"), 1, (), enough=1)
    search_by_machine(search, PATIENCE_SECONDS)
    assert [found.engine for found in search.result.found.values()] == ["hypothesis"]


def test_legal_steps_do_no_harm(subject_of: Callable[[str], Subject]) -> None:
    """No false alarm: without their misuse, attacks show nothing on any level."""
    for level in ("fast", "release", "hardened", "debug"):
        with Server(subject_of(f"zmm:{level}")) as server:
            for attack in attacks(25, seed=6):
                legal = without(attack, misuses_of(attack))
                script = "\n".join([*texts(legal), "fault", "churn 1 64"]) + "\n"
                run = server.run(script)
                assert impact_of(run, legal) == ""
                assert judge(run).code == "n"


def test_what_is_known_is_not_reported_again(subject_of: Callable[[str], Subject]) -> None:
    """A signature on the list is counted, not found."""
    subject = subject_of("zmm")
    with Server(subject) as server:
        fresh, told = Search(subject, 1, ()), Search(subject, 1, ["free-freed small reused -> overlap"])
        for search in (fresh, told):
            search.attempt(STALE_FREE, server, "chance")
    assert list(fresh.result.found) == ["free-freed small reused -> overlap"]
    assert not told.result.found
    assert told.result.known == {"free-freed small reused -> overlap": 1}


def test_a_server_outlives_whatever_its_children_do(subject_of: Callable[[str], Subject]) -> None:
    """A crash, a panic and a clean end, one after the other, each with its own report."""
    crash = "alloc a 64\nfault\nword 0x10 1\n"
    with Server(subject_of("zmm")) as server:
        letters = [judge(server.run(script)).code for script in (crash, script_of(DOUBLE_FREE), crash, "fault\ngc\n")]
    assert letters == ["s", "D", "s", "n"]


@pytest.mark.parametrize(("level", "letter"), [("release", "C"), ("hardened", "s"), ("debug", "D")])
@pytest.mark.parametrize("name", ["P13", "P14"])
def test_an_access_past_a_long_block_is_stopped_at_its_fence(
    name: str, level: str, letter: str, subject_of: Callable[[str], Subject]
) -> None:
    """At the access: by the machine, and in guard mode with a report; level release lets it into the next block."""
    fault = next(fault for fault in load_catalogue(found=True) if fault.id == name)
    with Server(subject_of(f"zmm:{level}")) as server:
        assert judge(server.run(fault.sequence)).code == letter


# ---- the list, the result --------------------------------------------------------------------------------------------


def test_the_list_of_known_primitives_keeps_with_the_catalogue() -> None:
    """Each names a fault that shows it, which no level promises to stop below the level that closes the primitive."""
    faults = {fault.id: fault for fault in load_catalogue(found=True)}
    signatures = [entry.signature for entry in load_known()]
    assert len(signatures) == len(set(signatures))
    for entry in load_known():
        assert Primitive.of(entry.signature).signature == entry.signature
        assert entry.reason
        assert faults[entry.fault].level == entry.level, entry.signature


def result(subject: Subject, attacks: int, *found: str) -> Searched:
    made = Searched(subject, attacks=attacks, seconds=1.0)
    for signature in found:
        made.found[signature] = Found(Primitive.of(signature), STALE_FREE, "llllllll", 8, 5, 0.1, "chance")
    return made


def test_the_status_says_what_the_search_can_say() -> None:
    """Something new fails, nothing new passes, too few attacks are no answer."""
    subject = Subject("zmm", "zmm", ("x",), level="release")
    new = row_of(result(subject, 5, "overflow small -> alien"))
    clean = row_of(result(subject, ATTACKS_MIN))
    short = row_of(result(subject, ATTACKS_MIN - 1))
    assert [row.status for row in (new, clean, short)] == [FAIL, PASS, INCONCLUSIVE]
    assert "too few" in short.reason
    assert record_of([clean, new], 0).status == FAIL
    assert record_of([clean, short], 0).status == PASS
    assert record_of([short], 0).status == INCONCLUSIVE


@pytest.mark.nightly
@pytest.mark.parametrize("level", ["release", "hardened", "debug"])
def test_ten_minutes_find_nothing_new(level: str, subject_of: Callable[[str], Subject]) -> None:
    """Every primitive that a level leaves open is on the list."""
    search = Search(subject_of(f"zmm:{level}"), 0, known_at(level))
    search_by_machine(search, 150)
    assert {found.primitive.signature: found.script for found in search.run(450).found.values()} == {}
