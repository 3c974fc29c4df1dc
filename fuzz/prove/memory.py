"""Memory of the symbolic executor: objects that never overlap, each a row of cells."""

from __future__ import annotations

from dataclasses import dataclass, field

import z3

WORD = 64


class Unsupported(Exception):
    """Something the executor does not model: the property is inconclusive, never confirmed."""


@dataclass(slots=True)
class Object:
    """
    A record, a table or a local variable.

    ``base`` is its address (a symbol, unless something depends on it); ``cells`` maps an offset to a term of whole
    bytes, and the cells fill the object without gaps.  What was never written is a symbol of its own (``is_known``), or
    may not be read.
    """

    name: str
    base: z3.BitVecRef
    size_bytes: int
    cells: dict[int, z3.BitVecRef] = field(default_factory=dict)
    is_known: bool = True
    is_constant: bool = False

    def copy(self) -> Object:
        return Object(self.name, self.base, self.size_bytes, dict(self.cells), self.is_known, self.is_constant)

    def put(self, offset: int, term: z3.BitVecRef) -> None:
        """Writes whole bytes at a known offset."""
        size = term.size() // 8
        if self.cells.get(offset) is None or self.cells[offset].size() != term.size():
            self._clear(offset, size)
        self.cells[offset] = term

    def get(self, offset: int, size: int) -> z3.BitVecRef:
        """Reads whole bytes from a known offset, little-endian."""
        cell = self.cells.get(offset)
        if cell is not None and cell.size() == 8 * size:
            return cell
        parts = [self._byte(at) for at in range(offset, offset + size)]
        if size == 1:
            return z3.simplify(parts[0])
        return z3.simplify(z3.Concat(*reversed(parts)))

    def _byte(self, offset: int) -> z3.BitVecRef:
        for start in range(offset, max(-1, offset - 64), -1):
            cell = self.cells.get(start)
            if cell is not None and start + cell.size() // 8 > offset:
                low = 8 * (offset - start)
                return z3.Extract(low + 7, low, cell)
        if not self.is_known:
            raise Unsupported(f"{self.name}: byte {offset} is read before it is written")
        self.cells[offset] = z3.BitVec(f"{self.name}[{offset}]", 8)
        return self.cells[offset]

    def _clear(self, offset: int, size: int) -> None:
        """Splits the cells that a new one at the offset would touch."""
        for start in range(max(0, offset - 63), offset + size):
            cell = self.cells.get(start)
            if cell is None or start + cell.size() // 8 <= offset:
                continue
            del self.cells[start]
            for at in range(start, start + cell.size() // 8):
                if not offset <= at < offset + size:
                    low = 8 * (at - start)
                    self.cells[at] = z3.simplify(z3.Extract(low + 7, low, cell))
