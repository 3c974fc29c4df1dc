"""The record of `zmm faults --search`: JSON of schema 1, its lines for people, a primitive as a fault's file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import msgspec

from .fault import CLASSES
from .search import ATTACKS_MIN, Found, Searched

SCHEMA = 1
PASS, FAIL, INCONCLUSIVE = "pass", "fail", "inconclusive"
_CLASS_OF = {
    "free-freed": "temporal",
    "realloc-freed": "temporal",
    "write-freed": "temporal",
    "copy-freed": "temporal",
    "free-interior": "invalid-free",
    "free-foreign": "invalid-free",
    "free-wrong-size": "invalid-free",
    "free-crossed": "cross-heap",
    "overflow": "spatial",
    "underflow": "spatial",
}


class FoundRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A primitive: `letters` of full runs as in the matrix, `shown` of them with the harm; `script` is the smallest."""

    signature: str
    impact: str
    letters: str
    shown: int
    attacks: int
    seconds: float
    engine: str
    message: str
    script: str


class SearchRow(msgspec.Struct, frozen=True, kw_only=True):
    """One target. `known` counts how often each primitive was met that is known to be open, `unsteady` what the
    catalogue's own protocol did not show again."""

    target: str
    version: str
    level: str
    status: str
    reason: str
    attacks: int
    seconds: float
    letters: dict[str, int]
    known: dict[str, int]
    unsteady: dict[str, int]
    found: tuple[FoundRecord, ...]


class SearchRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The whole search."""

    schema: int
    status: str
    seed: int
    rows: tuple[SearchRow, ...]


def row_of(searched: Searched) -> SearchRow:
    """The row of a target: what was found fails it, too few attacks say nothing."""
    status, reason = PASS, ""
    if searched.found:
        status, reason = FAIL, f"{len(searched.found)} primitives that are not known"
    elif searched.attacks < ATTACKS_MIN:
        status = INCONCLUSIVE
        reason = f"{searched.attacks} attacks are too few to say anything (give more with --time-budget)"
    elif searched.letters["!"] * 2 > searched.attacks:
        status, reason = INCONCLUSIVE, "most attacks could not be performed"
    return SearchRow(
        target=searched.subject.name,
        version=searched.subject.version,
        level=searched.subject.level,
        status=status,
        reason=reason,
        attacks=searched.attacks,
        seconds=round(searched.seconds, 1),
        letters=dict(sorted(searched.letters.items())),
        known=dict(sorted(searched.known.items())),
        unsteady=dict(sorted(searched.unsteady.items())),
        found=tuple(_found(one) for one in searched.found.values()),
    )


def _found(found: Found) -> FoundRecord:
    return FoundRecord(
        signature=found.primitive.signature,
        impact=found.primitive.impact,
        letters=found.letters,
        shown=found.shown,
        attacks=found.attacks,
        seconds=round(found.seconds, 1),
        engine=found.engine,
        message=found.message,
        script=found.script,
    )


def record_of(rows: Sequence[SearchRow], seed: int) -> SearchRecord:
    """The record: failed when any row did, inconclusive when none says anything."""
    states = {row.status for row in rows}
    status = FAIL if FAIL in states else PASS if PASS in states else INCONCLUSIVE
    return SearchRecord(schema=SCHEMA, status=status, seed=seed, rows=tuple(rows))


def found_lines(found: Found) -> Iterator[str]:
    """A primitive for people: what it is, how it was found, its smallest script."""
    when = f"attack {found.attacks}, {found.seconds:.0f} s, {found.engine}"
    yield f"{found.primitive.signature}  ({found.letters}, {when})"
    if found.message:
        yield f"    later: {found.message}"
    yield from (f"    {line}" for line in found.script.splitlines())


def row_lines(row: SearchRow) -> Iterator[str]:
    """A target's result for people."""
    letters = " ".join(f"{letter}:{count}" for letter, count in row.letters.items())
    rate = row.attacks / row.seconds if row.seconds else 0.0
    yield f"{row.target}: {row.attacks} attacks in {row.seconds:.0f} s ({rate:.0f}/s; {letters})"
    for signature, count in row.known.items():
        yield f"    known to be open: {signature} (met {count} times)"
    for signature, count in row.unsteady.items():
        yield f"    not seen again in full runs: {signature} ({count} times)"
    result = f"{row.status}: {row.reason}" if row.reason else f"{row.status}: nothing new"
    yield f"{row.target}: {result}"


def file_name(signature: str) -> str:
    """A file's name for a primitive."""
    return re.sub(r"[^a-z0-9]+", "-", signature).strip("-") + ".toml"


def to_toml(found: Found, target: str) -> str:
    """A found primitive as a fault's file: ready for `zmm faults --fault FILE`, and for the catalogue."""
    first = found.primitive.misuses[0].partition(" ")[0] if found.primitive.misuses else "free-freed"
    kind = _CLASS_OF.get(first, CLASSES[0])
    needs = 'needs = ["sized-free"]\n' if "free-wrong-size" in found.primitive.signature else ""
    name = file_name(found.primitive.signature).removesuffix(".toml")[:39]
    return (
        f'id = "{name}"\nclass = "{kind}"\ntitle = "Found by search: {found.primitive.signature}"\n'
        f'level = "none"\napplies = "zend"\n{needs}'
        f'source = "zmm faults --search on {target}"\n'
        f'notes = "{found.shown} of {len(found.letters)} full runs showed the harm."\n'
        f'sequence = """\n{found.script}"""\n'
    )
