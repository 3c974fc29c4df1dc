"""The little statistics that a board needs: an interval for a rate, a band for repeated measurements."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import NamedTuple

_Z95 = 1.959964


class Interval(NamedTuple):
    """A rate and the bounds of its 95 % interval (Wilson's, which is right for rates near 1 and small samples)."""

    rate: float
    low: float
    high: float


def interval(hits: int, of: int) -> Interval:
    """The rate of ``hits`` among ``of``; of nothing at all nothing is known."""
    if of <= 0:
        return Interval(0.0, 0.0, 1.0)
    rate = hits / of
    spread = _Z95 * sqrt(rate * (1 - rate) / of + _Z95**2 / (4 * of**2))
    middle, whole = rate + _Z95**2 / (2 * of), 1 + _Z95**2 / of
    return Interval(rate, max(0.0, (middle - spread) / whole), min(1.0, (middle + spread) / whole))


def band(values: Sequence[float]) -> tuple[float, float, float]:
    """The 5 %, 50 % and 95 % quantiles, interpolated; zeros when there is no value."""
    if not values:
        return 0.0, 0.0, 0.0
    ordered = sorted(values)

    def at(share: float) -> float:
        place = share * (len(ordered) - 1)
        low = int(place)
        high = min(low + 1, len(ordered) - 1)
        return ordered[low] + (ordered[high] - ordered[low]) * (place - low)

    return at(0.05), at(0.5), at(0.95)
