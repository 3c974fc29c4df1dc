"""What kills a mutant: real ones, of the core and of the models, and the controls that nothing kills."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from zmm_fuzz.mutate.build import Workshop
from zmm_fuzz.mutate.core_lab import CoreLab, core_files
from zmm_fuzz.mutate.core_tiers import Arena, Fixed, case_names
from zmm_fuzz.mutate.deck import Kill, SoundCoreError
from zmm_fuzz.mutate.detection import Runs, measure_detection
from zmm_fuzz.mutate.mutant import CORE, MODEL, Mutant, from_change
from zmm_fuzz.mutate.python_lab import PythonLab, mutant_environment
from zmm_fuzz.mutate.record import DetectionRun
from zmm_fuzz.mutate.state import Header
from zmm_fuzz.truth.patch import read_patch
from zmm_fuzz.truth.plant import replace_once

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="no C compiler is here (apt-get install gcc)")


def plant(root: Path, tower: str, file: str, old: str, new: str) -> Mutant:
    """A mutant that has ``new`` where ``old`` stands once."""
    text = (root / file).read_text()
    assert text.count(old) == 1, f"{file} has {text.count(old)} times: {old}"
    start = text.index(old)
    return from_change(tower, file, "", text, start, start + len(old), new, "planted")


def planted(root: Path, name: str) -> Mutant:
    """A bug of tests/planted as a mutant of the file that it changes."""
    (file, old, new), *_ = read_patch(root / "tests" / "planted" / f"{name}.patch").hunks
    text = (root / file).read_text()
    return Mutant(CORE, file, name, 0, text, replace_once(text, old, new), "planted")


@pytest.fixture(scope="module")
def lab(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CoreLab]:
    with CoreLab(root, tmp_path_factory.mktemp("lab"), "release", 7, ("lockstep",)) as made:
        yield made


def test_compiler_tells_what_is_no_mutant(root: Path, lab: CoreLab) -> None:
    """What does not compile has no digest; what changes nothing has the original's; a real change has its own."""
    broken = plant(root, CORE, "zmm/core/gc.c", "bool has_free_run = false;", "bool has_free_run = ;")
    nothing = plant(root, CORE, "zmm/core/gc.c", "bool has_free_run = false;", "bool has_free_run = 1 - 1;")
    real = plant(root, CORE, "zmm/core/gc.c", "bool has_free_run = false;", "bool has_free_run = true;")
    assert lab.make(broken).digest == ""
    assert lab.make(nothing).digest == lab.original
    assert lab.make(real).digest not in ("", lab.original)


def test_mutant_of_the_core_is_killed_by_its_rule(root: Path, lab: CoreLab) -> None:
    """A peak that is not raised is found by generated programs at once, and named."""
    made = lab.make(planted(root, "missed_peak"))
    verdict = lab.try_out(made, 5.0)
    lab.discard(made)
    assert verdict.kill is not None
    assert (verdict.kill.tier, verdict.kill.rule) == ("lockstep", "EXACT-PEAK")
    assert verdict.kill.program is not None
    assert 0 < verdict.operations < 100_000
    assert "EXACT-PEAK" in verdict.kill.rules


