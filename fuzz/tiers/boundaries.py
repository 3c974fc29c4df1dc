"""Tier `boundaries`: every size up to 2 MiB + 64 KiB and every page count, exhaustively."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from zmm_model.exact import ExactHeap
from zmm_model.op import WORDS, Operation, Settings
from zmm_model.sizes import block_bytes

from ..boundaries import BIN_BYTES, CHUNK_BYTES, LARGE_BYTES_MAX, PAGE_BYTES
from ..judge import Judge
from ..predict import pack_rows
from ..program import Program
from ..wire import CLOSE_STEP, NO_LABEL, STEP, TextArea, pack_open
from .base import Budget, Task, Tick, TierResult
from .lockstep import FINDINGS_MAX, Delta, Unfinished, absorb, judge_programs
from .workers import Send, run_workers

SIZES_END = CHUNK_BYTES + 64 * 1024 + 1
PAGES_MAX = LARGE_BYTES_MAX // PAGE_BYTES
# Sizes in one program, and programs in one round trip.
_PROGRAM_SIZES = 2048
_BATCH_PROGRAMS = 8


class Boundaries:
    """All sizes, one by one: the bin, run or mapping of each; all page counts; all moves between bins."""

    name = "boundaries"
    sentence = "every size up to 2 MiB + 64 KiB, every page count, every pair of bins"
    goal = 0
    share = 0.14

    def run(self, task: Task, budget: Budget, result: TierResult, tick: Tick) -> None:
        """Deals the work out to the workers; each piece is a range of sizes or of page counts."""
        pieces = all_pieces()
        arguments = [
            (task, pieces[worker :: task.jobs], budget.seconds, budget.limit_seconds) for worker in range(task.jobs)
        ]
        for message in run_workers(f"{__name__}:work", arguments):
            absorb(message, result)
            tick()


def all_pieces() -> list[tuple[str, int, int]]:
    """Everything there is to do, cheapest to find something in first: kind, first, end."""
    pieces = [("pages", first, min(first + 64, PAGES_MAX + 1)) for first in range(1, PAGES_MAX + 1, 64)]
    pieces += [("bins", bin_index, bin_index + 1) for bin_index in range(len(BIN_BYTES))]
    step = _PROGRAM_SIZES * _BATCH_PROGRAMS
    pieces += [("sizes", first, min(first + step, SIZES_END)) for first in range(0, SIZES_END, step)]
    return pieces


def programs_of(piece: tuple[str, int, int]) -> Iterator[Program]:
    """The programs of a piece of work."""
    kind, first, end = piece
    if kind == "pages":
        for pages in range(first, end):
            yield page_program(pages)
    elif kind == "bins":
        yield from bin_programs(first)
    else:
        for start in range(first, end, _PROGRAM_SIZES):
            yield size_program(range(start, min(start + _PROGRAM_SIZES, end)))


def size_program(sizes: Sequence[int]) -> Program:
    """Each size once, on an otherwise empty heap: its class shows in place and block size."""
    # The anchor keeps the main chunk in use, which PHP 8.2 needs, and costs nothing.
    operations = [Operation("alloc", 0, 8)]
    for size in sizes:
        operations.append(Operation("alloc", 1, size))
        operations.append(Operation("free", 1))
    operations.append(Operation("check"))
    return Program(Settings(), tuple(operations), (), f"sizes {sizes[0]} to {sizes[-1]}")


def page_program(pages: int) -> Program:
    """A run of so many pages in every situation: fresh, exactly fitting a hole, beside one, grown, shrunk, moved."""
    size = pages * PAGE_BYTES
    rest = (PAGES_MAX - pages) * PAGE_BYTES

    operations = [
        Operation("alloc", 0, size),
        Operation("alloc", 1, max(rest - PAGE_BYTES, PAGE_BYTES)),
        Operation("alloc", 2, PAGE_BYTES),
        Operation("check"),
        Operation("free", 0),
        Operation("alloc", 3, max(size - PAGE_BYTES, PAGE_BYTES)),
        Operation("realloc", 3, size),
        Operation("realloc", 3, size - PAGE_BYTES + 1),
        Operation("check"),
        Operation("free", 3),
        Operation("alloc", 0, size - PAGE_BYTES + 1),
        Operation("realloc", 0, size + 1),
        Operation("check"),
        Operation("realloc", 0, max(size // 2, 1)),
        Operation("free", 1),
        Operation("alloc", 4, size),
        Operation("alloc", 5, size),
        Operation("check"),
        Operation("free", 4),
        Operation("gc"),
        Operation("realloc", 5, size),
        Operation("check"),
    ]
    return Program(Settings(), tuple(operations), (), f"runs of {pages} pages")


def bin_programs(bin_index: int) -> Iterator[Program]:
    """A bin filled, emptied and collected, and blocks moved from it to the borders of every other bin."""
    size = BIN_BYTES[bin_index]
    below = BIN_BYTES[bin_index - 1] + 1 if bin_index else 0
    count = 2 * (5 * PAGE_BYTES // size) + 2
    operations = [Operation("alloc", 0, 8), Operation("alloc", 1, 16)]
    operations += [Operation("alloc", 2 + number, (below, size)[number & 1]) for number in range(count)]
    operations.append(Operation("check"))
    operations += [Operation("free", 2 + number) for number in range(0, count, 2)]
    operations += [Operation("gc"), Operation("check")]
    operations += [Operation("free", 2 + number) for number in range(1, count, 2)]
    operations += [Operation("gc"), Operation("check")]
    operations += [Operation("alloc", 2 + number, size) for number in range(4)]
    yield Program(Settings(), tuple(operations), (), f"bin {bin_index} filled and emptied")
    for other in range(len(BIN_BYTES)):
        operations = [Operation("alloc", 0, 8)]
        for target in (BIN_BYTES[other] - 1, BIN_BYTES[other], BIN_BYTES[other] + 1):
            operations += [
                Operation("alloc", 1, size),
                Operation("realloc", 1, target),
                Operation("realloc2", 1, size, min(size, target) // 2),
                Operation("free", 1),
            ]
        operations.append(Operation("check"))
        yield Program(Settings(), tuple(operations), (), f"bin {bin_index} to bin {other} and back")


def work(send: Send, task: Task, pieces: list[tuple[str, int, int]], seconds: float, limit_seconds: float) -> None:
    """A worker's loop: one piece, a few round trips, after the other."""
    budget = Budget(seconds, limit_seconds)
    found = 0
    with Judge.of(task.target, task.edition) as judge:
        for piece in pieces:
            if found >= FINDINGS_MAX:
                return
            if budget.exhausted():
                send(Unfinished("every size was tried"))
                return
            kind, first, end = piece
            if kind == "sizes" and judge.exact and sizes_agree(judge, range(first, end)):
                send(Delta(1, 2 * (end - first) + 2))
                continue
            delta = judge_programs(judge, task, list(programs_of(piece)))
            found += len(delta.findings)
            send(delta)


