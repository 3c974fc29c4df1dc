"""Generated programs: legal, reproducible, varied, and kept within what targets can serve."""

from __future__ import annotations

import hashlib
import time
from collections import Counter

import pytest
from zmm_fuzz.exhaustive import TINY_SIZES
from zmm_fuzz.generate import PROFILES, all_programs, generate
from zmm_fuzz.profiles import HOPELESS_BYTES
from zmm_fuzz.program import Program, requested_bytes
from zmm_model.op import WORDS, Operation, Settings


@pytest.mark.parametrize("profile", PROFILES)
def test_a_program_has_the_length_asked_for_and_is_legal(profile: str) -> None:
    """Whatever the seed and the length, a generated program is legal and exactly so long."""
    for seed in range(40):
        for length in (0, 1, 2, 3, 17, 300):
            program = generate(seed, profile, length, anchor=bool(seed & 1))
            assert len(program) == length
            assert list(program.problems()) == []


def test_a_seed_is_a_program_for_ever() -> None:
    """The same seed gives the same program on every machine and Python: this digest must never change unnoticed."""
    digest = hashlib.sha256()
    for profile in PROFILES:
        for seed in (0, 1, 2**40):
            program = generate(seed, profile, 500, anchor=seed == 1)
            digest.update(repr((program.settings, program.operations)).encode())
    assert digest.hexdigest() == "8f1119ade490df359740f706c6f8e797305887d7055a7144b4b5e6f7e33419a9"


def test_seeds_and_arguments_make_different_programs() -> None:
    """Neighbouring seeds, and the same seed under other arguments, share nothing by accident."""
    programs = {generate(seed, "mixed", 60).operations for seed in range(200)}
    assert len(programs) == 200
    assert generate(1, "mixed", 60).operations != generate(1, "mixed", 61).operations[:60]
    assert generate(1, "mixed", 60).operations != generate(1, "mixed", 60, anchor=True).operations


def test_an_unknown_profile_is_refused() -> None:
    """The error lists the profiles there are."""
    with pytest.raises(ValueError, match=r"unknown profile 'tiny'; there are small, mixed"):
        generate(0, "tiny")


def test_every_word_occurs() -> None:
    """Over all profiles no word of the alphabet is missing."""
    programs = [generate(seed, profile, 300) for profile in PROFILES for seed in range(30)]
    assert {operation.word for program in programs for operation in program.operations} == set(WORDS)


def test_programs_differ_in_their_words() -> None:
    """Swarm testing leaves words out of some programs, so that the others occur in numbers."""
    missing: Counter[str] = Counter()
    for seed in range(100):
        missing.update(set(PROFILES["mixed"].words) - {o.word for o in generate(seed, "mixed", 600).operations})
    assert {"calloc", "realloc", "gc", "strdup", "limit"} <= set(missing)
    assert "alloc" not in missing
    assert "free" not in missing


@pytest.mark.parametrize("profile", PROFILES)
def test_what_is_alive_stays_within_bounds(profile: str) -> None:
    """Requested live bytes stay near the profile's bound, so that any target can serve a long program."""
    bound = PROFILES[profile].live_bytes_max
    for seed in range(5):
        live: dict[int, int] = {}
        for operation in generate(seed, profile, 20_000).operations:
            size = requested_bytes(operation)
            if size is not None:
                resizes = "realloc" in operation.word
                if size < HOPELESS_BYTES and (resizes or operation.label not in live):
                    live[operation.label] = size
            elif operation.word == "free":
                live.pop(operation.label, None)
            elif operation.word == "request_end":
                live.clear()
            assert sum(live.values()) < 2 * bound if len(live) < 64 else True
        assert sum(live.values()) < 2 * bound


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("storage", ["handlers", "kernel"])
def test_the_anchor_is_always_alive(profile: str, storage: str) -> None:
    """With an anchor label 0 holds a small block from the first step on, and again right after each request's end."""
    for seed in range(30):
        program = generate(seed, profile, 400, anchor=True, storage=storage)
        assert program.operations[0] == Operation("alloc", 0, 16)
        for before, operation in zip(program.operations, program.operations[1:], strict=False):
            if before.word == "request_end":
                assert storage == "kernel"
                assert operation == Operation("alloc", 0, 16)
            else:
                assert operation.label != 0


def test_storage_can_be_fixed() -> None:
    """Asked for, every program has that storage; not asked for, both occur."""
    assert {generate(seed, storage="kernel", operations=5).settings.storage for seed in range(40)} == {"kernel"}
    assert {generate(seed, operations=5).settings.storage for seed in range(40)} == {"kernel", "handlers"}


def test_the_profiles_do_what_their_names_say() -> None:
    """Limits in every program of `limit`, failing calls in every one of `failing`, huge blocks in `huge` ..."""
    assert all(generate(seed, "limit", 50).settings.limit_bytes for seed in range(30))
    assert all(generate(seed, "failing", 50).settings.failing_calls for seed in range(30))
    sizes = [o.a for seed in range(30) for o in generate(seed, "huge", 100).operations if o.word == "alloc"]
    assert sum(2 * 1024 * 1024 <= size < HOPELESS_BYTES for size in sizes) > len(sizes) // 5
    words = Counter(o.word for seed in range(30) for o in generate(seed, "requests", 100).operations)
    assert words["request_end"] > 30
    words = Counter(o.word for seed in range(30) for o in generate(seed, "realloc", 100).operations)
    assert words["realloc"] + words["realloc2"] + words["safe_realloc"] > 900


def test_the_generator_is_quick() -> None:
    """Far more programs are made in a second than any target performs (the bound leaves room for a busy machine)."""
    begin = time.process_time()
    generate(5, "mixed", 100_000)
    assert 100_000 / (time.process_time() - begin) > 100_000


# ---- all short programs ------------------------------------------------------------------------------------------


def test_all_short_programs_are_all_of_them() -> None:
    """Each program without useless steps, up to the names of its labels, occurs exactly once."""
    programs = list(all_programs(2))
    assert len({program.operations for program in programs}) == len(programs)
    sizes = len(TINY_SIZES)
    firsts = sizes + 1  # alloc of each size, gc
    # After gc the same choices again; after an alloc: alloc of the other label, realloc, free, gc.
    seconds = firsts + sizes * (sizes + sizes + 1 + 1)
    assert len(programs) == firsts + seconds
    assert [len(program) for program in programs] == sorted(len(program) for program in programs)


def test_short_programs_follow_the_alphabet_given() -> None:
    """Other sizes, words, labels and settings may be asked for."""
    settings = Settings(storage="kernel")
    programs = list(all_programs(2, sizes=(8,), labels=1, others=("request_end",), settings=settings))
    assert Program(settings, (Operation("alloc", 0, 8), Operation("request_end"))) in programs
    assert all(program.settings == settings for program in programs)
    assert not any(operation.label > 0 for program in programs for operation in program.operations)
    # Nothing is alive after a request's end, so the next alloc takes label 0 again.
    assert len(programs) == 2 + 2 + 3
