"""The ground truth: measures how long the suite takes to find each planted bug, and makes docs/ground_truth.md.

``measure`` hunts the bugs (all, or those named), seed by seed; ended at any moment, it goes on where it was.  ``keep``
keeps the figures of what was measured so far for the page, ``page`` writes the page anew.  ``plant FOLDER NAME ...``
builds libraries to play with.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from zmm_fuzz.truth.hunt import SHRINK_SECONDS, Catch
from zmm_fuzz.truth.measure import SEEDS, Catches, Figures, figures, measure
from zmm_fuzz.truth.page import page
from zmm_fuzz.truth.patch import Patch, PlantError, read_folder
from zmm_fuzz.truth.plant import plant

ROOT = Path(__file__).resolve().parent.parent
TRUTH = ROOT / "tests" / "truth"
PLANTED = ROOT / "tests" / "planted"
FIGURES = TRUTH / "figures.json"
PAGE = ROOT / "docs" / "ground_truth.md"
FOLDER = ROOT / "build" / "truth"


def show(patch: Patch, catch: Catch) -> None:
    """Print one catch."""
    what = catch.rule or "NOT FOUND"
    print(
        f"{patch.name:44} seed {catch.seed:2} {what:14} {catch.seconds:5.1f} s {catch.operations:9,} operations, "
        f"shrunk to {catch.size} in {catch.shrink_seconds:.1f} s",
        flush=True,
    )


class MistakeError(Exception):
    """A mistake of the user: one line, exit code 2."""


def read_figures() -> tuple[str, dict[str, Figures]]:
    """Return the remark and the figures that are kept."""
    if not FIGURES.exists():
        return "", {}
    kept = json.loads(FIGURES.read_text("utf-8"))
    return kept["remark"], {name: Figures(name, **entry) for name, entry in kept["bugs"].items()}


def write_figures(patches: list[Patch], catches: Catches, remark: str | None) -> None:
    """
    Summarise what was measured, and keep it for the page; bugs that were not measured keep the figures they have.

    :param remark: None leaves the one that is kept.
    :raises MistakeError: nothing was measured.
    """
    old_remark, old = read_figures()
    fresh = {patch.name: figures(patch, catches.of(patch)) for patch in patches}
    if not any(one.seeds for one in fresh.values()):
        raise MistakeError(f"nothing is measured in {catches.path}; begin with ci/truth measure")
    known = {name: one if one.seeds else old.get(name) for name, one in fresh.items()}
    entries = {
        name: {key: value for key, value in asdict(one).items() if key != "name"} for name, one in known.items() if one
    }
    kept = {"remark": old_remark if remark is None else remark, "bugs": entries}
    FIGURES.write_text(json.dumps(kept, indent=1) + "\n", "utf-8")


def make_page() -> str:
    """Return the page as the patches and the figures have it now."""
    remark, known = read_figures()
    return page(read_folder(TRUTH), read_folder(PLANTED), known, remark)


def main(arguments: list[str]) -> int:
    """Do what was asked for; 1 when a bug that was measured is not found in time."""
    parser = argparse.ArgumentParser(prog="ci/truth", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    measuring = commands.add_parser("measure", help="hunt every bug with every seed")
    measuring.add_argument("names", nargs="*", metavar="NAME", help="only these bugs")
    measuring.add_argument("--seeds", type=int, default=SEEDS, metavar="N", help=f"seeds of each bug ({SEEDS})")
    measuring.add_argument("--shrink", type=float, default=SHRINK_SECONDS, metavar="SECONDS", help="0: do not shrink")
    commands.add_parser("page", help="write docs/ground_truth.md")
    keeping = commands.add_parser("keep", help="keep the figures of what was measured so far, and write the page")
    keeping.add_argument(
        "--remark", metavar="TEXT", help="the circumstances, for the page (default: as they are there)"
    )
    planting = commands.add_parser("plant", help="build libraries with bugs")
    planting.add_argument("folder", type=Path)
    planting.add_argument("names", nargs="+", metavar="NAME")
    given = parser.parse_args(arguments)
    patches = [*read_folder(TRUTH), *read_folder(PLANTED)]
    if given.command in ("page", "keep"):
        if given.command == "keep":
            write_figures(patches, Catches(FOLDER / "catches.jsonl"), given.remark)
        PAGE.write_text(make_page(), "utf-8")
        return 0
    chosen = [patch for patch in patches if not given.names or patch.name in given.names]
    for name in set(given.names) - {patch.name for patch in patches}:
        parser.error(f"there is no bug {name}; they are the files of tests/truth and tests/planted")
    if given.command == "plant":
        for patch in chosen:
            print(plant(patch, given.folder))
        return 0
    if given.seeds < 1:
        raise MistakeError(f"--seeds {given.seeds} would measure nothing; hunt each bug with 1 seed or more")
    catches = Catches(FOLDER / "catches.jsonl")
    try:
        measure(chosen, catches, FOLDER, seeds=range(given.seeds), shrink_seconds=given.shrink, observe=show)
    except KeyboardInterrupt:
        print("interrupted; what was measured is kept, the same command goes on with it", file=sys.stderr)
        return 130
    known = [figures(patch, catches.of(patch)) for patch in chosen]
    late = [one.name for one in known if not one.is_good]
    print(
        f"{len(known) - len(late)} of {len(known)} bugs found in time with every seed"
        + "".join(f"\n  not {name}" for name in late)
    )
    return 1 if late else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (MistakeError, PlantError) as error:
        print(f"ci/truth: {error}", file=sys.stderr)
        sys.exit(2)
