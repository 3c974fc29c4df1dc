"""A heap seen at one moment, frozen and readable, and the digest of it that `check` reports. Imports state."""

from __future__ import annotations

from dataclasses import dataclass
from struct import pack
from zlib import crc32

from .pages import SMALL_RUN
from .sizes import BIN_PAGES
from .state import OFFSET_MASK, PLACE_SHIFT, HeapState

WORD_MASK = 2**64 - 1


@dataclass(frozen=True, slots=True)
class RunImage:
    """A run of pages: one large block (``bin_index`` None) or the slots of a bin."""

    page_index: int
    pages: int
    bin_index: int | None


@dataclass(frozen=True, slots=True)
class ChunkImage:
    """A chunk with its runs in page order; ``free_map`` has bit i set while page i is used."""

    mapping: int
    number: int
    free_pages: int
    free_tail: int
    free_map: int
    runs: tuple[RunImage, ...]


@dataclass(frozen=True, slots=True)
class HugeImage:
    """A huge block and the slot of its list node, as mapping and offset."""

    mapping: int
    block_bytes: int
    node: tuple[int, int]


@dataclass(frozen=True, slots=True)
class BlockImage:
    """What a label holds."""

    mapping: int
    offset: int
    block_bytes: int
    requested_bytes: int


@dataclass(frozen=True, slots=True)
class HeapImage:
    """
    Everything about a heap but its counters.

    Chunks are in list order from the main one, cached chunks (by mapping) from the head, free slots
    by bin in list order as (mapping, offset), huge blocks from the newest.
    """

    chunks: tuple[ChunkImage, ...]
    cached: tuple[int, ...]
    free_slots: tuple[tuple[tuple[int, int], ...], ...]
    huge: tuple[HugeImage, ...]
    blocks: dict[int, BlockImage]


def image_of(state: HeapState) -> HeapImage:
    """The heap as it is now."""
    chunks = tuple(
        ChunkImage(
            chunk.mapping,
            chunk.number,
            chunk.free_pages,
            chunk.free_tail,
            chunk.used,
            tuple(_run_image(page, run) for page, run in sorted(chunk.runs.items())),
        )
        for chunk in state.chunks
    )
    huge = tuple(
        HugeImage(mapping, size_bytes, _place(node)) for mapping, (size_bytes, node) in reversed(state.huge.items())
    )
    blocks = {
        label: BlockImage(*_place(place), block_bytes, requested_bytes)
        for label, (place, block_bytes, requested_bytes) in sorted(state.blocks.items())
    }
    return HeapImage(
        chunks,
        tuple(chunk.mapping for chunk in reversed(state.cached)),
        tuple(tuple(_place(place) for place in reversed(slots)) for slots in state.free),
        huge,
        blocks,
    )


def digest(state: HeapState) -> int:
    """CRC-32 of the heap's structure, word by word as ``fuzz/native/abi.h`` lists them."""
    words: list[int] = []
    for chunk in state.chunks:
        words += (chunk.mapping, chunk.number, chunk.free_pages, chunk.free_tail)
        words += (chunk.used >> shift & WORD_MASK for shift in range(0, 512, 64))
        words += (page << 32 | run for page, run in sorted(chunk.runs.items()))
    words.append(0xC0)
    words += (chunk.mapping for chunk in reversed(state.cached))
    for bin_index, slots in enumerate(state.free):
        words.append(0xB000 + bin_index)
        words += reversed(slots)
    words.append(0xAA)
    words += (mapping << 48 | size_bytes for mapping, (size_bytes, _) in reversed(state.huge.items()))
    return crc32(pack(f"<{len(words)}Q", *words))


def _place(place: int) -> tuple[int, int]:
    return place >> PLACE_SHIFT, place & OFFSET_MASK


def _run_image(page: int, run: int) -> RunImage:
    if run & SMALL_RUN:
        bin_index = run ^ SMALL_RUN
        return RunImage(page, BIN_PAGES[bin_index], bin_index)
    return RunImage(page, run & 0x3FF, None)
