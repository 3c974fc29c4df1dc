"""What the tests of the misuse catalogue share: targets that may be missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from zmm_fuzz.faults.subject import Subject
from zmm_fuzz.faults.subjects import Subjects
from zmm_fuzz.targets import TargetError


@pytest.fixture(scope="session")
def subjects() -> Iterator[Subjects]:
    """Finds targets."""
    with Subjects() as found:
        yield found


@pytest.fixture(scope="session")
def subject_of(subjects: Subjects) -> Callable[[str], Subject]:
    """The target of a name; the test is skipped when it is not here."""

    def find(name: str) -> Subject:
        try:
            return subjects.find(name)
        except TargetError as error:
            pytest.skip(f"{name}: {error}")

    return find
