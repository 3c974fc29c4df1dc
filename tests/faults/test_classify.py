"""From the end of a process to a letter."""

from __future__ import annotations

import signal

import pytest
from zmm_fuzz.faults.classify import IN_TIME, Cell, could_not_begin, judge, kept_promise
from zmm_fuzz.faults.fault import Fault
from zmm_fuzz.faults.messages import find_diagnosis
from zmm_fuzz.faults.run import Run
from zmm_fuzz.faults.wire import DONE, FAULT, PHASES, Evidence, Report, empty_report, unpack_report

REFILL = PHASES.index("refill")
VICTIM = Evidence("victim", PHASES.index("after"), 3, 0, "byte 0")


def ending(
    phase: int = DONE,
    *,
    stderr: bytes = b"",
    said_at: int = 0,
    number: int = 0,
    evidence: tuple[Evidence, ...] = (),
    flags: int = 0,
    hung: bool = False,
    status: int = 0,
) -> Run:
    """A run whose phases up to ``said_at`` began before anything was said."""
    begun = tuple(1 if at <= said_at else len(stderr) + 1 if at <= phase else 0 for at in range(len(PHASES)))
    return Run(Report(phase, 1, flags, begun, 0, "", evidence), stderr, status, number, hung)


PANIC = b"zend_mm_heap corrupted\n"


@pytest.mark.parametrize(
    ("run", "code"),
    [
        (ending(FAULT, stderr=PANIC, said_at=FAULT, number=signal.SIGABRT), "D"),
        (ending(REFILL, stderr=PANIC, said_at=REFILL, number=signal.SIGABRT), "L"),
        (ending(REFILL, stderr=PANIC, said_at=REFILL, number=signal.SIGABRT, evidence=(VICTIM,)), "l"),
        (ending(FAULT, number=signal.SIGABRT, said_at=FAULT), "D"),
        (ending(FAULT, number=signal.SIGTRAP, said_at=FAULT), "D"),
        (ending(FAULT, number=signal.SIGSEGV), "s"),
        (ending(REFILL, number=signal.SIGSEGV), "S"),
        (ending(REFILL, number=signal.SIGSEGV, evidence=(VICTIM,)), "c"),
        (ending(REFILL, hung=True), "H"),
        (ending(REFILL, hung=True, evidence=(VICTIM,)), "c"),
        (ending(evidence=(VICTIM,)), "C"),
        (ending(), "n"),
        (ending(flags=4), "R"),
        (ending(flags=1), "-"),
        (ending(flags=2), "E"),
        (ending(flags=8), "!"),
        (ending(1, number=signal.SIGSEGV), "!"),
        (ending(stderr=PANIC, said_at=1), "!"),
        # A target that only talks: the message counts, in the phase in which it came.
        (ending(stderr=b"mimalloc: error: double free detected\n", said_at=FAULT), "D"),
    ],
)
def test_each_ending_has_its_letter(run: Run, code: str) -> None:
    """Diagnosis before crash before evidence, in the phase in which it came."""
    assert judge(run).code == code


@pytest.mark.parametrize(
    ("run", "idle"),
    [
        (ending(flags=8), True),
        (ending(0, status=127), True),
        (ending(1, number=signal.SIGSEGV), False),
        (ending(1, stderr=PANIC, said_at=1, number=signal.SIGABRT), False),
        (ending(), False),
    ],
)
def test_a_target_that_cannot_begin_is_told_from_one_that_dies(run: Run, idle: bool) -> None:
    """What is not loaded or makes no heap has done nothing; a death at the first allocation is the target's own."""
    assert could_not_begin(run) is idle


@pytest.mark.parametrize(
    "line",
    [
        "zend_mm_heap corrupted",
        "zmm: heap corruption: double free",
        "free(): double free detected in tcache 2",
        "munmap_chunk(): invalid pointer",
        "double free or corruption (out)",
        "corrupted size vs. prev_size",
        "src/tcmalloc.cc:333] Attempt to free invalid pointer 0x10",
        "memory stomping bug: a word after object at 0x55 has been corrupted",
        "mimalloc: error: mi_free: invalid pointer",
        "==12==ERROR: AddressSanitizer: heap-use-after-free on address 0x1",
        "==12== Invalid write of size 1",
        "fatal allocator error: double free",
        "Scudo ERROR: corrupted chunk header",
        "PHP Fatal error:  Possible integer overflow in memory allocation (1 * 2 + 3)",
    ],
)
def test_diagnoses_are_recognised(line: str) -> None:
    """Each allocator's own words count, wherever they stand on stderr."""
    found = find_diagnosis(b"chatter\n" + line.encode() + b"\nmore\n")
    assert found is not None
    assert found.text == line
    assert found.offset == len(b"chatter\n")


def test_chatter_is_no_diagnosis() -> None:
    """A warning about something else is not the allocator's word."""
    assert find_diagnosis(b"ld.so: object cannot be preloaded\nmmap() failed: [12] Cannot allocate memory\n") is None


def test_an_empty_report_is_one_of_this_version() -> None:
    """What a process finds before it starts unpacks to nothing done and nothing seen."""
    report = unpack_report(empty_report())
    assert (report.phase, report.flags, report.evidence, report.reason) == (0, 0, (), "")


def cell(codes: str, fault: Fault) -> Cell:
    """A cell of runs with these letters."""
    runs = {
        "D": ending(FAULT, stderr=PANIC, said_at=FAULT),
        "n": ending(),
        "!": ending(flags=8),
        "C": ending(evidence=(VICTIM,)),
        "l": ending(REFILL, stderr=PANIC, said_at=REFILL, evidence=(VICTIM,)),
    }
    return Cell(fault, "zmm", tuple(judge(runs[code]) for code in codes))


def test_a_cell_shows_the_most_frequent_letter() -> None:
    """Differing runs get a mark, and count in parts."""
    fault = Fault("U", "temporal", "t", "fault")
    mixed = cell("DDDC", fault)
    assert mixed.text == "D~"
    assert mixed.share(IN_TIME) == 0.75
    assert cell("DC", fault).code == "C"


def test_a_promise_is_kept_in_every_run_or_broken() -> None:
    """A level that promises a stop must stop each run; late and neutral faults allow what they say."""
    fault = Fault("U", "temporal", "t", "fault", level="release")
    assert kept_promise(cell("DD", fault), "release")
    assert not kept_promise(cell("Dn", fault), "release")
    assert kept_promise(cell("nn", fault), "fast")
    assert kept_promise(cell("D!", fault), "release"), "a run without a result says nothing"
    assert not kept_promise(cell("n!", fault), "release")
    assert kept_promise(cell("ll", Fault("U", "spatial", "t", "fault", level="hardened", late=True)), "hardened")
    neutral = Fault("U", "temporal", "t", "fault", level="none", neutral_from="hardened")
    assert kept_promise(cell("nn", neutral), "hardened")
    assert not kept_promise(cell("CC", neutral), "hardened")
    assert kept_promise(cell("CC", neutral), "release")
