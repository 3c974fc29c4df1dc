"""Rows with a slip in them: one bug's traces, without a bug. For each rule one is looked for that only this rule sees.

A program that is right in every row is changed in one place, in one row or from it on, in a way in which an allocator
could go wrong; a rule has its own slip when it names it, and the slip passes as soon as this one rule is switched off.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from zlib import crc32

from zmm_model import RULES as ABSTRACT_RULES
from zmm_model import outcome
from zmm_model.abstract import AbstractHeap
from zmm_model.accounting import Accounting
from zmm_model.exact import ExactHeap
from zmm_model.op import MISUSE, Operation, Settings
from zmm_model.outcome import NO_MAPPING, Row

from ..compare import RULES as EXACT_RULES
from ..compare import Death, exact_divergence, operation_at
from ..predict import pack_rows
from ..program import Program

MIB = 1 << 20
CHUNK = 2 * MIB
PAGE = 4096
_NO_BLOCK: dict[str, int] = {"mapping": NO_MAPPING, "offset": 0, "block_bytes": 0}
_SIZE_MAX = 2**64 - 1


def _op(word: str, label: int = -1, a: int = 0, b: int = 0, c: int = 0) -> Operation:
    return Operation(word, label, a, b, c)


_WORK = (
    _op("alloc", 0, 100), _op("alloc", 1, 100), _op("write", 1, 0, 1, 3), _op("alloc", 2, 5000),
    _op("calloc", 6, 2**32, 2**32), _op("realloc", 1, 300), _op("alloc", 3, 3 * MIB), _op("free", 0), _op("gc"),
    _op("check"), _op("realloc", 2, 1), _op("reset_peak"), _op("limit", -1, 64 * MIB), _op("free", 3),
    _op("alloc", 4, 511 * PAGE), _op("alloc", 5, 511 * PAGE), _op("free", 4), _op("request_end"), _op("alloc", 0, 8),
)  # fmt: skip
_LIMITED = (
    _op("alloc", 0, 500 * PAGE), _op("alloc", 1, 100 * PAGE), _op("alloc", 2, 3 * MIB), _op("alloc", 3, 3 * MIB),
    _op("free", 0), _op("limit", -1, CHUNK), _op("limit", -1, 1), _op("gc"), _op("alloc", 4, 40), _op("check"),
)  # fmt: skip
_MISUSE = (
    _op("alloc", 0, 100), _op("misuse.free_freed", 0), _op("misuse.other_heap", 0), _op("misuse.overflow", 0, 4),
    _op("misuse.free_freed", 7), _op("misuse.free_stack"), _op("check"),
)  # fmt: skip
PROGRAMS = (
    Program(Settings(storage="kernel"), _WORK),
    Program(Settings(storage="kernel", limit_bytes=2 * CHUNK), _LIMITED),
    Program(Settings(storage="kernel", failing_calls=(2, 3)), _LIMITED),
    Program(Settings(storage="kernel"), _MISUSE),
)


@dataclass(frozen=True, slots=True)
class Slip:
    """A change of one row (or of it and all later ones), and what it is for people."""

    program: int
    step: int
    change: Mapping[str, int]
    sticky: bool
    accounting: Accounting = Accounting.ZENDMM
    death: str = ""

    def story(self) -> str:
        """The slip in words."""
        operations = PROGRAMS[self.program].operations
        word = operation_at(operations, self.step).word
        if self.death:
            return f"program {self.program}, step {self.step} ({word}): the process ends ({self.death})"
        what = ", ".join(f"{name} {_show(value)}" for name, value in self.change.items())
        since = " and after" if self.sticky else ""
        kind = "" if self.accounting is Accounting.ZENDMM else f", accounting {self.accounting.name.lower()}"
        return f"program {self.program}, step {self.step}{since} ({word}): {what}{kind}"


def _show(value: int) -> str:
    return f"{value:+,}" if abs(value) < 2**40 else "elsewhere"


# What can go wrong with a row: fields and what is added to them; "=" before a name sets it instead.
_ADDED: tuple[dict[str, int], ...] = (
    *({name: by} for name in Row._fields for by in (1, -1, 8, -8, PAGE, -PAGE, CHUNK, -CHUNK)),
    *({"size": by, "peak": by} for by in (1, -1, 8, -8, PAGE, 10**9)),
    *({"real_size": by, "real_peak": by} for by in (1, PAGE, CHUNK, -CHUNK)),
    {"real_size": CHUNK, "real_peak": CHUNK, "chunk_count": 1, "chunk_count_peak": 1},
    {"real_size": CHUNK, "real_peak": CHUNK, "cached_count": 1},
    {"real_size": CHUNK, "real_peak": CHUNK, "chunk_count": 1, "chunk_count_peak": 1, "storage_calls": 1,
     "storage_crc": 1},
    {"real_size": CHUNK, "real_peak": CHUNK, "cached_count": 1, "storage_calls": 1, "storage_crc": 1},
    {"chunk_count": 1, "chunk_count_peak": 1, "cached_count": -1},
    {"chunk_count": -1, "cached_count": 1},
    {"chunk_count": 1, "cached_count": -1},
    {"storage_calls": -1, "storage_crc": 1},
    {"storage_calls": 1, "storage_crc": 1},
    {"offset": 8, "block_bytes": -8},
)  # fmt: skip
_SET: tuple[dict[str, int], ...] = (
    *({"status": status} for status in (
        outcome.DONE, outcome.SKIPPED, outcome.REFUSED_LIMIT, outcome.REFUSED_SYSTEM, outcome.REFUSED_OVERFLOW,
        outcome.BROKEN, outcome.PANIC)),
    *({"status": status, **_NO_BLOCK} for status in (
        outcome.SKIPPED, outcome.REFUSED_LIMIT, outcome.REFUSED_SYSTEM, outcome.REFUSED_OVERFLOW)),
    *({"status": outcome.REFUSED_OVERFLOW, "text_crc": 77, **extra} for extra in ({}, _NO_BLOCK)),
    *({"status": outcome.DONE, "mapping": 0, "offset": PAGE * page, "block_bytes": size}
      for page in (1, 90, 400) for size in (8, 112, 5000, 1 << 21)),
    {"contents": 1}, {"value": 0}, {"value": 1}, {"value": 100}, {"limit": 5}, {"limit": CHUNK}, dict(_NO_BLOCK),
    {"refused_bytes": 0}, {"text_crc": 0}, {"text_crc": 1}, {"chunk_count": 0},
    {"chunk_count": 2, "chunk_count_peak": 2},
    {"peak": 0}, {"real_peak": 0}, {"block_bytes": 0}, {"offset": PAGE}, {"offset": PAGE, "block_bytes": 8},
)  # fmt: skip


def true_rows(program: Program, level: str = "release") -> list[Row]:
    """The rows of a program as they must be, edition zmm; the level says how a misuse ends."""
    return [Row._make(row) for row in ExactHeap(program.settings, "zmm", level).run(program.operations)]


def all_slips(rows: Sequence[Sequence[Row]], accountings: Sequence[Accounting]) -> Iterator[tuple[Slip, list[Row]]]:
    """Every slip, with the rows that it leaves."""
    for accounting in accountings:
        for number, true in enumerate(rows):
            for step in [*range(1, len(true)), 0][: len(true)]:
                yield from _refusals(number, true, step, accounting)
                for sticky in (False, True):
                    for changes, adds in ((_ADDED, True), (_SET, False)):
                        for change in changes:
                            made = _changed(true, step, change, sticky=sticky, adds=adds)
                            if made is not None:
                                yield Slip(number, step, change, sticky, accounting), made


def _refusals(number: int, rows: Sequence[Row], step: int, accounting: Accounting) -> Iterator[tuple[Slip, list[Row]]]:
    """A last request that is refused without need, and told as a refusal is told."""
    operation = operation_at(PROGRAMS[number].operations, step)
    if operation.word != "alloc" or step != len(PROGRAMS[number].operations) or accounting is Accounting.NONE:
        return
    before, tried = rows[step - 1], PAGE
    limit = f"Allowed memory size of {before.limit} bytes exhausted (tried to allocate {tried} bytes)"
    system = f"Out of memory (allocated {before.real_size} bytes) (tried to allocate {tried} bytes)"
    for status, text in ((outcome.REFUSED_LIMIT, limit), (outcome.REFUSED_SYSTEM, system)):
        change = {"status": status, "refused_bytes": tried, "text_crc": crc32(text.encode()), "value": 0, **_NO_BLOCK}
        yield (
            Slip(number, step, change, False, accounting),
            [*rows[:step], before._replace(**change), *rows[step + 1 :]],
        )


def _changed(
    rows: Sequence[Row], step: int, change: Mapping[str, int], *, sticky: bool, adds: bool
) -> list[Row] | None:
    made = list(rows)
    for index in range(step, len(rows) if sticky else step + 1):
        row = rows[index]
        values = {name: getattr(row, name) + by if adds else by for name, by in change.items()}
        if any(not 0 <= value <= _bounds(name) for name, value in values.items()):
            return None
        made[index] = row._replace(**values)
    return None if made == list(rows) else made


def _bounds(name: str) -> int:
    if name in ("status", "contents"):
        return 255
    wide = ("offset", "block_bytes", "value", "refused_bytes", "size", "peak", "real_size", "real_peak", "limit")
    return _SIZE_MAX if name in wide else 2**32 - 1


# ---- the abstract rules ----------------------------------------------------------------------------------------------


def abstract_violation(
    program: Program, rows: Sequence[Row], accounting: Accounting, without: frozenset[str] = frozenset()
) -> str | None:
    """The first rule of the abstract model that rows break."""
    heap = AbstractHeap(program.settings, accounting, "zmm", without=without)
    found = heap.open(rows[0])
    for operation, row in zip(program.operations, rows[1:], strict=False):
        found = found or heap.step(operation, row)
        if found is not None:
            return found.rule
    found = found or heap.close(rows[-1])
    return found.rule if found else None


def own_rows(program: Program, rows: Sequence[Row], accounting: Accounting) -> list[Row]:
    """Right rows as a target of another accounting has them: blocks of exactly the bytes asked for, or no counters."""
    made: list[Row] = []
    for step, row in enumerate(rows):
        if accounting is Accounting.OWN and row.mapping != NO_MAPPING:
            row = row._replace(block_bytes=asked_bytes(program, step, made))
        if accounting is Accounting.NONE:
            word = operation_at(program.operations, step).word
            idle = word in ("gc", "limit", "reset_peak") or word in MISUSE
            row = Row(outcome.SKIPPED if idle else row.status, row.contents, row.mapping, row.offset, row.block_bytes)
        made.append(row)
    return made


def asked_bytes(program: Program, step: int, before: Sequence[Row]) -> int:
    """The bytes that the block of a step's label was last asked to have."""
    label = operation_at(program.operations, step).label
    for index in range(step, 0, -1):
        operation = program.operations[index - 1]
        done = index == step or before[index].status == outcome.DONE
        if operation.label == label and operation.word in ("alloc", "realloc") and done:
            return operation.a
    return 0


