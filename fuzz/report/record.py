"""The record of a run: the JSON report of `zmm verify`, schema 1, and how it is made from the tiers' results."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping, Sequence

import msgspec

from ..text import write_text
from ..tiers.base import FAIL, INCONCLUSIVE, PASS, SKIPPED, Finding, TierResult

SCHEMA = 1


class DivergenceRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A divergence: `program` is the smallest program found that shows it, in text form."""

    rule: str
    step: int
    expected: str
    actual: str
    program: str
    operation: str = ""
    field: str = ""
    sentence: str = ""
    against: str = ""
    note: str = ""
    operations: int = 0
    files: tuple[str, ...] = ()


class TierRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What one tier did; `goal` is the number of operations it promises (0: the whole of a fixed list)."""

    name: str
    status: str
    reason: str
    programs: int
    operations: int
    seconds: float
    divergences: tuple[DivergenceRecord, ...]
    goal: int = 0
    operations_per_second: float = 0.0


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run. Readers may rely on the keys of schema 1; later schemas only add to them."""

    schema: int
    target: str
    target_version: str
    edition: str
    seed: int
    status: str
    tiers: tuple[TierRecord, ...]
    environment: dict[str, str]
    reason: str = ""
    seconds: float = 0.0


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """What a reader needs to know of the machine; no host names, no user names, no paths."""
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "system": platform.system(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "byte_order": sys.byteorder,
        **(extra or {}),
    }


def overall_status(statuses: Sequence[str]) -> str:
    """
    The status of a run: a counterexample outweighs all; then anything inconclusive.

    Tiers that were skipped for want of an optional part do not make a run inconclusive, unless nothing else ran.
    """
    if FAIL in statuses:
        return FAIL
    if INCONCLUSIVE in statuses or PASS not in statuses:
        return INCONCLUSIVE
    return PASS


def make_record(
    results: Sequence[TierResult],
    *,
    target: str,
    target_version: str,
    edition: str,
    seed: int,
    reason: str = "",
    interrupted: bool = False,
    seconds: float = 0.0,
    extra_environment: Mapping[str, str] | None = None,
) -> Record:
    """The record of a run; an interrupted run is inconclusive unless it found something."""
    status = overall_status([result.status for result in results])
    if interrupted and status == PASS:
        status = INCONCLUSIVE
    return Record(
        schema=SCHEMA,
        target=target,
        target_version=target_version,
        edition=edition,
        seed=seed,
        status=status,
        tiers=tuple(_tier_record(result) for result in results),
        environment=environment(extra_environment),
        reason=reason,
        seconds=round(seconds, 3),
    )


def _tier_record(result: TierResult) -> TierRecord:
    return TierRecord(
        name=result.name,
        status=result.status,
        reason=result.reason,
        programs=result.programs,
        operations=result.operations,
        seconds=round(result.seconds, 3),
        divergences=tuple(divergence_record(finding) for finding in result.findings),
        goal=result.goal,
        operations_per_second=round(result.operations_per_second, 1),
    )


def divergence_record(finding: Finding) -> DivergenceRecord:
    """A finding as it stands in the report."""
    divergence = finding.divergence
    return DivergenceRecord(
        rule=divergence.rule,
        step=divergence.step,
        expected=divergence.expected,
        actual=divergence.actual,
        program=write_text(finding.program),
        operation=divergence.operation.word,
        field=divergence.field,
        sentence=divergence.sentence,
        against=finding.against,
        note=finding.note,
        operations=len(finding.program.operations),
        files=finding.files,
    )


def encode(record: Record) -> bytes:
    """The record as indented JSON, ending in a newline."""
    return msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"


def decode(data: bytes) -> Record:
    """
    Reads a record back.

    Raises:
        ValueError: the bytes are not JSON, lack a key of schema 1, or belong to another schema.
    """
    try:
        record = msgspec.json.decode(data, type=Record)
    except msgspec.MsgspecError as error:
        raise ValueError(f"not a report of zmm verify: {error}") from None
    if record.schema != SCHEMA:
        raise ValueError(f"a report of schema {record.schema}; this version reads schema {SCHEMA}")
    return record


EXIT_CODES = {PASS: 0, FAIL: 1, INCONCLUSIVE: 3, SKIPPED: 3}
