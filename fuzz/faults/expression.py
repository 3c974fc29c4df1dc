"""The expressions in a fault's lines: whether one can be read, as the runner would find only when it comes to it."""

from __future__ import annotations

import re
from functools import lru_cache

# What native/faults/script.c reads. Precedence gives values and no syntax, so that all signs between two operands are
# one here; a name's length is that of the runner's buffer.
_SIGN = re.compile(r"<<|>>|[-+*/%&|^]")
_BEFORE = re.compile(r"[~-]*")
_NUMBER = re.compile(r"0x[0-9A-Fa-f]*|[0-9]+[KMG]?")
_NAME = re.compile(r"(?!at\b)[a-z][A-Za-z0-9_]{0,22}")
_CONSTANT = re.compile(r"(?:SIZE_MAX|attacker|attack)(?![A-Za-z0-9_])")
_SIZE_OF = re.compile(r"[US]\(")
_CONTENT = "at("
_DEPTH_MAX = 50


class _Unreadable(Exception):
    """There is no way on from a place in the text."""


@lru_cache(maxsize=4096)
def unreadable_from(text: str) -> int | None:
    """Where in an expression its reader has to give up (the text's length: its end is missing); None: nowhere."""
    reader = _Reader(text)
    try:
        reader.expression(0)
    except _Unreadable:
        return reader.place
    return reader.place if reader.place < len(text) else None


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.place = 0

    def expression(self, depth: int) -> None:
        """Operands with signs between them."""
        if depth > _DEPTH_MAX:
            raise _Unreadable
        self._operand(depth)
        while self._take(_SIGN):
            self._operand(depth)

    def _operand(self, depth: int) -> None:
        self._take(_BEFORE)
        if self._take_text("(") or self._take_text(_CONTENT):
            self.expression(depth + 1)
            self._need(")")
        elif self._take(_SIZE_OF):
            self._variable(depth)
            self._need(")")
        elif not self._take(_NUMBER) and not self._take(_CONSTANT):
            self._variable(depth)

    def _variable(self, depth: int) -> None:
        if not self._take(_NAME):
            raise _Unreadable
        if self._take_text("["):
            self.expression(depth + 1)
            self._need("]")

    def _take(self, pattern: re.Pattern[str]) -> bool:
        found = pattern.match(self.text, self.place)
        self.place = found.end() if found else self.place
        return found is not None

    def _take_text(self, text: str) -> bool:
        if not self.text.startswith(text, self.place):
            return False
        self.place += len(text)
        return True

    def _need(self, text: str) -> None:
        if not self._take_text(text):
            raise _Unreadable
