"""The worst programs known: recorded traces beside their figures, one for each objective."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ..recorded import parse_trace
from .objectives import Objective, find_objective
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


def read_kept(folder: Path) -> list[Kept]:
    """
    Every kept program of a folder, in the order of the objectives.

    :raises OSError: the folder or a file of it cannot be read.
    :raises msgspec.DecodeError: the figures are no figures.
    """
    figures = msgspec.json.decode((folder / FIGURES).read_bytes(), type=list[Figure])
    kept = []
    for figure in figures:
        path = folder / f"{figure.objective}.bin.gz"
        kept.append(Kept(find_objective(figure.objective), figure, path, gzip.decompress(path.read_bytes())))
    return kept


def keep(folder: Path, figures: list[Figure], records: dict[str, bytes]) -> None:
    """Write programs and figures into a folder; what is there under other names stays."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in records.items():
        parse_trace(data, name)
        # No time stamp: the same trace is the same file.
        (folder / f"{name}.bin.gz").write_bytes(gzip.compress(data, mtime=0))
    (folder / FIGURES).write_bytes(msgspec.json.format(msgspec.json.encode(figures), indent=1) + b"\n")
