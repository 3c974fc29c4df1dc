"""Shrinking: how small, how many checks, and what it never does."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest
from zmm_fuzz.generate import PROFILES, generate
from zmm_fuzz.program import Program, requested_bytes
from zmm_fuzz.shrink import Shrinker, shrink
from zmm_model.op import Operation, Settings

Predicate = Callable[[Program], bool]


def contains(*wanted: Operation) -> Predicate:
    """Fails when these operations occur in this order."""

    def fails(program: Program) -> bool:
        rest: Iterator[Operation] = iter(program.operations)
        return all(operation in rest for operation in wanted)

    return fails


def heap_of(program: Program) -> Iterator[tuple[Operation, dict[int, int]]]:
    """Each operation with the sizes of the blocks alive after it."""
    live: dict[int, int] = {}
    for operation in program.operations:
        size = requested_bytes(operation)
        if size is not None:
            if size < 2**40 and ("realloc" in operation.word or operation.label not in live):
                live[operation.label] = size
        elif operation.word == "free":
            live.pop(operation.label, None)
        elif operation.word == "request_end":
            live.clear()
        yield operation, live


def needles(program: Program, count: int) -> list[Operation]:
    """Operations that occur once only, spread over the program."""
    operations = program.operations
    once = [o for o in operations if o.word == "alloc" and o.a > 50_000 and operations.count(o) == 1]
    return [once[position * (len(once) - 1) // max(1, count - 1)] for position in range(count)]


def haystack(length: int) -> Program:
    """A long program in which every size of an alloc occurs once."""
    return Program(
        operations=tuple(
            Operation("free", position % 50) if position % 2 else Operation("alloc", position % 50, 100_000 + position)
            for position in range(length)
        )
    )


@pytest.mark.parametrize(
    ("first", "second"), [(0, 99_998), (31_234, 88_122), (49_998, 50_000), (2, 4), (99_996, 99_998)]
)
def test_two_operations_of_100_000_are_found_in_60_checks(first: int, second: int) -> None:
    """Where two operations matter, the rest goes in about twice log2 of the length."""
    program = haystack(100_000)
    wanted = (program.operations[first], program.operations[second])
    shrunk = Shrinker(program, contains(*wanted), 60).run()
    assert shrunk.program.operations == wanted
    assert shrunk.check_count < 130  # the others try simpler words and smaller numbers
    operations_only = Shrinker(program, contains(*wanted), 60)
    operations_only._cut_end(None)
    operations_only._drop_operations()
    assert operations_only.best.operations == wanted
    assert operations_only.check_count < 60


def test_ten_operations_of_10_000_are_found_in_200_checks() -> None:
    """Each operation that matters costs about log2 of the length."""
    program = haystack(10_000)
    wanted = tuple(program.operations[position] for position in range(600, 10_000, 1000))
    shrinker = Shrinker(program, contains(*wanted), 60)
    shrinker._cut_end(None)
    shrinker._drop_operations()
    assert shrinker.best.operations == wanted
    assert shrinker.check_count < 200


def test_a_known_step_saves_checks() -> None:
    """Told where it fails, the shrinker cuts the rest off in one check."""
    program = haystack(100_000)
    wanted = (program.operations[10], program.operations[500])
    told = Shrinker(program, contains(*wanted), 60)
    told.run(step=501)
    untold = Shrinker(program, contains(*wanted), 60)
    untold.run()
    assert told.best == untold.best
    assert told.check_count < untold.check_count


@pytest.mark.parametrize("profile", PROFILES)
def test_a_heap_condition_shrinks_to_what_it_needs(profile: str) -> None:
    """Three large blocks alive at a gc: three allocs of the smallest size that counts, and the gc."""

    def fails(program: Program) -> bool:
        return any(
            operation.word == "gc" and sum(size > 3072 for size in live.values()) >= 3
            for operation, live in heap_of(program)
        )

    program = generate(3, profile, 3000)
    extra = tuple(Operation("alloc", 900 + number, 5000 * number) for number in (1, 2, 3))
    program = program.with_operations((*program.operations, *extra, Operation("gc")))
    assert shrink(program, fails, 60) == Program(
        operations=(
            Operation("alloc", 0, 3073),
            Operation("alloc", 1, 3073),
            Operation("alloc", 2, 3073),
            Operation("gc"),
        )
    )


def test_words_settings_texts_and_labels_become_simple() -> None:
    """What does not matter takes its default: words become alloc, settings go, texts and labels too."""
    program = Program(
        Settings(9_000_000, "kernel", False, False, 100, (3, 7)),
        (
            Operation("safe_alloc", 7, 3, 40, 5),
            Operation("strdup", 9, text=b"some text that is long"),
            Operation("realloc2", 7, 900, 3),
            Operation("limit", -1, 5_000_000),
            Operation("write", 7, 3, 4, 5),
            Operation("check"),
        ),
    )

    def fails(candidate: Program) -> bool:
        live = [dict(live) for _, live in heap_of(candidate)]
        return bool(live) and len(live[-1]) >= 2 and any(size >= 100 for size in live[-1].values())

    assert shrink(program, fails, 60).operations == (Operation("alloc", 0, 100), Operation("alloc", 1, 0))
    assert shrink(program, fails, 60).settings == Settings()


@pytest.mark.parametrize(
    ("operation", "words", "simplest"),
    [
        (Operation("safe_alloc", 0, 3, 40, 5), {"safe_alloc"}, Operation("safe_alloc", 0, 1, 50, 0)),
        (Operation("safe_alloc", 0, 3, 40, 5), {"safe_alloc", "calloc"}, Operation("calloc", 0, 1, 50)),
        (Operation("calloc", 0, 7, 40), {"calloc"}, Operation("calloc", 0, 1, 50)),
        (Operation("realloc2", 0, 900, 3), {"realloc2", "realloc"}, Operation("realloc", 0, 50)),
        (Operation("safe_realloc", 0, 9, 9, 9), {"safe_realloc", "realloc"}, Operation("realloc", 0, 50)),
        (Operation("strndup", 0, 70, text=b"x" * 80), {"strndup", "strdup"}, Operation("strdup", 0, text=b"a" * 49)),
        (Operation("strdup", 0, text=b"quite a long text, " * 5), {"strdup"}, Operation("strdup", 0, text=b"a" * 49)),
        (Operation("alloc", 0, 5000), {"alloc"}, Operation("alloc", 0, 50)),
    ],
)
def test_a_word_becomes_the_simplest_that_fails(operation: Operation, words: set[str], simplest: Operation) -> None:
    """Fifty bytes asked for by one of some words: the simplest of them, with the simplest numbers and texts."""

    def fails(candidate: Program) -> bool:
        return any(o.word in words and (requested_bytes(o) or 0) >= 50 for o in candidate.operations)

    assert shrink(Program(operations=(operation, Operation("gc"))), fails, 60).operations == (simplest,)


def test_blocks_go_with_all_their_operations() -> None:
    """Interleaved lifetimes that can only go whole are gone, one after the other."""
    operations = []
    for position in range(200):
        operations.append(Operation("alloc", position % 40, 8 + position))
        operations.append(Operation("realloc", (position + 25) % 40, 300))
        operations.append(Operation("free", (position + 9) % 40))

    def fails(candidate: Program) -> bool:
        """Each free has its alloc, so no operation can go alone."""
        live: set[int] = set()
        for operation in candidate.operations:
            if operation.word == "alloc":
                live.add(operation.label)
            elif operation.word == "realloc" and operation.label not in live:
                return False
            elif operation.word == "free":
                if operation.label not in live:
                    return False
                live.discard(operation.label)
        return not live

    balanced: list[Operation] = []
    live: set[int] = set()
    for operation in operations:
        if operation.word == "alloc" and operation.label not in live:
            live.add(operation.label)
        elif operation.word == "alloc" or operation.label not in live:
            continue
        elif operation.word == "free":
            live.discard(operation.label)
        balanced.append(operation)
    balanced += [Operation("free", label) for label in sorted(live)]
    assert len(balanced) > 200
    kept = Operation("limit", -1, 77)
    program = Program(operations=(*balanced[:90], kept, *balanced[90:]))
    assert shrink(program, lambda candidate: kept in candidate.operations and fails(candidate), 60).operations == (
        kept,
    )


def test_needed_settings_stay() -> None:
    """Only what is not needed of the settings goes; a limit becomes a small multiple of a chunk."""
    program = Program(Settings(9_000_000, "kernel", False, True, 100, (3, 7, 9)), (Operation("gc"),))

    def fails(candidate: Program) -> bool:
        settings = candidate.settings
        limit_bytes = settings.limit_bytes
        return 7 in settings.failing_calls and limit_bytes is not None and limit_bytes >= 3_000_000

    assert shrink(program, fails, 60) == Program(Settings(limit_bytes=2 * 2 * 1024 * 1024, failing_calls=(7,)))


@pytest.mark.parametrize("threshold", [1, 9, 100, 3073, 4097, 2_093_057, 2**33 + 5])
def test_numbers_end_at_the_smallest_that_fails(threshold: int) -> None:
    """The smallest failing size is found exactly, be it a landmark or not."""
    program = Program(operations=(Operation("alloc", 0, 2**40),))
    shrunk = shrink(program, lambda candidate: any(o.a >= threshold for o in candidate.operations), 60)
    assert [operation.a for operation in shrunk.operations] == [threshold]


def test_equal_numbers_are_lowered_together() -> None:
    """Two sizes that must be equal both become small."""
    program = Program(operations=(Operation("alloc", 0, 5000), Operation("alloc", 1, 5000)))

    def fails(candidate: Program) -> bool:
        sizes = [operation.a for operation in candidate.operations]
        return len(sizes) == 2 and sizes[0] == sizes[1] >= 700

    assert [operation.a for operation in shrink(program, fails, 60).operations] == [700, 700]


def test_what_undoes_each_other_goes_together() -> None:
    """An alloc and its free that can only go both are both gone."""
    operations = tuple(
        itertools.chain.from_iterable((Operation("alloc", label, 8), Operation("free", label)) for label in range(20))
    )

    def fails(candidate: Program) -> bool:
        words = [operation.word for operation in candidate.operations]
        return words.count("alloc") == words.count("free") and words.count("gc") == 1

    program = Program(operations=(*operations[:21], Operation("gc"), *operations[21:]))
    assert shrink(program, fails, 60).operations == (Operation("gc"),)


def test_the_empty_program_is_reached() -> None:
    """There is no minimum: what fails always shrinks to nothing."""
    assert shrink(generate(1, "mixed", 500), lambda _: True, 60) == Program()


def test_every_step_of_the_way_fails() -> None:
    """The best program is always one that was seen to fail, and never grows."""
    seen: list[Program] = []
    program = generate(5, "mixed", 400)
    target = needles(program, 3)
    fails = contains(*target)

    def watched(candidate: Program) -> bool:
        result = fails(candidate)
        if result:
            seen.append(candidate)
        return result

    shrinker = Shrinker(program, watched, 60)
    result = shrinker.run()
    assert result.program == seen[-1]
    assert [len(candidate) for candidate in seen] == sorted((len(candidate) for candidate in seen), reverse=True)


def test_shrinking_is_deterministic() -> None:
    """Two runs try the same programs in the same order."""
    program = generate(7, "mixed", 600)
    fails = contains(*needles(program, 2))

    def tried() -> list[Program]:
        log: list[Program] = []

        def watched(candidate: Program) -> bool:
            log.append(candidate)
            return fails(candidate)

        Shrinker(program, watched, 60).run()
        return log

    assert tried() == tried()


def test_no_check_begins_after_the_budget() -> None:
    """With the time used up the best so far is handed back, marked as unfinished."""
    now = [0.0]

    def fails(candidate: Program) -> bool:
        now[0] += 1.0
        return contains(Operation("gc"))(candidate)

    program = haystack(3000)
    program = program.with_operations((Operation("gc"), *program.operations))
    shrinker = Shrinker(program, fails, 5.0, clock=lambda: now[0])
    shrunk = shrinker.run()
    assert not shrunk.finished
    assert shrunk.check_count == 5
    assert len(shrunk.program) < len(program)
    assert contains(Operation("gc"))(shrunk.program)


def test_an_interrupted_shrink_keeps_its_best() -> None:
    """Whatever a check raises goes through, and the best program so far is there."""
    calls = itertools.count()

    def fails(candidate: Program) -> bool:
        if next(calls) == 8:
            raise KeyboardInterrupt
        return contains(Operation("gc"))(candidate)

    program = haystack(5000)
    program = program.with_operations((Operation("gc"), *program.operations))
    shrinker = Shrinker(program, fails, 60)
    with pytest.raises(KeyboardInterrupt):
        shrinker.run()
    assert len(shrinker.best) < len(program)


def test_a_program_that_does_not_fail_is_refused() -> None:
    """There is nothing to shrink then, and silence would hide a flaky failure."""
    with pytest.raises(ValueError, match="does not fail to begin with"):
        shrink(generate(1, "small", 20), lambda _: False)
