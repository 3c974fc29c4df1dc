"""The text form of a program (``.zmm``): parsed with errors that name the line and the remedy, written canonically."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from zmm_model.op import SIZE_MAX, WORDS, Operation, Settings, Word

from .program import (
    DATA_BYTES_MAX,
    FAILING_CALL_MAX,
    FAILING_COUNT_MAX,
    LABEL_COUNT_MAX,
    TEXT_BYTES_MAX,
    Program,
    ProgramError,
    standard_label,
)

FIRST_LINE = "zmm-program 1"

_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# A string literal, a comment, an equals sign, or a word; anything else starts an unclosed literal.
_TOKEN = re.compile(r'\s*("(?:[^"\\]|\\.)*"|#.*|=|[^\s="#]+|")')
_ESCAPE = re.compile(rb"\\(x[0-9A-Fa-f]{2}|.)", re.DOTALL)
_ESCAPES = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"\\": b"\\", b'"': b'"'}
_ESCAPED = {b"\n"[0]: "\\n", b"\t"[0]: "\\t", b"\r"[0]: "\\r", b"\\"[0]: "\\\\", b'"'[0]: '\\"'}
_NUMBER = re.compile(r"[0-9][0-9_]*|0[xX][0-9A-Fa-f_]+")
_SETTINGS = ("limit", "storage", "extend", "truncate", "data", "fail")
_YES_NO = {"yes": True, "no": False}


def parse_text(text: str | bytes, source: str = "") -> Program:
    """
    Reads the text form.  ``source`` is named in errors and becomes the program's origin.

    Raises :class:`ProgramError` with the number of the line, what is wrong there and what to write instead.
    """
    if isinstance(text, bytes):
        try:
            text = text.decode()
        except UnicodeDecodeError as error:
            raise ProgramError(
                f"not a text: byte 0x{error.object[error.start]:02x} at offset {error.start} is not UTF-8;"
                " a binary program needs a name that ends in .tape, .bin or .bin.gz",
                source=source,
            ) from None
    if not text.strip():
        raise ProgramError(f"the file is empty; a program begins with the line '{FIRST_LINE}'", source=source)
    if "\0" in text:
        raise ProgramError(
            f"not a text: a NUL byte at offset {text.index(chr(0))};"
            " a binary program needs a name that ends in .tape, .bin or .bin.gz",
            source=source,
        )
    return _Parser(source).program(text)


class _Parser:
    """The state of one parse: where we are, and the labels met so far."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.line = 0
        self.labels: dict[str, int] = {}

    def fail(self, problem: str) -> ProgramError:
        return ProgramError(problem, source=self.source, place=f"line {self.line}")

    def program(self, text: str) -> Program:
        settings: Settings | None = None
        operations: list[Operation] = []
        begun = False
        for self.line, line in enumerate(text.split("\n"), 1):
            tokens = self.tokens(line)
            if not tokens:
                continue
            if not begun:
                self.first_line(tokens)
                begun = True
            elif tokens[0] == "heap" and tokens[1:2] != ["="]:
                if settings is not None:
                    raise self.fail("a second 'heap' line; give all settings in one")
                if operations:
                    raise self.fail("'heap' must come before the first operation")
                settings = self.settings(line)
            else:
                operations.append(self.operation(tokens))
        if not begun:
            raise ProgramError(
                f"nothing but comments; a program begins with the line '{FIRST_LINE}'",
                source=self.source,
            )
        names: tuple[str, ...] = tuple(self.labels)
        standard = [standard_label(name) for name in names]
        if all(label is not None and label < LABEL_COUNT_MAX for label in standard):
            # Standard names carry their numbers, so a written program is read back with the labels it had.
            names = ()
            if any(label != position for position, label in enumerate(standard)):
                operations = [
                    operation if operation.label < 0 else operation._replace(label=standard[operation.label] or 0)
                    for operation in operations
                ]
        return Program(settings or Settings(), tuple(operations), names, self.source)

    def tokens(self, line: str) -> list[str]:
        tokens: list[str] = _TOKEN.findall(line)
        if tokens and tokens[-1].startswith("#"):
            tokens.pop()
        if '"' in tokens:
            raise self.fail('a text without its closing quote; write it as "..." with \\" for a quote inside')
        return tokens

    def first_line(self, tokens: list[str]) -> None:
        if tokens[0] != "zmm-program":
            raise self.fail(f"not a program: the first line must be '{FIRST_LINE}'")
        if tokens[1:] != ["1"]:
            raise self.fail(f"unknown format version {' '.join(tokens[1:])!r}; this zmm reads '{FIRST_LINE}'")

    def settings(self, line: str) -> Settings:
        limit_bytes: int | None = None
        storage = "handlers"
        extend = truncate = True
        data_bytes = 0
        failing_calls: tuple[int, ...] = ()
        seen = set()
        for part in line.partition("#")[0].split()[1:]:
            key, equals, value = part.partition("=")
            if key not in _SETTINGS:
                raise self.fail(f"unknown setting {key!r}{_suggestion(key, _SETTINGS)}")
            if not equals or not value:
                raise self.fail(f"the setting {key!r} needs a value: {key}=...")
            if key in seen:
                raise self.fail(f"the setting {key!r} is given twice")
            seen.add(key)
            if key == "limit":
                limit_bytes = self.number(value, "limit", SIZE_MAX)
                if limit_bytes == 0:
                    raise self.fail("a limit of 0 bytes; leave 'limit' out for a heap without one")
            elif key == "data":
                data_bytes = self.number(value, "data", DATA_BYTES_MAX)
            elif key == "fail":
                numbers = [self.number(number, "fail", FAILING_CALL_MAX) for number in value.split(",")]
                if 0 in numbers:
                    raise self.fail("storage calls are counted from 1: fail=0 means nothing")
                failing_calls = tuple(sorted(set(numbers)))
                if len(failing_calls) > FAILING_COUNT_MAX:
                    raise self.fail(f"more than {FAILING_COUNT_MAX} failing calls; leave some out")
            elif key == "storage":
                if value not in ("handlers", "kernel"):
                    raise self.fail(f"unknown storage {value!r}; write storage=handlers or storage=kernel")
                storage = value
            else:
                if value not in _YES_NO:
                    raise self.fail(f"{key}={value}: write {key}=yes or {key}=no")
                if key == "extend":
                    extend = _YES_NO[value]
                else:
                    truncate = _YES_NO[value]
        return Settings(limit_bytes, storage, extend, truncate, data_bytes, failing_calls)

    def operation(self, tokens: list[str]) -> Operation:
        makes = tokens[1:2] == ["="]
        if makes and len(tokens) == 2:
            raise self.fail(f"nothing after '='; write for example '{tokens[0]} = alloc 40'")
        name = tokens[2] if makes else tokens[0]
        word = WORDS.get(name)
        if word is None:
            raise self.fail(f"unknown word {name!r}{_suggestion(name, WORDS)}")
        if makes and not word.makes_block:
            raise self.fail(f"{name!r} makes no block; write '{_usage(word)}'")
        if not makes and word.makes_block:
            raise self.fail(f"{name!r} makes a block and needs a label for it; write '{_usage(word)}'")
        rest = tokens[3:] if makes else tokens[1:]
        label = -1
        if makes:
            label = self.label(tokens[0])
        elif word.takes_label:
            if not rest:
                raise self.fail(f"{name!r} needs a label; write '{_usage(word)}'")
            label = self.label(rest.pop(0))
        elif rest and word.arguments == ():
            raise self.fail(f"{name!r} takes nothing: unexpected {rest[0]!r}")
        if makes and word.name in ("realloc", "realloc2", "safe_realloc"):
            if not rest:
                raise self.fail(f"{name!r} needs the label again; write '{_usage(word)}'")
            again = rest.pop(0)
            if again != tokens[0]:
                raise self.fail(
                    f"{name!r} resizes the block of its own label: write '{tokens[0]} = {name} {tokens[0]} ...',"
                    f" not {again!r}"
                )
        literal = b""
        if word.takes_text:
            if not rest or not rest[0].startswith('"'):
                raise self.fail(f"{name!r} needs a text in double quotes; write '{_usage(word)}'")
            literal = self.literal(rest.pop(0))
        if len(rest) != len(word.arguments):
            raise self.fail(f"{name!r} takes {len(word.arguments)} numbers, {len(rest)} given; write '{_usage(word)}'")
        numbers = [self.number(token, argument, SIZE_MAX) for token, argument in zip(rest, word.arguments, strict=True)]
        numbers += [0] * (3 - len(numbers))
        return Operation(word.name, label, numbers[0], numbers[1], numbers[2], literal)

    def label(self, name: str) -> int:
        if not _LABEL.fullmatch(name):
            raise self.fail(f"{name!r} is not a label; a label is a letter, then letters, digits or '_'")
        if len(self.labels) >= LABEL_COUNT_MAX and name not in self.labels:
            raise self.fail(f"more than {LABEL_COUNT_MAX} labels; use one again after its block is freed")
        return self.labels.setdefault(name, len(self.labels))

    def number(self, token: str, name: str, largest: int) -> int:
        shown = token if len(token) <= 40 else f"{token[:20]}...{token[-8:]}"
        if not _NUMBER.fullmatch(token):
            if token.startswith("-") and _NUMBER.fullmatch(token[1:]):
                raise self.fail(f"{name} is {shown}; numbers are never negative")
            raise self.fail(f"{shown!r} is not a number for {name}; write digits, or hexadecimal as 0x...")
        try:
            value = int(token, 0) if token[:2] in ("0x", "0X") else int(token)
        except ValueError:  # underscores in the wrong places, or thousands of digits
            raise self.fail(f"{shown!r} is not a number for {name}; at most {largest} is possible") from None
        if value > largest:
            raise self.fail(f"{name} is {shown}, more than the {largest} that is possible")
        return value

    def literal(self, token: str) -> bytes:
        def replace(match: re.Match[bytes]) -> bytes:
            escape = match[1]
            if escape in _ESCAPES:
                return _ESCAPES[escape]
            if escape[:1] == b"x" and len(escape) == 3:
                return bytes((int(escape[1:], 16),))
            raise self.fail(
                f"unknown escape '\\{escape.decode(errors='replace')}' in a text;"
                ' there are \\n \\t \\r \\\\ \\" and \\xNN'
            )

        text = _ESCAPE.sub(replace, token[1:-1].encode(errors="surrogatepass"))
        if b"\0" in text:
            raise self.fail("a text with a NUL inside; texts end at their first NUL, so leave it and the rest out")
        if len(text) > TEXT_BYTES_MAX:
            raise self.fail(f"a text of {len(text)} bytes, more than the {TEXT_BYTES_MAX} that are possible")
        return text


