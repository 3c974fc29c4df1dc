"""What the tests of the ground truth share: where the tree is, and the workshop's own modules (`ci/`)."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "ci"))


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT
