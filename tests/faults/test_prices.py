"""Prices: which goal holds where a reference is missing, and that every target is begun in the same way."""

from __future__ import annotations

from pathlib import Path

import pytest
from zmm_fuzz.faults.prices import interpreter_of, measure_loop
from zmm_fuzz.faults.side_by_side import GOALS, Goal, Price
from zmm_fuzz.faults.subject import faults_runner
from zmm_fuzz.faults.subjects import Subjects
from zmm_fuzz.targets.base import TargetError

OLD = Goal("zmm", "pair", 1.25, "php")
NEW = Goal("zmm", "pair", 1.15, "php:8.4", instead=OLD)


def test_the_newer_php_is_the_reference_where_it_is_there() -> None:
    """PHP 8.4 is what a pair is held against as soon as it was measured."""
    prices = [Price("zmm", "pair", 5.0, 5.0, {"php": 1.1, "php:8.4": 1.2})]
    assert NEW.applying(prices) is NEW
    assert NEW.applying(prices).measured(prices) == 1.2
    assert NEW in GOALS


def test_the_older_php_is_the_reference_where_it_alone_is_there() -> None:
    """Without PHP 8.4 the goal is PHP 8.2's; without either nothing was measured."""
    prices = [Price("zmm", "pair", 5.0, 5.0, {"php": 1.1})]
    assert NEW.applying(prices) is OLD
    assert NEW.applying([]).measured([]) is None


def test_a_program_names_its_loader_and_other_files_name_none(tmp_path: Path) -> None:
    """A dynamically linked program names a file; text, nothing and a header cut off name none."""
    assert Path(interpreter_of(faults_runner())).is_file()
    assert interpreter_of(Path(__file__)) == ""
    assert interpreter_of(tmp_path / "nothing") == ""
    short = tmp_path / "short"
    short.write_bytes(b"\x7fELF\x02\x01")
    assert interpreter_of(short) == ""


@pytest.mark.parametrize("name", ["zmm", "zmm:hardened", "libc", "php", "php:8.4"])
def test_every_target_has_a_pair_to_be_timed(name: str) -> None:
    """A pair of each target that is here takes a time that can be one."""
    with Subjects() as subjects:
        try:
            subject = subjects.find(name)
        except TargetError as error:
            pytest.skip(str(error))
        nanoseconds = measure_loop(subject, "pair")
    assert nanoseconds is not None
    assert 0 < nanoseconds < 10_000
