"""The worst programs known: recorded traces beside their figures, one for each objective."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ..recorded import parse_trace
from .objectives import OBJECTIVES, Objective, find_objective
from .phases import Phase

FIGURES = "figures.json"


class Figure(msgspec.Struct, frozen=True):
    """
    What was measured when a program was kept.

    ``level`` is zmm's level, ``seed`` and ``measured`` say how the search found it, ``phases`` how it is made.
    """

    objective: str
    figure: float
    level: str
    seed: int
    measured: int
    phases: tuple[Phase, ...]


@dataclass(frozen=True, slots=True)
class Kept:
    """A kept program: its objective, its figure then, and its records."""

    objective: Objective
    figure: Figure
    path: Path
    records: bytes


def kept_folder() -> Path:
    """Where the package keeps them."""
    return Path(__file__).parent / "programs"


def program_name(objective: str) -> str:
    """The file of an objective's worst program."""
    return f"{objective}.bin.gz"


def read_kept(folder: Path) -> list[Kept]:
    """
    Every kept program of a folder, in the order of the objectives.

    :raises OSError: the folder or a file of it cannot be read.
    :raises msgspec.DecodeError: the figures are no figures.
    """
    figures = msgspec.json.decode((folder / FIGURES).read_bytes(), type=list[Figure])
    kept = []
    for figure in figures:
        path = folder / program_name(figure.objective)
        kept.append(Kept(find_objective(figure.objective), figure, path, gzip.decompress(path.read_bytes())))
    return kept


def keep(folder: Path, figures: list[Figure], records: dict[str, bytes]) -> None:
    """Write programs and figures into a folder; what is there of other objectives stays."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in records.items():
        parse_trace(data, name)
        # No time stamp: the same trace is the same file.
        (folder / program_name(name)).write_bytes(gzip.compress(data, mtime=0))
    known = {figure.objective: figure for figure in (*_known_figures(folder), *figures)}
    ordered = [known[objective.name] for objective in OBJECTIVES if objective.name in known]
    # Whole or not at all: a search is ended at any moment.
    unfinished = folder / f".{FIGURES}"
    unfinished.write_bytes(msgspec.json.format(msgspec.json.encode(ordered), indent=1) + b"\n")
    unfinished.replace(folder / FIGURES)


def _known_figures(folder: Path) -> list[Figure]:
    """The figures of a folder; none where there are none, or a file of that name holds something else."""
    try:
        return msgspec.json.decode((folder / FIGURES).read_bytes(), type=list[Figure])
    except (FileNotFoundError, msgspec.DecodeError):
        return []
