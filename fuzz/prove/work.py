"""One property in a process of its own: the sources as they are, then the copy with the planted change."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .catalogue import find
from .property import CONFIRMED, INCONCLUSIVE, REFUTED, SKIPPED, Attempt, Property
from .sources import Inapplicable, Missing, need_sources

CONDITION_SECONDS = 120.0


def attempt(one: Property, folder: Path, compiled: str | None, *, is_planted: bool) -> Attempt:
    """The property on the sources, or on a copy with its planted change."""
    started = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        need_sources()
        found = _decide(one, folder, compiled, is_planted=is_planted)
    except Missing as error:
        found = Attempt(SKIPPED, str(error))
    except Inapplicable as error:
        found = Attempt(INCONCLUSIVE, str(error))
    seconds = round(time.monotonic() - started, 2)
    return Attempt(found.status, found.remark, found.cases, seconds)


def _decide(one: Property, folder: Path, compiled: str | None, *, is_planted: bool) -> Attempt:
    change = one.change if is_planted else None
    if one.engine == "crosshair":
        from .contracts import check_contract

        return check_contract(folder, one.claim, change, min(CONDITION_SECONDS, one.seconds))
    if one.engine == "angr":
        from .machine import ask

        return ask(one, folder, change)
    try:
        from .executor import Broken, Undecided
        from .memory import Unsupported
        from .paths import TooManyPaths
        from .subject import Subject
    except ModuleNotFoundError as error:
        raise Missing(f"{error.name} is not here (pip install 'zmm[prove]')") from None
    module, _, name = one.claim.partition(":")
    try:
        claim: Callable[[Any], int] = getattr(importlib.import_module(f".{module}", __package__), name)
        cases = claim(Subject(folder, change, compiled))
    except Broken as broken:
        return Attempt(REFUTED, f"{broken}{_example(broken.model)}")
    except (Undecided, Unsupported, TooManyPaths) as error:
        return Attempt(INCONCLUSIVE, f"{type(error).__name__}: {error}")
    except ModuleNotFoundError as error:
        raise Missing(f"{error.name} is not here (pip install 'zmm[prove]')") from None
    if cases == 0:
        return Attempt(INCONCLUSIVE, "not one path was found")
    return Attempt(CONFIRMED, "", cases)


def _example(model: Any) -> str:
    """The inputs of a counterexample, addresses left out."""
    if model is None:
        return ""
    rows = sorted((str(one), model[one]) for one in model.decls() if not str(one).startswith(("address of", "@")))
    return ": " + ", ".join(f"{name} = {value}" for name, value in rows[:8]) if rows else ""


def prove_one(send: Callable[[Any], None], name: str, folder: str, compiled: str) -> None:
    """
    For a worker process: sends ("sound", attempt) and, when that is confirmed, ("planted", attempt).

    Args:
        send: takes what is to be told.
        name: of the property.
        folder: an empty one, for copies and compiled files.
        compiled: a file with the IR of the sound core, or "".
    """
    one = find(name)
    text = Path(compiled).read_text() if compiled else None
    sound = attempt(one, Path(folder) / "sound", text, is_planted=False)
    send(("sound", sound))
    if sound.status == CONFIRMED:
        send(("planted", attempt(one, Path(folder) / "planted", text, is_planted=True)))
