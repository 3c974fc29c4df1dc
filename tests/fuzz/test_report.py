"""Reports: JSON keeps its schema and comes back whole; JUnit, SARIF and HTML are valid and say the same."""

from __future__ import annotations

import io
import json
import re
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import pytest
from rich.console import Console
from zmm_fuzz.compare import RULES, Divergence
from zmm_fuzz.program import Program
from zmm_fuzz.report import Record, decode, encode, make_record
from zmm_fuzz.report.html import to_html
from zmm_fuzz.report.junit import to_junit
from zmm_fuzz.report.record import EXIT_CODES, overall_status
from zmm_fuzz.report.sarif import fingerprint, to_sarif
from zmm_fuzz.report.simple import write_simple
from zmm_fuzz.report.table import print_table
from zmm_fuzz.text import parse_text
from zmm_fuzz.tiers.base import FAIL, INCONCLUSIVE, PASS, SKIPPED, Finding, TierResult
from zmm_model.op import Operation, Settings

PROGRAM = Program(
    Settings(limit_bytes=1 << 23), (Operation("strdup", 0, text=b'<&"\x01>'), Operation("free", 0), Operation("gc"))
)


def results() -> list[TierResult]:
    divergence = Divergence(
        "EXACT-SIZE", 2, Operation("free", 0), "size", "0 <b>", "8 & more", RULES["EXACT-SIZE"]
    )
    found = Finding(divergence, PROGRAM, "zmm", "zmm", files=("out/exact-size-1.zmm", "out/exact-size-1.c"))
    return [
        TierResult("lockstep", PASS, "", 10, 1000, 1000, 0.5),
        TierResult("traces", FAIL, "", 2, 500, 0, 0.25, [found]),
        TierResult("oracle", SKIPPED, "php: not present (run ci/oracle)", goal=10),
        TierResult("machine", INCONCLUSIVE, "the budget ended", 1, 5, 0, 0.1),
    ]


@pytest.fixture
def record() -> Record:
    return make_record(results(), target="zmm", target_version="0.1.0", edition="zmm", seed=7, seconds=1.5)


def test_json_has_the_fixed_keys(record: Record) -> None:
    """The keys and words of schema 1 are there, with the types that readers rely on."""
    data: dict[str, Any] = json.loads(encode(record))
    assert data["schema"] == 1
    assert set(data) >= {"schema", "target", "target_version", "edition", "seed", "status", "tiers", "environment"}
    assert data["status"] == "fail"
    for tier in data["tiers"]:
        assert set(tier) >= {"name", "status", "reason", "programs", "operations", "seconds", "divergences"}
        assert tier["status"] in ("pass", "fail", "inconclusive", "skipped")
    (divergence,) = data["tiers"][1]["divergences"]
    assert set(divergence) >= {"rule", "step", "expected", "actual", "program"}
    assert parse_text(divergence["program"]).operations == PROGRAM.operations


def test_json_comes_back_whole(record: Record) -> None:
    """decode(encode(record)) is the record; anything else is refused in one line."""
    assert decode(encode(record)) == record
    for bad in (b"", b"{}", b"[1]", encode(record).replace(b'"schema": 1', b'"schema": 2')):
        with pytest.raises(ValueError, match="report"):
            decode(bad)


@pytest.mark.parametrize(
    ("statuses", "overall"),
    [
        ([PASS, PASS], PASS),
        ([PASS, SKIPPED], PASS),
        ([PASS, INCONCLUSIVE, FAIL], FAIL),
        ([PASS, INCONCLUSIVE], INCONCLUSIVE),
        ([SKIPPED, SKIPPED], INCONCLUSIVE),
        ([], INCONCLUSIVE),
    ],
)
def test_the_overall_status(statuses: list[str], overall: str) -> None:
    """A counterexample outweighs all; nothing but skipped tiers decides nothing."""
    assert overall_status(statuses) == overall
    assert EXIT_CODES[overall] == {PASS: 0, FAIL: 1, INCONCLUSIVE: 3}[overall]


def test_an_interrupted_run_is_not_clean() -> None:
    """All tiers passed so far, but the run was cut short: inconclusive."""
    cut_short = make_record(
        results()[:1], target="zmm", target_version="", edition="zmm", seed=0, interrupted=True, reason="interrupted"
    )
    assert cut_short.status == INCONCLUSIVE


