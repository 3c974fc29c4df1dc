"""The state machine of tier `machine`: rules of three kinds over one heap, seen by API, runner and model."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from typing import Any, ClassVar
from zlib import crc32

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from zmm_model.exact import ExactHeap
from zmm_model.op import Operation, Settings
from zmm_model.outcome import DONE, SKIPPED, Row

import zmm

from ..boundaries import BIN_EDGES, CHUNK_BYTES, HUGE_EDGES, LARGE_EDGES, PAGE_EDGES
from ..compare import RULES, Divergence, exact_divergence, name_difference
from ..driver import Driver
from ..misuse import MISUSE_WORDS, NUMBERS, misuse_of
from ..predict import pack_rows
from ..program import Program
from ..text import FIRST_LINE, operation_line, settings_line
from ..wire import CLOSE_STEP, Burst, BurstFlag, BurstProfile, TextArea, pack_open, pack_steps
from .api_heap import ApiHeap, snapshot_difference
from .api_misuse import REFUSED, VOID, misuse_api

LABELS = 24
_HUGE_MAX = 8 * CHUNK_BYTES

SIZES = st.one_of(
    st.integers(0, 128),
    st.sampled_from(BIN_EDGES),
    st.sampled_from(PAGE_EDGES),
    st.sampled_from(LARGE_EDGES),
    st.sampled_from([size for size in HUGE_EDGES if size <= _HUGE_MAX]),
    st.sampled_from([2**64 - 1, 2**64 - 4096, 2**63]),
)
COUNTS = st.sampled_from([0, 1, 2, 3, 7, 2**32, 2**63])
MISUSE_NUMBERS = st.sampled_from(NUMBERS)
PICKS = st.integers(0, LABELS - 1)
TEXTS = st.binary(max_size=12).map(lambda raw: bytes(byte or 1 for byte in raw))
SETTINGS = st.builds(
    Settings,
    limit_bytes=st.sampled_from([None, None, CHUNK_BYTES, 2 * CHUNK_BYTES, 3 * CHUNK_BYTES + 4096]),
    storage=st.just("handlers"),
    extend=st.booleans(),
    truncate=st.booleans(),
    failing_calls=st.sampled_from([(), (), (), (2,), (3,), (2, 3, 4)]),
)
ALLOCATING = frozenset(("alloc", "calloc", "safe_alloc", "realloc", "realloc2", "safe_realloc", "strdup", "strndup"))


class Diverged(AssertionError):
    """The heap and the model disagree. The divergence itself stays with the machine, free of addresses."""


class HeapMachine(RuleBasedStateMachine):
    """
    One heap, three views: the Python API, a runner with the same library, and the exact model.

    Fine rules perform one operation through the API and compare its row at once. Burst rules have the runner perform
    everything so far and then some hundred operations in one native call. Lifecycle rules end requests, collect,
    set limits, use a second heap beside the first, and compare whole snapshots.
    """

    edition: ClassVar[str] = "zmm"
    level: ClassVar[str] = "release"
    driver: ClassVar[Driver]
    journal: ClassVar[int] = -1  # a file: what is about to be done, for whoever finds this process dead
    report: ClassVar[Callable[[int], None]] = staticmethod(lambda _operations: None)
    failure: ClassVar[tuple[Program, Divergence] | None] = None

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[Operation] = []
        self.rows: list[tuple[Any, ...]] = []
        self.other_api: ApiHeap | None = None
        self.other_model: ExactHeap | None = None
        self.live: list[int] = []
        self.settings = Settings()
        self.model: ExactHeap | None = None
        self.api: ApiHeap | None = None
        self.sent = 0

    @classmethod
    def found(cls) -> tuple[Program, Divergence] | None:
        """The last divergence, the smallest one that Hypothesis came to."""
        return HeapMachine.failure

    # ---- life ----------------------------------------------------------------------------------------------------

    @initialize(settings=SETTINGS)
    def open(self, settings: Settings) -> None:
        """Opens the heap in all three views."""
        self.settings = settings
        os.ftruncate(self.journal, 0)
        os.lseek(self.journal, 0, os.SEEK_SET)
        self._note(f"{FIRST_LINE}\n{settings_line(settings)}\n")
        self.begin()

    def teardown(self) -> None:
        """Compares the whole program once more, natively, and ends the heap."""
        try:
            if self.api is not None:
                self.compare_snapshots()
                self.compare_natively()
        finally:
            for heap in (self.api, self.other_api):
                if heap is not None:
                    heap.close()
            HeapMachine.report(len(self.operations))

    # ---- fine rules ----------------------------------------------------------------------------------------------

    @rule(size=SIZES)
    def alloc(self, size: int) -> None:
        """Takes a block."""
        self.perform(Operation("alloc", self._spare(), size))

    @rule(count=COUNTS, size=SIZES, zeroed=st.booleans())
    def alloc_product(self, count: int, size: int, zeroed: bool) -> None:
        """Takes a block of count * size bytes, zeroed, or with an offset."""
        if count > 7 or count * size <= _HUGE_MAX or size >= 2**63:
            word, offset = ("calloc", 0) if zeroed else ("safe_alloc", size & 0xFF)
            self.perform(Operation(word, self._spare(), count, size, offset))

    @rule(pick=PICKS, size=SIZES)
    def realloc(self, pick: int, size: int) -> None:
        """Resizes a block (or takes one, if there is none)."""
        self.perform(Operation("realloc", self._live(pick), size))

    @rule(pick=PICKS, size=SIZES, copy=SIZES)
    def realloc2(self, pick: int, size: int, copy: int) -> None:
        """Resizes a block, with a bound on what moves along."""
        self.perform(Operation("realloc2", self._live(pick), size, copy))

    @rule(pick=PICKS)
    def free(self, pick: int) -> None:
        """Gives a block back."""
        self.perform(Operation("free", self._live(pick)))

    @rule(text=TEXTS, length=st.one_of(st.none(), st.integers(0, 12)))
    def copy_text(self, text: bytes, length: int | None) -> None:
        """Copies a text, whole or its beginning."""
        if length is None:
            self.perform(Operation("strdup", self._spare(), text=text))
        else:
            self.perform(Operation("strndup", self._spare(), min(length, len(text)), text=text))

    # ---- misuse rules --------------------------------------------------------------------------------------------

    @rule(word=st.sampled_from(MISUSE_WORDS), pick=PICKS, number=MISUSE_NUMBERS)
    def misuse(self, word: str, pick: int, number: int) -> None:
        """Misuses the heap in a child: the API refuses it, and the native core ends as its level promises."""
        self.perform_misuse(misuse_of(word, self._live(pick), number))

    # ---- burst rules ---------------------------------------------------------------------------------------------

    @rule(
        profile=st.sampled_from(list(BurstProfile)),
        seed=st.integers(0, 2**32 - 1),
        count=st.sampled_from([16, 64, 256]),
    )
    def burst(self, profile: BurstProfile, seed: int, count: int) -> None:
        """Some hundred operations in one native call; API and model follow."""
        burst = Burst(seed, count, profile, BurstFlag.GC, labels=LABELS)
        operations = self.driver.expand(burst)
        if any(operation.a > _HUGE_MAX or operation.b > _HUGE_MAX for operation in operations):
            return  # beyond the windows of the API's storage
        self.perform_burst(burst, operations)

    # ---- lifecycle rules -----------------------------------------------------------------------------------------

    @rule(
        word=st.sampled_from(["gc", "reset_peak", "request_end", "check"]),
    )
    def whole_heap(self, word: str) -> None:
        """Something that concerns the whole heap."""
        self.perform(Operation(word))

    @rule(chunks=st.integers(1, 6), delta=st.sampled_from([0, -1, 4096]))
    def limit(self, chunks: int, delta: int) -> None:
        """Sets the limit."""
        self.perform(Operation("limit", -1, max(CHUNK_BYTES, chunks * CHUNK_BYTES + delta)))

    @rule(size=st.sampled_from([40, 5000, CHUNK_BYTES]), word=st.sampled_from(["alloc", "request_end", "gc"]))
    def second_heap(self, size: int, word: str) -> None:
        """Uses another heap in the same process: neither must notice the other."""
        if self.other_api is None:
            self.other_api = ApiHeap(Settings(), self.edition, self.level)
        label = len(self.other_api.labels()) if word == "alloc" else -1
        self.perform_beside(self.other_api, Operation(word, label, size if word == "alloc" else 0))

    @precondition(lambda self: len(self.operations) % 8 == 7)
    @invariant()
    def compare_snapshots(self) -> None:
        """The API's snapshot is the model's image."""
        if self.api is None:
            return
        self.api.heap.check()
        difference = self.snapshot_difference(self.api.heap.snapshot())
        if difference:
            what, expected, actual = difference
            raise self._failed(
                Divergence(
                    "EXACT-STATE",
                    len(self.operations),
                    self.operations[-1] if self.operations else Operation("check"),
                    what,
                    expected,
                    actual,
                    "The snapshot shows the chunks, pages, free slots and huge blocks of the exact model.",
                )
            )

    # ---- what the rules share: with the exact model ----------------------------------------------------------------

    def begin(self) -> None:
        """Opens the heap through the API, and the model."""
        self.model = ExactHeap(self.settings, self.edition, self.level)
        self.rows.append(self.model.open())
        self.api = ApiHeap(self.settings, self.edition, self.level)

    def perform_burst(self, burst: Burst, operations: Sequence[Operation]) -> None:
        """A burst natively, compared by its digest, then through the API, compared row by row."""
        assert self.model is not None
        assert self.api is not None
        self._note("".join(map(line_of, operations)))
        rows = [self.model.step(operation) for operation in operations]
        self.run_native(burst, rows)
        self.operations += operations
        self.rows += rows
        for operation, expected in zip(operations, rows, strict=True):
            self._compare(operation, expected, self._through_api(self.api, operation))
        self._count_live()

    def perform_beside(self, api: ApiHeap, operation: Operation) -> None:
        """One operation on the other heap, compared at once."""
        if self.other_model is None:
            self.other_model = ExactHeap(Settings(), self.edition)
            self.other_model.open()
        self._compare(operation, self.other_model.step(operation), self._through_api(api, operation))

    def snapshot_difference(self, snapshot: zmm.Snapshot) -> tuple[str, str, str] | None:
        """What differs between a snapshot and the model: its name, expected, actual."""
        assert self.model is not None
        return snapshot_difference(snapshot, self.model.image())

    def perform(self, operation: Operation) -> None:
        """One operation through the API, compared at once."""
        if operation.label >= LABELS:
            return
        assert self.api is not None
        expected = self._expect(operation)
        self._compare(operation, expected, self._through_api(self.api, operation))
        if operation.word in ALLOCATING or operation.word in ("free", "request_end"):
            self._count_live()

    def perform_misuse(self, operation: Operation) -> None:
        """A misuse through the API, which refuses it; how the native child ends is compared with all else."""
        expected = self._expect(operation)
        answer = self._misused(operation)
        self._compare(operation, Row._make(expected)._replace(text_crc=0), answer)

    def _expect(self, operation: Operation) -> tuple[Any, ...]:
        """Makes an operation the next of the program; what the model says of it."""
        assert self.model is not None
        self._note(line_of(operation))
        self.operations.append(operation)
        expected = self.model.step(operation)
        self.rows.append(expected)
        return expected

    def _misused(self, operation: Operation) -> Row:
        """The row of a misuse through the API; an answer other than a refusal is a divergence."""
        assert self.api is not None
        said = misuse_api(self.api, operation)
        if said not in (REFUSED, VOID):
            raise self._failed(
                Divergence("MISUSE", len(self.operations), operation, "answer", REFUSED, said, RULES["MISUSE"])
            )
        return self.api.row_of(DONE if said == REFUSED else SKIPPED, operation.label)

    def compare_natively(self) -> None:
        """The program so far on the runner, compared row by row."""
        self.run_native()

    def run_native(self, burst: Burst | None = None, rows: Sequence[tuple[Any, ...]] = ()) -> None:
        """
        The program so far on the runner, in one call, with a burst at its end.

        The rows of the program are compared one by one, those of the burst by their digest.
        """
        texts = TextArea()
        steps = pack_open(self.settings, texts, edition=self.edition) + pack_steps(self.operations, texts)
        if burst is not None:
            steps += burst.pack()
        trace = self.driver.run_packed(steps + CLOSE_STEP, bytes(texts))
        expected = pack_rows([*self.rows])
        divergence = exact_divergence(
            self.operations, expected, trace.rows[: len(expected)], death=trace.death, messages=trace.messages
        )
        if divergence is None and burst is not None:
            row = Row._make(rows[-1])._replace(value=crc32(pack_rows(rows)))
            divergence = exact_divergence(
                (),
                pack_rows([tuple(row)]),  # type: ignore[list-item]
                trace.rows[len(expected) : len(expected) + len(pack_rows([tuple(row)]))],  # type: ignore[list-item]
                death=trace.death,
            )
            if divergence is not None:
                self.operations += self.driver.expand(burst)
        if divergence is not None:
            raise self._failed(divergence)

    def _through_api(self, api: ApiHeap, operation: Operation) -> Row:
        """Performs an operation through the API; what it must not raise is a divergence."""
        try:
            return api.perform(operation)
        except zmm.HeapCorruptedError as error:
            rule, expected, said = "PANIC", "no panic", f"panic: {error.reason}"
        except (zmm.ZmmError, AssertionError) as error:
            text = re.sub("0x[0-9a-f]+", "an address", str(error))
            rule, expected, said = "EXACT-STATUS", "an answer", f"{type(error).__name__}: {text}"
        raise self._failed(Divergence(rule, len(self.operations), operation, "status", expected, said, RULES[rule]))

    def _compare(self, operation: Operation, expected: tuple[Any, ...], actual: Row) -> None:
        wanted = Row._make(expected)
        if operation.word == "check":
            wanted = wanted._replace(value=0)
        if wanted != actual:
            raise self._failed(name_difference(operation, len(self.operations), wanted, actual))

    def _failed(self, divergence: Divergence) -> Diverged:
        """Keeps a divergence with its program, and makes the exception that tells Hypothesis."""
        HeapMachine.failure = (Program(self.settings, tuple(self.operations), (), "tier machine"), divergence)
        return Diverged(divergence.story())

    def _note(self, text: str) -> None:
        os.write(self.journal, text.encode())

    def _spare(self) -> int:
        """The lowest label without a block."""
        live = set(self.live)
        return next(label for label in range(LABELS + 1) if label not in live)

    def _live(self, pick: int) -> int:
        """A label with a block; label 0 when there is none."""
        return self.live[pick % len(self.live)] if self.live else 0

    def _count_live(self) -> None:
        assert self.api is not None
        self.live = self.api.labels()


def line_of(operation: Operation) -> str:
    """An operation as a line of the journal."""
    return operation_line(operation, f"b{operation.label}" if operation.label >= 0 else "") + "\n"