def search_abstract(wanted: Sequence[str] = tuple(ABSTRACT_RULES)) -> dict[str, Slip]:
    """For each rule of the abstract model a slip that only it sees, where one is found."""
    found: dict[str, Slip] = {}
    for accounting in (Accounting.ZENDMM, Accounting.OWN, Accounting.NONE):
        level = "hardened" if accounting is Accounting.OWN else "release"
        right = [true_rows(program, level) for program in PROGRAMS]
        rows = [own_rows(program, one, accounting) for program, one in zip(PROGRAMS, right, strict=True)]
        usable = [
            one if abstract_violation(program, one, accounting) is None else []
            for program, one in zip(PROGRAMS, rows, strict=True)
        ]
        for slip, made in all_slips(usable, (accounting,)):
            if len(found) == len(wanted):
                return found
            program = PROGRAMS[slip.program]
            rule = _quietly(program, made, accounting)
            if rule is None or rule in found or rule not in wanted:
                continue
            if _quietly(program, made, accounting, frozenset({rule})) is None:
                found[rule] = slip
    return found


def _quietly(
    program: Program, rows: Sequence[Row], accounting: Accounting, without: frozenset[str] = frozenset()
) -> str | None:
    """What the judge says; rows that no target can send may confuse it, and count as noticed."""
    try:
        return abstract_violation(program, rows, accounting, without)
    except (KeyError, IndexError, StopIteration):
        return "confused"


