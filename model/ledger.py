"""Live blocks as disjoint ranges of bytes, found quickly by place.  Imports nothing of ours."""

from __future__ import annotations

from bisect import bisect_left, insort

# Places are kept in sorted lists of a megabyte each, so that entering one stays cheap with a
# hundred thousand live.
REGION_SHIFT = 20
# A block that touches more regions than this is kept aside, in one list for all of them.
REGIONS_MAX = 64


class Ledger:
    """
    The live blocks of a heap.

    A place is ``mapping << 64 | offset``; a block is [place, place + bytes).  As long as the blocks
    in here are disjoint, a new one shares a byte with some block exactly when it does with one of
    its two neighbours.
    """

    __slots__ = ("_ends", "_great", "_regions")

    def __init__(self) -> None:
        self._ends: dict[int, int] = {}
        self._regions: dict[int, list[int]] = {}
        self._great: list[int] = []

    def clear(self) -> None:
        """Forgets every block."""
        self._ends.clear()
        self._regions.clear()
        self._great.clear()

    def enter(self, place: int, block_bytes: int) -> int | None:
        """Enters a block; the place of a block that it shares a byte with, if there is one (then it is not entered)."""
        end = place + block_bytes
        ends = self._ends
        if self._great:
            other = self._neighbour(self._great, place, end)
            if other is not None:
                return other
        first, last = place >> REGION_SHIFT, (end - 1) >> REGION_SHIFT
        regions = self._regions
        if first == last:
            starts = regions.get(first)
            if starts is None:
                regions[first] = [place]
            else:
                index = bisect_left(starts, place)
                if index < len(starts) and starts[index] < end:
                    return starts[index]
                if index and ends[starts[index - 1]] > place:
                    return starts[index - 1]
                starts.insert(index, place)
            ends[place] = end
            return None
        return self._enter_long(place, end, first, last)

    def _enter_long(self, place: int, end: int, first: int, last: int) -> int | None:
        regions = self._regions
        is_great = last - first >= REGIONS_MAX
        if is_great:
            touched = [key for key in regions if first <= key <= last]
        else:
            touched = [key for key in range(first, last + 1) if key in regions]
        for key in touched:
            other = self._neighbour(regions[key], place, end)
            if other is not None:
                return other
        self._ends[place] = end
        if is_great:
            insort(self._great, place)
        else:
            for key in range(first, last + 1):
                insort(regions.setdefault(key, []), place)
        return None

    def leave(self, place: int) -> None:
        """Takes a block out."""
        end = self._ends.pop(place)
        first, last = place >> REGION_SHIFT, (end - 1) >> REGION_SHIFT
        if last - first >= REGIONS_MAX:
            del self._great[bisect_left(self._great, place)]
            return
        for key in range(first, last + 1):
            starts = self._regions[key]
            del starts[bisect_left(starts, place)]
            if not starts:
                del self._regions[key]

    def _neighbour(self, starts: list[int], place: int, end: int) -> int | None:
        index = bisect_left(starts, place)
        if index < len(starts) and starts[index] < end:
            return starts[index]
        if index and self._ends[starts[index - 1]] > place:
            return starts[index - 1]
        return None


class Unwatched(Ledger):
    """A ledger that keeps nothing and finds nothing: for showing what only the ledger sees."""

    __slots__ = ()

    def enter(self, place: int, block_bytes: int) -> int | None:
        """Accepts every block."""
        del place, block_bytes
        return None

    def leave(self, place: int) -> None:
        """Knows of none."""
        del place
