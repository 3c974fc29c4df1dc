"""Programs as values: names, numbering, legality, sizes."""

from __future__ import annotations

import pytest
from zmm_fuzz.program import Program, ProgramError, requested_bytes, standard_label, standard_name
from zmm_model.op import SIZE_MAX, Operation, Settings


def test_standard_names_are_unique_and_readable() -> None:
    """Every label has one standard name, and the name gives the label back."""
    names = [standard_name(label) for label in range(2000)]
    assert names[:3] == ["a", "b", "c"]
    assert names[26:28] == ["a1", "b1"]
    assert len(set(names)) == len(names)
    assert [standard_label(name) for name in names] == list(range(2000))


@pytest.mark.parametrize("name", ["a0", "a01", "aa", "A", "", "1", "a-1"])
def test_other_names_are_not_standard(name: str) -> None:
    """A name that no label has by default belongs to no number."""
    assert standard_label(name) is None


def test_renumbering_keeps_what_the_program_does() -> None:
    """Labels are numbered in order of first appearance; words, numbers and order stay."""
    program = Program(
        operations=(Operation("alloc", 7, 8), Operation("gc"), Operation("free", 3), Operation("free", 7))
    )
    assert program.renumbered().operations == (
        Operation("alloc", 0, 8),
        Operation("gc"),
        Operation("free", 1),
        Operation("free", 0),
    )


def test_a_label_beyond_the_given_names_gets_one_of_its_own() -> None:
    """A standard name that is taken by another label is not used twice."""
    program = Program(operations=(Operation("alloc", 1, 8),), names=("b",))
    assert program.label_name(0) == "b"
    assert program.label_name(1) not in ("b", "")


@pytest.mark.parametrize(
    ("operation", "problem"),
    [
        (Operation("grow"), "unknown word"),
        (Operation("alloc", -1, 8), "label"),
        (Operation("gc", 0), "no label"),
        (Operation("alloc", 0, -1), "not between"),
        (Operation("alloc", 0, SIZE_MAX + 1), "not between"),
        (Operation("alloc", 0, 1, 1), "takes 1 numbers"),
        (Operation("alloc", 0, 1, text=b"x"), "no text"),
        (Operation("strdup", 0, text=b"a\0b"), "NUL"),
        (Operation("alloc", 1 << 30, 8), "label"),
    ],
)
def test_an_illegal_operation_is_named(operation: Operation, problem: str) -> None:
    """Validation says which operation is wrong, and why."""
    with pytest.raises(ProgramError, match=rf"operation 2: .*{problem}"):
        Program(operations=(Operation("gc"), operation)).validate()


@pytest.mark.parametrize(
    "settings",
    [
        Settings(limit_bytes=0),
        Settings(storage="disk"),
        Settings(data_bytes=-1),
        Settings(failing_calls=(0,)),
        Settings(failing_calls=(3, 3)),
        Settings(failing_calls=tuple(range(1, 2000))),
    ],
)
def test_illegal_settings_are_refused(settings: Settings) -> None:
    """Settings out of their ranges make a program illegal."""
    with pytest.raises(ProgramError):
        Program(settings).validate()


def test_requested_bytes_are_exact() -> None:
    """Products are not cut to 64 bits; words that allocate nothing ask for nothing."""
    assert requested_bytes(Operation("calloc", 0, 2**32, 2**32)) == 2**64
    assert requested_bytes(Operation("safe_alloc", 0, 3, 4, 5)) == 17
    assert requested_bytes(Operation("strdup", 0, text=b"abc")) == 4
    assert requested_bytes(Operation("strndup", 0, 9, text=b"abc")) == 10
    assert requested_bytes(Operation("free", 0)) is None
