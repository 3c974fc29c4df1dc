"""The rules any allocator keeps: a number, a sentence and a predicate each.  Imports accounting, op, outcome, sizes.

A predicate looks at one row together with what was true before it (:class:`Before`) and answers None, or what it
expected and what it saw.  Only ABS-11 needs all live blocks at once: ``ledger.py`` decides it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol
from zlib import crc32

from .accounting import ANY, COUNTED, TRIM_UNIT_BYTES, Accounting, is_tried, mapped_bytes
from .op import LEGAL, WORDS, Operation, Settings
from .outcome import (
    BROKEN,
    DONE,
    NO_MAPPING,
    NOT_REACHED,
    PANIC,
    REFUSED_LIMIT,
    REFUSED_OVERFLOW,
    REFUSED_SYSTEM,
    SKIPPED,
    STATUS_WORDS,
)
from .sizes import CHUNK_BYTES, LARGE_BYTES_MAX, PAGE_BYTES, SIZE_MAX, SMALL_BYTES_MAX

# Fields of a row by position: rows come as plain tuples.
STATUS, CONTENTS, MAPPING, OFFSET, BLOCK, VALUE, TRIED, TEXT = range(8)
CALLS, CRC, CHUNKS, SIZE, PEAK, REAL, REAL_PEAK, LIMIT = range(8, 16)
CHUNKS_PEAK, CACHED, BOUNDARY, DELETIONS, AVERAGE = range(16, 21)
# What a row says of memory: calls, digest and chunks; both real sizes, limit, chunks at most and in the cache.
MEMORY = (slice(CALLS, CHUNKS + 1), slice(REAL, CACHED + 1))

# Targets without a limit and without counters may refuse a request this large because the machine
# is too small.
GREAT_REQUEST_BYTES = 2**26

# Places are compared as one number.
PLACE_SHIFT = 64

RowLike = tuple[Any, ...]
Finding = tuple[str, str] | None


class Before(Protocol):
    """What a predicate may know besides the row: the heap before the step, and what the step asks for."""

    counters: bool  # places and counters mean something (ZendMM-like)
    own: bool  # and they are those of blocks with trims, and of freed ones that wait
    strict: bool  # none of PHP 8.2's own quirks is excused
    settings: Settings  # of the heap
    last: RowLike  # the row before
    block: tuple[int, int, int] | None  # the label's block before: place, usable bytes, requested bytes
    asked: int  # the bytes asked for; -1 when nothing is
    expects: bool  # whether the operation applies; else it must be skipped
    live_bytes: int  # usable bytes of all live blocks after the step, if the row is true
    huge_bytes: int  # the same, of the huge ones alone
    huge_most_bytes: int  # where trims are added: at most
    huge_change: int  # huge blocks after the step less those before
    most_bytes: int  # where accounting is own: what size may be after the step at most, waiting blocks left out
    waiting_bytes: int  # and what freed blocks that may still wait add to that at most
    trim_bytes: int  # what a block may take up beside the bytes asked for: 0 but where accounting is own
    overhead: int  # what size held besides the live blocks before the step
    lost: int  # mappings that PHP's quirk may have left behind


Predicate = Callable[[Before, Operation, RowLike], Finding]


@dataclass(frozen=True, slots=True)
class Rule:
    """
    One rule.

    ``words`` are the operations it speaks of (``open`` and ``close`` included), ``accounts`` the kinds of targets.  A
    rule ``of_memory`` cannot be broken by a step on a block that leaves all that is said of memory (:data:`MEMORY`) and
    the huge blocks as they were.
    """

    number: str
    sentence: str
    predicate: Predicate
    words: frozenset[str]
    accounts: frozenset[Accounting]
    of_memory: bool


@dataclass(frozen=True, slots=True)
class Violation:
    """A row that breaks a rule."""

    rule: str
    sentence: str
    expected: str
    actual: str


RULES: dict[str, Rule] = {}

ALLOCATING = frozenset(("alloc", "calloc", "safe_alloc", "strdup", "strndup"))
RESIZING = frozenset(("realloc", "realloc2", "safe_realloc"))
ASKING = ALLOCATING | RESIZING
LABELLED = ASKING | {"free", "write"}
STEPS = LEGAL
EVERYWHERE = frozenset(WORDS) | {"open", "close"}


def rule(
    number: str,
    sentence: str,
    words: frozenset[str] = STEPS,
    *,
    accounts: frozenset[Accounting] = ANY,
    of_memory: bool = False,
) -> Callable[[Predicate], Predicate]:
    """Enters a predicate into :data:`RULES`."""

    def enter(predicate: Predicate) -> Predicate:
        RULES[number] = Rule(number, sentence, predicate, words, accounts, of_memory)
        return predicate

    return enter


# ---- status ----------------------------------------------------------------------------------------------------------


@rule("ABS-1", "A legal program neither kills its target nor makes it report corruption.", EVERYWHERE)
def survives(_before: Before, _operation: Operation, row: RowLike) -> Finding:
    status = row[STATUS]
    if status == DONE or status not in (NOT_REACHED, BROKEN, PANIC):
        return None
    return "an answer", STATUS_WORDS[status]


@rule("ABS-2", "An operation is skipped exactly when it does not apply.")
def skipped_when_void(before: Before, _operation: Operation, row: RowLike) -> Finding:
    if (row[STATUS] != SKIPPED) == before.expects:
        return None
    return ("not skipped" if before.expects else "skipped"), STATUS_WORDS[row[STATUS]]


@rule("ABS-3", "Only a request for memory can be refused.", STEPS - ASKING)
def refuses_only_requests(_before: Before, _operation: Operation, row: RowLike) -> Finding:
    if row[STATUS] in (REFUSED_LIMIT, REFUSED_SYSTEM, REFUSED_OVERFLOW):
        return "done", STATUS_WORDS[row[STATUS]]
    return None


@rule(
    "ABS-4",
    "A request whose exact size is no size is refused, and only such a one is refused for overflow.",
    ASKING,
)
def refuses_overflow(before: Before, _operation: Operation, row: RowLike) -> Finding:
    status = row[STATUS]
    if status == DONE and before.asked <= LARGE_BYTES_MAX:
        return None
    overflows = before.asked > SIZE_MAX - PAGE_BYTES + 1
    if status == DONE and overflows:
        return "a refusal", "done"
    if status == REFUSED_OVERFLOW and before.asked + before.trim_bytes <= SIZE_MAX - PAGE_BYTES + 1:
        return "no overflow", f"refused for overflow at {before.asked} bytes"
    if overflows and before.counters and status in (REFUSED_LIMIT, REFUSED_SYSTEM):
        return "refused for overflow", STATUS_WORDS[status]
    return None


@rule(
    "ABS-5",
    "A request is refused by the limit only when new memory would really exceed it.",
    ASKING,
    accounts=COUNTED,
)
def limit_refusal_has_cause(before: Before, _operation: Operation, row: RowLike) -> Finding:
    if row[STATUS] != REFUSED_LIMIT:
        return None
    needed = mapped_bytes(before.asked + before.trim_bytes)
    if row[REAL] + needed > row[LIMIT]:
        return None
    return "a limit that is near", f"{row[LIMIT] - row[REAL]} bytes were left for {before.asked}"


@rule(
    "ABS-6",
    "A request is refused by the system only when the storage was asked and gave nothing.",
    ASKING,
)
def system_refusal_has_cause(before: Before, _operation: Operation, row: RowLike) -> Finding:
    if row[STATUS] != REFUSED_SYSTEM:
        return None
    if not before.counters:
        if before.asked >= GREAT_REQUEST_BYTES:
            return None
        return "memory", f"refused {before.asked} bytes"
    if row[CALLS] > before.last[CALLS]:
        return None
    return "a call to the storage", "none was made"


@rule(
    "ABS-7",
    "A refusal names the bytes that were tried, and its text says so word for word.",
    STEPS,
    accounts=COUNTED,
)
def refusal_names_bytes(before: Before, _operation: Operation, row: RowLike) -> Finding:
    status = row[STATUS]
    if status not in (REFUSED_LIMIT, REFUSED_SYSTEM):
        if row[TRIED]:
            return "0 bytes tried", str(row[TRIED])
        if (status == REFUSED_OVERFLOW) != bool(row[TEXT]):
            return "a text with a refusal only", f"{row[TEXT]:#010x}"
        return None
    tried = row[TRIED]
    if not any(is_tried(tried, before.asked + trim) for trim in range(0, before.trim_bytes + 1, TRIM_UNIT_BYTES)):
        return f"the bytes of a request for {before.asked}", f"{tried} bytes tried"
    if status == REFUSED_LIMIT:
        text = f"Allowed memory size of {row[LIMIT]} bytes exhausted (tried to allocate {tried} bytes)"
    else:
        text = f"Out of memory (allocated {row[REAL]} bytes) (tried to allocate {tried} bytes)"
    if crc32(text.encode()) != row[TEXT]:
        return f'the text "{text}"', "another text"
    return None


# ---- blocks ----------------------------------------------------------------------------------------------------------


@rule(
    "ABS-8",
    "A label holds a block after a step exactly when the step says so, and a block moves only by a resize.",
)
def block_is_where_it_was(before: Before, operation: Operation, row: RowLike) -> Finding:
    block = before.block
    if row[STATUS] == DONE and operation.word in ASKING:
        return None if row[MAPPING] != NO_MAPPING else ("a block", "none")
    if block is None or (operation.word == "free" and row[STATUS] == DONE):
        return None if row[MAPPING] == NO_MAPPING else ("no block", "one")
    if row[MAPPING] << PLACE_SHIFT | row[OFFSET] == block[0] and row[BLOCK] == block[1]:
        return None
    return "the block as it was", "another place or size"


@rule("ABS-9", "A block is at least as large as asked.", ASKING)
def block_is_large_enough(before: Before, _operation: Operation, row: RowLike) -> Finding:
    if row[STATUS] != DONE or row[BLOCK] >= before.asked:
        return None
    return f"{before.asked} bytes or more", f"{row[BLOCK]} bytes"


@rule(
    "ABS-10",
    "A block is aligned to 8 bytes; one of whole pages begins with a page, a huge one with its mapping.",
    ASKING,
)
def block_is_aligned(before: Before, _operation: Operation, row: RowLike) -> Finding:
    if row[STATUS] != DONE:
        return None
    unit = 8
    if before.counters and row[BLOCK] > SMALL_BYTES_MAX:
        unit = PAGE_BYTES if row[BLOCK] <= LARGE_BYTES_MAX else CHUNK_BYTES
    if row[OFFSET] % unit == 0:
        return None
    return f"a multiple of {unit}", f"offset {row[OFFSET]}"


@rule("ABS-11", "Live blocks never share a byte.", ASKING)
def blocks_are_disjoint(_before: Before, _operation: Operation, _row: RowLike) -> Finding:
    """Decided by the ledger of live blocks when it enters a new one (``ledger.py``): it alone knows the neighbours."""
    return None


@rule("ABS-12", "Every byte of a block is what the program, or calloc, put there.", EVERYWHERE)
def contents_are_kept(_before: Before, _operation: Operation, row: RowLike) -> Finding:
    return ("the bytes written", "other bytes") if row[CONTENTS] else None


def rules_for(word: str, accounting: Accounting) -> tuple[Rule, ...]:
    """The rules that speak of a word on a target of that kind, in the order of their numbers."""
    return tuple(entry for entry in RULES.values() if word in entry.words and accounting in entry.accounts)
