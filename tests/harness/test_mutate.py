"""The mutator: total, bounded, the same for the same seed, and what it makes is worth playing."""

from __future__ import annotations

import random

from zmm_fuzz.tape import decode
from zmm_fuzz.wire import ROW
from zmm_model.outcome import SKIPPED

from .conftest import Library, random_bodies


def test_any_bytes_are_mutated_within_bounds(heap_library: Library) -> None:
    """Whatever the tape, the room and the seed: nothing behind the room is written, and the result is a program."""
    generator = random.Random(1)
    for body in [b"", b"\xff", *random_bodies(1500, 2, 300)]:
        most = generator.choice((1, 2, 8, 64, 400))
        assert list(decode(heap_library.mutate(body, most, generator.getrandbits(32))).problems()) == []


def test_any_two_tapes_are_crossed_within_bounds(heap_library: Library) -> None:
    """The same for crossing."""
    generator = random.Random(3)
    bodies = [b"", b"\x00", *random_bodies(500, 4, 300)]
    for one in bodies:
        crossed = heap_library.cross(one, generator.choice(bodies), generator.choice((1, 8, 64, 600)), 7)
        assert list(decode(crossed).problems()) == []


def test_a_seed_makes_the_same_mutation_again(heap_library: Library) -> None:
    """No hidden state: engines replay by seed."""
    bodies = random_bodies(100, 5)
    first = [heap_library.mutate(body, 300, seed) for seed, body in enumerate(bodies)]

    assert [heap_library.mutate(body, 300, seed) for seed, body in enumerate(bodies)] == first
    assert heap_library.mutate(bodies[0], 300, 1) != heap_library.mutate(bodies[0], 300, 2)


def test_a_crossing_is_made_of_both(heap_library: Library) -> None:
    """Whole operations of either parent, none torn."""
    one, other = b"\x00" + b"\x00\x28" * 10, b"\x00" + b"\x10\x60" * 10
    kinds = set()
    for seed in range(30):
        kinds |= {(step.label, step.a) for step in decode(heap_library.cross(one, other, 64, seed)).operations}

    assert kinds == {(0, 0x28), (1, 0x60)}


def test_programs_that_grow_by_mutation_do_something(heap_library: Library) -> None:
    """From nothing, two hundred edits on: most steps apply, and every word, every kind of block occurs."""
    words: set[str] = set()
    steps = skipped = 0
    sizes: set[str] = set()
    for start in range(12):
        body = b""
        for edit in range(200):
            body = heap_library.mutate(body, 400, start * 1000 + edit)
        rows = heap_library.play(body)
        assert rows is not None
        words |= {operation.word for operation in decode(body).operations}
        for row in ROW.iter_unpack(rows):
            steps += 1
            skipped += row[0] == SKIPPED
            sizes.add("small" if row[4] <= 3072 else "large" if row[4] <= 2093056 else "huge")

    assert skipped < 0.35 * steps
    assert sizes == {"small", "large", "huge"}
    assert len(words) == 15
