"""What the tests of the bridge share: a target made of the exact model, into which any bug can be planted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import pytest
from zmm_fuzz.driver import Driver
from zmm_fuzz.judge import Judge
from zmm_fuzz.session import Death, Reply
from zmm_fuzz.targets import Target
from zmm_fuzz.wire import ROW, STEP, Burst, Message, OpenFlag, unpack_steps
from zmm_model.exact import ExactHeap
from zmm_model.op import CLOSE_CODE, OPEN_CODE, Operation, Settings
from zmm_model.outcome import Row

# What a planted bug makes of a row: it sees the operation, the operations before it in this heap, and the true row.
Bug = Callable[[Operation, Sequence[Operation], Row], Row]
OPENING, CLOSING = Operation("open"), Operation("close")


def no_bug(_operation: Operation, _before: Sequence[Operation], row: Row) -> Row:
    return row


class ProcessDied(Exception):
    """Raised by a planted bug that takes the process with it."""

    def __init__(self, death: Death, row: Row | None = None) -> None:
        super().__init__(death)
        self.death = death
        self.row = row


@dataclass
class PlantedSession:
    """A session without a process: the exact model performs, the bug spoils. Heaps live on between calls."""

    bug: Bug = no_bug
    edition: str = "zmm"
    message: str = ""
    calls: int = 0
    closed: bool = False
    heap: ExactHeap | None = None
    before: list[Operation] = field(default_factory=list)

    def perform(self, steps: bytes, texts: bytes = b"") -> Reply:
        self.calls += 1
        rows: list[bytes] = []
        messages: list[Message] = []
        for index, (code, flag, _, label, a, b, c) in enumerate(STEP.iter_unpack(steps)):
            if code == OPEN_CODE:
                numbers = texts[c : c + 8 * label]
                failing = tuple(int.from_bytes(numbers[i : i + 8], "little") for i in range(0, len(numbers), 8))
                flags = OpenFlag(flag)
                settings = Settings(
                    a or None,
                    "kernel" if flags & OpenFlag.KERNEL else "handlers",
                    bool(flags & OpenFlag.EXTEND),
                    bool(flags & OpenFlag.TRUNCATE),
                    b,
                    failing,
                )
                self.heap = ExactHeap(settings, "php-8.2" if flags & OpenFlag.PHP else "zmm")
                self.before = []
                operation, row = OPENING, Row._make(self.heap.open())
            else:
                assert self.heap is not None
                if code == CLOSE_CODE:
                    operation, row = CLOSING, Row._make(self.heap.close())
                else:
                    (operation,) = unpack_steps(steps[index * STEP.size : (index + 1) * STEP.size], texts)
                    row = Row._make(self.heap.step(operation))
            try:
                spoiled = self.bug(operation, self.before, row)
            except ProcessDied as died:
                if died.row is not None:
                    rows.append(ROW.pack(*died.row))
                    messages.append(Message(index, 2, self.message))
                return Reply(b"".join(rows), messages, 0, died.death)
            self.before.append(operation)
            if spoiled != row and self.message:
                messages.append(Message(index, 3, self.message))
            rows.append(ROW.pack(*spoiled))
        return Reply(b"".join(rows), messages)

    def expand_burst(self, burst: Burst, first: int = 0, count: int | None = None) -> bytes:
        raise NotImplementedError

    def close(self) -> None:
        self.closed = True


@dataclass
class Planted:
    """A target with a planted bug, and the sessions that were opened on it."""

    target: Target
    bug: Bug
    message: str = ""
    sessions: list[PlantedSession] = field(default_factory=list)

    def open(self, _target: Target) -> PlantedSession:
        self.sessions.append(PlantedSession(self.bug, message=self.message))
        return self.sessions[-1]

    def judge(self, edition: str = "zmm") -> Judge:
        return Judge(self.target, edition, Driver(self.target, edition, self.open))


TARGET = Target("planted", "zmm", "", "1", "planted")


@pytest.fixture
def plant() -> Callable[..., Planted]:
    """Makes a target with a bug: plant(bug, kind="zmm", soft_limits=False, message="")."""

    def make(bug: Bug = no_bug, *, message: str = "", **changes: object) -> Planted:
        return Planted(replace(TARGET, **changes), bug, message)  # type: ignore[arg-type]

    return make


@pytest.fixture
def dies() -> type[ProcessDied]:
    """What a bug raises to kill its process."""
    return ProcessDied


@pytest.fixture
def spoil() -> Callable[..., Bug]:
    """A bug that changes fields of the row of the n-th operation of a word: spoil("free", size=0)."""

    def make(word: str, occurrence: int = 1, **changes: Callable[[Row], int | float] | int | float) -> Bug:
        def bug(operation: Operation, before: Sequence[Operation], row: Row) -> Row:
            if operation.word != word or sum(1 for one in before if one.word == word) < occurrence - 1:
                return row
            values = {name: value(row) if callable(value) else value for name, value in changes.items()}
            return row._replace(**values)  # type: ignore[arg-type]

        return bug

    return make