def test_hang_is_a_kill_that_says_so(root: Path, lab: CoreLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mutant that comes to no end is killed by the limit for progress, after a second, more patient try."""
    monkeypatch.setattr("zmm_fuzz.mutate.core_tiers.HANG_SECONDS", 0.5)
    old = "gap_page = bits_next(map, gap_end, false);"
    made = lab.make(plant(root, CORE, "zmm/core/run.c", old, "gap_page = gap_page + 0;"))
    verdict = lab.try_out(made, 5.0)
    lab.discard(made)
    assert verdict.kill is not None
    assert verdict.kill.rule == "HANG"


def test_a_mutant_is_tried_under_many_seeds(root: Path, lab: CoreLab, tmp_path: Path) -> None:
    """The programs of each seed find it by themselves; what is known already is not done again."""
    mutant = planted(root, "missed_peak")
    runs = Runs(tmp_path, Header("sources", "release", 0, ("lockstep",)))
    told: list[DetectionRun] = []
    (row,) = measure_detection(lab, [mutant], 2, 10.0, runs, observe=lambda _, run: told.append(run))
    assert (row.seeds, row.found) == (2, 2)
    assert [run.tier for run in told] == ["lockstep", "lockstep"]
    assert len({run.operations for run in told}) == 2
    assert measure_detection(lab, [mutant], 2, 10.0, runs, observe=lambda *_: pytest.fail("done again")) == [row]


def test_what_has_no_seed_is_asked_once(root: Path, lab: CoreLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cases answer for all seeds, and the time that they took counts for each."""
    asked: list[str] = []
    killed = Kill("cases", "CASE-x", "", 0)
    monkeypatch.setattr(lab.arena, "tiers", ("cases",))

    def run_cases(*_: object) -> Kill:
        asked.append("cases")
        sum(range(3_000_000))  # takes some time
        return killed

    monkeypatch.setattr(Arena, "_run_cases", run_cases)
    fixed: Fixed = {}
    arenas = [lab.arena.with_seed(seed, fixed) for seed in (1, 2)]
    deaths = [lab.try_in(arena, planted(root, "missed_peak"), 60.0) for arena in arenas]
    assert asked == ["cases"]
    assert [death.kill for death in deaths] == [killed, killed]
    assert deaths[0].seconds == deaths[1].seconds > 0


def test_mutant_that_takes_cases_away_is_killed(
    root: Path, lab: CoreLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A level that is another one has not the cases of its own. A case that the core as it is has not kills nobody."""
    workshop = Workshop(root, tmp_path, "release")
    old = "#define ZMM_TRIMS (ZMM_LEVEL >= ZMM_LEVEL_HARDENED)"
    mutant = plant(root, CORE, "zmm/core/config.h", old, "#define ZMM_TRIMS (ZMM_LEVEL >= ZMM_LEVEL_RELEASE)")
    monkeypatch.setattr(lab.arena, "cases", case_names(root, "release"))
    kill = lab.arena._run_cases(workshop, mutant, tmp_path / "cases")
    assert kill is not None
    assert kill.rule == "CASE-MISSING"
    monkeypatch.setattr(lab.arena, "cases", ["nobodys_case"])
    with pytest.raises(SoundCoreError, match="no case is named nobodys_case"):
        lab.arena._run_cases(workshop, mutant, tmp_path / "cases")


def test_core_as_it_is_survives_every_deck(lab: CoreLab) -> None:
    """The control: the sound library, given to the same programs as a mutant is, is not killed."""
    nothing = Mutant(CORE, "zmm/core/gc.c", "", 0, "", "", "control")
    library = lab.arena.sound.library
    death = lab.arena.try_mutant(Path(library), lab._workshop(), nothing, 0.5)
    assert death.kill is None
    assert death.operations > 0


def test_core_that_breaks_a_rule_is_not_mutated(root: Path, tmp_path: Path) -> None:
    """Nothing is said about mutants of a core that is wrong itself."""
    for part in ("zmm/core", "zmm/include", "tests/core"):
        shutil.copytree(root / part, tmp_path / "tree" / part)
    header = tmp_path / "tree/zmm/core/core.h"
    header.write_text(
        header.read_text().replace("heap->below_peak_bytes += bytes;", "heap->below_peak_bytes += bytes + 8;")
    )
    with pytest.raises(SoundCoreError, match="without a mutant is not clean"):
        CoreLab(tmp_path / "tree", tmp_path / "lab", "release", 0, ("lockstep",))


@pytest.mark.nightly
@pytest.mark.slow
def test_cases_and_catalogue_kill_what_legal_programs_cannot_see(root: Path, tmp_path: Path) -> None:
    """A panic's text is seen by the core's own cases, a check of freed addresses by the misuse catalogue."""
    text = plant(root, CORE, "zmm/core/panic.c", '"; the address is "', '"; the place is "')
    check = "if (ZMM_UNLIKELY(!live_turn(&bits, granule, false))) {"
    live = plant(root, CORE, "zmm/core/small.h", check, check.replace("!live_turn", "0 && !live_turn"))
    for tier, mutant in (("cases", text), ("faults", live)):
        with CoreLab(root, tmp_path / tier, "release", 0, (tier,)) as one:
            verdict = one.try_out(one.make(mutant), 60.0)
        assert verdict.kill is not None, tier
        assert verdict.kill.tier == tier


def test_every_level_has_cases(root: Path) -> None:
    """Those that take seconds come last."""
    for level in ("fast", "release", "hardened", "debug"):
        assert len(case_names(root, level)) > 20
    assert "failing" in case_names(root, "release")[-1]


def test_workshop_puts_things_back(root: Path, tmp_path: Path) -> None:
    """A mutant is in the copy while it is compiled, and never in the tree."""
    workshop = Workshop(root, tmp_path, "release")
    mutant = plant(root, CORE, "zmm/core/gc.c", "bool has_free_run = false;", "bool has_free_run = true;")
    workshop.change(mutant)
    assert "has_free_run = true" in workshop.path_of("zmm/core/gc.c").read_text()
    workshop.restore(mutant)
    assert workshop.path_of("zmm/core/gc.c").read_text() == (root / "zmm/core/gc.c").read_text()
    assert set(core_files(root)) == set(core_files(tmp_path))


@pytest.fixture(scope="module")
def python_lab(root: Path, tmp_path_factory: pytest.TempPathFactory) -> PythonLab:
    return PythonLab(root, tmp_path_factory.mktemp("python"), MODEL, 7, ("lockstep",))


@pytest.mark.parametrize(
    ("file", "old", "new", "rule"),
    [
        ("model/resize.py", "return kept", "return kept", ""),
        ("model/sizes.py", "5 + (bin_index - 8) % 4", "4 + (bin_index - 8) % 4", "EX"),
        ("model/gc.py", "collected += count", "collected = count", "EXACT-GC"),
        ("model/counter_rules.py", "if row[PEAK] < row[SIZE]:", "if row[PEAK] <= row[SIZE]:", "ABS-14"),
    ],
)
def test_mutant_of_a_model_is_killed_by_rows_that_are_right(
    file: str, old: str, new: str, rule: str, root: Path, python_lab: PythonLab
) -> None:
    """The exact model predicts something else, or the abstract one refuses; without a change neither does."""
    mutant = plant(root, MODEL, file, old, new) if rule else Mutant(MODEL, file, "", 0, "", "", "control")
    made = python_lab.make(mutant)
    if not rule:
        assert made.digest == python_lab.original
        python_lab._source_of(mutant).write_text((root / file).read_text())
    verdict = python_lab.try_out(made, 60.0)
    assert (verdict.kill is None) == (not rule)
    if verdict.kill is not None:
        assert verdict.kill.rule.startswith(rule)


def test_module_of_a_mutant_is_named_as_it_is_imported(tmp_path: Path) -> None:
    """Folders install under names of their own, and a package is its __init__."""
    source = tmp_path / "x.py"
    names = {
        file: mutant_environment(Mutant(tower, file, "", 0, "", "", ""), source)["ZMM_MUTANT_MODULE"]
        for tower, file in (("model", "model/sizes.py"), ("api", "zmm/heap.py"), ("api", "zmm/__init__.py"))
    }
    assert names == {"model/sizes.py": "zmm_model.sizes", "zmm/heap.py": "zmm.heap", "zmm/__init__.py": "zmm"}
