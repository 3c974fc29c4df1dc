"""Each tier on the real zmm, for a moment: it runs, judges and counts; without its target it says why not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from zmm_fuzz.judge import Judge
from zmm_fuzz.load import TRACE_SETTINGS
from zmm_fuzz.predict import Scope, pack_rows
from zmm_fuzz.recorded import RECORD, parse_trace, trace_paths
from zmm_fuzz.targets import TargetError, find_target
from zmm_fuzz.tiers import TIERS, boundaries, lockstep, machine, oom, oracle, traces
from zmm_fuzz.tiers.base import FAIL, INCONCLUSIVE, PASS, SKIPPED, Budget, Task, Tier, TierResult, no_tick
from zmm_fuzz.tiers.workers import Lost
from zmm_fuzz.versus import Versus
from zmm_fuzz.wire import Burst, BurstFlag, BurstProfile
from zmm_model.exact import ExactHeap
from zmm_model.op import Settings

TASK = Task("zmm", "zmm", jobs=2)
TIER = {tier.name: tier for tier in TIERS}


def run(tier: Tier, task: Task = TASK, seconds: float = 3, goal: int = 0) -> TierResult:
    result = TierResult(tier.name, goal=goal)
    tier.run(task, Budget(seconds), result, no_tick)
    result.seconds = seconds
    return result.settle()


def php() -> bool:
    try:
        find_target("php")
    except TargetError:
        return False
    return True


def test_the_tiers_are_the_promised_ones() -> None:
    """Six tiers with distinct names and sentences; their shares make up the budget."""
    assert set(TIER) == {"lockstep", "traces", "machine", "oom", "oracle", "boundaries"}
    assert len({tier.sentence for tier in TIERS}) == 6
    assert 0.85 <= sum(tier.share for tier in TIERS) <= 1.0
    assert (TIER["lockstep"].goal, TIER["oracle"].goal) == (1_000_000, 1_000_000)


@pytest.mark.parametrize("name", ["lockstep", "machine"])
def test_open_ended_tiers_pass_and_count(name: str) -> None:
    """A few seconds on zmm: operations are counted, nothing is found."""
    result = run(TIER[name], seconds=30 if name == "machine" else 6)
    assert (result.status, result.reason) == (PASS, "")
    assert result.operations > 100
    assert result.programs > 0


@pytest.mark.parametrize("target", ["zmm:fast", "zmm:debug", "libc"])
def test_lockstep_runs_on_every_kind_of_target(target: str) -> None:
    """Every level of zmm, and malloc under the abstract model."""
    result = run(TIER["lockstep"], Task(target, "zmm", jobs=1))
    assert (result.status, result.findings) == (PASS, [])
    assert result.operations > 0


def test_lockstep_with_edition_php_on_zmm() -> None:
    """The other edition is held to its own exact model."""
    assert run(TIER["lockstep"], Task("zmm", "php-8.2", jobs=1)).status == PASS


def test_seeds_make_different_programs_and_the_same_seed_the_same() -> None:
    """Batches are a function of seed and number, and share no program."""
    one = lockstep.make_batch(TASK, Scope.WHOLE, 0)
    assert one == lockstep.make_batch(TASK, Scope.WHOLE, 0)
    assert {program.operations for program in one}.isdisjoint(
        program.operations for program in lockstep.make_batch(TASK, Scope.WHOLE, 1) if len(program) > 30
    )
    assert one != lockstep.make_batch(Task("zmm", "zmm", seed=1), Scope.WHOLE, 0)


def test_a_batch_is_long_enough_to_be_cheap() -> None:
    """At least 10,000 operations a round trip."""
    assert sum(length for _, length in lockstep.SCHEDULE) >= 10_000


def test_a_missing_target_is_an_error_of_the_user() -> None:
    """No such library: TargetError from the tier itself or its workers, told in one line."""
    result = run(TIER["lockstep"], Task("malloc:/nowhere.so", "zmm", jobs=1))
    assert result.status == INCONCLUSIVE
    assert result.reason == "a worker stopped: /nowhere.so is no file; check the path"


# ---- boundaries ------------------------------------------------------------------------------------------------------


def test_boundaries_covers_every_size_and_every_page_count() -> None:
    """The sizes of all pieces are exactly 0 ... 2 MiB + 64 KiB, the page counts 1 ... 511, the bins all 30."""
    sizes: list[int] = []
    pages: list[int] = []
    bins: list[int] = []
    for kind, first, end in boundaries.all_pieces():
        {"sizes": sizes, "pages": pages, "bins": bins}[kind].extend(range(first, end))
    assert sizes == list(range(2 * 1024 * 1024 + 64 * 1024 + 1))
    assert pages == list(range(1, 512))
    assert bins == list(range(30))
    program = boundaries.size_program(range(10, 13))
    assert [operation.a for operation in program.operations if operation.label == 1 and operation.word == "alloc"] == [
        10,
        11,
        12,
    ]


def test_programs_of_boundaries_are_legal() -> None:
    """Page counts at both ends, and every bin, make legal programs."""
    for piece in (("pages", 1, 3), ("pages", 510, 512), ("bins", 0, 1), ("bins", 29, 30)):
        for program in boundaries.programs_of(piece):
            program.validate()


@pytest.mark.parametrize("edition", ["zmm", "php-8.2"])
def test_sizes_agree_across_every_border(edition: str) -> None:
    """Bins, the border to runs, to huge blocks, and huge blocks themselves: the shortcut predicts every row."""
    with Judge.of("zmm", edition) as judge:
        for sizes in (range(3200), range(4000, 4200), range(2093056 - 20, 2093056 + 20), range(2097152, 2097160)):
            assert boundaries.sizes_agree(judge, sizes)
        assert judge.judge(boundaries.size_program(range(2093050, 2093060))) is None


def test_a_wrong_size_class_is_no_agreement(plant: Any, spoil: Any) -> None:
    """One block of the wrong size among hundreds is noticed."""
    planted = plant(spoil("alloc", 200, block_bytes=lambda row: row.block_bytes + 8))
    with planted.judge() as judge:
        assert not boundaries.sizes_agree(judge, range(300))
    with plant().judge() as judge:
        assert boundaries.sizes_agree(judge, range(300))


def test_boundaries_on_zmm_and_its_end() -> None:
    """A short budget is inconclusive with its reason, without any divergence."""
    result = run(TIER["boundaries"], seconds=2)
    assert result.findings == []
    assert result.status == INCONCLUSIVE
    assert "the budget ended" in result.reason


# ---- out of memory ---------------------------------------------------------------------------------------------------


def test_every_call_can_fail_in_every_kind_of_work() -> None:
    """All work on zmm: handlers, kernel, and kernel with the allocator's own records; a moment of it passes."""
    result = run(TIER["oom"], seconds=4)
    assert result.findings == []
    assert result.programs > 0
    with Judge.of("zmm", "zmm") as judge:
        names = list(oom.bases(judge))
        assert {all_calls for _, all_calls in names} == {False, True}
        for name, _ in names:
            oom.base_program(name, 0).validate()
        assert oom.fallible_calls(judge, oom.base_program("handlers chunks", 0)) >= 4


