"""Sizes and places of LLVM types, as the compiler for a 64-bit machine lays them out."""

from __future__ import annotations

import re
from collections.abc import Mapping

from .memory import Unsupported

_PLAIN = {"ptr": (8, 8), "double": (8, 8), "float": (4, 4)}


def split_types(text: str) -> list[str]:
    """The parts of a comma-separated list, brackets respected."""
    parts, depth, start = [], 0, 0
    for at, letter in enumerate(text):
        depth += letter in "[{<("
        depth -= letter in "]}>)"
        if letter == "," and depth == 0:
            parts.append(text[start:at].strip())
            start = at + 1
    last = text[start:].strip()
    return [*parts, last] if last else parts


class Layout:
    """The named types of a module."""

    def __init__(self, named: Mapping[str, str]) -> None:
        self._named = named

    @staticmethod
    def of_text(text: str) -> Layout:
        return Layout(dict(re.findall(r"^(%[\w.\"]+) = type (.*)$", text, re.MULTILINE)))

    def _body(self, kind: str) -> str:
        return self._named[kind] if kind.startswith("%") else kind

    def size(self, kind: str) -> int:
        """Bytes of a type, its tail padding included."""
        return self._size_and_alignment(kind)[0]

    def _size_and_alignment(self, kind: str) -> tuple[int, int]:
        kind = self._body(kind.strip())
        if kind in _PLAIN:
            return _PLAIN[kind]
        if found := re.fullmatch(r"i(\d+)", kind):
            size = 1 << max(0, (int(found[1]) - 1).bit_length() - 3)
            return size, min(size, 16)
        if found := re.fullmatch(r"\[(\d+) x (.*)\]", kind):
            size, alignment = self._size_and_alignment(found[2])
            return int(found[1]) * size, alignment
        if kind.startswith("{"):
            places, size, alignment = self._places(kind)
            del places
            return size, alignment
        raise Unsupported(f"the type {kind}")

    def _places(self, kind: str) -> tuple[list[int], int, int]:
        at, most, places = 0, 1, []
        for part in split_types(kind[1:-1].strip()):
            size, alignment = self._size_and_alignment(part)
            at = -(-at // alignment) * alignment
            places.append(at)
            at += size
            most = max(most, alignment)
        return places, -(-at // most) * most, most

    def element(self, kind: str) -> str:
        """The integer type that an array, or a record of arrays, holds and nothing else; empty when there is none."""
        kind = self._body(kind)
        if kind.startswith("{"):
            parts = {self.element(part) for part in split_types(kind[1:-1].strip())}
            return parts.pop() if len(parts) == 1 else ""
        found = re.fullmatch(r"\[\d+ x (i\d+)\]", kind)
        return found[1] if found else ""

    def inside(self, kind: str, index: int | None) -> tuple[str, int, int | None]:
        """One step into a type: the part's type, the bytes of one step, and the offset where the index is a field's."""
        kind = self._body(kind)
        if found := re.fullmatch(r"\[(\d+) x (.*)\]", kind):
            return found[2], self.size(found[2]), None
        if kind.startswith("{") and index is not None:
            places, _, _ = self._places(kind)
            return split_types(kind[1:-1].strip())[index], 0, places[index]
        raise Unsupported(f"an index into {kind}")
