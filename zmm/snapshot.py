"""A heap seen at one moment, in frozen values without addresses.  Made from what _core tells.

Chunks and huge blocks of a heap are numbered together, in order of acquisition: ``mapping_index``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ._core import BIN_COUNT

if TYPE_CHECKING:
    from ._core import _RawPlace, _RawView

PlaceKind = Literal["small", "large", "huge"]
_PLACE_KINDS: tuple[PlaceKind | None, ...] = (None, "small", "large", "huge")  # in the order of enum zmm_place_kind


@dataclass(frozen=True, slots=True)
class Usage:
    """
    The counters of a heap.

    ``size_bytes`` and ``peak_bytes`` are what PHP's ``memory_get_usage()`` and ``memory_get_peak_usage()`` tell,
    ``real_size_bytes`` and ``real_peak_bytes`` their ``true`` forms.  ``missing_fence_count`` (levels hardened and
    debug) counts long blocks that should have had an inaccessible page behind them, and got none.
    """

    size_bytes: int
    peak_bytes: int
    real_size_bytes: int
    real_peak_bytes: int
    limit_bytes: int
    chunk_count: int
    chunk_count_peak: int
    cached_chunk_count: int
    delete_boundary: int
    delete_count: int
    chunk_count_average: float
    missing_fence_count: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where a live block is.  ``page_index`` and ``slot_index`` are 0 where the kind has none."""

    kind: PlaceKind
    mapping_index: int
    page_index: int
    slot_index: int
    block_bytes: int
    offset_bytes: int


@dataclass(frozen=True, slots=True)
class Run:
    """Consecutive pages of a chunk: one large block (``bin_index`` is ``None``), or the slots of a bin."""

    page_index: int
    page_count: int
    bin_index: int | None
    free_slots: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """
    One chunk.  Bit ``i`` of ``used_map`` is set while page ``i`` is used.

    From page ``free_tail`` on all pages are free.  A cached chunk has no runs.
    """

    mapping_index: int
    number: int
    free_pages: int
    free_tail: int
    cached: bool
    used_map: int
    runs: tuple[Run, ...]

    def is_used(self, page_index: int) -> bool:
        """Whether a page is part of a run, or is the chunk's first page."""
        return bool(self.used_map >> page_index & 1)


@dataclass(frozen=True, slots=True)
class FreeSlot:
    """One free slot, by its place."""

    mapping_index: int
    offset_bytes: int


@dataclass(frozen=True, slots=True)
class Huge:
    """One huge block."""

    mapping_index: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """
    A whole heap.

    ``chunks`` are in list order from the main chunk, ``cached_chunks`` from the head, ``bins`` hold the free slots of
    each bin in list order, ``huge`` starts with the newest.
    """

    level: str
    edition: str
    usage: Usage
    chunks: tuple[Chunk, ...]
    cached_chunks: tuple[Chunk, ...]
    bins: tuple[tuple[FreeSlot, ...], ...]
    huge: tuple[Huge, ...]


def make_place(raw: _RawPlace) -> Place | None:
    """Return a place in words, ``None`` when nothing lives there."""
    kind = _PLACE_KINDS[raw[0]]
    return None if kind is None else Place(kind, *raw[1:])


def make_snapshot(level: str, edition: str, usage: Usage, raw: _RawView) -> Snapshot:
    """Return the parts that _core found as one value."""
    raw_chunks, raw_runs, raw_slots, raw_huge = raw
    runs: dict[int, list[Run]] = {}
    for mapping_index, page_index, page_count, bin_index, free_slots in raw_runs:
        run = Run(page_index, page_count, None if bin_index < 0 else bin_index, free_slots)
        runs.setdefault(mapping_index, []).append(run)
    chunks = [Chunk(*fields, runs=tuple(runs.get(fields[0], ()))) for fields in raw_chunks]
    bins: list[list[FreeSlot]] = [[] for _ in range(BIN_COUNT)]
    for bin_index, mapping_index, offset_bytes in raw_slots:
        bins[bin_index].append(FreeSlot(mapping_index, offset_bytes))
    return Snapshot(
        level,
        edition,
        usage,
        tuple(chunk for chunk in chunks if not chunk.cached),
        tuple(chunk for chunk in chunks if chunk.cached),
        tuple(tuple(slots) for slots in bins),
        tuple(Huge(*fields) for fields in raw_huge),
    )
