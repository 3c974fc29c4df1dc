"""Bugs allocators really had: each patch fits the core, has its source, is found, and its C reproducer shows it."""

from __future__ import annotations

import shutil
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
