"""The rules for what a ZendMM-like heap counts: sizes, peaks, limit, chunks, calls.  Imports accounting, op,
outcome, rules, sizes.

They are entered into ``rules.RULES`` behind those that hold for any allocator.
"""

from __future__ import annotations

from .accounting import COUNTED, ONLY_OWN, ONLY_ZENDMM, most_bytes
from .op import Operation
from .outcome import DONE, REFUSED_LIMIT, REFUSED_SYSTEM
from .rules import (
    ASKING,
    BLOCK,
    CACHED,
    CALLS,
    CHUNKS,
    CHUNKS_PEAK,
    CRC,
    EVERYWHERE,
    LIMIT,
    PEAK,
    REAL,
    REAL_PEAK,
    SIZE,
    STATUS,
    STEPS,
    VALUE,
    Before,
    Finding,
    RowLike,
    rule,
)
from .sizes import CHUNK_BYTES, HUGE_NODE_BYTES, PAGE_BYTES, SMALL_BYTES_MAX


@rule(
    "ABS-13",
    "size is the sum of the live blocks, 24 bytes for each huge one, and what was there before.",
    accounts=ONLY_ZENDMM,
)
def size_is_the_sum(before: Before, operation: Operation, row: RowLike) -> Finding:
    if operation.word == "request_end":
        return None
    expected = before.live_bytes + before.overhead + HUGE_NODE_BYTES * before.huge_change
    if row[SIZE] == expected:
        return None
    raised = row[SIZE] - expected
    if row[STATUS] in (REFUSED_LIMIT, REFUSED_SYSTEM) and not before.strict and 0 < raised <= SMALL_BYTES_MAX:
        return None  # PHP 8.2 counts a small block before it finds that it has none
    return str(expected), str(row[SIZE])


@rule(
    "ABS-14",
    "peak is never below size, and falls only at reset_peak and request_end.",
    accounts=COUNTED,
)
def peak_is_a_peak(before: Before, operation: Operation, row: RowLike) -> Finding:
    if row[PEAK] < row[SIZE]:
        return f"{row[SIZE]} or more", str(row[PEAK])
    if row[PEAK] < before.last[PEAK] and operation.word not in ("reset_peak", "request_end"):
        return f"{before.last[PEAK]} or more", str(row[PEAK])
    return None


@rule("ABS-15", "peak is not above what was in use at one time.", accounts=COUNTED)
def peak_was_reached(before: Before, _operation: Operation, row: RowLike) -> Finding:
    last = before.last
    if row[PEAK] <= last[PEAK] or row[PEAK] == row[SIZE]:
        return None
    # A block that moves lives beside its old self for a moment.
    most = last[SIZE] + (most_bytes(before.asked) if before.own else row[BLOCK] + HUGE_NODE_BYTES)
    if row[STATUS] != DONE and not before.strict:
        most = last[SIZE] + SMALL_BYTES_MAX
    if row[PEAK] <= most:
        return None
    return f"{most} at most", str(row[PEAK])


@rule(
    "ABS-16",
    "real_size is the chunks, the cached chunks and the huge blocks.",
    EVERYWHERE - {"close"},
    accounts=COUNTED,
    of_memory=True,
)
def real_size_is_the_sum(before: Before, _operation: Operation, row: RowLike) -> Finding:
    least = (row[CHUNKS] + row[CACHED]) * CHUNK_BYTES + before.huge_bytes
    most = least - before.huge_bytes + before.huge_most_bytes
    if least <= row[REAL] <= most and row[REAL] % PAGE_BYTES == 0:
        return None
    return (str(least) if least == most else f"whole pages, {least} to {most} bytes"), str(row[REAL])


@rule(
    "ABS-17",
    "real_peak is never below real_size, and falls only at reset_peak and request_end.",
    accounts=COUNTED,
    of_memory=True,
)
def real_peak_is_a_peak(before: Before, operation: Operation, row: RowLike) -> Finding:
    if row[REAL_PEAK] < row[REAL]:
        return f"{row[REAL]} or more", str(row[REAL_PEAK])
    if row[REAL_PEAK] < before.last[REAL_PEAK] and operation.word not in (
        "reset_peak",
        "request_end",
    ):
        return f"{before.last[REAL_PEAK]} or more", str(row[REAL_PEAK])
    return None


@rule("ABS-18", "A step that acquires memory ends within the limit.", accounts=COUNTED, of_memory=True)
def limit_is_kept(before: Before, _operation: Operation, row: RowLike) -> Finding:
    last = before.last
    if row[REAL] <= last[REAL] or row[REAL] <= row[LIMIT] or last[REAL] > last[LIMIT]:
        return None
    two_mappings = row[CALLS] - last[CALLS] > 1  # gc may have given a chunk back: their number does not tell
    if before.huge_change == 1 and two_mappings and row[REAL] - CHUNK_BYTES <= row[LIMIT]:
        return None  # the list node's own chunk is weighed before the huge block is counted
    return f"{row[LIMIT]} at most", str(row[REAL])


@rule("ABS-19", "Only a request for memory acquires memory.", STEPS - ASKING, accounts=COUNTED, of_memory=True)
def only_requests_acquire(before: Before, _operation: Operation, row: RowLike) -> Finding:
    return (f"{before.last[REAL]} at most", str(row[REAL])) if row[REAL] > before.last[REAL] else None


