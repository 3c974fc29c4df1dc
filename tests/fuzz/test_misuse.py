"""Misuse as ordinary steps: every level ends each of them as the model predicts, and the heap goes on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from zmm_fuzz.compare import exact_divergence, unpack_row
from zmm_fuzz.driver import Driver
from zmm_fuzz.generate import generate
from zmm_fuzz.judge import Judge
from zmm_fuzz.predict import pack_rows, predict
from zmm_fuzz.program import Program
from zmm_fuzz.tape import decode, encode
from zmm_fuzz.targets import find_target
from zmm_fuzz.text import parse_text, write_text
from zmm_model.exact import ExactHeap
from zmm_model.misuse import Kind, Promise, kinds, known_endings
from zmm_model.op import MISUSE, Operation, Settings
from zmm_model.outcome import DONE, SKIPPED

LEVELS = ("fast", "release", "hardened", "debug")
EDITIONS = ("zmm", "php-8.2")
# Blocks of every kind, in the main chunk and in another; every word on every one of them.
PROGRAM = """zmm-program 1
a = alloc 40
t = alloc 8
l = alloc 8192
b = alloc 2000000
c = alloc 2000000
h = alloc 3000000
{steps}
check
"""


def every_step() -> Iterator[str]:
    for label in "atlch":
        yield f"misuse.free_freed {label}"
        yield f"misuse.realloc_freed {label} 100"
        yield f"misuse.size_freed {label}"
        yield from (f"misuse.free_interior {label} {offset}" for offset in (1, 8, 4096, 2097152))
        yield f"misuse.other_heap {label}"
        yield f"misuse.stale_request {label}"
        yield from (f"misuse.overflow {label} {length}" for length in (1, 64))
        yield from (f"misuse.write_freed {label} {offset}" for offset in (0, 4, 8, 16, 24, 32, 64, 72))
    yield from ("misuse.free_malloc 40", "misuse.free_malloc 65536", "misuse.free_malloc 65537")
    yield from ("misuse.free_stack", "misuse.free_static", "misuse.free_wild")


def program(storage: str = "handlers") -> Program:
    whole = parse_text(PROGRAM.format(steps="\n".join(every_step())))
    return whole.with_settings(Settings(storage=storage))


@pytest.mark.parametrize("storage", ["handlers", "kernel"])
@pytest.mark.parametrize("edition", EDITIONS)
@pytest.mark.parametrize("level", LEVELS)
def test_every_misuse_ends_as_the_model_says(level: str, edition: str, storage: str) -> None:
    """A report with its first line and the true owner, or nothing where the level promises nothing; never a death."""
    with Judge.of(f"zmm:{level}", edition) as judge:
        assert judge.judge(program(storage)) is None


def test_the_program_above_says_every_word_and_most_of_it_is_performed() -> None:
    """What was skipped would be no test."""
    whole = program()
    rows = ExactHeap(whole.settings, "zmm").run(whole.operations)
    done = [op.word for op, row in zip(whole.operations, rows[1:], strict=False) if row[0] == DONE]

    assert set(done) >= MISUSE
    assert sum(row[0] == SKIPPED for row in rows) < len(rows) // 2


def test_the_child_says_what_a_user_reads() -> None:
    """The text of the report, letter by letter: its first line, and who owns the address."""
    steps = ("misuse.free_freed a", "misuse.other_heap a", "misuse.free_malloc 40", "misuse.free_stack")
    whole = parse_text("zmm-program 1\na = alloc 40\n" + "\n".join(steps) + "\n")
    for edition, begin in (("zmm", "panic: zmm: heap corruption: {}"), ("php-8.2", "panic: zend_mm_heap corrupted")):
        driver = Driver(find_target("zmm"), edition)
        trace = driver.run([whole])[0]
        driver.close()

        assert [trace.messages[step] for step in range(2, 6)] == [
            begin.format("not a live slot") + "; belongs to this heap",
            begin.format("not a block of this heap") + "; belongs to another heap",
            begin.format("not a block of this heap") + "; belongs to libc",
            begin.format("not a block of this heap") + "; belongs to the stack",
        ]


def test_a_heap_goes_on_as_if_nothing_had_been() -> None:
    """The rows of all other steps, and the digest of the heap, are those of the program without its misuse."""
    whole = program()
    legal = whole.with_operations(op for op in whole.operations if op.word not in MISUSE)
    driver = Driver(find_target("zmm"), "zmm")
    with_misuse, without = driver.run([whole, legal])
    driver.close()
    kept = [index for index, op in enumerate(whole.operations, 1) if op.word not in MISUSE]

    assert [unpack_row(with_misuse.rows, index) for index in kept] == [
        unpack_row(without.rows, index) for index in range(1, len(legal) + 1)
    ]


def test_targets_without_a_promise_skip_misuse() -> None:
    """A malloc library is asked nothing that would be undefined."""
    with Judge.of("libc", "zmm") as judge:
        assert judge.judge(program()) is None
        trace = judge.driver.run([program()])[0]
    words = [op.word for op in program().operations]
    assert {unpack_row(trace.rows, step).status for step, word in enumerate(words, 1) if word in MISUSE} == {SKIPPED}


def test_a_wrong_ending_is_a_divergence_in_words() -> None:
    """A level that keeps another's promise is found out, and the finding says both endings."""
    whole = parse_text("zmm-program 1\na = alloc 40\nmisuse.free_freed a\n")
    promised = pack_rows(ExactHeap(whole.settings, "zmm", "release").run(whole.operations))
    kept = pack_rows(ExactHeap(whole.settings, "zmm", "fast").run(whole.operations))
    found = exact_divergence(whole.operations, promised, kept)

    assert found is not None
    assert found.rule == "MISUSE"
    assert (found.expected, found.actual) == (
        "panic: zmm: heap corruption: not a live slot; belongs to this heap",
        "nothing",
    )


