"""Each rule of the abstract model fires on a row that breaks it, and on nothing that the exact model does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from zlib import crc32

import pytest
from zmm_model import RULES, AbstractHeap, Accounting, ExactHeap, Operation, Row, Settings, Violation
from zmm_model.outcome import BROKEN, DONE, NO_MAPPING, PANIC, REFUSED_LIMIT, REFUSED_OVERFLOW, REFUSED_SYSTEM, SKIPPED

from tests.model.conftest import CHUNK, MIB, PAGE, operations_from, settings_from

SIZE_MAX = 2**64 - 1
FULL = 511 * PAGE
BLOCK = Operation("alloc", 1, 100)
OTHER = Operation("alloc", 2, 100)
HUGE = Operation("alloc", 3, 3 * MIB)
CLOSE = Operation("close")


@dataclass(frozen=True)
class Planted:
    """A program whose last row is falsified: the rule that must notice, and how the row is changed."""

    rule: str
    program: tuple[Operation, ...]
    change: dict[str, int]
    settings: Settings = field(default_factory=lambda: Settings(storage="kernel"))
    accounting: Accounting = Accounting.ZENDMM

    def __str__(self) -> str:
        return f"{self.rule}-{self.program[-1].word}-{'-'.join(self.change)}"


NO_BLOCK = {"mapping": NO_MAPPING, "offset": 0, "block_bytes": 0}
REFUSED = {"size": 100, "peak": 100, **NO_BLOCK}
FILLED = Operation("alloc", 9, FULL)
AGAIN = FILLED._replace(label=8)
TWO_CHUNKS = {"cached_count": 1, "real_size": 2 * CHUNK, "real_peak": 2 * CHUNK, "chunk_count_peak": 2}
LIMITED = Settings(storage="kernel", limit_bytes=CHUNK)
TRIM = 16
NEARLY = Operation("alloc", 9, FULL - TRIM)
OWN = Accounting.OWN
DOUBLE = Operation("misuse.free_freed", 1)
TEXT = f"Allowed memory size of {CHUNK} bytes exhausted (tried to allocate %d bytes)"
LIES = {  # consistent refusals of so many pages
    pages: {"refused_bytes": pages * PAGE, "text_crc": crc32((TEXT % (pages * PAGE)).encode())} for pages in (5, 6)
}

PLANTED = (
    Planted("ABS-1", (BLOCK,), {"status": PANIC}),
    Planted("ABS-1", (BLOCK, Operation("check")), {"status": BROKEN}),
    Planted("ABS-1", (BLOCK, CLOSE), {"status": 0}),
    Planted("ABS-2", (BLOCK,), {"status": SKIPPED}),
    Planted("ABS-2", (BLOCK, BLOCK), {"status": DONE}),
    Planted("ABS-2", (Operation("write", 1, 0, 1),), {"status": DONE}),
    Planted("ABS-2", (Operation("gc"),), {}, accounting=Accounting.NONE),
    Planted("ABS-3", (BLOCK, Operation("free", 1)), {"status": REFUSED_SYSTEM}),
    Planted("ABS-4", (Operation("calloc", 1, 2**32, 2**32),), {"status": DONE}),
    Planted("ABS-4", (Operation("calloc", 1, 2**32, 2**32),), {"status": REFUSED_LIMIT}),
    Planted("ABS-4", (Operation("alloc", 1, SIZE_MAX - 4095),), {"status": REFUSED_OVERFLOW}),
    Planted("ABS-5", (BLOCK,), {"status": REFUSED_LIMIT, **NO_BLOCK}),
    Planted("ABS-6", (BLOCK,), {"status": REFUSED_SYSTEM, **NO_BLOCK}),
    Planted("ABS-6", (BLOCK,), {"status": REFUSED_SYSTEM, **NO_BLOCK}, accounting=Accounting.NONE),
    Planted("ABS-7", (FILLED, Operation("alloc", 1, 5000)), {"refused_bytes": 5000}, LIMITED),
    Planted("ABS-7", (FILLED, Operation("alloc", 1, 5000)), {"text_crc": 1}, LIMITED),
    Planted("ABS-7", (FILLED, BLOCK), LIES[5], LIMITED),
    Planted("ABS-7", (FILLED, Operation("alloc", 1, 3 * MIB)), {"refused_bytes": 5}, LIMITED),
    Planted("ABS-7", (FILLED, Operation("alloc", 1, 50)), {"refused_bytes": 50}, LIMITED),
    Planted("ABS-7", (BLOCK,), {"refused_bytes": 100}),
    Planted("ABS-7", (Operation("calloc", 1, 2**32, 2**32),), {"text_crc": 0}),
    Planted("ABS-8", (BLOCK,), NO_BLOCK),
    Planted("ABS-8", (BLOCK, Operation("write", 1, 0, 1)), {"offset": 2 * PAGE}),
    Planted("ABS-8", (BLOCK, Operation("write", 1, 0, 1)), {"block_bytes": 128}),
    Planted("ABS-8", (BLOCK, Operation("free", 1)), {"mapping": 0, "offset": PAGE}),
    Planted("ABS-8", (BLOCK, Operation("realloc", 1, SIZE_MAX)), NO_BLOCK),
    Planted("ABS-9", (BLOCK,), {"block_bytes": 96}),
    Planted("ABS-9", (BLOCK,), {"block_bytes": 99}, accounting=Accounting.NONE),
    Planted("ABS-10", (BLOCK,), {"offset": PAGE + 4}),
    Planted("ABS-10", (Operation("alloc", 1, 5000),), {"offset": PAGE + 8}),
    Planted("ABS-10", (HUGE,), {"offset": PAGE}),
    Planted("ABS-10", (BLOCK,), {"offset": 7}, accounting=Accounting.NONE),
    Planted("ABS-11", (BLOCK, OTHER), {"offset": PAGE}),
    Planted("ABS-11", (BLOCK, OTHER), {"offset": PAGE + 104}),
    Planted("ABS-11", (OTHER, BLOCK, Operation("free", 2), OTHER), {"offset": PAGE + 8}),
    Planted("ABS-11", (HUGE, OTHER), {"mapping": 1, "offset": 2 * MIB}),
    Planted("ABS-11", (BLOCK, HUGE), {"mapping": 0, "offset": 0}),
    Planted("ABS-11", (BLOCK, OTHER), {"offset": PAGE}, accounting=Accounting.NONE),
    Planted("ABS-12", (BLOCK,), {"contents": 1}),
    Planted("ABS-12", (BLOCK, CLOSE), {"contents": 1}),
    Planted("ABS-13", (BLOCK,), {"size": 104}),
    Planted("ABS-13", (BLOCK, Operation("free", 1)), {"size": 112}),
    Planted("ABS-13", (HUGE,), {"size": 3 * MIB}),
    Planted("ABS-13", (FILLED, BLOCK), {"size": FULL + 112, "peak": FULL + 112}, LIMITED),
    Planted("ABS-14", (BLOCK,), {"peak": 100}),
    Planted("ABS-14", (BLOCK, Operation("free", 1)), {"peak": 50}),
    Planted("ABS-15", (BLOCK,), {"peak": 300}),
    Planted("ABS-16", (BLOCK,), {"real_size": 2 * CHUNK, "real_peak": 2 * CHUNK}),
    Planted("ABS-17", (HUGE,), {"real_peak": CHUNK}),
    Planted("ABS-17", (HUGE, Operation("free", 3)), {"real_peak": CHUNK}),
    Planted("ABS-18", (FILLED, Operation("alloc", 1, FULL)), {"limit": CHUNK}),
    Planted(
        "ABS-19", (BLOCK, Operation("free", 1)), {"real_size": 2 * CHUNK, "real_peak": 2 * CHUNK, "chunk_count": 2}
    ),
    Planted("ABS-20", (BLOCK,), {"limit": 5}),
    Planted("ABS-20", (Operation("limit", a=CHUNK),), {"value": 0}),
    Planted("ABS-20", (Operation("limit", a=CHUNK - 1),), {"value": 1}),
    Planted("ABS-20", (Operation("limit", a=CHUNK),), {"limit": CHUNK + 1}),
    Planted("ABS-20", (FILLED, AGAIN, Operation("free", 8), Operation("limit", a=CHUNK)), TWO_CHUNKS),
    Planted("ABS-21", (BLOCK, Operation("gc")), {"value": 100}),
    Planted("ABS-21", (BLOCK, Operation("gc")), {"peak": 113}),
    Planted("ABS-21", (BLOCK, Operation("gc")), {"value": 2 * CHUNK}),
    Planted("ABS-21", (BLOCK, Operation("gc")), {"size": 1000, "peak": 1000}, accounting=OWN),
    Planted("ABS-22", (BLOCK, Operation("free", 1), Operation("reset_peak")), {"peak": 112}),
    Planted("ABS-23", (BLOCK, Operation("request_end")), {"size": 112, "peak": 112}),
    Planted("ABS-23", (FILLED, AGAIN, Operation("request_end")), {"chunk_count": 2, **TWO_CHUNKS, "cached_count": 0}),
    Planted("ABS-24", (FILLED, BLOCK), {"storage_calls": 0}),
    Planted("ABS-24", (FILLED, BLOCK), {"storage_crc": 0x1234, "storage_calls": 1}),
    Planted("ABS-25", (BLOCK,), {"chunk_count_peak": 0}),
    Planted("ABS-26", (BLOCK, CLOSE), {"value": 1}),
    Planted("ABS-2", (BLOCK, Operation("gc")), {"status": SKIPPED}, accounting=OWN),
    Planted("ABS-2", (BLOCK, Operation("limit", a=CHUNK)), {"status": SKIPPED}, accounting=OWN),
    Planted("ABS-4", (Operation("alloc", 1, SIZE_MAX - 4095 - 64),), {"status": REFUSED_OVERFLOW}, accounting=OWN),
    Planted("ABS-5", (BLOCK,), {"status": REFUSED_LIMIT, **NO_BLOCK}, accounting=OWN),
    Planted("ABS-6", (BLOCK,), {"status": REFUSED_SYSTEM, **NO_BLOCK}, accounting=OWN),
    Planted("ABS-7", (NEARLY, Operation("alloc", 1, 5000)), {"refused_bytes": 3 * PAGE}, LIMITED, OWN),
    Planted("ABS-7", (NEARLY, Operation("alloc", 1, 5 * PAGE - 32)), LIES[6], LIMITED, OWN),  # at most 32 are added
    Planted("ABS-7", (NEARLY, Operation("alloc", 1, 3 * MIB)), {"refused_bytes": 3 * MIB + 40}, LIMITED, OWN),
    Planted("ABS-8", (BLOCK, Operation("gc")), {"mapping": 0, "offset": PAGE, "block_bytes": 100}, accounting=OWN),
    Planted("ABS-9", (BLOCK,), {"block_bytes": 99}, accounting=OWN),
    Planted("ABS-10", (Operation("alloc", 1, 5000),), {"offset": PAGE + 8}, accounting=OWN),
    Planted("ABS-10", (HUGE,), {"offset": PAGE}, accounting=OWN),
    Planted("ABS-11", (BLOCK, OTHER), {"offset": PAGE}, accounting=OWN),
    Planted("ABS-11", (BLOCK._replace(a=0), OTHER._replace(a=0)), {"offset": PAGE}, accounting=OWN),
    Planted("ABS-14", (BLOCK,), {"peak": 100}, accounting=OWN),
    Planted("ABS-15", (BLOCK,), {"peak": 300}, accounting=OWN),
    Planted("ABS-16", (HUGE,), {"real_size": CHUNK + 3 * MIB - PAGE}, accounting=OWN),
    Planted("ABS-16", (HUGE, HUGE._replace(label=4)), {"real_size": CHUNK + 6 * MIB - PAGE}, accounting=OWN),
    Planted("ABS-16", (HUGE,), {"real_size": CHUNK + 3 * MIB + 2 * PAGE}, accounting=OWN),
    Planted("ABS-16", (HUGE,), {"real_size": CHUNK + 3 * MIB + 8}, accounting=OWN),
    Planted("ABS-16", (BLOCK,), {"real_size": CHUNK + PAGE, "real_peak": CHUNK + PAGE}, accounting=OWN),
    Planted("ABS-18", (NEARLY, NEARLY._replace(label=1)), {"limit": CHUNK}, accounting=OWN),
    Planted("ABS-20", (Operation("limit", a=CHUNK),), {"value": 0}, accounting=OWN),
    Planted("ABS-21", (BLOCK, Operation("gc")), {"size": 112}, accounting=OWN),
    Planted("ABS-23", (BLOCK, Operation("request_end")), {"size": 128, "peak": 128}, accounting=OWN),
    Planted("ABS-26", (BLOCK, CLOSE), {"value": 1}, accounting=OWN),
    Planted("ABS-27", (BLOCK,), {"size": 99}, accounting=OWN),
    Planted("ABS-27", (BLOCK,), {"size": 161, "peak": 161}, accounting=OWN),
    Planted("ABS-27", (BLOCK, Operation("free", 1)), {"size": 161, "peak": 161}, accounting=OWN),
    Planted("ABS-27", (HUGE,), {"size": 3 * MIB - 1}, accounting=OWN),
    Planted("ABS-27", (NEARLY, BLOCK), {"size": FULL + 2 * PAGE, "peak": FULL + 2 * PAGE}, LIMITED, OWN),
    Planted("ABS-28", (BLOCK,), {"block_bytes": 112}, accounting=OWN),
    Planted("ABS-29", (BLOCK, DOUBLE), {"size": 0}),
    Planted("ABS-29", (BLOCK, DOUBLE), {"offset": 2 * PAGE}),
    Planted("ABS-30", (BLOCK, Operation("misuse.free_interior", 1, 200)), {"status": DONE}),
    Planted("ABS-30", (BLOCK, DOUBLE), {"status": REFUSED_LIMIT}),
    Planted("ABS-30", (Operation("misuse.free_stack"),), {}, accounting=Accounting.NONE),
    Planted("ABS-31", (BLOCK, DOUBLE), {"text_crc": 1}, accounting=OWN),
    Planted("ABS-31", (BLOCK, DOUBLE), {"status": SKIPPED}, accounting=OWN),
)


def trimmed(operations: Iterable[Operation], heap: ExactHeap) -> Iterator[tuple[Operation, Row]]:
    """The true rows of a heap with trims: the exact model is asked for more, and says what was asked for."""
    asked: dict[int, int] = {}
    for operation in operations:
        grows = operation.word in ("alloc", "realloc", "realloc2")
        inner = operation._replace(a=operation.a + TRIM) if grows else operation
        row = Row._make(heap.close() if operation.word == "close" else heap.step(inner))
        if grows and row.status == DONE:
            asked[operation.label] = operation.a
        yield operation, row._replace(block_bytes=asked[operation.label]) if row.block_bytes else row


def rows_of(planted: Planted) -> list[tuple[Operation, Row]]:
    """The program's true rows, but for the last, which is changed."""
    heap = ExactHeap(planted.settings, "zmm")
    rows = [(Operation("open"), Row._make(heap.open()))]
    if planted.accounting is OWN:
        rows += trimmed(planted.program, heap)
    else:
        for operation in planted.program:
            row = heap.close() if operation.word == "close" else heap.step(operation)
            rows.append((operation, Row._make(row)))
    last, row = rows[-1]
    rows[-1] = (last, row._replace(**planted.change))
    return rows


