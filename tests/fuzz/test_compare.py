"""Each kind of divergence is found where it is planted, and named by its own rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from zmm_fuzz.compare import (
    ROW_BYTES,
    RULES,
    Death,
    exact_divergence,
    first_difference,
    first_unfit_row,
    unpack_row,
)
from zmm_fuzz.predict import predict
from zmm_fuzz.program import Program
from zmm_fuzz.session import Death as ProcessDeath
from zmm_model import outcome
from zmm_model.op import Operation, Settings
from zmm_model.outcome import Row

MIB = 1 << 20
WORK = Program(
    Settings(limit_bytes=8 * MIB),
    (
        Operation("alloc", 0, 40),
        Operation("alloc", 1, 5000),
        Operation("alloc", 2, 3 * MIB),
        Operation("free", 1),
        Operation("alloc", 3, 16 * MIB),
        Operation("limit", -1, 7 * MIB),
        Operation("gc"),
        Operation("check"),
        Operation("free", 2),
    ),
)
STEP_OF = {"alloc": 1, "free": 4, "limit": 6, "gc": 7, "check": 8, "close": 10}

EXACT = [
    ("EXACT-PLACE", "alloc", {"offset": lambda row: row.offset + 8}),
    ("EXACT-PLACE", "alloc", {"mapping": 5}),
    ("EXACT-BLOCK", "alloc", {"block_bytes": 48}),
    ("EXACT-SIZE", "free", {"size": lambda row: row.size + 8}),
    ("EXACT-PEAK", "free", {"peak": lambda row: row.peak + 8}),
    ("EXACT-REAL", "free", {"real_size": 0}),
    ("EXACT-REAL", "free", {"real_peak": 0}),
    ("EXACT-LIMIT", "free", {"limit": 1}),
    ("EXACT-LIMIT", "limit", {"value": 0}),
    ("EXACT-CHUNKS", "free", {"chunk_count": 9}),
    ("EXACT-CHUNKS", "free", {"chunk_count_peak": 9}),
    ("EXACT-CHUNKS", "free", {"cached_count": 9}),
    ("EXACT-CHUNKS", "free", {"delete_boundary": 9}),
    ("EXACT-CHUNKS", "free", {"delete_count": 9}),
    ("EXACT-CHUNKS", "free", {"chunk_average": 1.5}),
    ("EXACT-GC", "gc", {"value": 4096}),
    ("EXACT-STATE", "check", {"value": lambda row: row.value ^ 1}),
    ("EXACT-LEAK", "close", {"value": 1}),
    ("EXACT-STORAGE", "free", {"storage_calls": 99}),
    ("EXACT-STORAGE", "free", {"storage_crc": 99}),
    ("EXACT-STATUS", "free", {"status": outcome.SKIPPED}),
    ("EXACT-REFUSAL", "free", {"status": outcome.REFUSED_LIMIT}),
    ("CONTENTS", "free", {"contents": 1}),
    ("INVARIANT", "check", {"status": outcome.BROKEN}),
    ("PANIC", "free", {"status": outcome.PANIC}),
]


@pytest.mark.parametrize(("rule", "word", "changes"), EXACT, ids=[f"{r}-{w}-{'-'.join(c)}" for r, w, c in EXACT])
def test_each_field_breaks_its_own_rule(rule: str, word: str, changes: dict[str, Any], spoil: Callable[..., Any]) -> None:
    """A row that differs in one field is reported at its step with the rule of that field."""
    expected = predict(WORK, "zmm")
    step = STEP_OF[word]
    row = unpack_row(expected.rows, step)
    operation = WORK.operations[step - 1] if step <= len(WORK) else Operation("close")
    spoiled = spoil(word, **changes)(operation, (), row)
    actual = _with_row(expected.rows, step, spoiled)
    divergence = exact_divergence(WORK.operations, expected.rows, actual)
    assert divergence is not None
    assert (divergence.rule, divergence.step, divergence.operation.word) == (rule, step, word)
    assert divergence.expected != divergence.actual
    assert divergence.sentence == RULES[rule]


def test_refusals_are_compared_with_bytes_and_text() -> None:
    """A refusal for other bytes breaks EXACT-REFUSAL, one with another text EXACT-TEXT."""
    expected = predict(WORK, "zmm")
    row = unpack_row(expected.rows, 5)
    assert row.status == outcome.REFUSED_LIMIT
    for changes, rule in (({"refused_bytes": 1}, "EXACT-REFUSAL"), ({"text_crc": 1}, "EXACT-TEXT")):
        actual = _with_row(expected.rows, 5, row._replace(**changes))
        divergence = exact_divergence(WORK.operations, expected.rows, actual)
        assert divergence is not None
        assert (divergence.rule, divergence.step) == (rule, 5)


@pytest.mark.parametrize("kind", ["DEATH", "HANG"])
def test_a_trace_that_ends_early_is_a_death_at_its_step(kind: str) -> None:
    """Fewer rows than operations: the first missing row is the step, the death's kind the rule."""
    expected = predict(WORK, "zmm").rows
    divergence = exact_divergence(
        WORK.operations, expected, expected[: 4 * ROW_BYTES], death=Death(kind, "SIGSEGV")
    )
    assert divergence is not None
    assert (divergence.rule, divergence.step, divergence.actual) == (kind, 4, "SIGSEGV")