def test_oom_says_where_no_failure_can_be_ordered() -> None:
    """The C library takes memory from the system."""
    result = run(TIER["oom"], Task("libc", "zmm"))
    assert (result.status, result.programs) == (SKIPPED, 0)
    assert "no failure can be ordered" in result.reason


# ---- traces ----------------------------------------------------------------------------------------------------------


def small_trace(directory: Path, name: str = "small.bin") -> Path:
    records = [RECORD.pack(0, slot, 24 * slot + 1) for slot in range(200)]
    records += [RECORD.pack(2, slot, 5000) for slot in range(0, 200, 7)]
    records += [RECORD.pack(1, slot, 0) for slot in range(0, 200, 3)]
    records += [RECORD.pack(4, 0, 0), RECORD.pack(3, 0, 100)]
    path = directory / name
    path.write_bytes(b"".join(records))
    return path


@pytest.mark.parametrize(
    ("target", "edition"),
    [("zmm", "zmm"), ("zmm", "php-8.2"), ("zmm:hardened", "zmm"), ("zmm:debug", "zmm"), ("libc", "zmm")],
)
def test_a_trace_is_replayed_row_by_row(
    target: str, edition: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A whole small trace in several pieces, against the exact or the abstract model."""
    monkeypatch.setattr(traces, "PIECE_RECORDS", 64)
    sent: list[Any] = []
    path = small_trace(tmp_path)
    traces.work(sent.append, Task(target, edition), "php" if target == "zmm" and php() else "", [str(path)], 60)
    assert [delta.findings for delta in sent if delta.findings] == []
    replays = 2 if target == "zmm" and php() else 1
    assert sum(delta.programs for delta in sent) == replays
    assert sum(delta.operations for delta in sent) == replays * len(parse_trace(path.read_bytes()))


@pytest.mark.parametrize("rival", ["model", "php"])
def test_a_wrong_row_of_a_trace_is_found_at_its_step(rival: str, tmp_path: Path) -> None:
    """Rows spoiled at step 230 diverge there, whoever predicts them."""
    trace = parse_trace(small_trace(tmp_path).read_bytes(), "small.bin")
    heap = ExactHeap(TRACE_SETTINGS, "php-8.2")
    rows = heap.run(trace.program(settings=TRACE_SETTINGS).operations)
    spoiled = [*rows]
    spoiled[230] = (*rows[230][:11], rows[230][11] + 8, *rows[230][12:])
    opponent: Any = traces._ModelRival(trace, "php-8.2")
    if rival == "php":

        class Recorded:
            def stream(self, *_arguments: object) -> Any:
                yield pack_rows(rows[:1]), None
                yield pack_rows(rows[1:-1]), None

        opponent = traces._PhpRival(Recorded(), trace, [])  # type: ignore[arg-type]
    assert opponent.judge(0, pack_rows(spoiled[:1]), None) is None
    divergence = opponent.judge(1, pack_rows(spoiled[1:-1]), None)
    assert divergence is not None
    assert (divergence.rule, divergence.step) == ("EXACT-SIZE", 230)


def test_the_recorded_traces_are_there_and_dealt_out() -> None:
    """All nine traces, each in exactly one hand."""
    paths = trace_paths()
    assert len(paths) == 9
    hands = traces.deal(paths, 2)
    assert sorted(name for hand in hands for name in hand) == sorted(map(str, paths))
    assert all(hands)


# ---- oracle ----------------------------------------------------------------------------------------------------------


def test_without_php_the_oracle_says_how_to_get_it() -> None:
    """php: not present, and the remedy."""
    result = run(TIER["oracle"], Task("zmm", "zmm", oracle="php:/nowhere/libphp8.2.so"))
    assert result.status == SKIPPED
    assert result.reason.startswith("php: not present (/nowhere/libphp8.2.so")


def test_the_oracle_is_for_zmm_only() -> None:
    """Another target has nothing to compare."""
    assert run(TIER["oracle"], Task("libc", "zmm")).status == SKIPPED


@pytest.mark.oracle
def test_zmm_and_php_agree_for_a_moment() -> None:
    """Programs and bursts, with every PHP that is here."""
    if not php():
        pytest.skip("php: not present (run ci/oracle)")
    result = run(TIER["oracle"], seconds=8)
    assert (result.status, result.findings) == (PASS, [])
    assert result.operations > 1000
    assert result.reason.startswith("PHP 8.2")


@pytest.mark.parametrize("repeats", [True, False])
def test_a_burst_that_differs_is_explained_step_by_step(repeats: bool, plant: Any, spoil: Any) -> None:
    """The burst's own operations show the first step that differs; if they do not, the digests are the finding."""
    zmm = find_target("zmm")
    made = [Burst(seed, 300, BurstProfile.SMALL, BurstFlag.GC) for seed in (1, 2, 3)]
    with Versus(zmm, zmm, "zmm") as real, plant(spoil("free", 5, size=1) if repeats else plant().bug).judge() as judge:
        ours, same = real.run_bursts(Settings(), made)
        assert ours.rows == same.rows
        rows = bytearray(same.rows)
        rows[2 * 128 + 24] ^= 1  # the digest of the second burst

        rival: Any = SimpleNamespace(reference=zmm, expand=real.expand, judge=judge.judge)
        found = oracle.explain_burst(TASK, rival, Settings(), made, ours, replace(same, rows=bytes(rows)))
    assert len(found.program) == 602
    assert found.alone == repeats
    if repeats:
        assert (found.divergence.rule, found.divergence.operation.word) == ("EXACT-SIZE", "free")
        assert found.divergence.step < 60
    else:
        assert (found.divergence.rule, found.divergence.step) == ("EXACT-STATE", 602)


# ---- machine ---------------------------------------------------------------------------------------------------------


def test_a_profile_of_machine_is_a_promise() -> None:
    """Fewer examples than the profile has are inconclusive, with the number that was done."""
    result = run(TIER["machine"], Task("zmm", "zmm", profile="nightly"), seconds=2)
    assert result.status == INCONCLUSIVE
    assert result.reason.endswith("of 5000 examples (give more with --time-budget)")


def test_machine_is_for_the_python_api_only() -> None:
    """A library by path has no Python API."""
    result = run(TIER["machine"], Task("libc", "zmm"))
    assert result.status == SKIPPED
    assert "no Python API" in result.reason


def test_a_dead_machine_leaves_its_program(tmp_path: Path) -> None:
    """The journal of a worker that crashed is the finding; its last line, half written, is none."""
    journal = tmp_path / "journal.zmm"
    journal.write_text("zmm-program 1\nheap limit=8388608\nb0 = alloc 40\nb0 = realloc b0 80\nfree b")
    result = TierResult("machine")
    machine.Machine()._died(TASK, result, journal, Lost(0, "killed by SIGSEGV"))
    result.settle()
    assert result.status == FAIL
    (found,) = result.findings
    assert [operation.word for operation in found.program.operations] == ["alloc", "realloc"]
    assert (found.divergence.rule, found.divergence.actual) == ("DEATH", "killed by SIGSEGV")


def test_a_machine_killed_from_outside_is_inconclusive(tmp_path: Path) -> None:
    """SIGKILL is nobody's bug; an empty journal proves nothing either."""
    result = TierResult("machine")
    machine.Machine()._died(TASK, result, tmp_path / "none", Lost(0, "killed by SIGKILL"))
    assert (result.settle().status, result.findings) == (INCONCLUSIVE, [])
    result = TierResult("machine")
    machine.Machine()._died(TASK, result, tmp_path / "none", Lost(0, "killed by SIGSEGV"))
    assert (result.settle().status, result.findings) == (INCONCLUSIVE, [])
