"""Engine crosshair: the contracts of the model's functions and classes, followed along all paths."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

from .property import CONFIRMED, INCONCLUSIVE, REFUTED, Attempt
from .sources import HERE, MODEL_COPY, ROOT, Change, Missing

_CONFIRMED = "Confirmed over all paths"


def copy_model(folder: Path, change: Change | None) -> Path:
    """A copy of the model as a package that CrossHair can import, the open states of :mod:`.states` with it."""
    copy = folder / MODEL_COPY
    shutil.copytree(ROOT / "model", copy, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "states.py").write_text((HERE / "states.py").read_text().replace("zmm_model", MODEL_COPY))
    if change is not None:
        path = copy / change.file.removeprefix("model/")
        text = change.apply(path.read_text())
        # Tables that are made when the module is loaded could break before a contract does.
        path.write_text(text)
    return copy


def check_contract(folder: Path, target: str, change: Change | None, seconds: float) -> Attempt:
    """
    One function or class.

    Args:
        folder: receives the copy.
        target: as `sizes.bin_of`.
        change: is planted in the copy.
        seconds: for each condition.
    """
    if importlib.util.find_spec("crosshair") is None:
        raise Missing("crosshair-tool is not here (pip install 'zmm[prove]')")
    copy_model(folder, change)
    command = [sys.executable, "-m", "crosshair", "check", f"{MODEL_COPY}.{target}", "--report_all"]
    command += [f"--per_condition_timeout={seconds:.0f}", "--analysis_kind=PEP316"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    wrong = [line for line in lines if "error:" in line]
    if wrong:
        return Attempt(REFUTED, _said(wrong[0]))
    confirmed = [line for line in lines if _CONFIRMED in line]
    others = [line for line in lines if _CONFIRMED not in line]
    if others:
        return Attempt(INCONCLUSIVE, _said(others[0]), len(confirmed))
    expected = conditions(copy_text(folder, target), target)
    if len(confirmed) < expected:
        said = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        return Attempt(INCONCLUSIVE, f"{len(confirmed)} of {expected} conditions confirmed: {said}", len(confirmed))
    return Attempt(CONFIRMED, "", len(confirmed))


def copy_text(folder: Path, target: str) -> str:
    """The source of the module of a target."""
    return (folder / MODEL_COPY / f"{target.split('.', maxsplit=1)[0]}.py").read_text()


def conditions(text: str, target: str) -> int:
    """How many postconditions stand in the source of a function or class (invariants come on top)."""
    name = target.rsplit(".", maxsplit=1)[-1]
    found = re.search(rf"^(?:def|class) {name}\b.*?(?=^(?:def|class|@|[A-Z_]+ =)|\Z)", text, re.MULTILINE | re.DOTALL)
    return 0 if found is None else max(1, len(re.findall(r"^\s+post(?:\[[^\]]*\])?:", found[0], re.MULTILINE)))


def _said(line: str) -> str:
    return line.partition(": ")[2].partition(": ")[2] or line
