"""The record as JUnit XML: one test case for each tier, one failure for each divergence."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from .record import DivergenceRecord, Record, TierRecord

# Characters that XML 1.0 cannot carry, whatever the escaping.
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def to_junit(record: Record) -> bytes:
    """The report in the form that CI servers read (the xunit2 family: testsuites, testsuite, testcase)."""
    cases = [_case(record, tier) for tier in record.tiers]
    counts = {
        "tests": str(len(cases)),
        "failures": str(sum(1 for case in cases if case.find("failure") is not None)),
        "errors": "0",
        "skipped": str(sum(1 for case in cases if case.find("skipped") is not None)),
        "time": f"{sum(tier.seconds for tier in record.tiers):.3f}",
    }
    root = ElementTree.Element("testsuites", {"name": "zmm verify", **{k: counts[k] for k in counts if k != "skipped"}})
    suite = ElementTree.SubElement(root, "testsuite", {"name": f"zmm verify {record.target}", **counts})
    properties = ElementTree.SubElement(suite, "properties")
    facts = {
        "target": record.target,
        "target_version": record.target_version,
        "edition": record.edition,
        "seed": str(record.seed),
        "status": record.status,
        **record.environment,
    }
    for name, value in facts.items():
        ElementTree.SubElement(properties, "property", {"name": name, "value": _clean(value)})
    suite.extend(cases)
    ElementTree.indent(root)
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _case(record: Record, tier: TierRecord) -> ElementTree.Element:
    case = ElementTree.Element(
        "testcase",
        {"name": tier.name, "classname": f"zmm.verify.{record.target}", "time": f"{tier.seconds:.3f}"},
    )
    if tier.divergences:
        # One failure element a case is what all readers accept: the first gives the message, all are in the text.
        first = tier.divergences[0]
        message = f"{first.rule} at step {first.step}: expected {first.expected}, got {first.actual}"
        failure = ElementTree.SubElement(case, "failure", {"message": _clean(message), "type": first.rule})
        failure.text = _clean("\n\n".join(map(_story, tier.divergences)))
    elif tier.status in ("skipped", "inconclusive"):
        # JUnit has no word for "not decided"; "skipped" is the one that never reads as a success.
        ElementTree.SubElement(case, "skipped", {"message": _clean(f"{tier.status}: {tier.reason}")})
    output = ElementTree.SubElement(case, "system-out")
    output.text = f"{tier.programs} programs, {tier.operations} operations, {tier.operations_per_second:.0f} a second"
    return case


def _story(divergence: DivergenceRecord) -> str:
    return (
        f"{divergence.rule} at step {divergence.step} ({divergence.operation}): {divergence.field} expected "
        f"{divergence.expected}, got {divergence.actual}\n{divergence.sentence}\n{divergence.program}"
    )


def _clean(text: str) -> str:
    return _UNPRINTABLE.sub("?", text)
