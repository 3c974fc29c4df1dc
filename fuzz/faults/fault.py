"""A fault: a sequence that a correct program never performs, as data read from one TOML file."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import cast

from ..errors import UserError
from .script import ScriptError, check_script

CLASSES = ("spatial", "temporal", "invalid-free", "metadata", "mixed-api", "cross-heap", "arithmetic")
LEVELS = ("fast", "release", "hardened", "debug", "none")
APPLIES = ("both", "zend", "malloc")
NEEDS = ("sized-free", "metadata-hook")
_ID = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,39}")


class FaultError(UserError):
    """A fault's file is no good: one line with the file, the place and the remedy."""


@dataclass(frozen=True, slots=True)
class Fault:
    """
    One fault of the catalogue, or of a user.

    ``exact`` is the sequence in words, ``sequence`` the same in the language of docs/faults.md. ``moment`` is the best
    moment to notice it. ``level`` is the lowest level of zmm that promises to stop it in time (``none``: none does);
    ``late`` says that the promise is a diagnosis only, after the neighbours were hit; from the level ``neutral_from``
    on the fault does no harm although nothing notices it.
    """

    id: str
    kind: str
    title: str
    sequence: str
    level: str = "none"
    applies: str = "both"
    exact: str = ""
    moment: str = ""
    source: str = ""
    notes: str = ""
    needs: tuple[str, ...] = ()
    late: bool = False
    neutral_from: str = ""

    def applies_to(self, target_kind: str) -> bool:
        """Whether a target of kind ``zmm``, ``php`` or ``malloc`` can be attacked in this way at all."""
        return self.applies == "both" or (self.applies == "malloc") == (target_kind == "malloc")

    def promised_by(self, level: str) -> bool:
        """Whether a level of zmm promises to stop it."""
        return self.level != "none" and LEVELS.index(level) >= LEVELS.index(self.level)

    def neutral_at(self, level: str) -> bool:
        """Whether a level of zmm takes the harm out of it without noticing it."""
        return bool(self.neutral_from) and LEVELS.index(level) >= LEVELS.index(self.neutral_from)


@lru_cache(maxsize=2)
def load_catalogue(*, found: bool = False) -> tuple[Fault, ...]:
    """
    All faults of the catalogue, class by class, in the order of their numbers.

    ``found`` adds those that the search has found since: they are no part of the matrix, whose rates are to be
    compared with those of others.
    """
    folder = resources.files(__package__).joinpath("catalogue")
    entries = [*folder.iterdir(), *(folder.joinpath("found").iterdir() if found else ())]
    faults = [parse_fault(entry.read_text("utf-8"), entry.name) for entry in entries if entry.name.endswith(".toml")]
    return tuple(sorted(faults, key=lambda fault: (CLASSES.index(fault.kind), fault.id)))


def load_fault(path: Path) -> Fault:
    """
    The fault of a user's file.

    :raises FaultError: it cannot be read, or is no fault; one line with the place and the remedy.
    """
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise FaultError(f"cannot read {path}: {error.strerror}; check the path") from None
    except UnicodeDecodeError:
        raise FaultError(f"{path} is not UTF-8 text; a fault is a TOML file (docs/faults.md)") from None
    return parse_fault(text, str(path))


def parse_fault(text: str, source: str) -> Fault:
    """
    The fault of a TOML text.

    Args:
        text: what the file holds.
        source: the file's name, for messages.

    :raises FaultError: it is no fault; one line with the place and the remedy.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise FaultError(f"{source}: {error}; a fault is a TOML file (docs/faults.md)") from None
    known = ("id", "class", "title", "sequence", "level", "applies", "exact", "moment", "source", "notes")
    for name in table:
        if name not in (*known, "needs", "late", "neutral_from"):
            raise FaultError(f"{source}: unknown field {name!r}; the fields are in docs/faults.md")
    fault = Fault(
        id=_text(table, "id", source),
        kind=_choice(table, "class", source, CLASSES, None),
        title=_text(table, "title", source),
        sequence=_text(table, "sequence", source),
        level=_choice(table, "level", source, LEVELS, "none"),
        applies=_choice(table, "applies", source, APPLIES, "both"),
        exact=_text(table, "exact", source, ""),
        moment=_text(table, "moment", source, ""),
        source=_text(table, "source", source, ""),
        notes=_text(table, "notes", source, ""),
        needs=_needs(table, source),
        late=_flag(table, "late", source),
        neutral_from=_choice(table, "neutral_from", source, ("", *LEVELS), ""),
    )
    if not _ID.fullmatch(fault.id):
        raise FaultError(f"{source}: id {fault.id!r} is no name; use a letter, then letters, digits, '_', '.' and '-'")
    try:
        check_script(fault.sequence)
    except ScriptError as error:
        raise FaultError(f"{source}: sequence, {error}") from None
    return fault


def _text(table: Mapping[str, object], name: str, source: str, default: str | None = None) -> str:
    value = table.get(name, default)
    if value is None:
        raise FaultError(f"{source}: the field {name!r} is missing; a fault needs id, class, title and sequence")
    if not isinstance(value, str):
        raise FaultError(f"{source}: the field {name!r} is no text; put it in quotes")
    return value


def _choice(table: Mapping[str, object], name: str, source: str, values: tuple[str, ...], default: str | None) -> str:
    value = _text(table, name, source, default)
    if value not in values:
        allowed = ", ".join(value for value in values if value)
        raise FaultError(f"{source}: {name} {value!r} is unknown; it is one of {allowed}")
    return value


def _flag(table: Mapping[str, object], name: str, source: str) -> bool:
    value = table.get(name, False)
    if not isinstance(value, bool):
        raise FaultError(f"{source}: the field {name!r} is true or false")
    return value


def _needs(table: Mapping[str, object], source: str) -> tuple[str, ...]:
    value = table.get("needs", [])
    if not isinstance(value, list) or not all(need in NEEDS for need in cast(list[object], value)):
        raise FaultError(f"{source}: needs is a list of {', '.join(NEEDS)}")
    return tuple(cast(list[str], value))
