"""What the tests of the provers share: tools that may be missing."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from zmm_fuzz.prove.sources import ROOT, Missing, find_clang


@pytest.fixture(scope="session", autouse=True)
def provers() -> None:
    """z3 and llvmlite; without them there is nothing to test here."""
    for name in ("z3", "llvmlite"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed (pip install 'zmm[prove]')")


@pytest.fixture(scope="session")
def clang() -> str:
    """The compiler whose IR is proved."""
    try:
        return find_clang()
    except Missing as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT
