"""Where the executables are that the build makes beside the Python packages."""

from __future__ import annotations

from importlib import resources
from pathlib import Path


def find_native(name: str) -> Path | None:
    """The executable of that name, in an installed copy or an editable one; None when the build has left it out."""
    beside = Path(__file__).resolve().parent.parent / "native" / name
    if beside.exists():
        return beside
    # An editable install keeps built files in the build's folder; its loader knows where.
    found = resources.files(__package__.rpartition(".")[0]).joinpath("native").joinpath(name)
    return found if isinstance(found, Path) and found.exists() else None