def sizes_agree(judge: Judge, sizes: range) -> bool:
    """
    Whether the target's rows for each of the sizes, one after the other, are those of the exact model.

    The same as judging :func:`size_program`, but the model performs only what can change a row: a block of the same
    class as the one just freed goes to the same place and leaves the same counters, unless a mapping comes and goes.
    """
    texts = TextArea()
    pack = STEP.pack
    alloc, free = WORDS["alloc"].code, pack(WORDS["free"].code, 0, 0, 1, 0, 0, 0)
    steps = [pack_open(Settings(), texts, edition=judge.edition), pack(alloc, 0, 0, 0, 8, 0, 0)]
    for size in sizes:
        steps.append(pack(alloc, 0, 0, 1, size, 0, 0))
        steps.append(free)
    steps += [pack(WORDS["check"].code, 0, 0, NO_LABEL, 0, 0, 0), CLOSE_STEP]
    trace = judge.driver.run_packed(b"".join(steps), bytes(texts))

    heap = ExactHeap(Settings(), judge.edition)
    rows = [pack_rows([heap.open(), heap.step(Operation("alloc", 0, 8))])]
    settled: tuple[int, bytes] = (-1, b"")
    before = -1
    for size in sizes:
        class_bytes = block_bytes(size)
        if class_bytes != settled[0]:
            pair = pack_rows([heap.step(Operation("alloc", 1, size)), heap.step(Operation("free", 1))])
            # The first block of a class may take a run and raise the peak; the second one changes nothing any more.
            if class_bytes == before and class_bytes <= LARGE_BYTES_MAX:
                settled = (class_bytes, pair)
            before = class_bytes
            rows.append(pair)
        else:
            rows.append(settled[1])
    rows.append(pack_rows([heap.step(Operation("check")), heap.close()]))
    return b"".join(rows) == trace.rows
