"""Short programs around a finding: legal, reproducible, and found where dropping operations cannot get to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from zmm_fuzz.compare import Divergence
from zmm_fuzz.generate import PROFILES, generate
from zmm_fuzz.judge import Judging, Verdict
from zmm_fuzz.program import Program, requested_bytes
from zmm_fuzz.small import OPERATIONS_MAX, find_short, short_programs
from zmm_fuzz.text import parse_text, write_text
from zmm_model.op import Operation

PAGE = 4096
DIVERGENCE = Divergence("EXACT-PLACE", 1, Operation("alloc"), "mapping", "0", "1", "A sentence.")


class Counting(Judging):
    """Accuses the programs for which a function names a step; counts what it was given."""

    def __init__(self, step_of: Callable[[Program], int | None], *, alone: bool = True) -> None:
        self.step_of = step_of
        self.alone = alone
        self.seen: list[Program] = []

    def close(self) -> None:
        """Nothing is open."""

    def judge_batch(self, programs: Sequence[Program]) -> Iterator[Verdict]:
        for program in programs:
            self.seen.append(program)
            step = self.step_of(program)
            divergence = None if step is None else Divergence("EXACT-PLACE", step, *_rest(program, step))
            yield Verdict(program, divergence, alone=self.alone)


def _rest(program: Program, step: int) -> tuple[Operation, str, str, str, str]:
    return program.operations[step - 1], "mapping", "0", "1", "A sentence."


def third_chunk(program: Program) -> int | None:
    """The step at which a third block that nearly fills a chunk is asked for."""
    count = 0
    for step, operation in enumerate(program.operations, 1):
        size = requested_bytes(operation)
        count += operation.word == "alloc" and size is not None and 1_900_000 < size <= 2_093_056
        if count == 3:
            return step
    return None


def test_short_programs_are_legal_and_come_shortest_first() -> None:
    """Whatever they are drawn around: they can be written down, read back, and are no longer than asked for."""
    for number, profile in enumerate(PROFILES):
        programs = short_programs(generate(number, profile, 60), 1, 100, 7)
        lengths = [len(program) for program in programs]
        assert lengths == sorted(lengths)
        assert 1 <= lengths[0] <= lengths[-1] <= 7
        assert all(parse_text(write_text(program)) == program for program in programs)


def test_short_programs_are_a_function_of_their_arguments() -> None:
    """The same around the same program, others with another seed."""
    origin = generate(3, "mixed", 60)
    assert short_programs(origin, 1, 50, 6) == short_programs(origin, 1, 50, 6)
    assert short_programs(origin, 1, 50, 6) != short_programs(origin, 2, 50, 6)


def test_thirty_small_blocks_become_three_large_ones() -> None:
    """What needs three chunks is found in a few operations, however it was found first."""
    origin = Program(operations=tuple(Operation("alloc", label, 60 * PAGE) for label in range(30)))
    found = find_short(Counting(third_chunk), origin, DIVERGENCE, 60.0)
    assert found is not None
    program, divergence = found
    assert third_chunk(program) == len(program) == divergence.step <= 5


def test_only_the_same_rule_in_the_same_field_counts() -> None:
    """Another rule, or a program that fails only after others, is not what was asked for."""
    origin = generate(3, "mixed", 60)
    other = Divergence("EXACT-PLACE", 1, Operation("alloc"), "offset", "0", "1", "A sentence.")
    assert find_short(Counting(lambda _: 1), origin, other, 60.0) is None
    assert find_short(Counting(lambda _: 1, alone=False), origin, DIVERGENCE, 60.0) is None


def test_search_ends_with_its_time_and_for_short_programs_at_once() -> None:
    """No round begins after the end; what is shorter than anything drawn is not looked for."""
    nothing = Counting(lambda _: None)
    now = iter([0.0, 1.0, 11.0])
    assert find_short(nothing, generate(3, "mixed", 60), DIVERGENCE, 10.0, clock=lambda: next(now)) is None
    assert 0 < len(nothing.seen) <= 1000
    assert max(map(len, nothing.seen)) <= OPERATIONS_MAX
    nothing.seen.clear()
    assert find_short(nothing, Program(operations=(Operation("gc"),)), DIVERGENCE, 10.0) is None
    assert nothing.seen == []
