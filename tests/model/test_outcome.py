"""The numbers in rows mean the same in C and here."""

from __future__ import annotations

import re
from pathlib import Path

from zmm_model import outcome

HEADER = Path(__file__).resolve().parent.parent.parent / "fuzz" / "native" / "target.h"


def test_statuses_have_the_numbers_of_the_runner() -> None:
    """Every status of the header, by its name, and no other; each has words of its own."""
    listed = re.findall(r"STATUS_(\w+) = (\d+),", HEADER.read_text())
    numbers = [int(number) for _, number in listed]

    assert [getattr(outcome, name) for name, _ in listed] == numbers
    assert sorted(outcome.STATUS_WORDS) == sorted(numbers)
    assert len(set(outcome.STATUS_WORDS.values())) == len(numbers)


def test_a_row_is_of_nothing_unless_it_says_more() -> None:
    """Only where there is no mapping is a number needed for it."""
    row = outcome.Row(outcome.DONE)

    assert {name for name, value in row._asdict().items() if value} == {"status", "mapping"}
    assert row.mapping == outcome.NO_MAPPING
