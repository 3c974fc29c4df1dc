"""Tier `oom`: the n-th request for memory fails, for every n, until the work succeeds; the heap is checked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from zmm_model.op import Operation, Settings
from zmm_model.outcome import Row

from ..compare import ROW_BYTES, unpack_row
from ..generate import generate
from ..judge import Judge
from ..predict import Scope
from ..program import Program
from .base import SKIPPED, Budget, Task, Tick, TierResult
from .lockstep import FINDINGS_MAX, Unfinished, absorb, judge_programs
from .workers import Send, run_workers

_MIB = 1 << 20
# Calls that fail in the programs of one round trip: few, so that a slow target does not outstay its budget.
_BATCH_CALLS = 16


def _op(word: str, label: int = -1, a: int = 0, b: int = 0, c: int = 0) -> Operation:
    return Operation(word, label, a, b, c)


# Work that asks for memory in every way there is: chunks for each kind of run, huge blocks and their list nodes,
# growth and shrinking in place and by moving, reuse of cached chunks, several requests.
WORK: dict[str, tuple[Operation, ...]] = {
    "chunks": (
        *(_op("alloc", label, 1000 * 1024) for label in range(6)),
        *(_op("free", label) for label in range(1, 5)),
        _op("gc"),
        *(_op("alloc", label, 1500 * 1024) for label in range(1, 4)),
    ),
    "small": (
        *(_op("alloc", label, 3072) for label in range(172)),
        *(_op("alloc", label, 320) for label in range(172, 180)),
        *(_op("free", label) for label in range(0, 172, 2)),
        _op("gc"),
        *(_op("alloc", label, 2560) for label in range(0, 40, 2)),
    ),
    "huge": (
        _op("alloc", 0, 3 * _MIB),
        _op("alloc", 1, 5 * _MIB + 1),
        _op("realloc", 0, 4 * _MIB),
        _op("realloc", 0, 2 * _MIB + 4096),
        _op("realloc2", 1, 9 * _MIB, 4096),
        _op("calloc", 2, 3, _MIB),
        _op("free", 1),
        _op("realloc", 2, 100),
        _op("alloc", 3, 2 * _MIB),
    ),
    "node": (  # a page with room for list nodes is missing, so that huge blocks need a run, later a chunk
        _op("alloc", 0, 511 * 4096 - 4096),
        *(_op("alloc", label, 2 * _MIB + 1) for label in range(1, 4)),
        _op("free", 2),
        _op("alloc", 4, 40),
    ),
    "moves": (
        _op("alloc", 0, 40),
        _op("alloc", 1, 1900 * 1024),
        _op("realloc", 0, 1200 * 1024),
        _op("realloc", 0, 3 * _MIB),
        _op("realloc", 1, 1000 * 1024),
        _op("realloc", 0, 700 * 1024),
        _op("safe_realloc", 1, 3, 700 * 1024, 8),
        _op("realloc", 1, 8),
    ),
    "requests": (
        *(_op("alloc", label, 1900 * 1024) for label in range(5)),
        _op("request_end"),
        *(_op("alloc", label, 1900 * 1024) for label in range(4)),
        _op("alloc", 4, 4 * _MIB),
        _op("request_end"),
        _op("alloc", 0, 100),
    ),
    "limit": (
        *(_op("alloc", label, 1000 * 1024) for label in range(4)),
        _op("free", 0),
        _op("free", 1),
        _op("gc"),
        _op("limit", -1, 4 * _MIB),
        _op("alloc", 0, 2 * _MIB),
        _op("alloc", 1, 1000 * 1024),
        _op("alloc", 5, 1000 * 1024),
    ),
}


class OutOfMemory:
    """Every single failure of memory, in work of every kind."""

    name = "oom"
    sentence = "the n-th request for memory fails, for every n; the heap is checked after each"
    goal = 0
    share = 0.06

    def run(self, task: Task, budget: Budget, result: TierResult, tick: Tick) -> None:
        """Runs all work in one or two worker processes."""
        with Judge.of(task.target, task.edition) as judge:
            if not judge.target.is_zendmm:
                result.status = SKIPPED
                result.reason = f"{task.target} takes its memory from the system, where no failure can be ordered"
                return
            if judge.scope is Scope.WILLING:
                result.status = SKIPPED
                result.reason = f"{judge.target.name} {judge.target.version} ends the process when memory is refused"
                return
            names = list(bases(judge))
        arguments = [
            (task, names[worker :: task.jobs], budget.seconds, budget.limit_seconds) for worker in range(task.jobs)
        ]
        for message in run_workers(f"{__name__}:work", arguments):
            absorb(message, result)
            tick()


def bases(judge: Judge) -> Iterator[tuple[str, bool]]:
    """The names of all work, each with whether the allocator's own records are to fail as well (zmm only)."""
    for name in (*WORK, *(f"generated {number}" for number in range(6))):
        for storage in ("handlers", "kernel"):
            yield f"{storage} {name}", False
        if judge.target.kind == "zmm":
            yield f"kernel {name}", True


def base_program(name: str, seed: int) -> Program:
    """The work of a name, with a check after each operation, on a heap where nothing fails yet."""
    storage, _, work = name.partition(" ")
    if work.startswith("generated "):
        made = generate(seed * 64 + int(work.split()[1]), "requests", 40, anchor=True, storage=storage)
        operations = made.operations
        settings = replace(made.settings, failing_calls=(), limit_bytes=None)
    else:
        operations = WORK[work]
        # In place and by moving: half of the work each.
        grants = sum(map(ord, work)) % 2 == 0
        settings = Settings(storage=storage, extend=grants, truncate=grants)
    checked = tuple(step for operation in operations for step in (operation, Operation("check")))
    return Program(settings, checked, (), f"oom: {name}")


def work(send: Send, task: Task, names: list[tuple[str, bool]], seconds: float, limit_seconds: float) -> None:
    """A worker's loop: for each piece of work, one program for each call that can fail."""
    budget = Budget(seconds, limit_seconds)
    found = 0
    with Judge.of(task.target, task.edition) as judge:
        for name, all_calls in names:
            program = base_program(name, task.seed)
            judge.all_calls = all_calls
            first = 1
            calls = fallible_calls(judge, program)
            while first <= calls:
                if budget.exhausted():
                    send(Unfinished("every failure was tried"))
                    return
                last = min(first + _BATCH_CALLS, calls + 1)
                batch = [
                    program.with_settings(replace(program.settings, failing_calls=failing))
                    for n in range(first, last)
                    for failing in ((n,), (n, n + 1), tuple(range(n, n + 12)))
                ]
                delta = judge_programs(judge, task, batch)
                found += len(delta.findings)
                send(delta)
                if found >= FINDINGS_MAX:
                    return
                first = last


def fallible_calls(judge: Judge, program: Program) -> int:
    """How many calls can fail at most when none does: all calls, given back or not, up to the closing."""
    for trace in judge.driver.run([program], all_calls=judge.all_calls):
        row: Row = unpack_row(trace.rows, len(trace.rows) // ROW_BYTES - 1)
        return row.storage_calls
    return 0
