"""The rules for steps of misuse: they leave the heap alone, and end as the target's level promises.

Imports accounting, misuse, op, outcome, rules.  They are entered into ``rules.RULES`` behind all others.
"""

from __future__ import annotations

from zlib import crc32

from .accounting import ONLY_OWN, TRIM_BYTES_MAX
from .misuse import Kind, Promise, applies, kinds
from .op import MISUSE, WORDS, Operation
from .outcome import DONE, SKIPPED, STATUS_WORDS
from .rules import BLOCK, CALLS, MAPPING, OFFSET, PLACE_SHIFT, STATUS, TEXT, Before, Finding, RowLike, rule


@rule("ABS-29", "A misuse of the heap in a child leaves the heap as it was.", MISUSE)
def misuse_leaves_no_trace(before: Before, _operation: Operation, row: RowLike) -> Finding:
    block = before.block
    if block is not None and (row[MAPPING] << PLACE_SHIFT | row[OFFSET] != block[0] or row[BLOCK] != block[1]):
        return "the block as it was", "another place or size"
    if row[CALLS:] != before.last[CALLS:]:
        return "every counter as it was", "another"
    return None


@rule("ABS-30", "A misuse is performed only where it means something.", MISUSE)
def misuse_applies(before: Before, operation: Operation, row: RowLike) -> Finding:
    if row[STATUS] == SKIPPED or (row[STATUS] == DONE and before.counters and _applies(before, operation)):
        return None
    return "skipped", STATUS_WORDS[row[STATUS]]


@rule("ABS-31", "A misuse ends as the level promises: with that very report, or unnoticed.", MISUSE, accounts=ONLY_OWN)
def misuse_ends_as_promised(before: Before, operation: Operation, row: RowLike) -> Finding:
    if not _applies(before, operation):
        return None
    promised = _endings(before, operation)
    if row[STATUS] == DONE and row[TEXT] in {crc32(text.encode()) for text in promised}:
        return None
    return " or ".join(sorted(promised)), "another end" if row[STATUS] == DONE else STATUS_WORDS[row[STATUS]]


def _applies(before: Before, operation: Operation) -> bool:
    return applies(operation.word, before.block, operation.a, takes_label=WORDS[operation.word].takes_label)


def _endings(before: Before, operation: Operation) -> set[str]:
    """Both levels with trims promise the same; where a block lies is theirs to choose."""
    promise = Promise("hardened", "zmm" if before.strict else "php-8.2", handlers=before.settings.storage == "handlers")
    block_bytes = before.block[1] if before.block else 0
    possible = kinds(block_bytes, TRIM_BYTES_MAX) if before.block else (Kind.SMALL,)
    return {
        promise.ending(operation.word, kind, block_bytes, operation.a, chunk_is_gone=gone)
        for kind in possible
        for gone in (False, True)
    }
