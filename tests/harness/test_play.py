"""A play in C: the rows of the runner, the verdict of the models, and no trace of it in the next play."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from zmm_fuzz.generate import generate
from zmm_fuzz.harness.build import build
from zmm_fuzz.harness.opinion import opinion
from zmm_fuzz.predict import predict
from zmm_fuzz.tape import decode, encode
from zmm_fuzz.wire import ROW
from zmm_model.abstract import AbstractHeap
from zmm_model.accounting import Accounting

from .conftest import ROOT, ROW_BYTES, Library, random_bodies

SHADOW = ROOT / "fuzz" / "native" / "harness" / "shadow.c"


def test_a_play_makes_the_rows_that_the_exact_model_predicts(heap_library: Library) -> None:
    """Byte by byte, as far as the work budget lets a tape be played."""
    for body in random_bodies(300, 1):
        rows = heap_library.play(body)
        assert rows is not None
        program = decode(body)
        performed = len(rows) // ROW_BYTES - 2
        predicted = predict(program.with_operations(program.operations[:performed]), "zmm").rows
        assert rows == predicted


@pytest.mark.parametrize("profile", ["small", "mixed", "huge", "limit", "realloc", "requests", "failing", "text"])
def test_generated_programs_play_as_predicted(heap_library: Library, profile: str) -> None:
    """Programs with a purpose, of 200 operations."""
    for seed in range(5):
        body = encode(generate(seed, profile, 200))
        rows = heap_library.play(body)
        assert rows is not None
        assert opinion(body, rows, "zmm") is None


def test_a_play_leaves_no_trace(heap_library: Library) -> None:
    """The rows of a tape are the same before and after a hundred others."""
    bodies = random_bodies(100, 2)
    before = [heap_library.play(body) for body in bodies]
    order = list(range(100))
    random.Random(3).shuffle(order)

    assert {index: heap_library.play(bodies[index]) for index in order} == dict(enumerate(before))


def test_a_play_ends_with_its_budget(heap_library: Library) -> None:
    """Writes of a megabyte each end a play after a few of them, and the heap is closed properly."""
    text = b"\x00" + b"\x00\xfa\x00\x00\x40" + 50 * (b"\x09\x00\xfa\x00\x00\x10\x07")
    program = decode(text)
    rows = heap_library.play(text)

    assert rows is not None
    assert 3 < len(rows) // ROW_BYTES < len(program.operations)
    assert opinion(text, rows, "zmm") is None


def test_a_play_that_its_budget_ends_is_the_same_again(folder: Path, run: Callable[..., tuple[int, str]]) -> None:
    """The repetition goes as far as the play went, although nothing counts its live blocks."""
    allocs = b"".join(b"\xf0" + bytes((number, 40)) for number in range(60))
    body = b"\x00" + 40 * b"\x0e" + allocs + 40 * b"\x0e"
    path = build("heap", folder=folder, engine="replay")
    status, said = run(path, body, ZMM_FUZZ_CHECK_EVERY="1")

    assert (status, said) == (0, "zmm-fuzz: 1 files played, none breaks a rule\n")


# ---- the shadow model and its twin in Python -------------------------------------------------------------------------


def python_says(body: bytes, rows: bytes) -> tuple[str, int] | None:
    """The first rule that the abstract model finds broken, and the step."""
    program = decode(body)
    heap = AbstractHeap(program.settings, Accounting.ZENDMM, "zmm")
    tuples = list(ROW.iter_unpack(rows))
    broken = heap.open(tuples[0])
    if broken is not None:
        return broken.rule, 0
    for number, (operation, row) in enumerate(zip(program.operations, tuples[1:], strict=False), 1):
        broken = heap.step(operation, row)
        if broken is not None:
            return broken.rule, number
    if len(tuples) == len(program.operations) + 2:
        broken = heap.close(tuples[-1])
        if broken is not None:
            return broken.rule, len(tuples) - 1
    return None


def damaged(rows: bytes, generator: random.Random) -> bytes:
    """The same rows with one field of one row changed."""
    step = generator.randrange(len(rows) // ROW_BYTES)
    fields = list(ROW.unpack_from(rows, step * ROW_BYTES))
    index = generator.choice([0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17])
    if index == 0:
        fields[0] = generator.choice([1, 2, 3, 4, 5, 6, 7])
    elif index == 1:
        fields[1] = 1
    else:
        change = generator.choice([1, -1, 8, -8, 4096, -4096, 2097152, -2097152])
        most = 2**32 - 2 if index in {2, 7, 8, 9, 10, 16, 17} else 2**40
        fields[index] = min(max(fields[index] + change, 0), most)
    return rows[: step * ROW_BYTES] + ROW.pack(*fields) + rows[(step + 1) * ROW_BYTES :]


def test_the_shadow_model_and_the_abstract_model_agree(heap_library: Library) -> None:
    """On true rows and on damaged ones: both accept, or both refuse the same step, mostly by the same rule; by each."""
    generator = random.Random(5)
    refused = same_rule = 0
    rules = set()
    for body in random_bodies(400, 4, 120):
        rows = heap_library.play(body)
        assert rows is not None
        program = decode(body)
        if len(rows) // ROW_BYTES != len(program.operations) + 2:
            continue
        assert heap_library.judge(body, rows) is None
        for _ in range(10):
            wrong = damaged(rows, generator)
            here, there = heap_library.judge(body, wrong), python_says(body, wrong)
            assert (here is None) == (there is None), (body, here, there)
            if here is not None and there is not None:
                assert f": step {there[1]} (" in here, (body, here, there)
                refused += 1
                rule = here.partition(":")[0]
                same_rule += rule == there[0]
                rules.add(rule)

    assert refused > 1000
    assert same_rule > 0.7 * refused
    # A row with one wrong number breaks others before these two: test_rules_of_harness.py plants what breaks them.
    assert set(re.findall(r'"(ABS-\d+)"', SHADOW.read_text())) - rules == {"ABS-18", "ABS-19"}
