"""What engines say: status lines, final figures, and what was wrong."""

from __future__ import annotations

import pytest
from zmm_fuzz.campaign.status import Progress, Reader, Violation


def read(*lines: str) -> Reader:
    reader = Reader(Progress())
    for line in lines:
        reader.feed(line.encode() + b"\n")
    return reader


def test_a_status_line_says_how_far_the_engine_is() -> None:
    """Executions, coverage, features, inputs and rate, whatever else stands in the line."""
    progress = read("#4096\tpulse  cov: 84 ft: 201 corp: 17/300b lim: 40 exec/s: 2048 rss: 31Mb").progress

    assert (progress.executions, progress.coverage, progress.features) == (4096, 84, 201)
    assert (progress.corpus_files, progress.rate, progress.ready) == (17, 2048, True)


def test_the_final_figure_is_exact() -> None:
    """What an engine says at its end replaces what it said at the last power of two."""
    reader = read("#1024 NEW cov: 3 ft: 3 corp: 1/1b exec/s: 0 rss: 30Mb", "stat::number_of_executed_units: 1717")

    assert reader.progress.executions == 1717


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (
            ["zmm-fuzz: ABS-3: step 7 (realloc): live blocks never share a byte", "SUMMARY: libFuzzer: deadly signal"],
            Violation("ABS-3", "live blocks never share a byte", 7, "realloc"),
        ),
        (["zmm-fuzz: RESET-2: a chunk is left"], Violation("RESET-2", "a chunk is left")),
        (
            ["SUMMARY: AddressSanitizer: heap-buffer-overflow /a/b/bin.c:17:3 in bin_carve"],
            Violation("SANITIZER", "heap-buffer-overflow in bin_carve"),
        ),
        (["zend_mm_heap corrupted"], Violation("PANIC", "a legal input met a corrupted heap")),
        (["SUMMARY: libFuzzer: timeout"], Violation("HANG", "timeout")),
        (["SUMMARY: libFuzzer: out-of-memory (used: 4097Mb)"], Violation("MEMORY", "out-of-memory (used: 4097Mb)")),
        (["nothing known"], Violation("DEATH", "the engine died of its input")),
    ],
    ids=["rule", "no-step", "sanitizer", "panic", "timeout", "memory", "unknown"],
)
def test_what_was_wrong_has_a_rule(lines: list[str], expected: Violation) -> None:
    """The harness' own line comes first, then the sanitizer's, then the allocator's, then libFuzzer's."""
    assert read(*lines).violation() == expected


def test_the_first_of_two_reports_counts() -> None:
    """What follows a violation is its consequence."""
    assert read("zmm-fuzz: ABS-1: step 1 (alloc): x", "zmm-fuzz: ABS-9: step 2 (free): y").violation().rule == "ABS-1"