def judge(rows: list[tuple[Operation, Row]], heap: AbstractHeap) -> list[Violation | None]:
    """What the abstract model says of each row."""
    doors = {"open": lambda _, row: heap.open(row), "close": lambda _, row: heap.close(row)}
    return [doors.get(operation.word, heap.step)(operation, row) for operation, row in rows]


@pytest.mark.parametrize("planted", PLANTED, ids=str)
def test_a_row_that_breaks_a_rule_is_named_by_that_rule(planted: Planted) -> None:
    """The rows before it are accepted; the verdict carries the rule's sentence."""
    said = judge(rows_of(planted), AbstractHeap(planted.settings, planted.accounting, "zmm"))

    assert all(violation is None for violation in said[:-1])
    violation = said[-1]
    assert violation is not None
    assert planted.rule == violation.rule
    assert RULES[planted.rule].sentence == violation.sentence
    assert violation.expected != violation.actual


def test_every_rule_has_a_row_that_breaks_it() -> None:
    """No rule is there that nothing can break."""
    assert set(RULES) == {planted.rule for planted in PLANTED}


def test_rules_are_numbered_without_gaps_and_say_one_sentence() -> None:
    """ABS-1, ABS-2, ...; a sentence ends with a full stop."""
    assert list(RULES) == [f"ABS-{number}" for number in range(1, len(RULES) + 1)]
    for rule in RULES.values():
        assert rule.sentence.endswith(".")
        assert rule.words


