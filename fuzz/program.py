"""A program: the operations that every engine makes, every target performs and every model judges."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from zmm_model.op import SIZE_MAX, WORDS, Operation, Settings

# Bounds of what a program may say; every reader enforces them, so that a driver can trust a program.
LABEL_COUNT_MAX = 1 << 20
DATA_BYTES_MAX = 1 << 16
TEXT_BYTES_MAX = 1 << 20
FAILING_CALL_MAX = 1 << 20
FAILING_COUNT_MAX = 1024

_STANDARD_NAME = re.compile(r"([a-z])([1-9][0-9]{0,9})?")


class ProgramError(ValueError):
    """A program, tape or trace cannot be read: says where, what, and what to do about it."""

    def __init__(self, problem: str, *, source: str = "", place: str = "") -> None:
        self.problem = problem
        self.source = source
        self.place = place
        super().__init__(": ".join(part for part in (source, place, problem) if part))


@dataclass(frozen=True, slots=True)
class Program:
    """
    A heap's settings and what is done on it.

    ``names`` are the names of the labels in the text form; empty means the standard names (a ... z, a1 ...).
    ``origin`` says where the program comes from; it takes no part in comparisons.
    """

    settings: Settings = field(default_factory=Settings)
    operations: tuple[Operation, ...] = ()
    names: tuple[str, ...] = ()
    origin: str = field(default="", compare=False)

    def __len__(self) -> int:
        """The number of operations."""
        return len(self.operations)

    def with_operations(self, operations: Iterable[Operation]) -> Program:
        """The same heap, other operations."""
        return replace(self, operations=tuple(operations))

    def with_settings(self, settings: Settings) -> Program:
        """The same operations on another heap."""
        return replace(self, settings=settings)

    def label_count(self) -> int:
        """One more than the highest label in use."""
        return 1 + max((operation.label for operation in self.operations), default=-1)

    def label_name(self, label: int) -> str:
        """The name of a label in the text form."""
        if label < len(self.names):
            return self.names[label]
        name = standard_name(label)
        while name in self.names:
            name += "_"
        return name

    def renumbered(self) -> Program:
        """The same program with labels numbered in order of first appearance (and standard names)."""
        numbers: dict[int, int] = {}
        operations = []
        for operation in self.operations:
            if operation.label >= 0:
                label = numbers.setdefault(operation.label, len(numbers))
                operation = operation._replace(label=label)
            operations.append(operation)
        return replace(self, operations=tuple(operations), names=())

    def problems(self) -> Iterator[str]:
        """What makes this program illegal, a sentence each; nothing for a legal one."""
        yield from settings_problems(self.settings)
        for number, operation in enumerate(self.operations, 1):
            for problem in operation_problems(operation):
                yield f"operation {number}: {problem}"

    def validate(self) -> Program:
        """Returns the program itself.  Raises :class:`ProgramError` when it is not legal."""
        for problem in self.problems():
            raise ProgramError(problem, source=self.origin)
        return self


def standard_name(label: int) -> str:
    """a, b, ... z, a1, b1, ..."""
    letter = chr(ord("a") + label % 26)
    return f"{letter}{label // 26}" if label >= 26 else letter


def standard_label(name: str) -> int | None:
    """The label whose standard name this is, None for any other name."""
    match = _STANDARD_NAME.fullmatch(name)
    if match is None:
        return None
    return int(match[2] or 0) * 26 + ord(match[1]) - ord("a")


def settings_problems(settings: Settings) -> Iterator[str]:
    """What is wrong with a heap's settings."""
    if settings.limit_bytes is not None and not 1 <= settings.limit_bytes <= SIZE_MAX:
        yield f"the limit {settings.limit_bytes} is not between 1 and {SIZE_MAX}"
    if settings.storage not in ("handlers", "kernel"):
        yield f"the storage {settings.storage!r} is neither 'handlers' nor 'kernel'"
    if not 0 <= settings.data_bytes <= DATA_BYTES_MAX:
        yield f"the data size {settings.data_bytes} is not between 0 and {DATA_BYTES_MAX}"
    if len(settings.failing_calls) > FAILING_COUNT_MAX:
        yield f"more than {FAILING_COUNT_MAX} failing calls"
    previous = 0
    for number in settings.failing_calls:
        if not previous < number <= FAILING_CALL_MAX:
            yield f"the failing calls must ascend from 1 to at most {FAILING_CALL_MAX}: {number} after {previous}"
        previous = number


def operation_problems(operation: Operation) -> Iterator[str]:
    """What is wrong with one operation."""
    word = WORDS.get(operation.word)
    if word is None:
        yield f"unknown word {operation.word!r}"
        return
    if word.takes_label and not 0 <= operation.label < LABEL_COUNT_MAX:
        yield f"the label {operation.label} of {word.name} is not between 0 and {LABEL_COUNT_MAX - 1}"
    if not word.takes_label and operation.label != -1:
        yield f"{word.name} takes no label"
    for position, value in enumerate((operation.a, operation.b, operation.c)):
        if position < len(word.arguments):
            if not 0 <= value <= SIZE_MAX:
                yield f"{word.arguments[position]} of {word.name} is {value}, not between 0 and {SIZE_MAX}"
        elif value != 0:
            yield f"{word.name} takes {len(word.arguments)} numbers"
    if operation.text and not word.takes_text:
        yield f"{word.name} takes no text"
    if b"\0" in operation.text:
        yield f"the text of {word.name} contains a NUL"
    if len(operation.text) > TEXT_BYTES_MAX:
        yield f"the text of {word.name} is longer than {TEXT_BYTES_MAX} bytes"


def requested_bytes(operation: Operation) -> int | None:
    """
    The bytes that an allocating word asks for, exactly.

    May exceed ``SIZE_MAX`` (the call is refused for overflow then).  None for words that allocate nothing.
    """
    word = operation.word
    if word in ("alloc", "realloc", "realloc2"):
        return operation.a
    if word == "calloc":
        return operation.a * operation.b
    if word in ("safe_alloc", "safe_realloc"):
        return operation.a * operation.b + operation.c
    if word == "strdup":
        return len(operation.text) + 1
    if word == "strndup":
        return operation.a + 1
    return None
