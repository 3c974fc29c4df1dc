"""Whether a C reproducer does what it is for: it compiles, shows the bug where it is, and nothing where it is not."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from ..faults.fault import Fault, load_catalogue
from ..faults.reproduce import to_c
from ..reproduce.c_source import c_source
from ..tiers.base import Finding

_SECONDS_MAX = 120


def shown_in_c(rule: str, finding: Finding | None, library: Path, sound: Path, compiler: str = "cc") -> bool:
    """
    Compile the reproducer of a catch and run it on both libraries.

    :param rule: the rule that was broken, or the id of the fault when there is no finding.
    :param library: has the bug; ``sound`` has not.
    """
    source = c_source(finding) if finding is not None else to_c(_fault(rule), "zmm")
    with tempfile.TemporaryDirectory(prefix="zmm-truth-") as name:
        path, program = Path(name, "repro.c"), Path(name, "repro")
        path.write_text(source, "utf-8")
        done = subprocess.run([compiler, "-w", "-o", program, path, "-ldl"], capture_output=True, check=False)
        if done.returncode != 0:
            return False
        with_bug, without = _run(program, library), _run(program, sound)
    if finding is None:
        # A fault ends otherwise: at its own call without the bug, later or not at all with it.
        return with_bug != without
    return (with_bug[0], without[0]) == (1, 0)


def _fault(name: str) -> Fault:
    return next(fault for fault in load_catalogue() if fault.id == name)


def _run(program: Path, library: Path) -> tuple[int, str]:
    try:
        done = subprocess.run(
            [program, library], capture_output=True, text=True, errors="replace", timeout=_SECONDS_MAX, check=False
        )
    except subprocess.TimeoutExpired:
        return -1, "hung"
    return done.returncode, done.stderr
