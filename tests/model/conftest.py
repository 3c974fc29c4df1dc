"""What the model's tests share: a heap driven word by word, and random programs from a seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import pytest
from zmm_model import ExactHeap, Operation, Row, Settings
from zmm_model.exact import RowTuple

MIB = 2**20
CHUNK = 2 * MIB
PAGE = 4096
SIZE_MAX = 2**64 - 1
EDGES = (
    0,
    1,
    8,
    9,
    16,
    24,
    64,
    65,
    256,
    320,
    1793,
    2048,
    2559,
    2560,
    3071,
    3072,
    3073,
    4096,
    4097,
    8192,
    12288,
)
GREAT = (2093055, 2093056, 2093057, 2 * MIB, 2 * MIB + 1, 3 * MIB, 5_000_000)
ABSURD = (SIZE_MAX, SIZE_MAX - 4095, SIZE_MAX - 4094, 2**63, 2**48, 9 * 2**30)


class Driven:
    """
    A heap of the exact model, driven word by word, that remembers its program and its rows.

    Labels are given by the test; every call answers with the named row. Storage is the kernel unless said otherwise,
    so that the heap begins empty.
    """

    def __init__(self, edition: str = "php-8.2", **settings: object) -> None:
        settings.setdefault("storage", "kernel")
        self.edition = edition
        self.settings = Settings(**settings)  # type: ignore[arg-type]
        self.heap = ExactHeap(self.settings, edition)
        self.rows: list[RowTuple] = [self.heap.open()]
        self.operations: list[Operation] = []
        self.defined = 0  # so many operations were defined in PHP, too
        self.opened = Row._make(self.rows[0])

    def do(self, word: str, label: int = -1, a: int = 0, b: int = 0, c: int = 0, text: bytes = b"") -> Row:
        operation = Operation(word, label, a, b, c, text)
        row = self.heap.step(operation)
        self.operations.append(operation)
        self.rows.append(row)
        if self.heap.hazard is None:
            self.defined = len(self.operations)
        return Row._make(row)

    def alloc(self, label: int, size_bytes: int) -> Row:
        return self.do("alloc", label, size_bytes)

    def realloc(self, label: int, size_bytes: int) -> Row:
        return self.do("realloc", label, size_bytes)

    def free(self, *labels: int) -> Row:
        rows = [self.do("free", label) for label in labels]
        return rows[-1]

    def offsets(self, first_label: int, sizes: list[int]) -> list[int]:
        """The offsets of blocks allocated one after the other, in the main chunk."""
        rows = [self.alloc(first_label + index, size) for index, size in enumerate(sizes)]
        assert {0} == {row.mapping for row in rows}
        return [row.offset for row in rows]

    def chunk_order(self) -> list[int]:
        return [chunk.mapping for chunk in self.heap.image().chunks]

    def close(self) -> Row:
        return Row._make(self.heap.close())


Make = Callable[..., Driven]
Replay = Callable[[Driven], None]


@pytest.fixture(scope="session")
def replays() -> Iterator[dict[str, Replay]]:
    """
    For each target that is here ("php", "zmm") a function that performs a driven heap's program on it.

    It asserts that the target's rows, a check of its whole state included, are the model's.
    """
    try:
        from zmm_fuzz.session import Session
        from zmm_fuzz.targets import TargetError, find_target
        from zmm_fuzz.wire import ROW, pack_program
    except ImportError:
        yield {}
        return

    def replay_on(session: Session) -> Replay:
        def replay(heap: Driven) -> None:
            operations = [*heap.operations[: heap.defined], Operation("check")]
            expected = ExactHeap(heap.settings, heap.edition).run(operations)
            reply = session.perform(*pack_program(operations, heap.settings, edition=heap.edition))
            actual = list(ROW.iter_unpack(reply.rows))
            for step, (want, got) in enumerate(zip(expected, actual, strict=False)):
                assert Row._make(want) == Row._make(got), f"{session.target.name}, step {step} of {operations}"
            assert len(expected) == len(actual), reply.death

        return replay

    with ExitStack() as stack:
        found: dict[str, Replay] = {}
        for name in ("php", "zmm"):
            with suppress(TargetError):
                found[name] = replay_on(stack.enter_context(Session(find_target(name))))
        yield found


@pytest.fixture
def make(replays: dict[str, Replay]) -> Iterator[Make]:
    """Makes driven heaps; when the test is over, PHP and zmm perform the same programs, if they are here."""
    made: list[Driven] = []

    def make_heap(edition: str = "php-8.2", **settings: object) -> Driven:
        made.append(Driven(edition, **settings))
        return made[-1]

    yield make_heap
    for heap in made:
        if "zmm" in replays:
            replays["zmm"](heap)
        if "php" in replays and heap.edition == "php-8.2":
            replays["php"](heap)


def settings_from(seed: int) -> Settings:
    """Storage, grants, a limit and failing calls drawn from a seed."""
    draw = random.Random(seed)
    failing = sorted(draw.sample(range(2, 80), draw.choice((0, 0, 3, 12, 40))))
    return Settings(
        limit_bytes=draw.choice((None, None, 2 * MIB, 4 * MIB, 8 * MIB, 20 * MIB + 4096)),
        storage=draw.choice(("handlers", "kernel")),
        extend=draw.random() < 0.7,
        truncate=draw.random() < 0.7,
        data_bytes=draw.choice((0, 0, 20, 500, 5000)),
        failing_calls=tuple(failing),
    )


def operations_from(seed: int, count: int, *, labels: int = 60, requests: bool = True) -> Iterator[Operation]:
    """
    Operations drawn from a seed; label 0 is allocated first and kept, so that the main chunk is
    never empty.

    ``labels`` says how many labels are in use, ``requests`` whether request_end may occur (label 0
    is allocated anew after it).
    """
    draw = random.Random(seed)
    # Few labels and great sizes make chunks come and go; many labels and small sizes fill runs.
    families = draw.choices(("edges", "small", "pages", "runs", "great"), weights=(4, 4, 4, 2, 1), k=3)
    yield Operation("alloc", 0, 40)
    for _ in range(count - 1):
        label = draw.randrange(1, labels)
        size = _size(draw, draw.choice(families))
        kind = draw.random()
        if kind < 0.36:
            yield Operation("alloc", label, size)
        elif kind < 0.60:
            yield Operation("free", label)
        elif kind < 0.78:
            yield Operation("realloc", label, size)
        elif kind < 0.81:
            yield Operation("realloc2", label, size, draw.choice((0, 1, size // 2, size)))
        elif kind < 0.83:
            yield Operation("calloc", label, draw.choice((1, 2, 7)), size // 4)
        elif kind < 0.85:
            yield Operation("safe_realloc", label, draw.choice((1, 3)), size // 4, draw.choice((0, 8, 100)))
        elif kind < 0.87:
            yield Operation("safe_alloc", label, draw.choice((0, 1, 3)), size // 4, draw.choice((0, 8, 100)))
        elif kind < 0.89:
            text = bytes(draw.choices(b"abcdef", k=draw.choice((0, 3, 8, 40))))
            yield draw.choice((Operation("strdup", label, text=text), _strndup(draw, label, text)))
        elif kind < 0.91:
            yield Operation(
                "write",
                label,
                draw.choice((0, 5, 100)),
                draw.choice((0, 3, 9000)),
                draw.getrandbits(64),
            )
        elif kind < 0.935:
            yield Operation("gc")
        elif kind < 0.95:
            yield Operation("limit", a=draw.choice((*range(2 * MIB, 20 * MIB, 2 * MIB), 9 * MIB, 64 * MIB, SIZE_MAX)))
        elif kind < 0.96:
            yield Operation("reset_peak")
        elif kind < 0.97:
            yield _absurd(draw, label)
        elif kind < 0.975 and requests:
            yield Operation("request_end")
            yield Operation("alloc", 0, 40)
        elif kind < 0.98:
            same = draw.choice((size, draw.choice(EDGES)))
            for other in draw.sample(range(1, labels), labels // 2):
                yield Operation("alloc", other, same)
        elif kind < 0.985:
            for other in draw.sample(range(1, labels), labels // 2):
                yield Operation("free", other)
        else:
            yield Operation("check")


def _size(draw: random.Random, family: str) -> int:
    if family == "edges":
        return draw.choice(EDGES)
    if family == "small":
        return draw.randrange(3073)
    if family == "pages":
        return draw.randrange(1, 12) * 4096 - draw.choice((0, 1, 4095))
    if family == "runs":
        return draw.randrange(4096, 2 * MIB)
    return draw.choice(GREAT)


def _strndup(draw: random.Random, label: int, text: bytes) -> Operation:
    return Operation(
        "strndup",
        label,
        draw.choice((0, len(text) // 2, len(text), len(text) + 1, SIZE_MAX)),
        text=text,
    )


def _absurd(draw: random.Random, label: int) -> Operation:
    size = draw.choice(ABSURD)
    return draw.choice(
        (
            Operation("alloc", label, size),
            Operation("realloc", label, size),
            Operation("calloc", label, 2**32, 2**32 + draw.choice((-1, 0))),
            Operation("safe_alloc", label, 1, size, 1),
            Operation("safe_realloc", label, 3, SIZE_MAX // 3, draw.choice((0, 1))),
            Operation("strndup", label, draw.choice((2**48, SIZE_MAX, SIZE_MAX - 1)), text=b"abc"),
        )
    )
