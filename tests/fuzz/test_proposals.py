"""The shrinker's proposals: one block for several operations, stretches that go together, runs that fill sooner."""

from __future__ import annotations

from collections import Counter

from zmm_fuzz.program import Program
from zmm_fuzz.proposals import coarser, merged, stretches
from zmm_fuzz.shrink import shrink
from zmm_model.op import Operation
from zmm_model.sizes import bin_elements, bin_of

PAGE = 4096


def allocs(*sizes: int) -> list[Operation]:
    return [Operation("alloc", label, size) for label, size in enumerate(sizes)]


def test_every_proposal_is_shorter_and_the_shortest_come_first() -> None:
    """A proposal has fewer operations than the program; the whole program as one block is the first."""
    program = allocs(100, 5000, 9000)
    lengths = [len(proposal) for proposal in merged(program)]
    assert lengths == sorted(lengths)
    assert lengths[0] == 1
    assert max(lengths) == len(program) - 1


def test_a_block_is_as_large_as_what_it_replaces() -> None:
    """Among the sizes proposed is the sum of the whole pages of the stretch, under a label that is not in use."""
    program = allocs(100, 5000, 9000)
    assert (Operation("alloc", 3, (1 + 2 + 3) * PAGE),) in set(merged(program))


def test_single_operations_and_endless_programs_are_not_merged() -> None:
    """One operation cannot be merged with anything, and thousands are for the other passes first."""
    assert list(merged(allocs(8))) == []
    assert list(merged([])) == []
    assert list(merged(allocs(*range(401)))) == []


def test_long_programs_are_halved_and_halved_again() -> None:
    """Some thousand proposals at most, down to two neighbours in the place of one; a short one has every stretch."""
    long = list(merged(allocs(*range(9, 349))))
    assert len(long[0]) == 1
    assert len(long[-1]) == 339
    assert len(long) < 7 * 4 * 340
    assert len(set(merged(allocs(*range(9, 29))))) > 19 * 20 // 2


def test_shrinker_fills_a_chunk_with_one_block() -> None:
    """A failure that needs a chunk with a page left shrinks to two operations, whatever filled the chunk before."""

    def fails(program: Program) -> bool:
        used = 0
        for operation in program.operations:
            if used == 509 and operation.a == 0:
                return True
            used += -(-operation.a // PAGE)
        return False

    sizes = [100 * PAGE, 200 * PAGE, 50 * PAGE, 150 * PAGE, 9 * PAGE, 0]
    assert len(shrink(Program(operations=tuple(allocs(*sizes))), fails, 10.0)) == 2


def test_a_run_goes_with_all_its_slots() -> None:
    """Where four operations matter only together, thirteen shrink to five."""

    def fails(program: Program) -> bool:
        return len(program) in (5, 9, 13)

    assert len(next(stretches(allocs(*[3072] * 13)))) == 1
    assert len(shrink(Program(operations=tuple(allocs(*[3072] * 13))), fails, 10.0)) == 5


def test_sizes_of_which_few_fill_a_run_are_kept_where_operations_go() -> None:
    """A second run of one bin takes nine blocks of 449 bytes, but only five of 2561."""

    def fails(program: Program) -> bool:
        blocks = Counter(bin_of(size) for _, _, size, *_ in program.operations if size <= 3072)
        return any(count > bin_elements(index) for index, count in blocks.items())

    shrunk = shrink(Program(operations=tuple(allocs(*[449] * 9))), fails, 10.0)
    assert shrunk.operations == tuple(allocs(*[2561] * 5))


def test_sizes_stay_where_no_operation_goes() -> None:
    """What fails with the largest bin, too, but not with fewer operations, keeps the smallest sizes that fail."""

    def fails(program: Program) -> bool:
        return len(program) > 2

    assert shrink(Program(operations=tuple(allocs(100, 100, 100))), fails, 10.0).operations == tuple(allocs(0, 0, 0))
    assert list(coarser(allocs(5000, 5000, 5000))) == []


def test_a_run_of_its_own_needs_no_gc() -> None:
    """Where pages have to be free, one large block and its free do what a slot, its free and a gc do."""

    def fails(program: Program) -> bool:
        sizes = {operation.label: operation.a for operation in program.operations if operation.word == "alloc"}
        freed = [sizes.get(operation.label, 0) for operation in program.operations if operation.word == "free"]
        has_gc = any(operation.word == "gc" for operation in program.operations)
        return any(size > 3072 or (size and has_gc) for size in freed)

    program = (*allocs(9), Operation("free", 0), Operation("gc"))
    assert shrink(Program(operations=program), fails, 10.0).operations == (*allocs(3073), Operation("free", 0))