@pytest.mark.parametrize("edition", ["php-8.2", "zmm"])
@pytest.mark.parametrize("seed", range(25))
def test_the_exact_model_is_accepted_by_the_abstract_one(edition: str, seed: int) -> None:
    """Refinement: every row that the exact model predicts keeps every rule, with and without counters."""
    settings = settings_from(seed)
    operations = list(operations_from(seed, 1000, labels=(60, 12, 400)[seed % 3]))
    rows = ExactHeap(settings, edition).run(operations)
    heap = AbstractHeap(settings, Accounting.ZENDMM, edition=edition)

    assert heap.open(rows[0]) is None
    for operation, row in zip(operations, rows[1:], strict=False):
        assert heap.step(operation, row) is None, (operation, Row._make(row))
    assert heap.close(rows[-1]) is None


@pytest.mark.parametrize("seed", range(12))
def test_a_heap_with_trims_is_accepted_as_one_of_its_own_accounting(seed: int) -> None:
    """
    The exact model asked for 16 bytes more each time keeps every rule that holds for heaps with trims.

    Words whose meaning depends on the requested size (writes, products, texts) are left out.
    """
    settings = settings_from(seed)
    words = ("alloc", "realloc", "realloc2", "free", "gc", "limit", "reset_peak", "request_end", "check")
    operations = [
        operation
        for operation in operations_from(seed, 1000, labels=(60, 12, 400)[seed % 3])
        if operation.word in words and operation.a <= SIZE_MAX - TRIM
    ]
    exact = ExactHeap(settings, "zmm")
    heap = AbstractHeap(settings, Accounting.OWN, "zmm")

    assert heap.open(exact.open()) is None
    for operation, row in trimmed(operations, exact):
        assert heap.step(operation, row) is None, (operation, row)
    assert heap.close(exact.close()) is None


