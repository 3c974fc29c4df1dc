"""Targets as the misuse catalogue sees them: a command to run, an environment, and what they can be asked for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..targets.base import TargetError
from ..targets.native import find_native

RUNNER_VARIABLE = "ZMM_FAULTS_RUNNER"


@dataclass(frozen=True, slots=True)
class Subject:
    """
    A target under attack.

    ``command`` is what comes before the script's name. ``patience`` multiplies the time after which a run counts as
    hung. ``runs_max`` caps the runs where the answer does not depend on chance or where one run takes seconds.
    """

    name: str
    kind: str
    command: tuple[str, ...]
    version: str = ""
    level: str = ""
    environment: Mapping[str, str] = field(default_factory=dict, hash=False)
    patience: float = 1.0
    runs_max: int = 1000

    @property
    def is_zmm(self) -> bool:
        return self.kind == "zmm"


def faults_runner() -> Path:
    """
    The executable that performs faults.

    :raises TargetError: the build has left it out.
    """
    named = os.environ.get(RUNNER_VARIABLE)
    if named:
        if not os.access(named, os.X_OK):
            raise TargetError(f"{RUNNER_VARIABLE}={named} is no program; unset it, or name the zmm-faults")
        return Path(named).resolve()
    found = find_native("zmm-faults")
    if found is not None:
        return found
    raise TargetError("this installation has no zmm-faults; install zmm anew with a C compiler there")
