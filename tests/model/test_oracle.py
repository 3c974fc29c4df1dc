"""The exact model against the real thing: random programs on PHP 8.2 and on zmm, every field of every row."""

from __future__ import annotations

from itertools import takewhile

import pytest

from tests.model.conftest import Driven, Replay, operations_from, settings_from


@pytest.mark.oracle
def test_php_performs_the_scenarios_of_these_tests(replays: dict[str, Replay]) -> None:
    """Every program of this folder's tests is performed by PHP as well, when it is here."""
    if "php" not in replays:
        pytest.skip("php: not present (ci/oracle fetches it), or zmm's runner is not built")
    assert callable(replays["php"])


@pytest.mark.oracle
@pytest.mark.parametrize("seed", range(40))
def test_random_programs_are_performed_as_by_php(replays: dict[str, Replay], seed: int) -> None:
    """Limits, failing calls, gc, request ends, all kinds of realloc: not one field differs."""
    if "php" not in replays:
        pytest.skip("php: not present (ci/oracle fetches it), or zmm's runner is not built")
    replays["php"](random_heap(seed, "php-8.2"))


@pytest.mark.parametrize("edition", ["php-8.2", "zmm"])
@pytest.mark.parametrize("seed", range(20))
def test_random_programs_are_performed_as_by_zmm(replays: dict[str, Replay], seed: int, edition: str) -> None:
    """The core and the model were written from one description by different hands."""
    if "zmm" not in replays:
        pytest.skip("zmm's library and runner are not built")
    replays["zmm"](random_heap(seed, edition))


def random_heap(seed: int, edition: str) -> Driven:
    """A random program, performed by the model up to the first step that PHP leaves undefined."""
    settings = settings_from(seed)
    heap = Driven(edition, **{name: getattr(settings, name) for name in settings.__dataclass_fields__})
    labels = (60, 12, 400, 25, 1500)[seed % 5]
    requests = edition == "zmm" or settings.storage == "kernel"
    operations = operations_from(seed, 1500, labels=labels, requests=requests)
    for operation in takewhile(lambda _: heap.heap.hazard is None, operations):
        heap.do(*operation)
    assert heap.defined >= min(100, len(heap.operations) - 1)
    return heap
