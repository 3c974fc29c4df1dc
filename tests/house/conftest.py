"""What the tests of the house share: where the tree is, and the workshop's own modules (``ci/``)."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(_ROOT / "ci"))


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return _ROOT


@pytest.fixture(scope="session")
def files() -> list[str]:
    """Every file of the tree, relative to it."""
    import tree

    return tree.tree_files(_ROOT)