# ---- the rules of the exact comparison -----------------------------------------------------------------------------


def search_exact(wanted: Sequence[str] = tuple(EXACT_RULES)) -> dict[str, Slip]:
    """For each rule of the exact comparison a slip that only it sees, where one is found."""
    found: dict[str, Slip] = {}
    right = [true_rows(program) for program in PROGRAMS]
    for slip, made in _exact_slips(right):
        if len(found) == len(wanted):
            break
        program = PROGRAMS[slip.program]
        expected, actual = pack_rows(right[slip.program]), pack_rows(made)
        death = Death(slip.death, slip.death.lower()) if slip.death else None
        first = exact_divergence(program.operations, expected, actual, death=death)
        if first is None or first.rule in found or first.rule not in wanted:
            continue
        without = frozenset({first.rule})
        if exact_divergence(program.operations, expected, actual, death=death, without=without) is None:
            found[first.rule] = slip
    return found


def _exact_slips(right: Sequence[Sequence[Row]]) -> Iterator[tuple[Slip, list[Row]]]:
    yield from all_slips(right, (Accounting.ZENDMM,))
    for number, rows in enumerate(right):
        for kind in ("DEATH", "HANG"):
            for step in range(1, len(rows)):
                yield Slip(number, step, {}, True, death=kind), list(rows[:step])


__all__ = ["PROGRAMS", "Slip", "abstract_violation", "search_abstract", "search_exact"]