def _suggestion(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(known)}"


def _usage(word: Word) -> str:
    parts = [word.name]
    if word.makes_block:
        parts = ["LABEL", "=", word.name]
        if word.name in ("realloc", "realloc2", "safe_realloc"):
            parts.append("LABEL")
    elif word.takes_label:
        parts.append("LABEL")
    if word.takes_text:
        parts.append('"TEXT"')
    return " ".join((*parts, *(argument.upper() for argument in word.arguments)))


def write_text(program: Program) -> str:
    """Writes the text form.  ``parse_text(write_text(program)) == program`` for every legal program whose names are
    standard, or its own in order of first appearance."""
    lines = [FIRST_LINE]
    lines += [f"# {line}" for line in program.origin.splitlines()]
    settings = settings_line(program.settings)
    if settings:
        lines.append(settings)
    count = program.label_count()
    names = [program.label_name(label) for label in range(count)] if count < 2 * len(program) + 64 else None
    for operation in program.operations:
        name = "" if operation.label < 0 else (names[operation.label] if names else program.label_name(operation.label))
        lines.append(operation_line(operation, name))
    lines.append("")
    return "\n".join(lines)


def settings_line(settings: Settings) -> str:
    """The ``heap`` line, empty when every setting has its default."""
    parts = []
    if settings.limit_bytes is not None:
        parts.append(f"limit={settings.limit_bytes}")
    if settings.storage != "handlers":
        parts.append(f"storage={settings.storage}")
    if not settings.extend:
        parts.append("extend=no")
    if not settings.truncate:
        parts.append("truncate=no")
    if settings.data_bytes:
        parts.append(f"data={settings.data_bytes}")
    if settings.failing_calls:
        parts.append("fail=" + ",".join(map(str, settings.failing_calls)))
    return " ".join(("heap", *parts)) if parts else ""


def operation_line(operation: Operation, name: str) -> str:
    """One operation as a line of text; ``name`` is its label's name."""
    word = WORDS[operation.word]
    parts = [word.name]
    if word.makes_block:
        parts = [name, "=", word.name]
        if word.name in ("realloc", "realloc2", "safe_realloc"):
            parts.append(name)
    elif word.takes_label:
        parts.append(name)
    if word.takes_text:
        parts.append(quoted(operation.text))
    parts += map(str, (operation.a, operation.b, operation.c)[: len(word.arguments)])
    return " ".join(parts)


def quoted(text: bytes) -> str:
    """A text as a literal in ASCII."""
    return '"' + "".join(_ESCAPED.get(c) or (chr(c) if 32 <= c < 127 else f"\\x{c:02x}") for c in text) + '"'
