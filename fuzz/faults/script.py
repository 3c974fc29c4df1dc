"""The line language of faults: what its words are, checked before a process is started, and made ready for a target."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ..errors import UserError
from .expression import unreadable_from

# Words after the operation's own, least and most; native/faults has the same table.
OPERATIONS: dict[str, tuple[int, int]] = {
    "alloc": (2, 2),
    "calloc": (3, 3),
    "safe_alloc": (4, 4),
    "aligned": (3, 3),
    "allocs": (3, 3),
    "pair": (3, 3),
    "until": (4, 4),
    "churn": (2, 2),
    "grow": (2, 2),
    "realloc": (3, 3),
    "realloc2": (4, 4),
    "safe_realloc": (5, 5),
    "strndup": (3, 3),
    "free": (1, 1),
    "free_all": (1, 1),
    "free_sized": (2, 2),
    "free_large": (2, 2),
    "block_size": (1, 1),
    "heap": (0, 0),
    "heap_end": (0, 0),
    "limit": (1, 1),
    "gc": (0, 0),
    "request_end": (0, 0),
    "libc_alloc": (2, 2),
    "libc_aligned": (3, 3),
    "libc_strdup": (1, 1),
    "libc_realloc": (2, 2),
    "libc_free": (1, 1),
    "libc_probe": (1, 1),
    "write": (2, 23),
    "fill": (3, 3),
    "word": (2, 2),
    "word4": (2, 2),
    "flip": (2, 2),
    "mask": (2, 2),
    "add": (2, 2),
    "copy": (3, 3),
    "own": (2, 2),
    "read": (2, 2),
    "reveal": (3, 3),
    "reuse": (5, 5),
    "stack": (1, 1),
    "static": (1, 1),
    "map": (2, 2),
    "forge": (2, 2),
    "pick": (4, 4),
    "mapped": (1, 1),
    "need": (1, 1),
    "let": (2, 2),
    "size": (1, 1),
    "meta": (2, 3),
}
# A condition in front of a line, and the kinds of target that perform it.
CONDITIONS = {"zend": ("zmm", "php"), "zmm": ("zmm",), "php": ("php",), "malloc": ("malloc",)}
# What the runner holds.
LINES_MAX = 20_000
_EXPRESSION = re.compile(r"[A-Za-z0-9_+\-*/%&|^~<>()\[\]]+")
_REPEAT_MAX = 10_000


class ScriptError(UserError):
    """A line that no target can perform: its number, what is wrong and the remedy."""


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    condition: str
    words: tuple[str, ...]


def check_script(text: str) -> None:
    """
    Makes sure that every line can be performed and that there is a fault in it.

    :raises ScriptError: it is not so.
    """
    lines = list(_expanded(_parse(text)))
    marks = [line.words[0] for line in lines if line.words[0] in ("fault", "after")]
    if marks not in (["fault"], ["fault", "after"]):
        raise ScriptError("the line 'fault' comes once and 'after' at most once behind it; see docs/faults.md")


def lines_for(text: str, kind: str) -> str:
    """The lines that a target of ``kind`` performs: repeats written out, conditions decided."""
    return "".join(
        " ".join(line.words) + "\n"
        for line in _expanded(_parse(text))
        if not line.condition or kind in CONDITIONS[line.condition]
    )


def _parse(text: str) -> list[_Line]:
    lines = []
    for number, raw in enumerate(text.splitlines(), 1):
        words = raw.partition("#")[0].split()
        if not words:
            continue
        condition = words[0][:-1] if words[0].endswith(":") else ""
        if condition:
            if condition not in CONDITIONS:
                raise ScriptError(
                    f"line {number}: unknown condition {words[0]!r}; there are {', '.join(f'{c}:' for c in CONDITIONS)}"
                )
            words = words[1:]
        line = _Line(number, condition, tuple(words))
        _check(line)
        lines.append(line)
    return lines


def _check(line: _Line) -> None:
    if not line.words:
        raise ScriptError(f"line {line.number}: there is nothing behind the condition; add an operation")
    word, count = line.words[0], len(line.words) - 1
    if word in ("fault", "after", "end") and not line.condition:
        if count:
            raise ScriptError(f"line {line.number}: {word} stands alone; put {line.words[1]!r} on a line of its own")
        return
    if word == "repeat":
        if count != 1 or not line.words[1].isdecimal() or not 1 <= int(line.words[1]) <= _REPEAT_MAX:
            raise ScriptError(f"line {line.number}: repeat takes a number from 1 to {_REPEAT_MAX}")
        return
    name, mark, heap = word.partition("@")
    if name not in OPERATIONS:
        raise ScriptError(f"line {line.number}: unknown operation {word!r}; the operations are in docs/faults.md")
    if mark and heap != "2":
        raise ScriptError(f"line {line.number}: {word!r} names no heap; the second heap is {name}@2")
    least, most = OPERATIONS[name]
    if not least <= count <= most:
        takes = str(least) if least == most else f"{least} to {most}"
        raise ScriptError(f"line {line.number}: {name} takes {takes} words, not {count}; see docs/faults.md")
    for expression in line.words[1:]:
        if not _EXPRESSION.fullmatch(expression):
            raise ScriptError(f"line {line.number}: cannot read {expression!r}; an expression has no such sign")
        place = unreadable_from(expression)
        if place is not None:
            rest = repr(expression[place:]) if place < len(expression) else "its end"
            raise ScriptError(
                f"line {line.number}: cannot read the expression {expression!r} at {rest}; see docs/faults.md"
            )


def _expanded(lines: list[_Line]) -> Iterator[_Line]:
    for count, line in enumerate(_repeated(lines, 0, len(lines)), 1):
        if count > LINES_MAX:
            raise ScriptError(f"line {line.number}: the sequence has more than {LINES_MAX} lines; repeat less")
        yield line


def _repeated(lines: list[_Line], first: int, last: int) -> Iterator[_Line]:
    index = first
    while index < last:
        line = lines[index]
        if line.words[0] == "end":
            raise ScriptError(f"line {line.number}: end without repeat; remove it")
        if line.words[0] != "repeat":
            yield line
            index += 1
            continue
        end = _matching(lines, index, last)
        for _ in range(int(line.words[1])):
            yield from _repeated(lines, index + 1, end)
        index = end + 1


def _matching(lines: list[_Line], index: int, last: int) -> int:
    depth = 0
    for place in range(index, last):
        word = lines[place].words[0]
        depth += (word == "repeat") - (word == "end")
        if depth == 0:
            return place
    raise ScriptError(f"line {lines[index].number}: repeat without end; add a line 'end'")
