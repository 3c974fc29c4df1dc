"""What becomes of a finding: shrunk with the same rule, and saved in every form that reproduces it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from .compare import Divergence
from .driver import HANG_SECONDS, Driver
from .errors import explain_os_error
from .judge import Judge, Judging
from .program import Program
from .reproduce import reproducers
from .shrink import Shrinker
from .small import find_short
from .targets import TargetError, find_target
from .tiers.base import Finding
from .versus import Versus

_HANG_SECONDS = 1.0
# Programs of at most this many operations are not drawn anew. Of the time for a finding, what drawing may use before
# operations are dropped, and afterwards.
_FEW_OPERATIONS = 4
_DRAW_SHARE = 0.2
_DRAW_AGAIN_SHARE = 0.3
Judgement = Callable[[Program], Divergence | None]


class SaveError(Exception):
    """Reproducers could not be written: one line with thing and remedy."""


def shrink_finding(finding: Finding, seconds: float) -> Finding:
    """
    The same finding with the smallest program that breaks the same rule.

    A finding that cannot be repeated alone is returned as it is, and says so.
    """
    if not finding.alone:
        return finding
    try:
        with _open(finding) as judge:
            return shrink_judged(finding, judge, seconds)
    except TargetError as error:
        return replace(finding, note=f"not shrunk: {error}")


def shrink_judged(finding: Finding, judge: Judging, seconds: float) -> Finding:
    """Draws short programs that break the same rule, drops what does not matter, and draws once more around that."""
    if finding.divergence.rule == "HANG":
        return shrink_with(finding, judge.judge, seconds)  # each hang is waited for: no time for many programs
    begin = time.monotonic()
    start = _shorter(finding, judge, seconds * _DRAW_SHARE)
    shrunk = shrink_with(start, judge.judge, seconds - (time.monotonic() - begin))
    if not shrunk.alone and start is not finding:
        # What was drawn does not repeat: the program as it was found may.
        return shrink_with(finding, judge.judge, seconds - (time.monotonic() - begin))
    if len(shrunk.program) > _FEW_OPERATIONS and shrunk.alone:
        left = seconds - (time.monotonic() - begin)
        again = _shorter(shrunk, judge, min(left, seconds * _DRAW_AGAIN_SHARE))
        if again is not shrunk:
            return shrink_with(again, judge.judge, max(1.0, seconds - (time.monotonic() - begin)))
    return shrunk


def _shorter(finding: Finding, judge: Judging, seconds: float) -> Finding:
    """The finding with a shorter program that was drawn, or the finding itself."""
    if len(finding.program) <= _FEW_OPERATIONS:
        return finding
    found = find_short(judge, finding.program, finding.divergence, seconds)
    return finding if found is None else replace(finding, program=found[0], divergence=found[1], note="")


def shrink_with(finding: Finding, judge: Judgement, seconds: float) -> Finding:
    """As :func:`shrink_finding`, judged by the function given."""
    rule = finding.divergence.rule
    last: dict[str, Divergence] = {}

    def still_fails(program: Program) -> bool:
        divergence = judge(program)
        if divergence is None or divergence.rule != rule:
            return False
        last["found"] = divergence
        return True

    shrinker = Shrinker(finding.program, still_fails, seconds)
    step = finding.divergence.step
    try:
        shrunk = shrinker.run(step if 0 < step <= len(finding.program) else None)
    except ValueError:
        return replace(finding, alone=False, note="not repeated when run alone; the program is as it was found")
    # The last check need not have been of the best program, so its own divergence is asked for once more.
    divergence = judge(shrunk.program)
    if divergence is None or divergence.rule != rule:
        return replace(finding, note="did not fail in the same way twice; the program is as it was found")
    note = "" if shrunk.finished else f"the time for shrinking ended after {shrunk.check_count} checks"
    return replace(finding, program=shrunk.program, divergence=divergence, note=note)


def _open(finding: Finding) -> Judge | Versus:
    if finding.against:
        return Versus.of(finding.target, finding.against, finding.edition)
    target = find_target(finding.target)
    # Each check of a hanging program takes as long as the patience with it.
    patience = _HANG_SECONDS if finding.divergence.rule == "HANG" else HANG_SECONDS
    judge = Judge(target, finding.edition, Driver(target, finding.edition, hang_seconds=patience))
    judge.all_calls = finding.all_calls
    return judge


def finding_name(finding: Finding) -> str:
    """The stem of a finding's files: its rule, and a digest of the program so that two never share a name."""
    text = repr((finding.program.settings, finding.program.operations)).encode()
    return f"{finding.divergence.rule.lower()}-{hashlib.sha256(text).hexdigest()[:8]}"


def save_finding(finding: Finding, directory: Path) -> Finding:
    """
    Writes the reproducers: text, tape, pytest case and stand-alone C.

    Raises:
        SaveError: the disk is full, the directory not writable, ...
    """
    stem = finding_name(finding)
    written = []
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for suffix, data in reproducers(finding).items():
            path = directory / (stem + suffix)
            path.write_bytes(data)
            written.append(str(path))
    except OSError as error:
        raise SaveError(explain_os_error(error, f"save the reproducer in {directory}")) from None
    return replace(finding, files=tuple(written))
