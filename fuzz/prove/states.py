"""The model's state changes on states that are open: a state is what the constructor is given, so proofs are inductive.

CrossHair builds a class through its constructor.  The heap of the model begins with one chunk and no blocks; here any
counters that keep the invariant are a beginning, and each change must keep it.
"""

from __future__ import annotations

from dataclasses import dataclass

from zmm_model.request import set_limit
from zmm_model.state import HeapState
from zmm_model.supply import _count


@dataclass
class Counters:
    """
    The counters of a heap with nothing in its cache.

    inv: 0 <= self.size <= self.peak < 2**63
    inv: 0 <= self.real_size <= self.real_peak < 2**63
    inv: 0 <= self.limit < 2**64
    """

    size: int
    peak: int
    real_size: int
    real_peak: int
    limit: int
    is_php: bool

    @property
    def cached(self) -> list[object]:
        """Nothing."""
        return []

    def count(self, more_bytes: int) -> None:
        """
        A block is handed out.

        pre: 0 <= more_bytes and self.size + more_bytes < 2**62
        post: self.size == __old__.self.size + more_bytes
        post: self.peak == max(__old__.self.peak, self.size)
        post: self.real_size == __old__.self.real_size
        """
        _count(self, more_bytes)  # type: ignore[arg-type]

    def acquire(self, more_bytes: int) -> None:
        """
        A mapping is acquired.

        pre: 0 <= more_bytes and self.real_size + more_bytes < 2**62
        post: self.real_size == __old__.self.real_size + more_bytes
        post: self.real_peak == max(__old__.self.real_peak, self.real_size)
        post: self.size == __old__.self.size
        """
        HeapState.acquired(self, more_bytes)  # type: ignore[arg-type]

    def set_limit(self, limit_bytes: int) -> bool:
        """
        The limit is set.

        pre: 0 <= limit_bytes < 2**64
        post: __return__ == (limit_bytes >= self.real_size)
        post: self.limit == (limit_bytes if __return__ else __old__.self.limit)
        """
        return set_limit(self, limit_bytes)  # type: ignore[arg-type]
