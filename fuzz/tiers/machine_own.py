"""The state machine for levels of zmm with an accounting of their own: the abstract model judges its rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from zmm_model.abstract import AbstractHeap
from zmm_model.accounting import Accounting
from zmm_model.op import MISUSE, Operation, Settings
from zmm_model.outcome import Row
from zmm_model.rules import CHUNKS, Violation

from ..compare import name_difference, operation_at
from ..judge import judge_abstract, violation_at
from ..program import Program
from ..wire import CLOSE_STEP, ROW, Burst, TextArea, pack_open, pack_steps
from .api_heap import ApiHeap
from .machine_rules import ALLOCATING, LABELS, HeapMachine, line_of

if TYPE_CHECKING:
    from zmm import Snapshot


class OwnMachine(HeapMachine):
    """
    The same rules where the heap's accounting is its own: the abstract model judges each row.

    The exact model cannot say where such a heap places blocks. But API and runner perform the same library, so their
    rows agree in everything but the order of slots in a run, which is random outside the runner.
    """

    def __init__(self) -> None:
        super().__init__()
        self.abstract = AbstractHeap(self.settings, Accounting.OWN, self.edition)
        self.other_abstract: AbstractHeap | None = None

    def begin(self) -> None:
        """Opens the heap through the API, and has its opening judged."""
        self.api = ApiHeap(self.settings, self.edition, self.level)
        self.abstract = AbstractHeap(self.settings, Accounting.OWN, self.edition)
        opening = self.api.opening()
        self.rows.append(tuple(opening))
        self._accept(Operation("open"), self.abstract.open(opening))

    def perform(self, operation: Operation) -> None:
        """One operation through the API, judged at once."""
        if operation.label >= LABELS:
            return
        assert self.api is not None
        self._note(line_of(operation))
        self.operations.append(operation)
        row = self._through_api(self.api, operation)
        self.rows.append(tuple(row))
        self._accept(operation, self.abstract.step(operation, row))
        if operation.word in ALLOCATING or operation.word in ("free", "request_end"):
            self._count_live()

    def perform_misuse(self, operation: Operation) -> None:
        """A misuse through the API, which refuses it; how the native child ends is judged with all else."""
        self._note(line_of(operation))
        self.operations.append(operation)
        self.rows.append(tuple(self._misused(operation)))

    def perform_burst(self, _burst: Burst, operations: Sequence[Operation]) -> None:
        """The operations of a burst one by one, then everything natively."""
        for operation in operations:
            self.perform(operation)
        self.compare_natively()

    def perform_beside(self, api: ApiHeap, operation: Operation) -> None:
        """One operation on the other heap, judged at once."""
        if self.other_abstract is None:
            self.other_abstract = AbstractHeap(Settings(), Accounting.OWN, self.edition)
            self.other_abstract.open(api.opening())
        self._accept(operation, self.other_abstract.step(operation, self._through_api(api, operation)))

    def snapshot_difference(self, snapshot: Snapshot) -> tuple[str, str, str] | None:
        """The snapshot shows as many chunks as the last row counted."""
        chunks = len(snapshot.chunks)
        counted = self.rows[-1][CHUNKS]
        return None if chunks == counted else ("chunks", str(counted), str(chunks))

    def compare_natively(self) -> None:
        """The program so far on the runner, judged, and compared with what the API showed."""
        texts = TextArea()
        steps = pack_open(self.settings, texts, edition=self.edition) + pack_steps(self.operations, texts)
        trace = self.driver.run_packed(steps + CLOSE_STEP, bytes(texts))
        program = Program(self.settings, tuple(self.operations), (), "tier machine")
        divergence = judge_abstract(program, trace, self.edition, Accounting.OWN)
        if divergence is not None:
            raise self._failed(divergence)
        for step, (ours, theirs) in enumerate(zip(self.rows, ROW.iter_unpack(trace.rows), strict=False)):
            operation = operation_at(self.operations, step)
            changes: dict[str, Any] = {"offset": 0}
            if operation.word == "check":
                changes["value"] = 0
            elif operation.word in MISUSE:
                changes["text_crc"] = 0
            shown, native = Row._make(ours)._replace(**changes), Row._make(theirs)._replace(**changes)
            if shown != native:
                raise self._failed(name_difference(operation, step, native, shown))

    def _accept(self, operation: Operation, violation: Violation | None) -> None:
        if violation is not None:
            raise self._failed(violation_at(operation, len(self.operations), violation))
