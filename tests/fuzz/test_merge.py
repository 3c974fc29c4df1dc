"""Merging: the shrinker's proposals of one large block in the place of several operations."""

from __future__ import annotations

from zmm_fuzz.merge import OPERATIONS_MAX, merged
from zmm_fuzz.program import Program
from zmm_fuzz.shrink import shrink
from zmm_model.op import Operation

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


def test_long_programs_and_single_operations_have_no_proposals() -> None:
    """Proposals grow with the square of the length; one operation cannot be merged with anything."""
    assert list(merged(allocs(*range(OPERATIONS_MAX + 1)))) == []
    assert list(merged(allocs(8))) == []
    assert list(merged([])) == []


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
