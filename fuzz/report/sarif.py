"""The record as SARIF 2.1.0, the subset that code scanning reads: one run, one result for each divergence."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from .record import DivergenceRecord, Record

SCHEMA_URI = "https://json.schemastore.org/sarif-2.1.0.json"


def to_sarif(record: Record, version: str) -> bytes:
    """
    The report as SARIF. ``version`` is that of the tool.

    Results point at the saved program; without one (nothing could be written) at a name made from rule and program.
    Fingerprints are made from the rule and the smallest program, so the same bug is the same alert on every run.
    """
    found = [(tier.name, divergence) for tier in record.tiers for divergence in tier.divergences]
    rules = {divergence.rule: divergence.sentence for _, divergence in found}
    index = {rule: number for number, rule in enumerate(rules)}
    run: dict[str, Any] = {
        "tool": {
            "driver": {
                "name": "zmm verify",
                "version": version,
                "rules": [
                    {
                        "id": rule,
                        "name": rule.title().replace("-", ""),
                        "shortDescription": {"text": sentence or rule},
                        "defaultConfiguration": {"level": "error"},
                    }
                    for rule, sentence in rules.items()
                ],
            }
        },
        "results": [_result(tier, divergence, index[divergence.rule]) for tier, divergence in found],
        "invocations": [{"executionSuccessful": True, "properties": {"status": record.status, "seed": record.seed}}],
        "properties": {
            "target": record.target,
            "targetVersion": record.target_version,
            "edition": record.edition,
            "tiers": [{"name": t.name, "status": t.status, "reason": t.reason} for t in record.tiers],
        },
    }
    log = {"$schema": SCHEMA_URI, "version": "2.1.0", "runs": [run]}
    return msgspec.json.format(msgspec.json.encode(log), indent=2) + b"\n"


def fingerprint(divergence: DivergenceRecord) -> str:
    """What makes two divergences the same alert: the rule and the smallest program."""
    return hashlib.sha256(f"{divergence.rule}\n{divergence.program}".encode()).hexdigest()[:32]


def _result(tier: str, divergence: DivergenceRecord, rule_index: int) -> dict[str, Any]:
    place = next((name for name in divergence.files if name.endswith(".zmm")), "")
    uri = place or f"{divergence.rule}-{fingerprint(divergence)[:8]}.zmm"
    message = (
        f"{tier}: step {divergence.step} ({divergence.operation}): {divergence.field} should be "
        f"{divergence.expected}, is {divergence.actual}"
    )
    return {
        "ruleId": divergence.rule,
        "ruleIndex": rule_index,
        "level": "error",
        "message": {"text": message},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": uri.lstrip("/")},
                    "region": {"startLine": _line_of_step(divergence), "snippet": {"text": divergence.program}},
                }
            }
        ],
        "partialFingerprints": {"programAndRule/v1": fingerprint(divergence)},
    }


def _line_of_step(divergence: DivergenceRecord) -> int:
    """The line of the program's text that holds the step; the heap line for the opening, the last for the closing."""
    seen = 0
    lines = divergence.program.splitlines() or [""]
    for number, line in enumerate(lines, start=1):
        words = line.split("#", 1)[0].split()
        if not words or words[0] in ("zmm-program", "heap"):
            continue
        seen += 1
        if seen == divergence.step:
            return number
    return len(lines) if divergence.step else 1
