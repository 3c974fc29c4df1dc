"""What the counters in a target's rows mean, and what a block may cost where they are its own.  Imports sizes.

A heap whose accounting is its own works as ZendMM does (limit, gc, requests, storage), but each block takes up more
than was asked for (trims), lies elsewhere, and waits for a while after it was freed and still counts as used.  How
much more is for the heap to choose, up to :data:`TRIM_BYTES_MAX`; so a block's cost is known within bounds.
"""

from __future__ import annotations

from enum import Enum, auto

from .sizes import (
    BIN_BYTES,
    BIN_OF,
    BIN_PAGES,
    CHUNK_BYTES,
    HUGE_NODE_BYTES,
    LARGE_BYTES_MAX,
    PAGE_BYTES,
    SMALL_BYTES_MAX,
    block_bytes,
    round_up,
)


class Accounting(Enum):
    """What a target's rows say besides status, blocks and contents."""

    NONE = auto()  # nothing: a malloc library, which has no limit, no gc and no storage to give back
    OWN = auto()  # places, limit and counters as in ZendMM, but of blocks with trims and of freed ones that wait
    ZENDMM = auto()  # exactly what ZendMM's do


ANY = frozenset(Accounting)
COUNTED = frozenset((Accounting.OWN, Accounting.ZENDMM))
ONLY_OWN = frozenset((Accounting.OWN,))
ONLY_ZENDMM = frozenset((Accounting.ZENDMM,))

# What a block may take up beside the bytes asked for, in units of so many.
TRIM_BYTES_MAX = 32
TRIM_UNIT_BYTES = 1
# What a small request is raised to: room for a free slot's links beside its trims.
INNER_BYTES_MIN_MAX = 40
# Where a heap puts an inaccessible page behind long large blocks: so many pages they have at least.
FENCED_BYTES_MIN = 64 * PAGE_BYTES
# Freed blocks that may wait at a time: slots of each bin, and pages of large blocks.
WAITING_SLOTS_MAX = 160
WAITING_PAGES_MAX = 512
WAITING_BYTES_MAX = WAITING_SLOTS_MAX * sum(BIN_BYTES) + WAITING_PAGES_MAX * PAGE_BYTES


def may_be_huge(asked_bytes: int) -> bool:
    """Whether a block of so many bytes may have a mapping of its own once its trims are added."""
    return asked_bytes + TRIM_BYTES_MAX > LARGE_BYTES_MAX


def most_bytes(asked_bytes: int) -> int:
    """
    What a block with trims counts at most in ``size``, list node included.

    One byte more than the largest request decides: a slot stays in place down to the size of the next smaller class,
    that size included.
    """
    inner_bytes = max(asked_bytes + TRIM_BYTES_MAX, INNER_BYTES_MIN_MAX) + 1
    fence_bytes = PAGE_BYTES if FENCED_BYTES_MIN - PAGE_BYTES < inner_bytes <= LARGE_BYTES_MAX else 0
    return block_bytes(inner_bytes) + fence_bytes + (HUGE_NODE_BYTES if may_be_huge(asked_bytes) else 0)


def huge_bytes(asked_bytes: int) -> tuple[int, int]:
    """What a block counts at least and at most in ``real_size`` by a mapping of its own."""
    if not may_be_huge(asked_bytes):
        return 0, 0
    least_bytes = round_up(asked_bytes, PAGE_BYTES) if asked_bytes > LARGE_BYTES_MAX else 0
    return least_bytes, round_up(asked_bytes + TRIM_BYTES_MAX, PAGE_BYTES)


def mapped_bytes(inner_bytes: int) -> int:
    """
    The most that one request maps at once: a chunk, or the huge block itself.

    pre: 0 <= inner_bytes < 2**64
    post: __return__ >= 2097152
    post: __return__ >= inner_bytes or inner_bytes <= 2093056
    post: inner_bytes <= 2093056 or __return__ >= round_up(inner_bytes, 4096)
    """
    if inner_bytes <= LARGE_BYTES_MAX:
        return CHUNK_BYTES
    return max(CHUNK_BYTES, inner_bytes + PAGE_BYTES - 1)


def is_tried(tried_bytes: int, inner_bytes: int) -> bool:
    """Whether a refusal of a block of so many bytes, trims included, can name these bytes as what was tried."""
    if inner_bytes <= SMALL_BYTES_MAX:
        return tried_bytes == BIN_PAGES[BIN_OF[inner_bytes]] * PAGE_BYTES
    if inner_bytes <= LARGE_BYTES_MAX:
        run_bytes = round_up(inner_bytes, PAGE_BYTES)
        return tried_bytes == run_bytes or (run_bytes >= FENCED_BYTES_MIN and tried_bytes == run_bytes + PAGE_BYTES)
    # A huge block itself, or the page that its list node needs.
    return tried_bytes in (inner_bytes, PAGE_BYTES)