def test_endings_of_all_levels_are_known_by_their_digest() -> None:
    """Whatever the model predicts for the program above can be said in words."""
    for level in ("fast", "release"):
        for edition in EDITIONS:
            whole = program("kernel")
            rows = predict(whole, edition, level=level).tuples
            digests = {row[7] for op, row in zip(whole.operations, rows[1:], strict=False) if op.word in MISUSE}
            assert digests - {0} <= set(known_endings())


def test_misuse_has_a_text_and_a_tape() -> None:
    """Both forms give the program back; a tape without misuse has not changed by a bit."""
    whole = program()
    assert parse_text(write_text(whole)).operations == whole.operations
    assert decode(encode(whole)).operations == whole.operations
    assert encode(whole)[0] & 64
    legal = generate(1, "mixed", 60)
    assert not encode(legal)[0] & 64
    # Without the flag the fifteenth code is what it always was.
    assert decode(b"\x00\x0f\x28").operations == (Operation("alloc", 0, 40),)
    assert decode(b"\x40\x0f\x00").operations == (Operation("misuse.free_freed", 0),)
    assert decode(b"\x40\xff\x07").operations == (Operation("misuse.free_wild"),)


def test_where_a_block_lies_follows_from_its_size() -> None:
    """Exactly without trims; with them both sides of a border are possible."""
    assert kinds(3072) == (Kind.SMALL,)
    assert kinds(3073) == (Kind.LARGE,)
    assert kinds(2093057) == (Kind.HUGE,)
    assert kinds(3050, 32) == (Kind.SMALL, Kind.LARGE)
    assert kinds(2093040, 32) == (Kind.LARGE, Kind.HUGE)


def test_only_levels_with_trims_promise_to_notice_an_overflow() -> None:
    """What a level does not promise is predicted, too: nothing."""
    endings = {
        level: Promise(level, "zmm", handlers=True).ending("misuse.overflow", Kind.SMALL, 40, 1) for level in LEVELS
    }
    assert endings["fast"] == endings["release"] == "nothing"
    assert (
        endings["hardened"]
        == endings["debug"]
        == "panic: zmm: heap corruption: written beyond its end; belongs to this heap"
    )
