"""Bugs allocators really had: each patch fits the core, has its source, is found, and its C reproducer shows it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import ground_truth
import pytest
from zmm_fuzz.compare import RULES
from zmm_fuzz.faults.fault import load_catalogue
from zmm_fuzz.truth.hunt import Catch, hunt, hunt_tier
from zmm_fuzz.truth.measure import Catches, digest_of, figures, measure, percentile
from zmm_fuzz.truth.patch import Patch, PlantError, read_folder, read_patch
from zmm_fuzz.truth.plant import check, plant
from zmm_fuzz.truth.shown import shown_in_c
from zmm_model.rules import RULES as ABSTRACT_RULES

HERE = Path(__file__).resolve().parent
TRUTH = {patch.name: patch for patch in read_folder(HERE)}
PLANTED = {patch.name: patch for patch in read_folder(HERE.parent / "planted")}
ALL = TRUTH | PLANTED
# Found with every run of the tests: by each tier, and by the misuse catalogue.
SAMPLE = ("php_gc_ignores_bin_0", "gperftools_dies_without_a_record", "mimalloc_double_free")
SECONDS_MAX = 60
FAULTS = {fault.id: fault for fault in load_catalogue()}

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler here (install gcc or clang)")


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("truth")


def built(patch: Patch, folder: Path) -> tuple[Path, Path]:
    """The library with the bug, and the one without at the same level."""
    return plant(patch, folder), plant(None, folder, level=patch.level)


def hunted(name: str, seed: int, folder: Path) -> None:
    """Hunt a bug with one seed: in time, few operations, and a C reproducer that compiles and shows it."""
    patch = ALL[name]
    library, sound = built(patch, folder)
    catch, finding = hunt(patch, library, sound, seed)
    assert catch.rule in patch.caught_by, f"seed {seed}: not found in {catch.operations:,} operations"
    assert catch.seconds < SECONDS_MAX
    assert 0 < catch.size <= patch.operations_max, catch.program
    assert shown_in_c(catch.rule, finding, library, sound), catch.program


@pytest.mark.parametrize("name", TRUTH)
def test_patch_applies_and_compiles(name: str, folder: Path) -> None:
    """A patch that no longer fits the core is a failure, not a bug that is never planted."""
    check(TRUTH[name], folder)


def test_there_are_forty_real_bugs_each_with_its_source() -> None:
    """Each says whose bug it was, where that can be read, what it did there; no two are the same change."""
    assert len(TRUTH) >= 40
    for patch in TRUTH.values():
        assert patch.project != "", patch.name
        assert patch.source.startswith("https://"), patch.name
        assert len(patch.did) > 20, patch.name
    assert len({patch.source for patch in TRUTH.values()}) == len(TRUTH)
    assert len({patch.hunks for patch in ALL.values()}) == len(ALL)


def test_every_bug_names_what_can_find_it() -> None:
    """Rules that exist, or faults of the catalogue."""
    rules = {*RULES, *ABSTRACT_RULES}
    for patch in ALL.values():
        assert patch.caught_by <= (FAULTS.keys() if patch.tier == "faults" else rules), patch.name


def test_the_page_is_up_to_date(root: Path) -> None:
    """docs/ground_truth.md says what the patches say; `ci/truth page` writes it anew."""
    assert (root / "docs" / "ground_truth.md").read_text() == ground_truth.make_page()


@pytest.mark.parametrize("name", SAMPLE)
def test_sampled_bug_is_found_and_shown_in_c(name: str, folder: Path) -> None:
    """One bug of each finder, with one seed."""
    hunted(name, 0, folder)


@pytest.mark.nightly
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ALL)
def test_every_bug_is_found_and_shown_in_c(name: str, folder: Path) -> None:
    """Every bug, real or our own, with three seeds. Twenty: `ci/truth measure`."""
    for seed in range(3):
        hunted(name, seed, folder)


def test_sound_core_is_not_accused(folder: Path) -> None:
    """The control: the tier that finds a bug within a second finds nothing like it in the core without bugs."""
    patch = replace(TRUTH["php_gc_ignores_bin_0"], caught_by=frozenset(RULES))
    catch, finding = hunt_tier(patch, plant(None, folder), 0, seconds=3.0)
    assert finding is None
    assert catch.rule == ""
    assert catch.operations > 0


def test_a_bug_that_is_not_found_counts_against_the_suite() -> None:
    """A miss is later than any budget; a bug found late at the 95th percentile, or missed once, is not good."""
    patch = TRUTH["php_gc_ignores_bin_0"]
    hits = [Catch(seed, "EXACT-GC", 1000, 1.0, size=3) for seed in range(20)]
    assert figures(patch, hits).is_good
    assert figures(patch, hits).size_p50 == 3
    missed = figures(patch, [*hits, Catch(20, "", 5000, 2.0)])
    assert not missed.is_good
    assert missed.found == 20
    assert not figures(patch, [*hits[:18], *(replace(hit, seconds=61.0) for hit in hits[18:])]).is_good
    assert not figures(patch, []).is_good
    assert not figures(patch, [*hits, replace(hits[0], shown=False)]).is_good
    assert percentile([1.0, 2.0, 3.0, 4.0], 0.5) == 2.0
    assert percentile([], 0.5) == 0.0


def test_a_measurement_goes_on_where_it_was(folder: Path, tmp_path: Path) -> None:
    """What is known is not hunted again, a torn line is; a patch that changed is measured anew."""
    patch = TRUTH["mimalloc_double_free"]
    path = tmp_path / "catches.jsonl"
    catches = Catches(path)
    catches.add(patch, Catch(0, "T13", 10, 1.0, size=4))
    catches.add(patch, Catch(1, "T13", 10, 1.0, size=4))
    path.write_text(path.read_text()[:-20])
    again = Catches(path)
    assert [catch.seed for catch in again.of(patch)] == [0]
    seen = []
    measure([patch], again, folder, seeds=range(1), observe=lambda _patch, catch: seen.append(catch))
    assert seen == []
    assert again.of(replace(patch, level="debug")) == []
    assert digest_of(replace(patch, breaks="other words")) == digest_of(patch)


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the figures that are kept, a page, and a place without catches: nothing of the tree is written to."""
    path = tmp_path / "figures.json"
    shutil.copyfile(ground_truth.FIGURES, path)
    monkeypatch.setattr(ground_truth, "FIGURES", path)
    monkeypatch.setattr(ground_truth, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(ground_truth, "FOLDER", tmp_path / "truth")
    return path


def test_nothing_measured_keeps_what_there_is(kept: Path) -> None:
    """`keep` without catches, and `measure` without seeds, are mistakes: the figures of weeks stay."""
    before = kept.read_bytes()
    with pytest.raises(ground_truth.MistakeError, match="begin with ci/truth measure"):
        ground_truth.main(["keep"])
    with pytest.raises(ground_truth.MistakeError, match="--seeds 0"):
        ground_truth.main(["measure", "--seeds", "0"])
    assert kept.read_bytes() == before
    assert not ground_truth.PAGE.exists()


def test_a_mistake_is_one_line(root: Path) -> None:
    """Exit code 2, and no traceback."""
    command = [sys.executable, "-P", str(root / "ci" / "ground_truth.py"), "measure", "--seeds", "0"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("ci/truth: --seeds 0")


def test_bugs_that_were_not_measured_keep_their_figures(kept: Path) -> None:
    """One bug is measured anew; its figures change, the others' and the remark do not; a bug that is gone goes."""
    patch = TRUTH["php_gc_ignores_bin_0"]
    before = json.loads(kept.read_text())
    before["bugs"]["gone"] = before["bugs"][patch.name]
    kept.write_text(json.dumps(before))
    Catches(ground_truth.FOLDER / "catches.jsonl").add(patch, Catch(0, "EXACT-GC", 77, 1.0, size=3))
    assert ground_truth.main(["keep"]) == 0
    after = json.loads(kept.read_text())
    assert after["remark"] == before["remark"]
    assert after["bugs"].pop(patch.name)["operations_p50"] == 77
    assert after["bugs"] == {name: one for name, one in before["bugs"].items() if name not in (patch.name, "gone")}
    assert ground_truth.main(["keep", "--remark", "another machine"]) == 0
    assert json.loads(kept.read_text())["remark"] == "another machine"


def test_a_patch_that_says_too_little_is_refused(tmp_path: Path) -> None:
    """Each mistake in a head is named: a bug that nobody can find by its patch would never be looked for."""
    good = (HERE / "php_gc_ignores_bin_0.patch").read_text()
    path = tmp_path / "bug.patch"
    for text, word in (
        (good.replace("# tier: lockstep\n", ""), "tier"),
        (good.replace("# operations: ", "# operations: some"), "operations"),
        (good.replace("# did: ", "# done: "), "done"),
        (good.replace("+++ b/zmm/core/gc.c\n", ""), "no file"),
    ):
        path.write_text(text)
        with pytest.raises(PlantError, match=word):
            read_patch(path)
