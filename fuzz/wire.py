"""What crosses the pipe to the runner, in Python: the twin of ``native/abi.h`` (tests compare the two).

A program becomes packed steps and a text area, rows come back packed::

    steps, texts = pack_program(program.operations, program.settings, edition="php-8.2")
    with Session(find_target("php")) as session:
        rows = unpack_rows(session.perform(steps, texts).rows)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from struct import Struct
from typing import Final, NamedTuple

from zmm_model.op import CLOSE_CODE, OPEN_CODE, SIZE_MAX, WORDS, Operation, Settings
from zmm_model.outcome import Row

# struct step: op, flag, reserved, label, a, b, c.
STEP: Final = Struct("<BBHIQQQ")
# struct row, without its two reserved fields: exactly the fields of Row.
ROW: Final = Struct("<BB2xIQQQQIIIIQQQQQIIIId8x")
# struct message, before its text: step, kind, text bytes.
MESSAGE: Final = Struct("<IHH")
# struct header.
HEADER: Final = Struct("<II17Q")

NO_LABEL: Final = 0xFFFFFFFF
BURST_CODE: Final = 130
READ_CODE: Final = 131
LABELS_MAX: Final = 1 << 24
STORAGE_BYTES_MAX: Final = 8 << 30
STORAGE_LIVE_MAX: Final = 6144
HEADER_MAGIC: Final = 0x524D4D5A
ABI_VERSION: Final = 1

# The text whose ends a burst's strdup and strndup copy.
BURST_TEXT_BYTES: Final = 4096
BURST_TEXT: Final = bytes(ord("a") + index % 23 for index in range(BURST_TEXT_BYTES))

EDITION_PHP: Final = "php-8.2"
EDITION_ZMM: Final = "zmm"


class OpenFlag(IntFlag):
    """The flags of the opening step (``enum open_flag``)."""

    KERNEL = 1
    EXTEND = 2
    TRUNCATE = 4
    PHP = 8
    EDGES = 16
    ALL_CALLS = 32


class BurstProfile(IntEnum):
    """What a burst is mostly made of (``enum burst_profile``)."""

    SWARM = 0
    SMALL = 1
    PAGES = 2
    MIXED = 3
    CHURN = 4
    RESIZE = 5


class BurstFlag(IntFlag):
    """What may occur in a burst (``enum burst_flag``)."""

    REQUESTS = 256
    LIMITS = 512
    GC = 1024
    OVERFLOWS = 2048


class MessageKind(IntEnum):
    """What a message of the runner is about (``enum message_kind``)."""

    REFUSAL = 1
    PANIC = 2
    BROKEN = 3
    CONTENTS = 4
    OUTCOME = 5


class Message(NamedTuple):
    """A sentence of the runner about one step of what was performed."""

    step: int
    kind: int
    text: str


@dataclass(frozen=True, slots=True)
class Burst:
    """
    Operations that the runner makes up by itself, natively, followed by one ``check``.

    ``labels`` is how many labels they use (0: 256).  The same burst is the same operations on every target.
    """

    seed: int
    operations: int
    profile: BurstProfile = BurstProfile.SWARM
    flags: BurstFlag = BurstFlag.GC
    labels: int = 0

    def pack(self) -> bytes:
        """The burst as one step."""
        what = int(self.profile) | int(self.flags) | self.labels << 32
        return STEP.pack(BURST_CODE, 0, 0, NO_LABEL, self.seed & SIZE_MAX, self.operations, what)


class TextArea:
    """Strings and numbers that steps refer to by offset; equal texts are kept once."""

    __slots__ = ("_bytes", "_offsets")

    def __init__(self) -> None:
        # Offset 0 is the empty text.
        self._bytes = bytearray(8)
        self._offsets: dict[bytes, int] = {b"": 0}

    def add(self, text: bytes) -> int:
        """The offset of a text (without NUL inside), which is followed by a NUL."""
        offset = self._offsets.get(text)
        if offset is None:
            offset = self._offsets[text] = len(self._bytes)
            self._bytes += text
            self._bytes.append(0)
        return offset

    def add_numbers(self, numbers: Sequence[int]) -> int:
        """The offset of 64-bit numbers, 8 bytes aligned."""
        self._bytes += bytes(-len(self._bytes) % 8)
        offset = len(self._bytes)
        self._bytes += Struct(f"<{len(numbers)}Q").pack(*numbers)
        return offset

    def __bytes__(self) -> bytes:
        return bytes(self._bytes)

    def __len__(self) -> int:
        return len(self._bytes)


_CODES: Final = {word.name: word.code for word in WORDS.values()}
_NAMES: Final = {word.code: word.name for word in WORDS.values()}
_TEXT_WORDS: Final = frozenset(word.name for word in WORDS.values() if word.takes_text)
_TEXT_CODES: Final = frozenset(word.code for word in WORDS.values() if word.takes_text)


def pack_steps(operations: Iterable[Operation], texts: TextArea) -> bytes:
    """
    Operations as packed steps; their texts go to the text area.

    :raises KeyError: for a word that the runner does not know.
    :raises struct.error: for an argument outside of 0 ... 2**64 - 1.
    """
    codes, pack, add = _CODES, STEP.pack, texts.add
    steps = []
    for word, label, a, b, c, text in operations:
        if word in _TEXT_WORDS:
            steps.append(pack(codes[word], 0, 0, label & NO_LABEL, a, add(text), len(text)))
        else:
            steps.append(pack(codes[word], 0, 0, label & NO_LABEL, a, b, c))
    return b"".join(steps)


def unpack_steps(steps: bytes | memoryview, texts: bytes | memoryview = b"") -> list[Operation]:
    """
    The operations of packed steps (no opening, closing, burst or read).

    :raises KeyError: for a step that is no operation of a program.
    """
    operations = []
    for code, _, _, label, a, b, c in STEP.iter_unpack(steps):
        label = -1 if label == NO_LABEL else label
        if code in _TEXT_CODES:
            operations.append(Operation(_NAMES[code], label, a, text=bytes(texts[b : b + c])))
        else:
            operations.append(Operation(_NAMES[code], label, a, b, c))
    return operations


def pack_open(
    settings: Settings, texts: TextArea, *, edition: str, edges: bool = False, all_calls: bool = False
) -> bytes:
    """
    The step that opens a heap.

    Args:
        settings: of the program.
        texts: takes the numbers of the failing calls.
        edition: ``"php-8.2"`` or ``"zmm"``; only zmm has a choice.
        edges: patterns only in the first and last 64 bytes of a block, for speed.
        all_calls: kernel storage of zmm: calls for its own records count and fail, too.
    """
    if edition not in (EDITION_PHP, EDITION_ZMM):
        raise ValueError(f"unknown edition {edition!r}: it is {EDITION_PHP!r} or {EDITION_ZMM!r}")
    flags = OpenFlag(0)
    for flag, wanted in (
        (OpenFlag.KERNEL, settings.storage == "kernel"),
        (OpenFlag.EXTEND, settings.extend),
        (OpenFlag.TRUNCATE, settings.truncate),
        (OpenFlag.PHP, edition == EDITION_PHP),
        (OpenFlag.EDGES, edges),
        (OpenFlag.ALL_CALLS, all_calls),
    ):
        if wanted:
            flags |= flag
    failing = sorted(set(settings.failing_calls))
    offset = texts.add_numbers(failing)
    limit = settings.limit_bytes or 0
    return STEP.pack(OPEN_CODE, int(flags), 0, len(failing), limit, settings.data_bytes, offset)


CLOSE_STEP: Final = STEP.pack(CLOSE_CODE, 0, 0, NO_LABEL, 0, 0, 0)


def read_step(label: int) -> bytes:
    """The step whose row's value is the CRC-32 of a block's requested bytes."""
    return STEP.pack(READ_CODE, 0, 0, label, 0, 0, 0)


def pack_program(
    operations: Iterable[Operation],
    settings: Settings,
    *,
    edition: str,
    texts: TextArea | None = None,
    edges: bool = False,
    all_calls: bool = False,
) -> tuple[bytes, bytes]:
    """
    A whole program as (steps, text area): opening, operations, closing.

    Args:
        operations: of the program.
        settings: of its heap.
        edition: see :func:`pack_open`.
        texts: an area to share between programs that are performed in one batch.
        edges: see :func:`pack_open`.
        all_calls: see :func:`pack_open`.
    """
    area = TextArea() if texts is None else texts
    opening = pack_open(settings, area, edition=edition, edges=edges, all_calls=all_calls)
    steps = opening + pack_steps(operations, area) + CLOSE_STEP
    return steps, bytes(area)


def unpack_rows(rows: bytes | memoryview) -> list[Row]:
    """Packed rows as tuples with names."""
    return [Row._make(fields) for fields in ROW.iter_unpack(rows)]


def unpack_messages(area: bytes | memoryview, first_step: int = 0) -> list[Message]:
    """
    The messages in a message area.

    Args:
        area: its used bytes.
        first_step: the number of the batch's first step.
    """
    messages = []
    offset = 0
    while offset + MESSAGE.size <= len(area):
        step, kind, text_bytes = MESSAGE.unpack_from(area, offset)
        offset += MESSAGE.size
        text = bytes(area[offset : offset + text_bytes]).decode(errors="replace")
        messages.append(Message(first_step + step, kind, text))
        offset += text_bytes + -text_bytes % 8
    return messages
