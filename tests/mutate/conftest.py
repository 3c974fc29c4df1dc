"""What the tests of the mutants share: where the tree is."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the tree's root."""
    return Path(__file__).resolve().parent.parent.parent