def test_junit_is_valid_and_counts(record: Record) -> None:
    """One case a tier; a divergence is a failure, skipped and inconclusive tiers are skipped cases."""
    root = ElementTree.fromstring(to_junit(record))
    assert root.tag == "testsuites"
    (suite,) = root.findall("testsuite")
    assert {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "4",
        "failures": "1",
        "errors": "0",
        "skipped": "2",
    }
    cases = {case.get("name"): case for case in suite.findall("testcase")}
    failure = cases["traces"].find("failure")
    assert failure is not None
    assert failure.get("type") == "EXACT-SIZE"
    assert "\\x01" in (failure.text or "")
    assert cases["lockstep"].find("failure") is None
    skipped = cases["oracle"].find("skipped")
    assert skipped is not None
    assert skipped.get("message") == "skipped: php: not present (run ci/oracle)"
    assert float(suite.get("time") or 0) == pytest.approx(0.85)
    properties = {prop.get("name"): prop.get("value") for prop in suite.iter("property")}
    assert properties["seed"] == "7"


def test_junit_survives_characters_that_xml_cannot_carry(record: Record) -> None:
    """Control characters in reasons are replaced, not written."""
    broken = results()
    broken[3].reason = "bad \x00 \x1b[0m \ud800 text"
    odd = make_record(broken, target="zmm", target_version="", edition="zmm", seed=0)
    ElementTree.fromstring(to_junit(odd))


def test_sarif_has_what_code_scanning_requires(record: Record) -> None:
    """Version, driver, rules, results with message, location and a stable fingerprint."""
    log = json.loads(to_sarif(record, "0.1.0"))
    assert log["version"] == "2.1.0"
    assert log["$schema"].endswith("sarif-2.1.0.json")
    (run,) = log["runs"]
    driver = run["tool"]["driver"]
    assert driver["name"] == "zmm verify"
    (rule,) = driver["rules"]
    (result,) = run["results"]
    assert rule["id"] == result["ruleId"] == "EXACT-SIZE"
    assert driver["rules"][result["ruleIndex"]] is rule
    assert rule["shortDescription"]["text"]
    assert result["level"] == "error"
    assert result["message"]["text"]
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "out/exact-size-1.zmm"
    # zmm-program, heap, strdup, free: the divergence is on the fourth line
    assert place["region"]["startLine"] == 4
    assert result["partialFingerprints"]["programAndRule/v1"] == fingerprint(record.tiers[1].divergences[0])


class Tags(HTMLParser):
    """Checks that tags are closed in order, and collects what would be fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "link", "img", "br"):
            self.open.append(tag)
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_html_is_one_page_that_needs_nothing_else(record: Record) -> None:
    """Tags are balanced, nothing is fetched, text is escaped, every divergence is there."""
    page = to_html(record, "0.1.0").decode()
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert tags.fetched == []
    assert "<script" not in page
    assert "0 &lt;b&gt;" in page
    assert "EXACT-SIZE" in page
    assert "php: not present" in page


@pytest.mark.parametrize("terminal", [False, True])
def test_the_table_says_everything(record: Record, terminal: bool) -> None:
    """Every tier, its status and its remark, each divergence as a story, and the summary line at the end."""
    out = io.StringIO()
    print_table(record, Console(file=out, force_terminal=terminal, width=160, no_color=True))
    text = out.getvalue()
    for tier in record.tiers:
        assert tier.name in text
        assert tier.status in text
    assert "php: not present (run ci/oracle)" in text
    assert "EXACT-SIZE at step 2 (free): size should be 0 <b>, is 8 & more" in text
    assert "out/exact-size-1.c" in text
    last = re.sub("\x1b\\[[0-9;]*m", "", text).rstrip().splitlines()[-1]
    assert last == "zmm verify: fail, 1,505 operations checked in 2 s, 1 divergences"
    if not terminal:
        assert "\x1b" not in text
        assert "─" not in text


def test_the_smaller_commands_begin_with_schema_and_status() -> None:
    """`schema`, `status`, then rows."""
    assert list(json.loads(write_simple("pass", rates=[1]))) == ["schema", "status", "rates"]