@rule(
    "ABS-20",
    "The limit changes only when it is set, and is accepted unless more is in use.",
    accounts=COUNTED,
    of_memory=True,
)
def limit_is_set(before: Before, operation: Operation, row: RowLike) -> Finding:
    last = before.last
    if operation.word != "limit":
        return None if row[LIMIT] == last[LIMIT] else (str(last[LIMIT]), str(row[LIMIT]))
    accepts = operation.a >= last[REAL] - last[CACHED] * CHUNK_BYTES
    if before.own and row[REAL] < last[REAL]:
        accepts = accepts or bool(row[VALUE])  # freed blocks that waited were let go
    if row[VALUE] != accepts:
        return ("accepted" if accepts else "not accepted"), ("accepted" if row[VALUE] else "not accepted")
    if accepts and row[REAL] > operation.a:
        return f"{operation.a} in use at most", str(row[REAL])
    stored = operation.a if accepts else last[LIMIT]
    if row[LIMIT] == stored:
        return None
    if row[LIMIT] == last[LIMIT] and row[REAL] < last[REAL] and not before.strict:
        return None  # PHP 8.2 forgets a limit that it made room for
    return str(stored), str(row[LIMIT])


@rule(
    "ABS-21",
    "gc returns whole pages, uses no memory, and changes neither size nor peak, but that freed blocks no longer wait.",
    frozenset({"gc"}),
    accounts=COUNTED,
)
def gc_only_gives(before: Before, _operation: Operation, row: RowLike) -> Finding:
    last = before.last
    if row[VALUE] % PAGE_BYTES:
        return "whole pages", f"{row[VALUE]} bytes"
    least = last[SIZE] - (before.waiting_bytes if before.own else 0)
    most = min(last[SIZE], before.most_bytes) if before.own else last[SIZE]
    if not least <= row[SIZE] <= most or row[PEAK] != last[PEAK]:
        return f"size {last[SIZE]}, peak {last[PEAK]}", f"size {row[SIZE]}, peak {row[PEAK]}"
    if row[VALUE] > (last[CHUNKS] * CHUNK_BYTES):
        return "no more than there was", f"{row[VALUE]} bytes"
    return None


@rule(
    "ABS-22",
    "reset_peak sets both peaks to what is in use.",
    frozenset({"reset_peak"}),
    accounts=COUNTED,
)
def peaks_are_reset(_before: Before, _operation: Operation, row: RowLike) -> Finding:
    if row[PEAK] == row[SIZE] and row[REAL_PEAK] == row[REAL]:
        return None
    return f"peaks {row[SIZE]} and {row[REAL]}", f"peaks {row[PEAK]} and {row[REAL_PEAK]}"


@rule(
    "ABS-23",
    "After request_end nothing is in use but the main chunk and the cache.",
    frozenset({"request_end"}),
    accounts=COUNTED,
)
def request_leaves_nothing(_before: Before, _operation: Operation, row: RowLike) -> Finding:
    if row[SIZE] or row[PEAK]:
        return "size 0, peak 0", f"size {row[SIZE]}, peak {row[PEAK]}"
    if row[CHUNKS] != 1 or row[CHUNKS_PEAK] != 1:
        return "one chunk", f"{row[CHUNKS]} chunks"
    return None


@rule(
    "ABS-24",
    "The storage's calls are only ever added to, and their digest changes with them.",
    accounts=COUNTED,
    of_memory=True,
)
def calls_are_counted(before: Before, _operation: Operation, row: RowLike) -> Finding:
    last = before.last
    if row[CALLS] < last[CALLS]:
        return f"{last[CALLS]} calls or more", str(row[CALLS])
    if (row[CALLS] == last[CALLS]) != (row[CRC] == last[CRC]):
        return "a digest that changes with the calls", f"{row[CRC]:#010x} after {row[CALLS]} calls"
    return None


@rule(
    "ABS-25",
    "The main chunk is never given up, and chunks are counted at their most.",
    accounts=COUNTED,
    of_memory=True,
)
def chunks_are_counted(_before: Before, _operation: Operation, row: RowLike) -> Finding:
    if 1 <= row[CHUNKS] <= row[CHUNKS_PEAK]:
        return None
    return "1 <= chunks <= their peak", f"{row[CHUNKS]} chunks, peak {row[CHUNKS_PEAK]}"


@rule("ABS-26", "A heap that ends gives every mapping back.", frozenset({"close"}), accounts=COUNTED)
def everything_is_given_back(before: Before, _operation: Operation, row: RowLike) -> Finding:
    excused = 0 if before.strict else before.lost
    if row[VALUE] <= excused:
        return None
    return f"{excused} mappings left", f"{row[VALUE]} mappings left"


# ---- where accounting is its own -------------------------------------------------------------------------------------


@rule(
    "ABS-27",
    "size covers what live blocks asked for, and no more than their trims and the freed blocks that wait explain.",
    accounts=ONLY_OWN,
)
def size_is_explained(before: Before, _operation: Operation, row: RowLike) -> Finding:
    if row[SIZE] < before.live_bytes:
        return f"{before.live_bytes} or more", str(row[SIZE])
    most = before.most_bytes + before.waiting_bytes
    return None if row[SIZE] <= most else (f"{most} at most", str(row[SIZE]))


@rule(
    "ABS-28",
    "Where blocks have trims a block's size is what was asked for, to the byte.",
    ASKING,
    accounts=ONLY_OWN,
)
def block_is_as_asked(before: Before, _operation: Operation, row: RowLike) -> Finding:
    if row[STATUS] != DONE or row[BLOCK] == before.asked:
        return None
    return f"{before.asked} bytes", f"{row[BLOCK]} bytes"
