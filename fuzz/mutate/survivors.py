"""The mutants that are known to survive, each with its reason: no difference can be seen, or a gap in the suite."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError
from .mutant import Mutant, squeeze

FILE = Path(__file__).parent / "survivors.toml"
EQUIVALENT, GAP = "equivalent", "gap"


@dataclass(frozen=True, slots=True)
class Survivor:
    """A known survivor: the change, whether it is equivalent or a gap, and why."""

    key: str
    file: str
    function: str
    old: str
    new: str
    kind: str
    reason: str
    level: str = ""


def read_survivors(path: Path = FILE) -> dict[str, Survivor]:
    """
    The known survivors by the key of their mutant; a file that says nothing knows none.

    Raises:
        UserError: the file is not what it has to be; the message names the entry.
    """
    if not path.exists():
        return {}
    try:
        given = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"{path}: {error}; repair it, or name another with --survivors") from None
    tables = given.pop("survivor", [])
    if given or not isinstance(tables, list):
        raise UserError(f"{path} has more than entries [[survivor]]; repair it, or name another with --survivors")
    found: dict[str, Survivor] = {}
    for index, table in enumerate(tables, 1):
        try:
            one = Survivor(**table)
        except TypeError as error:
            raise UserError(
                f"{path}: entry {index}: {error}; it has key, file, function, old, new, kind, reason"
            ) from None
        if any(not isinstance(value, str) for value in table.values()):
            raise UserError(f"{path}: entry {index}: every value is a text")
        if one.kind not in (EQUIVALENT, GAP) or not one.reason.strip():
            raise UserError(f"{path}: entry {index}: kind is {EQUIVALENT} or {GAP}, and the reason says why")
        found[one.key] = one
    return found


def stale(known: Mapping[str, Survivor], mutants: Sequence[Mutant]) -> list[Survivor]:
    """The entries whose mutant no longer exists: the line has changed, so the reason is to be thought about again."""
    files = {mutant.file for mutant in mutants}
    keys = {mutant.key for mutant in mutants}
    return [one for key, one in known.items() if one.file in files and key not in keys]


def as_toml(mutant: Mutant, kind: str, reason: str) -> str:
    """An entry for the file, to be completed by hand."""
    rows = {
        "key": mutant.key,
        "file": mutant.file,
        "function": mutant.function,
        "old": squeeze(mutant.old),
        "new": squeeze(mutant.new),
        "kind": kind,
        "reason": reason,
    }
    return "[[survivor]]\n" + "".join(f"{name} = {_quote(value)}\n" for name, value in rows.items())


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