def test_equal_traces_have_no_divergence() -> None:
    """The same bytes are no divergence, whatever they hold."""
    rows = predict(WORK, "zmm").rows
    assert exact_divergence(WORK.operations, rows, bytes(rows)) is None


@pytest.mark.parametrize("at", [0, 1, 7, 98, 99])
def test_first_difference_is_the_first(at: int) -> None:
    """Of several differing rows, the one with the lowest number is found."""
    left = bytes(100 * ROW_BYTES)
    right = bytearray(left)
    for row in {at, 99}:
        right[row * ROW_BYTES + 17] = 1
    assert first_difference(left, bytes(right)) == at
    assert first_difference(left, left[: 50 * ROW_BYTES]) == 50


def test_unfit_rows_are_found_without_a_prediction() -> None:
    """Broken invariants, panics, missing rows and wrong contents are unfit for any allocator."""
    rows = predict(WORK, "zmm").rows
    count = len(WORK) + 2
    assert first_unfit_row(rows, count) is None
    assert first_unfit_row(rows[: 3 * ROW_BYTES], count) == 3
    row = unpack_row(rows, 4)
    for changes in ({"status": outcome.BROKEN}, {"status": outcome.PANIC}, {"contents": 1}):
        assert first_unfit_row(_with_row(rows, 4, row._replace(**changes)), count) == 4


def test_stories_have_no_addresses() -> None:
    """A place is told by mapping, page and bytes; a story fits one line."""
    expected = predict(WORK, "zmm").rows
    row = unpack_row(expected, 1)
    divergence = exact_divergence(WORK.operations, expected, _with_row(expected, 1, row._replace(offset=24)))
    assert divergence is not None
    assert divergence.story() == (
        "step 1 (alloc): EXACT-PLACE: place should be mapping 0, page 1 + 40 bytes, is mapping 0, page 0 + 24 bytes"
    )


def test_process_deaths_become_deaths_of_the_comparison() -> None:
    """SIGKILL may come from outside, SIGSEGV does not; a hang is a hang."""
    assert ProcessDeath("signal", 9, 0, 0, "").external
    assert not ProcessDeath("signal", 11, 0, 0, "").external
    assert not ProcessDeath("hang", 0, 0, 0, "").external


def _with_row(rows: bytes, step: int, row: Row) -> bytes:
    from zmm_fuzz.wire import ROW

    return rows[: step * ROW_BYTES] + ROW.pack(*row) + rows[(step + 1) * ROW_BYTES :]