def test_freed_blocks_may_wait_until_a_refusal() -> None:
    """A freed block that still counts is accepted; after a refusal by the limit it must have been let go."""
    exact = ExactHeap(LIMITED, "zmm")
    heap = AbstractHeap(LIMITED, Accounting.OWN, "zmm")
    assert heap.open(exact.open()) is None
    rows = list(trimmed((NEARLY, Operation("free", 9)), exact))
    size = rows[0][1].size
    waiting = rows[1][1]._replace(size=size, peak=size)
    assert [heap.step(*rows[0]), heap.step(rows[1][0], waiting)] == [None, None]
    _, refused = next(trimmed((HUGE,), exact))
    assert refused.status == REFUSED_LIMIT
    violation = heap.step(HUGE, refused._replace(size=size, peak=size))
    assert violation is not None
    assert violation.rule == "ABS-27"


def test_freed_blocks_may_wait_until_a_gc() -> None:
    """After a gc a freed block must have been let go; size may fall by that, and not rise."""
    exact = ExactHeap(LIMITED, "zmm")
    opened = exact.open()
    rows = list(trimmed((NEARLY, Operation("free", 9), Operation("gc")), exact))
    size = rows[0][1].size
    for kept, rule in ((0, None), (size, "ABS-21")):
        heap = AbstractHeap(LIMITED, Accounting.OWN, "zmm")
        assert heap.open(opened) is None
        steps = [(operation, row._replace(size=size, peak=size)) for operation, row in rows]
        assert [heap.step(*step) for step in steps[:2]] == [None, None]
        violation = heap.step(steps[2][0], steps[2][1]._replace(size=kept))
        assert (violation.rule if violation is not None else None) == rule


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({}, None),
        ({"value": 0, "limit": SIZE_MAX >> 1, "real_size": 2 * CHUNK, "chunk_count": 2}, None),
        ({"real_size": 2 * CHUNK, "cached_count": 1}, "ABS-20"),
        ({"value": 0}, "ABS-20"),
    ],
)
def test_a_lower_limit_may_let_go_what_waits(change: dict[str, int], rule: str | None) -> None:
    """Below what is mapped a limit is accepted where less is mapped then, or refused with nothing changed."""
    settings = Settings(storage="kernel")
    program = (NEARLY, NEARLY._replace(label=8), Operation("free", 8), Operation("limit", a=CHUNK))
    exact = ExactHeap(settings, "zmm")
    opened = exact.open()
    rows = list(trimmed(program, exact))
    waiting = {"size": rows[1][1].size, "chunk_count": 2, "cached_count": 0}
    rows[2] = rows[2][0], rows[2][1]._replace(**waiting)
    rows[3] = rows[3][0], rows[3][1]._replace(**change)
    heap = AbstractHeap(settings, Accounting.OWN, "zmm")
    assert heap.open(opened) is None
    assert [heap.step(*row) for row in rows[:3]] == [None] * 3
    violation = heap.step(*rows[3])
    assert (violation.rule if violation is not None else None) == rule


