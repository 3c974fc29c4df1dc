"""Everything that can be observed of one operation, in one row; the words for its status.  Imports nothing of ours."""

from __future__ import annotations

from typing import NamedTuple

# The status of a step.
NOT_REACHED = 0  # the target died before
DONE = 1
REFUSED_LIMIT = 2
REFUSED_SYSTEM = 3
REFUSED_OVERFLOW = 4
SKIPPED = 5  # does not apply: an allocation into a live label, a write outside a live block
BROKEN = 6  # `check` found a broken invariant (its id is the row's text)
PANIC = 7  # the target reported corruption

STATUS_WORDS = {
    NOT_REACHED: "not reached",
    DONE: "done",
    REFUSED_LIMIT: "refused by the limit",
    REFUSED_SYSTEM: "refused by the system",
    REFUSED_OVERFLOW: "refused for overflow",
    SKIPPED: "skipped",
    BROKEN: "broken invariant",
    PANIC: "panic",
}

NO_MAPPING = 2**32 - 1


class Row(NamedTuple):
    """
    What one operation did.  Every field is a number, so a row packs into a fixed struct
    (``fuzz/native/abi.h``).

    A place is ``mapping`` (chunks and huge blocks of the heap numbered together in order of
    acquisition, from 0) and ``offset`` in it; ``NO_MAPPING`` and 0 when the step leaves its label
    without a block.  ``block_bytes`` is the usable size.  ``value`` is gc's bytes, limit's answer
    (1 accepted, 0 refused), check's digest, close's count of mappings never given back.
    ``refused_bytes`` is the number in "tried to allocate".  ``text_crc`` is the CRC-32 of the
    refusal's text (0: none).  ``storage_calls`` and ``storage_crc`` count and digest all calls to
    the storage so far.  ``contents`` is 0, or 1 when a block's bytes were not what they had to be.
    """

    status: int
    contents: int = 0
    mapping: int = NO_MAPPING
    offset: int = 0
    block_bytes: int = 0
    value: int = 0
    refused_bytes: int = 0
    text_crc: int = 0
    storage_calls: int = 0
    storage_crc: int = 0
    chunk_count: int = 0
    size: int = 0
    peak: int = 0
    real_size: int = 0
    real_peak: int = 0
    limit: int = 0
    chunk_count_peak: int = 0
    cached_count: int = 0
    delete_boundary: int = 0
    delete_count: int = 0
    chunk_average: float = 0.0
