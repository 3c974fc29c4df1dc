"""Engine hypothesis: ordinary property tests of the model under CrossHair's backend, proved when it says so.

The backend announces when it has followed all paths ("verified"); without that word a run that found nothing has
proved nothing, and is inconclusive.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

from .executor import Broken, Undecided
from .sources import Missing
from .subject import Subject

EXAMPLES = 200


def search(test: Callable[..., None], *strategies: Any) -> int:
    """
    Runs a test on symbolic arguments.

    Raises:
        Broken: an example fails.
        Undecided: no example failed, but not all paths were followed.
        Missing: the backend is not installed.
    """
    if importlib.util.find_spec("hypothesis_crosshair_provider") is None:
        raise Missing("hypothesis-crosshair is not here (pip install 'zmm[prove]')")
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis.internal.conjecture.engine import ConjectureRunner

    runners: list[ConjectureRunner] = []
    run = ConjectureRunner.run

    def noted(runner: ConjectureRunner) -> None:
        runners.append(runner)
        run(runner)

    options = settings(
        backend="crosshair",
        database=None,
        deadline=None,
        derandomize=True,
        max_examples=EXAMPLES,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    ConjectureRunner.run = noted  # type: ignore[method-assign, assignment]
    try:
        symbolic: Any = options(given(*strategies)(test))  # type: ignore[no-untyped-call]
        symbolic()
    except AssertionError as error:
        raise Broken(" ".join(str(error).split())) from None
    finally:
        ConjectureRunner.run = run  # type: ignore[method-assign]
    examples = sum(runner.call_count for runner in runners)
    if not any(runner._verified_by_backend for runner in runners):
        raise Undecided(f"no counterexample in {examples} examples, but not all paths were followed")
    return examples


def product(subject: Subject) -> int:
    """Exact, or refused: for any three sizes."""
    from hypothesis import strategies as st

    sizes = subject.part("sizes")
    size = st.integers(0, sizes.SIZE_MAX)

    def test(count: int, size_bytes: int, offset_bytes: int) -> None:
        found = sizes.safe_size(count, size_bytes, offset_bytes)
        exact = count * size_bytes + offset_bytes
        assert (found is None) == (exact >= 2**64), f"{count} * {size_bytes} + {offset_bytes}"
        assert found is None or found == exact, f"{count} * {size_bytes} + {offset_bytes}"

    return search(test, size, size, size)


def kept_bytes(subject: Subject) -> int:
    """What a resize keeps is the least of what there is, what fits, and what is asked for."""
    from hypothesis import strategies as st

    contents = subject.part("contents")
    size = st.integers(0, 2**64 - 1)

    def test(old: int, new: int, copy: int) -> None:
        kept = contents.kept_bytes(old, new, copy)
        assert kept in (old, new, copy), f"{old} {new} {copy}"
        assert kept <= old, f"{old} {new} {copy}"
        assert kept <= new, f"{old} {new} {copy}"
        assert kept <= copy, f"{old} {new} {copy}"

    return search(test, size, size, size)


def order(subject: Subject) -> int:
    """More bytes never get a smaller block (beyond the bins, where it is arithmetic alone)."""
    from hypothesis import strategies as st

    sizes = subject.part("sizes")
    size = st.integers(sizes.SMALL_BYTES_MAX + 1, 2**63)

    def test(one: int, more: int) -> None:
        assert sizes.block_bytes(one) <= sizes.block_bytes(one + more), f"{one} {more}"

    return search(test, size, st.integers(0, 2**62))


def machine(subject: Subject) -> int:
    """The exact model's heap as a state machine: whatever it does, `size` is the sum of its blocks."""
    from hypothesis import strategies as st

    op, sizes = subject.part("op"), subject.part("sizes")

    def test(steps: list[tuple[bool, int]]) -> None:
        state = subject.part("state").HeapState(op.Settings(), "zmm")
        subject.part("request").begin(state, op.Settings())
        supply = subject.part("supply")
        live: list[tuple[int, int]] = []
        own_bytes = state.size  # the storage's record
        for is_free, size in steps:
            if is_free and live:
                supply.free(state, *live.pop())
            else:
                live.append(supply.alloc(state, size))
            assert state.size == own_bytes + sum(block for _, block in live), f"{steps}"
            assert state.peak >= state.size, f"{steps}"

    step = st.tuples(st.booleans(), st.integers(0, sizes.LARGE_BYTES_MAX))
    return search(test, st.lists(step, min_size=1, max_size=3))
