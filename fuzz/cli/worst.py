"""`zmm bench worst`: the worst programs known and what they cost now, and the search for worse ones."""

from __future__ import annotations

from pathlib import Path

import msgspec

from ..errors import UserError, explain_os_error
from ..report.simple import write_simple
from ..targets import TargetError
from ..worst.kept import Figure, Kept, keep, kept_folder, read_kept
from ..worst.objectives import OBJECTIVES, Objective
from ..worst.phases import expand
from ..worst.player import Player
from ..worst.search import Climb, climb
from .output import make_console, write_file

_LEVEL = "release"


def show_worst(library: str, json: Path | None, *, quiet: bool) -> None:
    """Measure each kept program on zmm and on the C library, and show both beside the figure it was kept with."""
    console = make_console()
    rows = []
    ours, theirs = Player("zmm", library), Player("malloc", "")
    for kept in _read(kept_folder()):
        try:
            now: float | None = kept.objective.measure(ours, kept.records)
        except TargetError as error:
            console.print(f"{kept.objective.name}: left out ({error})", markup=False, soft_wrap=True)
            now = None
        other = _of_malloc(kept.objective, theirs, kept.records)
        rows.append(
            {
                "objective": kept.objective.name,
                "unit": kept.objective.unit,
                "kept": kept.figure.figure,
                "now": now,
                "libc": other,
                "program": str(kept.path),
            }
        )
        if now is not None and not quiet:
            beside = "-" if other is None else f"{other:,.2f}"
            console.print(
                f"{kept.objective.name:<14}{now:>14,.2f} (kept {kept.figure.figure:,.2f}; libc {beside})  "
                f"{kept.objective.unit}",
                markup=False,
                soft_wrap=True,
            )
    if json is not None:
        write_file(json, write_simple("pass", suite="worst", rows=rows))


def search_worst(library: str, folder: Path, seed: int, seconds: float, *, quiet: bool) -> None:
    """
    Search for each objective in its share of the time, and write the worst programs found into a folder.

    :raises UserError: the folder cannot be written.
    """
    console = make_console()
    player = Player("zmm", library)
    figures: list[Figure] = []
    records: dict[str, bytes] = {}
    for objective in OBJECTIVES:
        found: Climb | None = None
        try:
            for found in climb(objective, player, seed, seconds / len(OBJECTIVES)):
                if not quiet:
                    console.print(f"{objective.name}: {found.figure:,.2f} after {found.measured}", markup=False)
        except TargetError as error:
            console.print(f"{objective.name}: left out ({error})", markup=False, soft_wrap=True)
        if found is not None:
            figure = round(found.figure, 4)
            figures.append(Figure(objective.name, figure, _LEVEL, seed, found.measured, found.phases))
            records[objective.name] = expand(found.phases)
    try:
        keep(folder, figures, records)
    except OSError as error:
        raise UserError(explain_os_error(error, f"write {folder}")) from None
    console.print(f"zmm bench worst: {len(figures)} programs in {folder}", markup=False, soft_wrap=True)


def _read(folder: Path) -> list[Kept]:
    try:
        return read_kept(folder)
    except (OSError, KeyError, msgspec.DecodeError) as error:
        raise UserError(f"the kept programs in {folder} cannot be read ({error}); install zmm anew") from None


def _of_malloc(objective: Objective, player: Player, records: bytes) -> float | None:
    """The same figure of the C library's malloc; None where it has no such figure."""
    if objective.name in ("fragmentation", "gc"):
        return None
    try:
        return objective.measure(player, records)
    except TargetError:
        return None
