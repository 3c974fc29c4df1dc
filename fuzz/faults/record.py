"""The record of `zmm faults`: JSON of schema 1, and how it is made from the columns."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Sequence

import msgspec

from .classify import MEANINGS, Cell
from .fault import Fault
from .measure import Column
from .rates import Rates, rates_by_class, rates_of

SCHEMA = 1
PASS, FAIL, INCONCLUSIVE = "pass", "fail", "inconclusive"
_EVIDENCE_SHOWN = 4


class RatesRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Parts of one, over the `faults` that apply."""

    faults: int
    in_time: float
    diagnosed: float
    at_once: float
    silent: float


class TargetRecord(msgspec.Struct, frozen=True, kw_only=True):
    """
    A column. `sources`: the rates of the faults themselves, where `rates` are those of variants.

    `prices` are nanoseconds (pair_ns, random_ns, large_ns), instructions and resident bytes per byte.
    """

    name: str
    kind: str
    version: str
    level: str
    rates: RatesRecord
    classes: dict[str, RatesRecord]
    controls: int
    alarms: tuple[str, ...]
    broken_promises: tuple[str, ...]
    prices: dict[str, float]
    sources: RatesRecord | None = None


class CellRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One fault on one target; `codes` has a letter for each run, the rest describes a run that ended as most did."""

    fault: str
    target: str
    code: str
    mixed: bool
    codes: str
    meaning: str
    phase: str = ""
    message: str = ""
    evidence: tuple[str, ...] = ()
    ended: str = ""
    reason: str = ""
    promise: str = ""
    command: str = ""


class FaultRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A fault as it was performed."""

    id: str
    kind: str = msgspec.field(name="class")
    title: str
    exact: str
    moment: str
    level: str
    source: str
    notes: str
    sequence: str


class FaultsRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run. Readers may rely on the keys of schema 1; later schemas only add to them."""

    schema: int
    status: str
    reason: str
    runs: int
    seed: int
    targets: tuple[TargetRecord, ...]
    faults: tuple[FaultRecord, ...]
    rows: tuple[CellRecord, ...]
    missing: dict[str, str]
    environment: dict[str, str]


def make_record(
    columns: Sequence[Column],
    faults: Sequence[Fault],
    *,
    runs: int,
    seed: int = 0,
    missing: dict[str, str] | None = None,
    version: str = "",
) -> FaultsRecord:
    """The record of the columns; ``missing`` are targets that were looked for and are not here, with the reason."""
    status, reason = _status(columns)
    return FaultsRecord(
        schema=SCHEMA,
        status=status,
        reason=reason,
        runs=runs,
        seed=seed,
        targets=tuple(_target(column) for column in columns),
        faults=tuple(_fault(fault) for fault in faults),
        rows=tuple(_cell(column, cell) for column in columns for cell in column.cells),
        missing=missing or {},
        environment={"zmm": version, "system": platform.system(), "machine": platform.machine()},
    )


def encode(record: FaultsRecord) -> bytes:
    """The record as JSON for people and programs."""
    return msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"


def _status(columns: Sequence[Column]) -> tuple[str, str]:
    """Fail before inconclusive before pass: what was seen to be wrong counts even when other results are missing."""
    for column in columns:
        if column.alarms:
            first = column.alarms[0]
            return FAIL, f"{column.subject.name}: {first.fault.id} is legal and came out as {_alarm(first)}"
    for column in columns:
        broken = column.broken_promises()
        if broken:
            names = ", ".join(cell.fault.id for cell in broken)
            return FAIL, f"{column.subject.name} promises to stop {names} and does not"
    for column in columns:
        strays = column.strays() if column.subject.is_zmm else []
        if strays:
            return (
                FAIL,
                f"{column.subject.name}: variants differ from their faults by more than 3 points: {', '.join(strays)}",
            )
    for column in columns:
        undecided = column.inconclusive()
        if undecided:
            shown = undecided[0]
            why = next((outcome.reason for outcome in shown.outcomes if outcome.code == "!"), "")
            name, count = column.subject.name, len(undecided)
            return INCONCLUSIVE, f"{name}: {count} without result, first {shown.fault.id}: {why}"
    return PASS, ""


def _alarm(cell: Cell) -> str:
    """The letter of a control, and why there is no result where there is none."""
    why = cell.shown.reason if cell.shown else ""
    return f"{cell.text} ({why})" if why else cell.text


def _rates(rates: Rates) -> RatesRecord:
    return RatesRecord(
        faults=rates.faults,
        in_time=round(rates.in_time, 4),
        diagnosed=round(rates.diagnosed, 4),
        at_once=round(rates.at_once, 4),
        silent=round(rates.silent, 4),
    )


def _target(column: Column) -> TargetRecord:
    subject = column.subject
    return TargetRecord(
        name=subject.name,
        kind=subject.kind,
        version=subject.version,
        level=subject.level,
        rates=_rates(rates_of(column.cells)),
        classes={kind: _rates(rates) for kind, rates in rates_by_class(column.cells).items()},
        controls=column.controls,
        alarms=tuple(f"{cell.fault.id}: {_alarm(cell)}" for cell in column.alarms),
        broken_promises=tuple(cell.fault.id for cell in column.broken_promises()),
        prices=column.prices,
        sources=_rates(column.sources) if column.sources else None,
    )


def _fault(fault: Fault) -> FaultRecord:
    return FaultRecord(
        id=fault.id,
        kind=fault.kind,
        title=fault.title,
        exact=fault.exact,
        moment=fault.moment,
        level=fault.level,
        source=fault.source,
        notes=fault.notes,
        sequence=fault.sequence.strip(),
    )


def _cell(column: Column, cell: Cell) -> CellRecord:
    subject = column.subject
    shown = cell.shown
    promise = ""
    if subject.is_zmm and cell.outcomes and cell.fault.promised_by(subject.level):
        undecided = any(outcome.code == "!" for outcome in cell.outcomes)
        promise = "broken" if cell in column.broken_promises() else "" if undecided else "kept"
    return CellRecord(
        fault=cell.fault.id,
        target=cell.target,
        code=cell.code,
        mixed=cell.mixed,
        codes="".join(outcome.code for outcome in cell.outcomes),
        meaning=MEANINGS[cell.code],
        phase=shown.phase if shown else "",
        message=shown.message if shown else "",
        evidence=tuple(f"{piece.kind}: {piece.text}" for piece in (shown.evidence[:_EVIDENCE_SHOWN] if shown else ())),
        ended=shown.ended if shown else "",
        reason=shown.reason if shown else "",
        promise=promise,
        command=shlex.join(["zmm", "faults", "--target", cell.target, "--fault", cell.fault.id]),
    )
