"""From crashes to findings: repeated, judged, shrunk, told apart by rule and abstract state, saved in every form."""

from __future__ import annotations

import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from zmm_model.op import Operation

from ..compare import CLOSING, OPENING, Divergence
from ..errors import explain_os_error
from ..findings import finding_name, save_finding, shrink_finding
from ..judge import Judge
from ..program import Program, ProgramError
from ..reproduce import origin_of
from ..shrink import Shrinker
from ..tape import decode, encode, encode_file
from ..targets import TargetError
from ..text import write_text
from ..tiers.base import Finding
from .corpus import input_name, write_whole
from .engines import Engine
from .inbox import Inbox
from .life import Crash
from .signature import state_of
from .status import Reader, Violation

# Of one rule, how many crashes are followed up: more than one, because a rule may break in several states.
_FOLLOWED_OF_A_RULE = 3
_SHRINK_SECONDS_MAX = 20.0
_REPEAT_SECONDS = 60.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Harvested:
    """
    One finding of a campaign.

    ``finding`` holds the program of a tape, None for inputs of other formats. ``seen_on`` names what shows it: a
    target that the models judge, or the engine alone (a sanitizer's complaint, say). ``repeated`` is false when the
    input did nothing wrong when it was run again, which is said in ``note``. ``is_raw``: only these very bytes show it,
    not the program that they mean.
    """

    violation: Violation
    state: str
    data: bytes
    finding: Finding | None
    seen_on: str
    repeated: bool = True
    note: str = ""
    files: tuple[str, ...] = ()
    operations_before: int = 0
    is_raw: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """What makes two findings one."""
        return self.violation.rule, self.state


def harvest(
    crashes: Sequence[Crash], engine: Engine, *, target: str, seconds: float, say: Say, inbox: Inbox | None = None
) -> list[Harvested]:
    """
    The findings in a campaign's crashes: one for each rule and abstract state, the smallest first.

    Args:
        crashes: by rule, shortest first.
        engine: what found them.
        target: the library on which the models judge them.
        seconds: for all of it; what is not reached in time is reported as it was found.
        say: is told what is being done.
        inbox: is told of crashes that turn out to be a finding that is known already.
    """
    deadline = time.monotonic() + seconds
    followed: dict[str, int] = {}
    found: dict[tuple[str, str], Harvested] = {}
    for crash in crashes:
        rule = crash.violation.rule
        if followed.get(rule, 0) >= _FOLLOWED_OF_A_RULE:
            continue
        followed[rule] = followed.get(rule, 0) + 1
        left = deadline - time.monotonic()
        budget = min(_SHRINK_SECONDS_MAX, max(1.0, left / 3))
        if followed[rule] == 1:
            say(f"{rule}: {crash.violation.sentence}; shrinking for at most {budget:.0f} s")
        one = follow_up(crash, engine, target=target, seconds=budget)
        known = found.get(one.key)
        if known is None or _size(one) < _size(known):
            found[one.key] = one
        elif inbox is not None and one.data != crash.data:
            inbox.settle(crash)
    return sorted(found.values(), key=lambda one: (not one.repeated, one.violation.rule, _size(one)))


def _size(one: Harvested) -> tuple[bool, int, int]:
    return not one.repeated, len(one.finding.program) if one.finding else 0, len(one.data)


def follow_up(crash: Crash, engine: Engine, *, target: str, seconds: float) -> Harvested:
    """One crash: as a divergence of the target if the models see one, else as the engine's own complaint."""
    if engine.kind != "tape":
        return _follow_bytes(crash, engine, seconds)
    program = decode(crash.data)
    try:
        with Judge.of(target, engine.edition) as judge:
            divergence = judge.judge(program)
    except TargetError as error:
        divergence, trouble = None, str(error)
    else:
        trouble = ""
    if divergence is None:
        return _follow_tape(crash, engine, program, seconds, trouble)
    small = shrink_finding(Finding(divergence, program, target, engine.edition), seconds)
    violation = Violation(
        small.divergence.rule, small.divergence.sentence, small.divergence.step, small.divergence.operation.word
    )
    note = "" if violation.rule == crash.violation.rule else f"the engine said {crash.violation.rule}"
    return Harvested(
        violation,
        state_of(small.program, small.divergence.step, engine.edition),
        encode(small.program),
        replace(small, note="; ".join(part for part in (small.note, note) if part)),
        target,
        note=note,
        operations_before=len(program),
    )


# ---- what only the engine sees ---------------------------------------------------------------------------------------


def _follow_tape(crash: Crash, engine: Engine, program: Program, seconds: float, trouble: str) -> Harvested:
    """Shrinks with the engine as the judge."""
    last: dict[str, Violation] = {}

    def still_fails(candidate: Program) -> bool:
        try:
            violation = repeat(engine, encode(candidate))
        except ProgramError:
            return False
        if violation is None or violation.rule != crash.violation.rule:
            return False
        last["seen"] = violation
        return True

    violation, repeated, note = crash.violation, True, f"seen by {engine.path.name} only"
    data, is_raw = crash.data, False
    if trouble:
        note += f" ({trouble})"
    small = program
    try:
        shrunk = Shrinker(program, still_fails, seconds).run(violation.step or None)
        again = repeat(engine, encode(shrunk.program))
        if again is not None and again.rule == violation.rule:
            small, violation, data = shrunk.program, again, encode(shrunk.program)
    except ValueError:
        # Bytes that say the same in fewer ways: what a tape means is not all that an engine may trip over.
        repeated = is_raw = repeat(engine, crash.data) is not None
        note += "; only in its original bytes" if repeated else ", once: it did nothing wrong when run again"
    step = violation.step or len(small)
    divergence = Divergence(
        violation.rule, step, _operation(small, step), "engine", "silent", violation.sentence, violation.sentence
    )
    return Harvested(
        violation,
        state_of(small, step, engine.edition),
        data,
        Finding(divergence, small, engine.path.name, engine.edition, alone=repeated, note=note),
        engine.path.name,
        repeated,
        note,
        operations_before=len(program),
        is_raw=is_raw,
    )


