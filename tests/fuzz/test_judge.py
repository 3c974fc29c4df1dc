"""The judge: batches, deaths, both models, and how far each target is held to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from zmm_fuzz.driver import Driver
from zmm_fuzz.generate import generate
from zmm_fuzz.predict import Scope, cut, predict
from zmm_fuzz.program import Program
from zmm_fuzz.session import Death
from zmm_fuzz.targets import TargetError
from zmm_fuzz.versus import Versus
from zmm_model import outcome
from zmm_model.op import Operation, Settings
from zmm_model.outcome import Row

MIB = 1 << 20
SEGFAULT = Death("signal", 11, 0, 0, "")
KILLED = Death("signal", 9, 0, 0, "")


def programs(count: int = 6, length: int = 60) -> list[Program]:
    return [generate(seed, "mixed", length) for seed in range(count)]


def size_off_by_eight(operation: Operation, before: Sequence[Operation], row: Row) -> Row:
    """A bug that needs some history: the fifth free forgets 8 bytes."""
    if operation.word == "free" and sum(1 for one in before if one.word == "free") == 4:
        return row._replace(size=row.size + 8)
    return row


def test_a_target_like_the_model_is_clean(plant: Callable[..., Any]) -> None:
    """No bug, no divergence, one round trip for the whole batch."""
    planted = plant()
    with planted.judge() as judge:
        assert [verdict.divergence for verdict in judge.judge_batch(programs())] == [None] * 6
    assert len(planted.sessions) == 1
    assert planted.sessions[0].calls == 1
    assert planted.sessions[0].closed


@pytest.mark.parametrize("size", [1, 2, 3, 6])
def test_batches_cut_anywhere_give_the_same_verdicts(plant: Callable[..., Any], size: int) -> None:
    """A program's verdict does not depend on the programs that share its round trip."""
    whole = programs()
    with plant(size_off_by_eight).judge() as judge:
        alone = [judge.judge(program) for program in whole]
    assert any(alone)
    with plant(size_off_by_eight).judge() as judge:
        found = [
            verdict.divergence
            for start in range(0, len(whole), size)
            for verdict in judge.judge_batch(whole[start : start + size])
        ]
    assert found == alone


def test_a_crash_is_an_outcome_of_its_own_program(plant: Callable[..., Any], dies: Any) -> None:
    """The process dies in the third program: that one has the divergence, the others are judged all the same."""
    whole = programs()
    victim = whole[2].operations

    def bug(operation: Operation, before: Sequence[Operation], row: Row) -> Row:
        if len(before) == 11 and tuple(before[1:]) == victim[:10]:
            raise dies(SEGFAULT)
        return row

    with plant(bug).judge() as judge:
        verdicts = list(judge.judge_batch(whole))
    assert [bool(verdict.divergence) for verdict in verdicts] == [False, False, True, False, False, False]
    divergence = verdicts[2].divergence
    assert divergence is not None
    assert (divergence.rule, divergence.step, divergence.actual) == ("DEATH", 11, "SIGSEGV")
    assert verdicts[2].alone


def test_a_panic_names_its_reason(plant: Callable[..., Any], dies: Any) -> None:
    """A panic's row is the last one; its message is the reason."""

    def bug(operation: Operation, before: Sequence[Operation], row: Row) -> Row:
        if operation.word == "free":
            raise dies(Death("exit", 134, 0, 0, ""), row._replace(status=outcome.PANIC))
        return row

    program = Program(Settings(), (Operation("alloc", 0, 8), Operation("free", 0)))
    with plant(bug, message="zend_mm_heap corrupted").judge() as judge:
        divergence = judge.judge(program)
    assert divergence is not None
    assert (divergence.rule, divergence.step) == ("PANIC", 2)
    assert divergence.actual == "panic: zend_mm_heap corrupted"


def test_a_child_killed_from_outside_is_no_divergence(plant: Callable[..., Any], dies: Any) -> None:
    """SIGKILL once: the program is performed anew, passes, and the verdict says what happened."""
    once: list[int] = []

    def bug(operation: Operation, before: Sequence[Operation], row: Row) -> Row:
        if len(before) == 30 and not once:
            once.append(1)
            raise dies(KILLED)
        return row

    with plant(bug).judge() as judge:
        verdicts = list(judge.judge_batch(programs()))
    assert [verdict.divergence for verdict in verdicts] == [None] * 6
    assert [bool(verdict.lost) for verdict in verdicts] == [True, False, False, False, False, False]
    assert "SIGKILL" in verdicts[0].lost


def test_a_crash_that_needs_earlier_programs_is_reported_as_such(plant: Callable[..., Any], dies: Any) -> None:
    """The process dies only in its second heap: a divergence, but not one of that program alone."""
    planted = plant()

    def bug(operation: Operation, before: Sequence[Operation], row: Row) -> Row:
        session = planted.sessions[-1]
        if operation.word == "open":
            session.heaps = getattr(session, "heaps", 0) + 1
        if session.heaps == 2 and len(before) == 5:
            raise dies(SEGFAULT)
        return row

    planted.bug = bug
    with planted.judge() as judge:
        verdicts = list(judge.judge_batch(programs(2)))
    divergence = verdicts[1].divergence
    assert divergence is not None
    assert divergence.rule == "DEATH"
    assert not verdicts[1].alone


