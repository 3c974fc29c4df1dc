"""The binary form of a program: every byte string is a legal one.  The C twin is ``native/tape.c``."""

from __future__ import annotations

import struct
import zlib

from zmm_model.op import MISUSE, WORDS, Operation, Settings

from .boundaries import CHUNK_BYTES, LARGE_BYTES_MAX, LIMIT_BYTES_NONE, PAGE_BYTES, SIZE_MAX
from .program import (
    DATA_BYTES_MAX,
    FAILING_CALL_MAX,
    FAILING_COUNT_MAX,
    TEXT_BYTES_MAX,
    Program,
    ProgramError,
)

TAPE_LABEL_MAX = 65536

# The first byte: settings that are present, and whether there are words of misuse. The highest bit means nothing yet.
_KERNEL, _NO_EXTEND, _NO_TRUNCATE, _LIMIT, _DATA, _FAIL = (1 << bit for bit in range(6))

# Numbers below are themselves, then these follow, then the count of little-endian bytes.
_LITERALS = 128
_FIRST_WIDE = 248


def _number_table() -> tuple[int, ...]:
    bins: tuple[int, ...] = (128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768, 896, 1024)
    bins += (1280, 1536, 1792, 2048, 2560, 3072)
    edges = [size + delta for size in bins for delta in (-1, 0, 1)][1:]
    for pages in (1, 2, 3, 4, 8, 16):
        edges += [pages * PAGE_BYTES + delta for delta in (-1, 0, 1)]
    edges += [pages * PAGE_BYTES for pages in (5, 6, 7, 12, 20, 24, 32, 48, 100)]
    edges += [pages * PAGE_BYTES for pages in (64, 128, 255, 256, 509, 510)]
    edges += [LARGE_BYTES_MAX + delta for delta in (-1, 0, 1)]
    edges += [CHUNK_BYTES + delta for delta in (-1, 0, 1, PAGE_BYTES)]
    edges += [2 * CHUNK_BYTES + delta for delta in (-PAGE_BYTES, -1, 0, 1)]
    edges += [chunks * CHUNK_BYTES for chunks in (3, 4, 6, 8)]
    edges += [2**32 - 1, 2**32, 2**63, SIZE_MAX // 3, 2**48, 2**62]
    edges += [LIMIT_BYTES_NONE, LIMIT_BYTES_NONE - CHUNK_BYTES, LIMIT_BYTES_NONE - CHUNK_BYTES + 1]
    edges += [SIZE_MAX, SIZE_MAX - 1, SIZE_MAX - 4094, SIZE_MAX - 4095, SIZE_MAX - 4096]
    edges += [SIZE_MAX - CHUNK_BYTES, 2**33]
    return tuple(edges)


# One byte says one of these: never change them, they are version 1 of the format.
NUMBER_TABLE = _number_table()
assert len(NUMBER_TABLE) == len(set(NUMBER_TABLE)) == _FIRST_WIDE - _LITERALS
_NUMBER_CODES = {number: _LITERALS + index for index, number in enumerate(NUMBER_TABLE)}

_WORD_COUNT = 15
_BY_CODE = sorted(WORDS.values(), key=lambda word: word.code)[:_WORD_COUNT]
_FAR_LABEL = 15
# With this flag the code 15 is followed by a byte that says which word of misuse is meant.
_MISUSE = 64
_MISUSE_CODE = 15
_MISUSE_WORDS = sorted((WORDS[name] for name in MISUSE), key=lambda word: word.code)


class _Reader:
    """Bytes, then zeros for ever."""

    __slots__ = ("data", "end", "position")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0
        self.end = len(data)

    def more(self) -> bool:
        return self.position < self.end

    def byte(self) -> int:
        position = self.position
        if position >= self.end:
            return 0
        self.position = position + 1
        return self.data[position]

    def number(self) -> int:
        first = self.byte()
        if first < _LITERALS:
            return first
        if first < _FIRST_WIDE:
            return NUMBER_TABLE[first - _LITERALS]
        width = first - _FIRST_WIDE + 1
        raw = self.data[self.position : self.position + width]
        self.position = min(self.end, self.position + width)
        return int.from_bytes(raw, "little")

    def text(self) -> bytes:
        length = min(self.number(), self.end - self.position, TEXT_BYTES_MAX)
        raw = self.data[self.position : self.position + length]
        self.position += length
        return raw.replace(b"\0", b"\1")


def decode(body: bytes) -> Program:
    """The program that a body means.  Every byte string means one."""
    reader = _Reader(body)
    has_misuse = bool(body) and bool(body[0] & _MISUSE)
    settings = _decode_settings(reader)
    operations = []
    while reader.more():
        first = reader.byte()
        code = first & 15
        # 15 is a second way to say the first word: the most common one, and no byte is without a meaning.
        if has_misuse and code == _MISUSE_CODE:
            word = _MISUSE_WORDS[reader.byte() % len(_MISUSE_WORDS)]
        else:
            word = _BY_CODE[code if code < _WORD_COUNT else 0]
        label = -1
        if word.takes_label:
            label = first >> 4
            if label == _FAR_LABEL:
                label += reader.number() % (TAPE_LABEL_MAX - _FAR_LABEL)
        text = reader.text() if word.takes_text else b""
        numbers = [reader.number() for _ in word.arguments]
        numbers += [0] * (3 - len(numbers))
        operations.append(Operation(word.name, label, numbers[0], numbers[1], numbers[2], text))
    return Program(settings, tuple(operations))


def _decode_settings(reader: _Reader) -> Settings:
    flags = reader.byte()
    limit_bytes = None
    if flags & _LIMIT:
        limit_bytes = reader.number() or None
    data_bytes = reader.number() % (DATA_BYTES_MAX + 1) if flags & _DATA else 0
    failing_calls: list[int] = []
    if flags & _FAIL:
        count = reader.number() % (FAILING_COUNT_MAX + 1)
        call = 0
        while len(failing_calls) < count and reader.more():
            call += 1 + reader.number() % FAILING_CALL_MAX
            if call > FAILING_CALL_MAX:
                break
            failing_calls.append(call)
    return Settings(
        limit_bytes,
        "kernel" if flags & _KERNEL else "handlers",
        not flags & _NO_EXTEND,
        not flags & _NO_TRUNCATE,
        data_bytes,
        tuple(failing_calls),
    )


def encode(program: Program) -> bytes:
    """
    The shortest body that means this program: ``decode(encode(p)) == p`` but for names and origin.

    Raises :class:`ProgramError` for a program that is not legal, or has more than ``TAPE_LABEL_MAX`` labels.
    """
    program.validate()
    body = bytearray(_encode_settings(program.settings))
    if any(operation.word in MISUSE for operation in program.operations):
        body[0] |= _MISUSE
    for number, operation in enumerate(program.operations, 1):
        word = WORDS[operation.word]
        label = operation.label
        if label >= TAPE_LABEL_MAX:
            raise ProgramError(
                f"label {label}: a tape has at most {TAPE_LABEL_MAX} labels; use the text form",
                source=program.origin,
                place=f"operation {number}",
            )
        first, which = word.code - 1, b""
        if word.name in MISUSE:
            first, which = _MISUSE_CODE, bytes((_MISUSE_WORDS.index(word),))
        body.append(first | min(max(label, 0), _FAR_LABEL) << 4)
        body += which
        if label >= _FAR_LABEL:
            body += encode_number(label - _FAR_LABEL)
        if word.takes_text:
            body += encode_number(len(operation.text)) + operation.text
        for value in (operation.a, operation.b, operation.c)[: len(word.arguments)]:
            body += encode_number(value)
    return bytes(body)


def _encode_settings(settings: Settings) -> bytes:
    flags = 0
    rest = b""
    if settings.storage == "kernel":
        flags |= _KERNEL
    if not settings.extend:
        flags |= _NO_EXTEND
    if not settings.truncate:
        flags |= _NO_TRUNCATE
    if settings.limit_bytes is not None:
        flags |= _LIMIT
        rest += encode_number(settings.limit_bytes)
    if settings.data_bytes:
        flags |= _DATA
        rest += encode_number(settings.data_bytes)
    if settings.failing_calls:
        flags |= _FAIL
        rest += encode_number(len(settings.failing_calls))
        previous = 0
        for call in settings.failing_calls:
            rest += encode_number(call - previous - 1)
            previous = call
    return bytes((flags,)) + rest


def encode_number(number: int) -> bytes:
    """The shortest form of a number."""
    if number < _LITERALS:
        return bytes((number,))
    code = _NUMBER_CODES.get(number)
    if code is not None:
        return bytes((code,))
    width = (number.bit_length() + 7) // 8
    return bytes((_FIRST_WIDE + width - 1,)) + number.to_bytes(width, "little")


# ---- files -----------------------------------------------------------------------------------------------------------

MAGIC = b"zmm-tape"
_HEADER = struct.Struct("<8sIIQ")  # magic, version, CRC-32 of the body, length of the body


def encode_file(program: Program) -> bytes:
    """A ``.tape`` file: a header that makes damage visible, then the body."""
    body = encode(program)
    return _HEADER.pack(MAGIC, 1, zlib.crc32(body), len(body)) + body


def decode_file(data: bytes, source: str = "") -> Program:
    """
    The program of a ``.tape`` file.  ``source`` is named in errors and becomes the program's origin.

    Raises :class:`ProgramError` when the file is cut off, damaged, of an unknown version, or no tape.
    """

    def fail(problem: str) -> ProgramError:
        return ProgramError(problem, source=source)

    if not data:
        raise fail("the file is empty; a tape begins with a header of 24 bytes")
    if data[: len(MAGIC)] != MAGIC[: len(data)]:
        raise fail(f"not a tape: it does not begin with {MAGIC.decode()!r}")
    if len(data) < _HEADER.size:
        raise fail(f"the tape is cut off in its header: {len(data)} of {_HEADER.size} bytes are there")
    _, version, checksum, length = _HEADER.unpack_from(data)
    if version != 1:
        raise fail(f"unknown tape version {version}; this zmm reads version 1")
    body = data[_HEADER.size :]
    if len(body) < length:
        raise fail(f"the tape is cut off: {len(body)} of {length} bytes are there; get a whole copy of it")
    if len(body) > length:
        raise fail(f"the tape has {len(body) - length} bytes after its end; get a clean copy of it")
    if zlib.crc32(body) != checksum:
        raise fail("the tape is damaged: its checksum does not fit; get a clean copy of it")
    program = decode(body)
    return Program(program.settings, program.operations, (), source)
