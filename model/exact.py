"""The exact model: performs operations as a named edition of ZendMM would and predicts every field of each row."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from zlib import crc32

from .gc import collect
from .image import HeapImage, digest, image_of
from .misuse import FREE_WORDS, Kind, Promise, applies, kinds
from .op import MISUSE, SIZE_MAX, WORDS, Operation, Settings
from .outcome import DONE, NO_MAPPING, REFUSED_SYSTEM, SKIPPED
from .request import begin, end, end_request, set_limit
from .resize import resize
from .sizes import BIN_BYTES, BIN_OF, SMALL_BYTES_MAX, safe_size
from .state import OFFSET_MASK, PLACE_SHIFT, HeapState, Refusal, overflow_refusal
from .supply import alloc, free

# Longer writes are skipped.
WRITE_BYTES_MAX = 2**20
# strndup with a length argument between its text's length and this would read past the text:
# skipped.
STRNDUP_LENGTH_ABSURD = 2**48

# Every step outside of an open heap.
CLOSED_ROW = (SKIPPED, 0, NO_MAPPING) + (0,) * 17 + (0.0,)

HAZARD_COPY = "realloc2 with more to copy than the new block holds: PHP 8.2 writes past its end"
HAZARD_RECORD = "request_end with storage handlers: PHP 8.2 hands its storage record's memory out again"

# The runner's table of labels ends here; a step beyond is skipped.
LABELS_MAX = 2**24

# A row before it gets a name: model/outcome.py's fields in order.
RowTuple = tuple[
    int, int, int, int, int, int, int, int, int, int, int, int, int, int, int, int, int, int, int,
    int, float
]  # fmt: skip


class ExactHeap(HeapState):
    """
    A heap of edition ``php-8.2`` or ``zmm``.

    Call :meth:`open` once, :meth:`step` for each operation, :meth:`close` once.  Each returns a row
    as a plain tuple in the order of :class:`~.outcome.Row` (``Row._make`` names its fields).
    ``level`` is what says how a misuse ends: ``fast`` or ``release``, or empty for PHP itself, of which
    nothing is asked.  ``hazard`` says, from the step on that causes it, why PHP's own behaviour is undefined; None as
    long as it is not.
    """

    __slots__ = ("_handles_record", "_promise", "_settings", "_words", "is_open")

    def __init__(self, settings: Settings, edition: str, level: str = "release") -> None:
        super().__init__(settings, edition)
        self._settings = settings
        self._handles_record = settings.storage == "handlers"
        self._promise = Promise(level, edition, handlers=self._handles_record) if level else None
        self.is_open = False
        self._words = {
            "calloc": self._calloc,
            "safe_alloc": self._safe_alloc,
            "realloc": self._realloc,
            "realloc2": self._realloc2,
            "safe_realloc": self._safe_realloc,
            "strdup": self._strdup,
            "strndup": self._strndup,
            "write": self._write,
            "limit": self._limit,
            "gc": self._gc,
            "reset_peak": self._reset_peak,
            "request_end": self._request_end,
            "check": self._check,
            **dict.fromkeys(MISUSE, self._misuse),
        }

    def open(self) -> RowTuple:
        """The first row; its value says whether the limit of the settings was accepted."""
        if not begin(self, self._settings):
            self._forget_counters()
            return self._row(REFUSED_SYSTEM, -1)
        self.is_open = True
        limit_bytes = self._settings.limit_bytes
        accepted = not limit_bytes or set_limit(self, limit_bytes)
        return self._row(DONE, -1, int(accepted))

    def close(self) -> RowTuple:
        """The last row; its value is the number of mappings never given back."""
        if not self.is_open:
            return CLOSED_ROW
        left = end(self)
        self.is_open = False
        self._forget_counters()
        return self._row(DONE, -1, left)

    def image(self) -> HeapImage:
        """A frozen, readable picture of the heap."""
        return image_of(self)

    def run(self, operations: Iterable[Operation]) -> list[RowTuple]:
        """The rows of a whole program: open, each step, close."""
        rows = [self.open()]
        step = self.step
        rows += [step(operation) for operation in operations]
        rows.append(self.close())
        return rows

    def step(self, operation: Operation) -> RowTuple:
        """
        Performs one operation.

        The first branches are the paths that nearly every operation takes, written flat; everything
        else goes through the table of words.
        """
        word, label, a, _, _, _ = operation
        if label >= LABELS_MAX:
            return self._row(SKIPPED, -1) if self.is_open else CLOSED_ROW
        block = self.blocks.get(label)
        if word == "alloc":
            if block is None:
                if a <= SMALL_BYTES_MAX:
                    bin_index = BIN_OF[a]
                    slots = self.free[bin_index]
                    if slots:
                        place = slots.pop()
                        block_bytes = BIN_BYTES[bin_index]
                        self.blocks[label] = (place, block_bytes, a)
                        size = self.size = self.size + block_bytes
                        if size > self.peak:  # noqa: PLR1730 -- max() costs a call
                            self.peak = size
                        storage = self.storage
                        return (
                            DONE, 0, place >> PLACE_SHIFT, place & OFFSET_MASK, block_bytes, 0, 0,
                            0, storage.calls, storage.crc, self.chunk_count, size, self.peak,
                            self.real_size, self.real_peak, self.limit, self.chunk_count_peak,
                            len(self.cached), self.delete_boundary, self.delete_count, self.average,
                        )  # fmt: skip
                return self._create(label, a)
            return self._row(SKIPPED, label)
        if word == "free":
            if block is not None:
                del self.blocks[label]
                place, block_bytes, _ = block
                if block_bytes <= SMALL_BYTES_MAX:
                    self.free[BIN_OF[block_bytes]].append(place)
                    self.size -= block_bytes
                else:
                    free(self, place, block_bytes)
            elif not self.is_open:
                return CLOSED_ROW
            storage = self.storage
            return (
                DONE, 0, NO_MAPPING, 0, 0, 0, 0, 0,
                storage.calls, storage.crc, self.chunk_count, self.size, self.peak, self.real_size,
                self.real_peak, self.limit, self.chunk_count_peak, len(self.cached),
                self.delete_boundary, self.delete_count, self.average,
            )  # fmt: skip
        if not self.is_open:
            return CLOSED_ROW
        return self._words[word](operation)

    # ---- the words, in the order of the alphabet
    # -------------------------------------------------------------

    def _calloc(self, operation: Operation) -> RowTuple:
        return self._create_product(operation.label, operation.a, operation.b, 0)

    def _safe_alloc(self, operation: Operation) -> RowTuple:
        return self._create_product(operation.label, operation.a, operation.b, operation.c)

    def _realloc(self, operation: Operation) -> RowTuple:
        return self._resize(operation.label, operation.a)

    def _realloc2(self, operation: Operation) -> RowTuple:
        old = self.blocks.get(operation.label)
        row = self._resize(operation.label, operation.a)
        if old is not None and self.is_php and self.hazard is None:
            new = self.blocks[operation.label]
            if old[0] != new[0] and old[1] > SMALL_BYTES_MAX and min(old[1], operation.b) > new[1]:
                self.hazard = HAZARD_COPY
        return row

    def _safe_realloc(self, operation: Operation) -> RowTuple:
        size_bytes = safe_size(operation.a, operation.b, operation.c)
        if size_bytes is None:
            return self._refused(operation.label, _product_refusal(operation.a, operation.b, operation.c))
        return self._resize(operation.label, size_bytes)

    def _strdup(self, operation: Operation) -> RowTuple:
        if operation.label in self.blocks:
            return self._row(SKIPPED, operation.label)
        return self._create(operation.label, len(operation.text) + 1)

    def _strndup(self, operation: Operation) -> RowTuple:
        label, length = operation.label, operation.a
        if label in self.blocks or len(operation.text) < length < STRNDUP_LENGTH_ABSURD:
            return self._row(SKIPPED, label)
        if length == SIZE_MAX:
            return self._refused(label, overflow_refusal(f"1 * {length} + 1"))
        return self._create(label, length + 1)

    def _write(self, operation: Operation) -> RowTuple:
        block = self.blocks.get(operation.label)
        if block is None or operation.b > WRITE_BYTES_MAX or operation.a + operation.b > block[2]:
            return self._row(SKIPPED, operation.label)
        return self._row(DONE, operation.label)

    def _limit(self, operation: Operation) -> RowTuple:
        return self._row(DONE, -1, int(set_limit(self, operation.a)))

    def _gc(self, _operation: Operation) -> RowTuple:
        return self._row(DONE, -1, collect(self))

    def _reset_peak(self, _operation: Operation) -> RowTuple:
        self.peak = self.size
        self.real_peak = self.real_size
        return self._row(DONE, -1)

    def _request_end(self, _operation: Operation) -> RowTuple:
        end_request(self)
        if self.is_php and self._handles_record and self.hazard is None:
            self.hazard = HAZARD_RECORD
        return self._row(DONE, -1)

    def _check(self, _operation: Operation) -> RowTuple:
        return self._row(DONE, -1, digest(self))

    # ---- misuse: in a child, so nothing changes here
    # ---------------------------------------------------------

    def _misuse(self, operation: Operation) -> RowTuple:
        ending = self.ending(operation)
        if ending is None:
            return self._row(SKIPPED, operation.label)
        return self._row(DONE, operation.label, 0, 0, crc32(ending.encode()))

    def ending(self, operation: Operation) -> str | None:
        """How the child ends that performs a step of misuse; None when the step is skipped."""
        word, label, a, _, _, _ = operation
        block = self.blocks.get(label)
        if self._promise is None or not applies(word, block, a, takes_label=WORDS[word].takes_label):
            return None
        if block is None:
            return self._promise.ending(word, Kind.SMALL, 0, a)
        place, block_bytes, _ = block
        kind = kinds(block_bytes)[0]
        gone = kind is not Kind.HUGE and self._loses_chunk(word, kind, place, block_bytes)
        return self._promise.ending(word, kind, block_bytes, a, chunk_is_gone=gone)

    def _loses_chunk(self, word: str, kind: Kind, place: int, block_bytes: int) -> bool:
        """Whether the block's chunk goes back to the storage with what the child does before its mistake."""
        mapping = place >> PLACE_SHIFT
        if word == "misuse.stale_request":
            after = deepcopy(self)
            end_request(after)
        elif word in FREE_WORDS and kind is Kind.LARGE:
            after = deepcopy(self)
            free(after, place, block_bytes)
        else:
            return False
        return mapping not in after.chunk_of and all(chunk.mapping != mapping for chunk in after.cached)

    # ---- what the words share
    # --------------------------------------------------------------------------------

    def _create(self, label: int, size_bytes: int) -> RowTuple:
        if not self.is_open:
            return CLOSED_ROW
        try:
            place, block_bytes = alloc(self, size_bytes)
        except Refusal as refusal:
            return self._refused(label, refusal)
        self.blocks[label] = (place, block_bytes, size_bytes)
        return self._row(DONE, label)

    def _create_product(self, label: int, count: int, size_bytes: int, offset_bytes: int) -> RowTuple:
        if label in self.blocks:
            return self._row(SKIPPED, label)
        total_bytes = safe_size(count, size_bytes, offset_bytes)
        if total_bytes is None:
            return self._refused(label, _product_refusal(count, size_bytes, offset_bytes))
        return self._create(label, total_bytes)

    def _resize(self, label: int, size_bytes: int) -> RowTuple:
        block = self.blocks.get(label)
        if block is None:
            return self._create(label, size_bytes)
        try:
            place, block_bytes = resize(self, block[0], block[1], size_bytes)
        except Refusal as refusal:
            return self._refused(label, refusal)
        self.blocks[label] = (place, block_bytes, size_bytes)
        return self._row(DONE, label)

    def _refused(self, label: int, refusal: Refusal) -> RowTuple:
        return self._row(refusal.status, label, 0, refusal.tried_bytes, crc32(refusal.text.encode()))

    def _forget_counters(self) -> None:
        """What a heap that is no more says of itself."""
        self.size = self.peak = self.real_size = self.real_peak = self.limit = 0
        self.chunk_count = self.chunk_count_peak = self.delete_boundary = self.delete_count = 0
        self.average = 0.0

    def _row(self, status: int, label: int, value: int = 0, refused_bytes: int = 0, text_crc: int = 0) -> RowTuple:
        block = self.blocks.get(label)
        if block is None:
            mapping, offset, block_bytes = NO_MAPPING, 0, 0
        else:
            place, block_bytes, _ = block
            mapping, offset = place >> PLACE_SHIFT, place & OFFSET_MASK
        storage = self.storage
        return (
            status, 0, mapping, offset, block_bytes, value, refused_bytes, text_crc,
            storage.calls, storage.crc, self.chunk_count, self.size, self.peak, self.real_size,
            self.real_peak, self.limit, self.chunk_count_peak, len(self.cached),
            self.delete_boundary, self.delete_count, self.average,
        )  # fmt: skip


def _product_refusal(count: int, size_bytes: int, offset_bytes: int) -> Refusal:
    return overflow_refusal(f"{count} * {size_bytes} + {offset_bytes}")