def test_a_difference_that_needs_earlier_programs_is_reported_as_such(plant: Callable[..., Any]) -> None:
    """The same for a wrong row: alone it does not repeat, so the verdict says so and keeps the program."""
    planted = plant()

    def bug(operation: Operation, before: Sequence[Operation], row: Row) -> Row:
        session = planted.sessions[-1]
        if operation.word == "open":
            session.heaps = getattr(session, "heaps", 0) + 1
        return row._replace(peak=row.peak + 8) if session.heaps == 3 and operation.word == "alloc" else row

    planted.bug = bug
    with planted.judge() as judge:
        verdicts = list(judge.judge_batch(programs(3)))
    assert [verdict.alone for verdict in verdicts] == [True, True, False]
    assert verdicts[2].divergence is not None


def test_the_abstract_model_judges_allocators_without_places(plant: Callable[..., Any]) -> None:
    """A malloc that hands one block out twice breaks a rule of the abstract model, without any exact model."""

    def bug(operation: Operation, before: Sequence[Operation], row: Row) -> Row:
        return row._replace(mapping=0, offset=4096, **_NO_COUNTERS) if row.block_bytes else row._replace(**_NO_COUNTERS)

    program = Program(Settings(), (Operation("alloc", 0, 8), Operation("alloc", 1, 8)))
    with plant(bug, kind="malloc").judge() as judge:
        divergence = judge.judge(program)
    assert divergence is not None
    assert (divergence.rule, divergence.step) == ("ABS-11", 2)


_NO_COUNTERS = {
    name: 0
    for name in Row._fields
    if name not in ("status", "contents", "mapping", "offset", "block_bytes", "value", "refused_bytes", "text_crc")
}


def test_an_earlier_broken_rule_of_the_abstract_model_comes_first(plant: Callable[..., Any], spoil: Any) -> None:
    """Where both models object to one row, the exact one names the field; the abstract one only when it is earlier."""
    program = Program(Settings(), (Operation("alloc", 0, 40), Operation("free", 0)))
    with plant(spoil("alloc", block_bytes=32)).judge() as judge:
        divergence = judge.judge(program)
    assert divergence is not None
    assert (divergence.rule, divergence.step) == ("EXACT-BLOCK", 1)


def test_php_is_held_to_what_it_defines(plant: Callable[..., Any]) -> None:
    """request_end with handlers storage is undefined in PHP: the program ends before it."""
    program = Program(Settings(), (Operation("alloc", 0, 8), Operation("request_end"), Operation("alloc", 1, 8)))
    with plant(kind="php").judge("php-8.2") as judge:
        (verdict,) = judge.judge_batch([program])
    assert verdict.program.operations == program.operations[:1]
    assert verdict.divergence is None
    assert cut(program, "php-8.2", Scope.WHOLE) is program


@pytest.mark.parametrize(
    ("operations", "settings", "kept"),
    [
        ((Operation("alloc", 0, 8), Operation("alloc", 1, 2**63)), Settings(), 1),
        ((Operation("alloc", 0, 8), Operation("alloc", 1, 3 * MIB)), Settings(limit_bytes=4 * MIB), 0),
        ((Operation("alloc", 0, 8), Operation("alloc", 1, 3 * MIB)), Settings(limit_bytes=64 * MIB), 2),
        ((Operation("alloc", 0, 3 * MIB), Operation("alloc", 1, 3 * MIB)), Settings(failing_calls=(3,)), 1),
        ((Operation("limit", -1, 2**64 - 1), Operation("gc")), Settings(), 0),
        ((Operation("calloc", 0, 2**33, 2**33), Operation("gc")), Settings(), 0),
    ],
)
def test_soft_limits_end_a_program_near_a_refusal(
    operations: tuple[Operation, ...], settings: Settings, kept: int
) -> None:
    """PHP 8.2.35 and later refuse by other rules: a program ends where a limit or a failure comes near."""
    program = Program(settings, operations)
    prediction = predict(program, "php-8.2", Scope.WILLING)
    assert prediction.program.operations == operations[:kept]
    assert len(prediction.tuples) == kept + 2


def test_two_targets_are_compared_with_each_other(plant: Callable[..., Any], spoil: Any) -> None:
    """A place that differs between two targets is found, and so is one on which both differ from the model."""
    program = Program(Settings(), (Operation("alloc", 0, 40), Operation("free", 0)))
    bug = spoil("alloc", offset=lambda row: row.offset + 40)
    for ours, theirs in ((bug, None), (None, bug), (bug, bug)):
        left = plant(ours) if ours else plant()
        right = plant(theirs) if theirs else plant()
        versus = Versus(left.target, right.target, "zmm")
        versus.driver = Driver(left.target, "zmm", left.open)
        versus._reference_driver = Driver(right.target, "zmm", right.open)
        divergence = versus.judge(program)
        versus.close()
        assert divergence is not None
        assert (divergence.rule, divergence.step) == ("EXACT-PLACE", 1)


def test_targets_without_places_cannot_be_compared(plant: Callable[..., Any]) -> None:
    """There are no chunks in libc: comparing with it is a mistake of the user, in one line."""
    with pytest.raises(TargetError, match="does not place"):
        Versus(plant().target, plant(kind="malloc").target, "zmm")
