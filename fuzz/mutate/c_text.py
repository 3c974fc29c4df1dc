"""C sources as text: what is code and what is not, and which function a place lies in."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field

_SKIPPED = re.compile(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.DOTALL)
_NAME = re.compile(r"(\w+)\s*\(")
_DEFINE = re.compile(r"#\s*define\s+(\w+)")


@dataclass(slots=True)
class CText:
    """
    A C file. ``code`` has the length of ``text``, with blanks for comments, strings and characters; ``bare`` has them
    for comments only.
    """

    text: str
    code: str = field(init=False)
    bare: str = field(init=False)
    _starts: list[int] = field(init=False)
    _names: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.code = _SKIPPED.sub(lambda found: _blank(found[0]), self.text)
        self.bare = _SKIPPED.sub(lambda found: _blank(found[0]) if found[0][0] == "/" else found[0], self.text)
        self._starts, self._names = _functions(self.code)

    def function_at(self, offset: int) -> str:
        """The function, table or macro that a place belongs to; empty between them."""
        index = bisect_right(self._starts, offset) - 1
        return self._names[index] if index >= 0 else ""

    def bodies(self) -> list[tuple[int, int]]:
        """The ranges of all function bodies, braces left out."""
        found = []
        depth = 0
        for place in re.finditer(r"[{}]", self.code):
            depth += 1 if place[0] == "{" else -1
            if depth == 1 and place[0] == "{":
                start = place.end()
            elif depth == 0 and place[0] == "}" and _is_function(self.code, start - 1):
                found.append((start, place.start()))
        return found

    def closing(self, opening: int) -> int:
        """The place of the bracket that closes the one at ``opening``; -1 when there is none."""
        pairs = {"(": ")", "{": "}", "[": "]"}
        opened, closed = self.code[opening], pairs[self.code[opening]]
        depth = 0
        for index in range(opening, len(self.code)):
            if self.code[index] == opened:
                depth += 1
            elif self.code[index] == closed:
                depth -= 1
                if depth == 0:
                    return index
        return -1


def _blank(text: str) -> str:
    return "".join("\n" if letter == "\n" else " " for letter in text)


def _is_function(code: str, brace: int) -> bool:
    return code[:brace].rstrip().endswith(")")


def _functions(code: str) -> tuple[list[int], list[str]]:
    """Where each definition at the left margin begins, and its name; blank names for the space after its end."""
    starts, names = [], []
    offset = 0
    in_body = False
    pending = ""
    for line in code.splitlines(keepends=True):
        bare = line.rstrip()
        if not in_body:
            define = _DEFINE.match(bare)
            name = define[1] if define else ""
            if not define and bare and not bare[0].isspace() and bare[0] not in "#}":
                found = _NAME.search(bare.replace("__attribute__((unused))", ""))
                pending = found[1] if found else (re.findall(r"\w+", bare.split("=")[0]) or [""])[-1]
                name = pending
            if name or not bare:
                starts.append(offset)
                names.append(name)
            in_body = bare.endswith("{") and not bare.startswith("#")
        elif bare.startswith("}"):
            in_body = False
        offset += len(line)
    return starts, names