def _operation(program: Program, step: int) -> Operation:
    if step < 1:
        return OPENING
    return program.operations[step - 1] if step <= len(program) else CLOSING


def _follow_bytes(crash: Crash, engine: Engine, seconds: float) -> Harvested:
    """An input of another format is made smaller by libFuzzer itself, byte by byte."""
    again = repeat(engine, crash.data)
    if again is None:
        return Harvested(
            crash.violation,
            f"{engine.target} input",
            crash.data,
            None,
            engine.path.name,
            False,
            "did nothing wrong again",
        )
    data = _minimise(engine, crash.data, again.rule, seconds)
    state = f"{engine.target} input: {re.sub(r'[0-9]+', 'N', again.sentence)}"
    return Harvested(again, state, data, None, engine.path.name)


def _minimise(engine: Engine, data: bytes, rule: str, seconds: float) -> bytes:
    with tempfile.TemporaryDirectory(prefix="zmm-fuzz-") as folder:
        path, small = Path(folder) / "input", Path(folder) / "small"
        path.write_bytes(data)
        smaller = ("-minimize_crash=1", f"-max_total_time={max(1, round(seconds))}", f"-exact_artifact_path={small}")
        # A run that ends with nothing smaller is as good as one that succeeds: the result is looked at below.
        with suppress(subprocess.TimeoutExpired):
            engine.perform([*smaller, path], Path(folder), seconds + 30)
        result = small.read_bytes() if small.is_file() else data
    if len(result) >= len(data):
        return data
    again = repeat(engine, result)
    return result if again is not None and again.rule == rule else data


def repeat(engine: Engine, data: bytes) -> Violation | None:
    """What the engine says of one input, None when nothing is wrong with it."""
    with tempfile.TemporaryDirectory(prefix="zmm-fuzz-") as folder:
        path = Path(folder) / "input"
        path.write_bytes(data)
        try:
            done = engine.perform([path], Path(folder), _REPEAT_SECONDS)
        except subprocess.TimeoutExpired:
            return Violation("HANG", "it does not come to an end")
    # Whoever kills a process that was told to repeat an input says nothing about the input.
    killed = done.returncode in (-signal.SIGKILL, -signal.SIGTERM)
    return Reader.of(done.stdout).violation() if done.returncode != 0 and not killed else None


# ---- on disk ---------------------------------------------------------------------------------------------------------


def save(one: Harvested, engine: Engine, output: Path, regressions: Path | None) -> Harvested:
    """
    Writes every form of a finding to ``output``; its program also joins ``regressions``, if given and repeatable.

    Raises:
        SaveError, OSError: the disk is full, ...
    """
    files: list[str] = []
    output.mkdir(parents=True, exist_ok=True)
    if one.finding is None or one.is_raw:
        files.append(_save_bytes(one, engine, output))
    if one.finding is not None:
        own = one.seen_on == engine.path.name
        files += _save_engines_own(one.finding, output) if own else save_finding(one.finding, output).files
    if regressions is not None and one.repeated:
        regressions.mkdir(parents=True, exist_ok=True)
        files.append(_join(one, engine, regressions))
    return replace(one, files=tuple(files))


def _save_bytes(one: Harvested, engine: Engine, folder: Path) -> str:
    """The input as it is; its name begins with the harness that it belongs to."""
    path = folder / f"{engine.target}-{one.violation.rule.lower()}-{input_name(one.data)[:8]}.input"
    write_whole(path, one.data)
    return str(path)


def _save_engines_own(finding: Finding, folder: Path) -> list[str]:
    """Text and tape; a stand-alone C file would not show what only an instrumented build sees."""
    stem = finding_name(finding)
    program = replace(finding.program, origin=origin_of(finding))
    forms = {".zmm": write_text(program).encode(), ".tape": encode_file(program)}
    for suffix, data in forms.items():
        write_whole(folder / (stem + suffix), data)
    return [str(folder / (stem + suffix)) for suffix in forms]


def _join(one: Harvested, engine: Engine, folder: Path) -> str:
    """The program as text, with its story in front of it; bytes where no program says the same."""
    if one.finding is None or one.is_raw:
        return _save_bytes(one, engine, folder)
    path = folder / f"{finding_name(one.finding)}.zmm"
    program = replace(one.finding.program, origin=f"{origin_of(one.finding)}\nstate: {one.state}")
    write_whole(path, write_text(program).encode())
    return str(path)


def explain_save(error: OSError, output: Path) -> str:
    """One line for a finding that could not be saved."""
    return explain_os_error(error, f"save the finding in {output}")


__all__ = ["Harvested", "explain_save", "follow_up", "harvest", "repeat", "save"]
