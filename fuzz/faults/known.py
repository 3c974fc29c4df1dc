"""The primitives that are known to be open: their signatures, the level that closes them, the fault that shows them."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

from .fault import LEVELS


@dataclass(frozen=True, slots=True)
class KnownPrimitive:
    """
    A primitive that some level does not stop.

    ``fault`` is the fault of the catalogue that shows it, ``level`` the lowest level of zmm that stops it (``none``:
    none does), ``reason`` says why the levels below do not.
    """

    signature: str
    fault: str
    level: str
    reason: str

    def is_open_at(self, level: str) -> bool:
        """Whether a level of zmm is known not to stop it."""
        return LEVELS.index(level) < LEVELS.index(self.level)


@lru_cache(maxsize=1)
def load_known() -> tuple[KnownPrimitive, ...]:
    """All of them, in the order of the file."""
    text = resources.files(__package__).joinpath("primitives.toml").read_text("utf-8")
    return tuple(KnownPrimitive(**entry) for entry in tomllib.loads(text)["primitive"])


def known_at(level: str) -> frozenset[str]:
    """The signatures that a search on a level of zmm does not report again; none for other targets."""
    return frozenset(entry.signature for entry in load_known() if level and entry.is_open_at(level))
