"""`zmm bench worst`: the worst programs known and what they cost now, and the search for worse ones."""

from __future__ import annotations

from pathlib import Path

import msgspec

from ..errors import CLEAN, INCONCLUSIVE, UserError, explain_os_error
from ..report.simple import write_simple
from ..targets import Target, TargetError, find_target
from ..tiers.base import Interrupted
from ..worst.kept import Figure, Kept, keep, kept_folder, program_name, read_kept
from ..worst.objectives import OBJECTIVES, Objective
from ..worst.phases import expand
from ..worst.player import Player
from ..worst.search import Climb, climb
from .output import make_console, say_error, write_file

_CODES = {"pass": CLEAN, "inconclusive": INCONCLUSIVE}


def find_subject(name: str) -> Target:
    """
    The target of a name, when it is one of zmm's libraries.

    :raises UserError: it has not zmm's functions: only the program that plays traces on zmm knows the figures.
    """
    target = find_target(name)
    if target.kind != "zmm":
        raise UserError(
            f"--target {name} has none of the figures of the suite worst; name zmm:LEVEL or zmm:/path (libc is shown "
            "beside it)"
        )
    return target


def show_worst(target: Target, json: Path | None, *, quiet: bool) -> int:
    """
    Measure each kept program on zmm and on the C library, show both beside the figure it was kept with.

    Returns the exit code: 3 when a figure could not be measured.
    """
    console = make_console()
    rows = []
    ours, theirs = Player("zmm", target.library), Player("malloc", "")
    kept_levels = set()
    for kept in _read(kept_folder()):
        kept_levels.add(kept.figure.level)
        now, reason = _measure(kept, ours)
        other = _of_malloc(kept.objective, theirs, kept.records)
        rows.append(
            {
                "objective": kept.objective.name,
                "unit": kept.objective.unit,
                "kept": kept.figure.figure,
                "kept_level": kept.figure.level,
                "now": now,
                "reason": reason,
                "libc": other,
                "program": str(kept.path),
            }
        )
        if now is None:
            console.print(f"{kept.objective.name}: left out ({reason})", markup=False, soft_wrap=True)
        elif not quiet:
            beside = "-" if other is None else f"{other:,.2f}"
            on = "" if kept.figure.level == target.level else f" at level {kept.figure.level}"
            console.print(
                f"{kept.objective.name:<14}{now:>14,.2f} (kept {kept.figure.figure:,.2f}{on}; libc {beside})  "
                f"{kept.objective.unit}",
                markup=False,
                soft_wrap=True,
            )
    if not quiet and kept_levels != {target.level}:
        console.print(
            f"the programs are the worst found for level {', '.join(sorted(kept_levels))}; there may be worse ones for "
            f"level {target.level} (--search)",
            markup=False,
            soft_wrap=True,
        )
    measured = sum(row["now"] is not None for row in rows)
    status = "pass" if measured == len(rows) else "inconclusive"
    console.print(
        f"zmm bench worst: {status}, {measured} of {len(rows)} figures measured at level {target.level}",
        markup=False,
        soft_wrap=True,
    )
    if json is not None:
        write_file(json, write_simple(status, suite="worst", target=target.name, level=target.level, rows=rows))
    return _CODES[status]


def search_worst(target: Target, folder: Path, seed: int, seconds: float, json: Path | None, *, quiet: bool) -> int:
    """
    Search for each objective in its share of the time, and write the worst programs found into a folder as they come.

    Returns the exit code: 3 when an objective could not be measured, or the search was interrupted.

    :raises UserError: the folder cannot be written.
    """
    console = make_console()
    player = Player("zmm", target.library)
    rows: list[dict[str, object]] = []
    interrupted = ""
    for objective in OBJECTIVES:
        found: Climb | None = None
        reason = ""
        try:
            for found in climb(objective, player, seed, seconds / len(OBJECTIVES)):
                if not quiet:
                    console.print(f"{objective.name}: {found.figure:,.2f} after {found.measured}", markup=False)
        except TargetError as error:
            reason = str(error)
            console.print(f"{objective.name}: left out ({reason})", markup=False, soft_wrap=True)
        except (KeyboardInterrupt, Interrupted) as error:
            interrupted = error.signal_name if isinstance(error, Interrupted) else "SIGINT"
            reason = f"interrupted by {interrupted}"
        if found is not None:
            _keep(
                folder, Figure(objective.name, round(found.figure, 4), target.level, seed, found.measured, found.phases)
            )
        rows.append(
            {
                "objective": objective.name,
                "unit": objective.unit,
                "found": round(found.figure, 4) if found is not None else None,
                "measured": found.measured if found is not None else 0,
                "reason": reason,
                "program": str(folder / program_name(objective.name)) if found is not None else "",
            }
        )
        if interrupted:
            say_error(f"interrupted by {interrupted}; the results so far are kept as they are")
            break
    written = sum(row["found"] is not None for row in rows)
    status = "inconclusive" if written < len(OBJECTIVES) or any(row["reason"] for row in rows) else "pass"
    console.print(
        f"zmm bench worst: {status}, {written} of {len(OBJECTIVES)} programs for level {target.level} in {folder}",
        markup=False,
        soft_wrap=True,
    )
    if json is not None:
        write_file(
            json,
            write_simple(
                status,
                suite="worst",
                target=target.name,
                level=target.level,
                seed=seed,
                interrupted=interrupted,
                rows=rows,
            ),
        )
    return _CODES[status]


def _keep(folder: Path, figure: Figure) -> None:
    try:
        keep(folder, [figure], {figure.objective: expand(figure.phases)})
    except OSError as error:
        raise UserError(explain_os_error(error, f"write {folder}")) from None


def _measure(kept: Kept, player: Player) -> tuple[float | None, str]:
    """A figure, or None and why there is none."""
    try:
        return kept.objective.measure(player, kept.records), ""
    except TargetError as error:
        return None, str(error)


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