def test_what_php_does_wrong_is_excused_in_its_own_edition_only() -> None:
    """A refused slot that stays counted, a forgotten limit, a mapping left behind."""
    cases = (
        (LIMITED, [FILLED, BLOCK], "ABS-13"),
        (Settings(storage="kernel"), [FILLED, FILLED._replace(label=8), Operation("free", 8)], None),
        (Settings(storage="kernel", failing_calls=(3,)), [FILLED, HUGE], "ABS-13"),
    )
    for settings, operations, broken in cases:
        rows = ExactHeap(settings, "php-8.2").run(operations)
        for edition, expected in (("php-8.2", None), ("zmm", broken)):
            heap = AbstractHeap(settings, Accounting.ZENDMM, edition=edition)
            heap.open(rows[0])
            said = [heap.step(*pair) for pair in zip(operations, rows[1:], strict=False)]
            assert expected == (said[-1].rule if said[-1] else None)
            if edition == "php-8.2":
                assert heap.close(rows[-1]) is None


def test_a_forgotten_limit_is_excused_in_php_only() -> None:
    """Edition php-8.2 makes room and forgets what for."""
    settings = Settings(storage="kernel")
    operations = [FILLED, FILLED._replace(label=8), Operation("free", 8), Operation("limit", a=3 * MIB)]
    rows = ExactHeap(settings, "php-8.2").run(operations)
    for edition, expected in (("php-8.2", None), ("zmm", "ABS-20")):
        heap = AbstractHeap(settings, Accounting.ZENDMM, edition=edition)
        heap.open(rows[0])
        said = [heap.step(*pair) for pair in zip(operations, rows[1:], strict=False)]
        assert expected == (said[-1].rule if said[-1] else None)


