"""Engine angr: the machine code of the shipped library, looked at by another Python that has angr.

angr needs Python 3.12 or newer in the version whose arithmetic is right (10; older ones compute the overflow of a
multiplication wrongly), and much else; so it lives in an environment of its own (`ci/angr` makes `.angr`).
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

from .property import CONFIRMED, INCONCLUSIVE, REFUTED, Attempt, Property
from .sources import HERE, ROOT, Change, Missing, compile_faces, compile_library

ANGR_OLDEST = 10
# What the worker needs to know of the heap's record.
PLACES = ("free_slot", "free_tiny", "range_granules", "limit", "limit_twin", "real_size", "cached", "edition")
LEVELS = {"release": 1, "hardened": 2}
_STATUSES = {"confirmed": CONFIRMED, "refuted": REFUTED, "inconclusive": INCONCLUSIVE}
_ASK = "import logging; logging.disable(logging.CRITICAL); import angr; print(angr.__version__)"


@cache
def find_python() -> str:
    """
    An interpreter that has angr: the one that is named and no other, else the first that is found.

    Raises:
        Missing: there is none, or the one named has none.
    """
    named = os.environ.get("ZMM_ANGR_PYTHON", "")
    if named:
        if _has_angr(named):
            return named
        raise Missing(f"ZMM_ANGR_PYTHON={named} is no Python that has angr {ANGR_OLDEST}; name another, or unset it")
    for path in (str(ROOT / ".angr" / "bin" / "python"), sys.executable):
        if _has_angr(path):
            return path
    raise Missing(
        f"angr {ANGR_OLDEST} is not here; make it with ci/angr (Python 3.12 or newer), or set ZMM_ANGR_PYTHON"
    )


def _has_angr(path: str) -> bool:
    """Whether an interpreter has angr in a version that is right."""
    try:
        done = subprocess.run([path, "-I", "-c", _ASK], capture_output=True, text=True, check=False)
    except OSError:
        return False
    version = done.stdout.strip().splitlines()[-1] if done.returncode == 0 and done.stdout.strip() else ""
    number = version.split(".")[0]
    return number.isdecimal() and int(number) >= ANGR_OLDEST


def ask(one: Property, folder: Path, change: Change | None) -> Attempt:
    """
    A claim about the shipped library, or about a copy with a planted change.

    Raises:
        Missing: angr, a compiler, or the library is not here.
    """
    python = find_python()
    level, _, claim = one.claim.partition(":")
    if change is None:
        try:
            library = str(importlib.import_module("zmm").get_library(level))
        except (ImportError, OSError) as error:
            raise Missing(f"zmm's library is not here ({error}); run ci/setup") from None
    else:
        library = str(compile_library(folder, change, LEVELS[level]))
    faces = ctypes.CDLL(str(compile_faces(folder, None, 1)))
    places = {name: ctypes.c_size_t.in_dll(faces, f"place_heap_{name}").value for name in PLACES}
    task = {"root": str(ROOT), "library": library, "claim": claim, "places": places}
    command = [python, "-I", str(HERE / "machine_door.py"), json.dumps(task)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0 or not done.stdout.strip():
        said = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        return Attempt(INCONCLUSIVE, f"angr: {said}")
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    return Attempt(_STATUSES[answer["status"]], answer["remark"], answer["cases"])
