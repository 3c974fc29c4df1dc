"""A finding as a pytest case that passes once the bug is gone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..text import write_text

if TYPE_CHECKING:
    from ..tiers.base import Finding

_CASE = '''\
"""{title}"""

from zmm_fuzz.{module} import {judge}
from zmm_fuzz.text import parse_text

PROGRAM = """\\
{program}"""


def test_{name}() -> None:
    """{sentence}"""
    with {judge}.of({arguments}) as judge:
        divergence = judge.judge(parse_text(PROGRAM))
    assert divergence is None, divergence.story()
'''


def pytest_case(finding: Finding) -> str:
    """The source of a test module with one test."""
    arguments = [finding.target, finding.edition]
    if finding.against:
        arguments.insert(1, finding.against)
    program = write_text(finding.program)
    return _CASE.format(
        title=_inert(f"A program that broke {finding.divergence.rule} on {finding.target}."),
        module="versus" if finding.against else "judge",
        judge="Versus" if finding.against else "Judge",
        program=_inert(program),
        name=re.sub(r"[^a-z0-9]+", "_", finding.divergence.rule.lower()).strip("_"),
        sentence=_inert(finding.divergence.sentence),
        arguments=", ".join(f'"{_inert(argument)}"' for argument in arguments),
    )


def _inert(text: str) -> str:
    """Text that means itself inside double or triple double quotes."""
    return text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"').replace("\0", "")
