"""Faults as stand-alone C programs."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from zmm_fuzz.faults.fault import load_catalogue
from zmm_fuzz.faults.reproduce import to_c

COMPILER = shutil.which("cc") or shutil.which("gcc")
FAULTS = {fault.id: fault for fault in load_catalogue()}


@pytest.mark.skipif(COMPILER is None, reason="no C compiler")
@pytest.mark.parametrize("kind", ["zmm", "php", "malloc"])
def test_every_program_compiles(kind: str, tmp_path: Path) -> None:
    """Each fault that applies to a kind of target is a whole program for it."""
    for fault in FAULTS.values():
        if fault.applies_to(kind):
            (tmp_path / f"{fault.id}.c").write_text(to_c(fault, kind), "utf-8")
    files = sorted(map(str, tmp_path.glob("*.c")))
    done = subprocess.run([str(COMPILER), "-fsyntax-only", "-w", *files], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(COMPILER is None, reason="no C compiler")
def test_a_program_shows_its_fault(tmp_path: Path) -> None:
    """A double free on the C library's own malloc ends in the library's message."""
    source = tmp_path / "fault.c"
    source.write_text(to_c(FAULTS["T13"], "malloc"), "utf-8")
    program = tmp_path / "fault"
    subprocess.run([str(COMPILER), "-w", "-o", program, source, "-ldl"], check=True)
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    assert done.returncode < 0
    assert "double free" in done.stderr
