"""Says where a trace and a prediction first part, and which rule that breaks: exact comparison of packed rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from zmm_model import outcome
from zmm_model.misuse import known_endings
from zmm_model.op import MISUSE, Operation
from zmm_model.outcome import NO_MAPPING, STATUS_WORDS, Row

from .wire import ROW

ROW_BYTES = ROW.size
PAGE_BYTES = 4096

# The rules of the exact comparison, one sentence each. The rules of the abstract model have their own table.
RULES: dict[str, str] = {
    "EXACT-PLACE": "A block lies at the chunk, page and slot that the edition chooses.",
    "EXACT-BLOCK": "A block's usable size is that of its bin, run or mapping.",
    "EXACT-SIZE": "`size` is the sum of the blocks handed out.",
    "EXACT-PEAK": "`peak` is the largest `size` so far, with realloc's exceptions.",
    "EXACT-REAL": "`real_size` and `real_peak` count the chunks, cached chunks and huge blocks.",
    "EXACT-LIMIT": "A limit is accepted or not, and stored or not, as the edition does.",
    "EXACT-CHUNKS": "Chunks are counted, cached and deleted by the edition's policy.",
    "EXACT-GC": "gc returns the bytes of the pages it collected.",
    "EXACT-STATE": "Chunk order, page maps, free lists and huge blocks are those of the edition.",
    "EXACT-LEAK": "A closed heap has given every mapping back.",
    "EXACT-STORAGE": "The storage sees the same calls, in the same order, with the same sizes and answers.",
    "EXACT-REFUSAL": "An operation is refused exactly when, and for as many bytes as, the edition refuses it.",
    "EXACT-TEXT": "A refusal has the edition's text.",
    "EXACT-STATUS": "An operation ends as predicted (done, skipped).",
    "MISUSE": "A misuse of the heap is refused, or ends as the level promises, with the heap as it was.",
    "CONTENTS": "Every byte of a block is what the program put there.",
    "INVARIANT": "The heap's own check finds every invariant in place.",
    "PANIC": "A legal program never meets a corrupted heap.",
    "DEATH": "A legal program does not kill the process.",
    "HANG": "Every operation comes to an end.",
}

# Field by field, in the order in which a difference tells most.
_FIELDS: tuple[tuple[str, str], ...] = (
    ("contents", "CONTENTS"),
    ("status", "EXACT-STATUS"),
    ("refused_bytes", "EXACT-REFUSAL"),
    ("text_crc", "EXACT-TEXT"),
    ("mapping", "EXACT-PLACE"),
    ("offset", "EXACT-PLACE"),
    ("block_bytes", "EXACT-BLOCK"),
    ("size", "EXACT-SIZE"),
    ("peak", "EXACT-PEAK"),
    ("real_size", "EXACT-REAL"),
    ("real_peak", "EXACT-REAL"),
    ("limit", "EXACT-LIMIT"),
    ("chunk_count", "EXACT-CHUNKS"),
    ("chunk_count_peak", "EXACT-CHUNKS"),
    ("cached_count", "EXACT-CHUNKS"),
    ("delete_boundary", "EXACT-CHUNKS"),
    ("delete_count", "EXACT-CHUNKS"),
    ("chunk_average", "EXACT-CHUNKS"),
    ("storage_calls", "EXACT-STORAGE"),
    ("storage_crc", "EXACT-STORAGE"),
    ("value", "EXACT-STATE"),
)
_VALUE_RULES = {"gc": "EXACT-GC", "limit": "EXACT-LIMIT", "close": "EXACT-LEAK"}
_REFUSALS = (outcome.REFUSED_LIMIT, outcome.REFUSED_SYSTEM, outcome.REFUSED_OVERFLOW)

OPENING = Operation("open")
CLOSING = Operation("close")
_ROW_FIELD_INDEX = {name: index for index, name in enumerate(Row._fields)}


@dataclass(frozen=True, slots=True)
class Death:
    """
    How a target's process ended before its time.

    ``kind`` is "DEATH" or "HANG"; ``detail`` says it for people ("SIGSEGV", "no answer for 20 s"); ``external`` is
    true for signals that a process does not give itself (SIGKILL, SIGTERM): somebody else may have sent them.
    """

    kind: str
    detail: str
    external: bool = False


@dataclass(frozen=True, slots=True)
class Divergence:
    """
    The first step where model and target (or two targets) disagree.

    ``step`` counts operations from 1; 0 is the opening of the heap and one more than the last is its closing.
    ``expected`` and ``actual`` are for people and free of addresses.
    """

    rule: str
    step: int
    operation: Operation
    field: str
    expected: str
    actual: str
    sentence: str

    def story(self) -> str:
        """One line: which step, which rule, what was expected, what happened."""
        return (
            f"step {self.step} ({self.operation.word}): {self.rule}: {self.field} should be {self.expected}, "
            f"is {self.actual}"
        )


def operation_at(operations: Sequence[Operation], step: int) -> Operation:
    """The operation of a step, the opening (0) and the closing (one past the last) included."""
    if step == 0:
        return OPENING
    return operations[step - 1] if step <= len(operations) else CLOSING


def first_difference(expected: bytes, actual: bytes) -> int | None:
    """
    The number of the first row in which two packed traces differ, None when they are equal.

    A trace that is shorter than the other differs at its end.
    """
    if expected == actual:
        return None
    # Bisect over prefixes: each comparison is one memcmp, so long traces cost no Python per row.
    low, high = 0, (min(len(expected), len(actual)) // ROW_BYTES)
    left, right = memoryview(expected), memoryview(actual)
    while low < high:
        middle = (low + high + 1) // 2
        if left[low * ROW_BYTES : middle * ROW_BYTES] == right[low * ROW_BYTES : middle * ROW_BYTES]:
            low = middle
        else:
            high = middle - 1
    return low


def unpack_row(rows: bytes, step: int) -> Row:
    """The row of a step; a row of "not reached" when the trace ends before it."""
    if (step + 1) * ROW_BYTES > len(rows):
        return Row(outcome.NOT_REACHED)
    return Row._make(ROW.unpack_from(rows, step * ROW_BYTES))


def exact_divergence(
    operations: Sequence[Operation],
    expected: bytes,
    actual: bytes,
    *,
    death: Death | None = None,
    messages: Mapping[int, str] | None = None,
    without: frozenset[str] = frozenset(),
) -> Divergence | None:
    """
    Compares two packed traces of one program, opening and closing rows included.

    Args:
        operations: the program's operations, for the report.
        expected: the rows predicted by the exact model (or given by the first of two targets).
        actual: the rows of the target.
        death: how the target's process ended, when it did not survive the program.
        messages: texts that the target sent along, by step (id of a broken invariant, reason of a panic).
        without: rules that are switched off, to show what only they see.
    """
    step = first_difference(expected, actual)
    while step is not None:
        found = find_difference(
            operation_at(operations, step),
            step,
            unpack_row(expected, step),
            unpack_row(actual, step),
            death=death,
            message=(messages or {}).get(step, ""),
            without=without,
        )
        if found is not None:
            return found
        step = next_difference(expected, actual, step + 1)
    return None


def next_difference(expected: bytes, actual: bytes, first: int) -> int | None:
    """The first row from ``first`` on in which two packed traces differ; None after the end of the shorter one."""
    if first * ROW_BYTES >= min(len(expected), len(actual)):
        return first if first * ROW_BYTES < max(len(expected), len(actual)) and first == _rows(actual) else None
    at = first_difference(expected[first * ROW_BYTES :], actual[first * ROW_BYTES :])
    return None if at is None else first + at


def _rows(packed: bytes) -> int:
    return len(packed) // ROW_BYTES


def name_difference(
    operation: Operation,
    step: int,
    expected: Row,
    actual: Row,
    *,
    death: Death | None = None,
    message: str = "",
) -> Divergence:
    """The divergence of two rows that differ: the field that tells most, and its rule."""
    found = find_difference(operation, step, expected, actual, death=death, message=message)
    if found is None:
        raise AssertionError("rows that differ in no field: padding bytes must be zero")
    return found


def find_difference(
    operation: Operation,
    step: int,
    expected: Row,
    actual: Row,
    *,
    death: Death | None = None,
    message: str = "",
    without: frozenset[str] = frozenset(),
) -> Divergence | None:
    """
    The divergence of two rows that differ: the field that tells most, and its rule.

    None when all that differs is the business of rules that are switched off.
    """
    bad = vital_divergence(operation, step, actual, death=death, message=message)
    if bad is not None and bad.rule not in without:
        return bad
    if actual.status in (outcome.NOT_REACHED, outcome.PANIC):
        return None  # nothing else is said of a step that the process did not survive
    for field, rule in _FIELDS:
        index = _ROW_FIELD_INDEX[field]
        if expected[index] == actual[index]:
            continue
        if field == "text_crc" and operation.word in MISUSE:
            if "MISUSE" in without:
                continue
            promised = known_endings().get(expected.text_crc, _show(field, expected))
            ended = message or known_endings().get(actual.text_crc, _show(field, actual))
            return Divergence("MISUSE", step, operation, "ending", promised, ended, RULES["MISUSE"])
        if field == "value":
            rule = _VALUE_RULES.get(operation.word, rule)
        elif field == "status" and actual.status == outcome.BROKEN:
            rule = "INVARIANT"
        elif field == "status" and (expected.status in _REFUSALS or actual.status in _REFUSALS):
            rule = "EXACT-REFUSAL"
        if rule in without:
            continue
        name = "place" if rule == "EXACT-PLACE" else field
        return Divergence(rule, step, operation, name, _show(field, expected), _show(field, actual), RULES[rule])
    return None


def vital_divergence(
    operation: Operation, step: int, actual: Row, *, death: Death | None = None, message: str = ""
) -> Divergence | None:
    """What is wrong with a row whatever was expected: a death, a panic, a broken invariant, foreign bytes."""
    status = actual.status
    if status == outcome.NOT_REACHED:
        kind = death.kind if death else "DEATH"
        return Divergence(
            kind, step, operation, "status", "an answer", death.detail if death else "no row", RULES[kind]
        )
    if status == outcome.PANIC:
        said = f"panic: {message}" if message else "panic"
        return Divergence("PANIC", step, operation, "status", "no panic", said, RULES["PANIC"])
    if status == outcome.BROKEN:
        said = message or "a broken invariant"
        return Divergence("INVARIANT", step, operation, "check", "every invariant", said, RULES["INVARIANT"])
    if actual.contents:
        return Divergence(
            "CONTENTS", step, operation, "contents", "the bytes written", "other bytes", RULES["CONTENTS"]
        )
    return None


def first_unfit_row(rows: bytes, row_count: int) -> int | None:
    """
    The first of ``row_count`` rows that is bad whatever was expected, None when there is none.

    Status and contents are the first two bytes of a row, so strided slices look at all rows at once.
    """
    whole = len(rows) // ROW_BYTES
    statuses, contents = rows[0::ROW_BYTES], rows[1::ROW_BYTES]
    found = row_count if whole >= row_count else whole
    for bad in (outcome.NOT_REACHED, outcome.BROKEN, outcome.PANIC):
        at = statuses.find(bad)
        if at >= 0:
            found = min(found, at)
    at = contents.find(1)
    if at >= 0:
        found = min(found, at)
    return None if found >= row_count else found


def _show(field: str, row: Row) -> str:
    """A field's value for people."""
    if field == "status":
        shown = STATUS_WORDS.get(row.status, str(row.status))
        return f"{shown} ({row.refused_bytes} bytes)" if row.status in _REFUSALS else shown
    if field in ("mapping", "offset"):
        return show_place(row)
    if field in ("text_crc", "storage_crc") or (field == "value" and row.value > 2**20):
        return f"{getattr(row, field):#010x}"
    return str(getattr(row, field))


def show_place(row: Row) -> str:
    """A block's place without an address: mapping in order of acquisition, page, bytes into the page."""
    if row.mapping == NO_MAPPING:
        return "no block"
    page, rest = divmod(row.offset, PAGE_BYTES)
    return f"mapping {row.mapping}, page {page}" + (f" + {rest} bytes" if rest else "")