def test_the_chunk_of_a_list_node_may_pass_the_limit() -> None:
    """The only way past it, and the same in both editions: the node is weighed before its block is counted."""
    settings = Settings(storage="kernel", limit_bytes=CHUNK + 6 * MIB)
    operations = [FILLED, HUGE._replace(a=6 * MIB)]
    rows = ExactHeap(settings, "zmm").run(operations)
    heap = AbstractHeap(settings, Accounting.ZENDMM, edition="zmm")
    assert heap.open(rows[0]) is None
    assert [heap.step(*pair) for pair in zip(operations, rows[1:], strict=False)] == [None, None]
    assert Row._make(rows[2]).real_size == 2 * CHUNK + 6 * MIB


def test_a_target_without_counters_may_refuse_great_requests() -> None:
    """The machine may be too small for 64 MiB, but not for less."""
    heap = AbstractHeap(Settings(), Accounting.NONE)
    heap.open(Row(DONE))
    assert heap.step(Operation("alloc", 1, 2**26), Row(REFUSED_SYSTEM)) is None
    violation = heap.step(Operation("alloc", 1, 2**26 - 1), Row(REFUSED_SYSTEM))
    assert violation is not None
    assert violation.rule == "ABS-6"


def test_a_heap_that_did_not_open_must_skip_everything() -> None:
    """Rows that claim work are refused."""
    heap = AbstractHeap(Settings(failing_calls=(1,)), Accounting.ZENDMM)
    assert heap.open(Row(REFUSED_SYSTEM)) is None
    assert heap.step(BLOCK, Row(SKIPPED)) is None
    violation = heap.step(BLOCK, Row(DONE))
    assert violation is not None
    assert (violation.rule, violation.expected, violation.actual) == ("ABS-2", "skipped", "done")
    assert heap.close(Row(SKIPPED)) is None


def test_blocks_of_any_allocator_are_kept_apart() -> None:
    """Without counters a place is one address; great blocks and small ones are compared alike."""
    heap = AbstractHeap(Settings(), Accounting.NONE)
    heap.open(Row(DONE))
    base = 2**40

    def put(label: int, offset: int, size: int) -> Violation | None:
        return heap.step(Operation("alloc", label, size), Row(DONE, 0, 0, base + offset, size))

    assert put(1, 0, 2**30) is None
    assert put(2, 2**30, 16) is None
    assert put(3, 2**30 + 16, 10 * MIB) is None
    for label, offset, size in ((4, 500 * MIB, 8), (5, 2**30 + 8, 8), (6, 2**30 + 20 * MIB, 2**30)):
        assert (put(label, offset, size) is None) == (label == 6)
    heap.step(Operation("free", 1), Row(DONE))
    violation = put(7, 2**30 - 8, 16)
    assert violation is not None
    assert violation.rule == "ABS-11"
    assert "label 2" in violation.actual
