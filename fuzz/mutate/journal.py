"""A file of findings, a line of JSON each as they come, under a header that says what they belong to."""

from __future__ import annotations

from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from ..errors import UserError, explain_os_error


class Header(msgspec.Struct, frozen=True):
    """
    What findings belong to: nothing found out about other sources, another level or by other tiers may be used.

    ``is_part`` says that ``tiers`` are not all there are. Budgets stand in the entries: a larger one adds to a smaller.
    """

    sources: str
    level: str
    seed: int
    tiers: tuple[str, ...]
    is_part: bool = False

    def file_name(self, kind: str) -> str:
        """A few tiers have a file of their own: what all of them found out in hours is not lost to a look with one."""
        part = f"-{'+'.join(self.tiers)}" if self.is_part else ""
        return f"{kind}-{self.level}{part}.jsonl"


T = TypeVar("T", bound=msgspec.Struct)


class Journal(Generic[T]):
    """
    What an earlier run has written down, and the place for more.

    Args:
        path: its folder is made when missing; None: nothing is written.
        header: entries under another header are not taken over.
        kind: of the entries.

    Raises:
        UserError: it cannot be read or written.
    """

    def __init__(self, path: Path | None, header: Header, kind: type[T]) -> None:
        self.entries: list[T] = []
        self.begun_anew = False
        self._path = path
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lines = path.read_bytes().splitlines() if path.exists() else []
            if lines and _decode(lines[0], Header) == header:
                found = (_decode(line, kind) for line in lines[1:])
                self.entries = [entry for entry in found if entry is not None]
            else:
                self.begun_anew = bool(lines)
                path.write_bytes(msgspec.json.encode(header) + b"\n")
        except OSError as error:
            raise UserError(explain_os_error(error, f"write {path}")) from None

    def add(self, entry: T) -> None:
        """
        Writes an entry down.

        Raises:
            UserError: it cannot be written.
        """
        if self._path is None:
            return
        try:
            with self._path.open("ab") as stream:
                stream.write(msgspec.json.encode(entry) + b"\n")
        except OSError as error:
            raise UserError(explain_os_error(error, f"write {self._path}")) from None


S = TypeVar("S", bound=msgspec.Struct)


def _decode(line: bytes, kind: type[S]) -> S | None:
    """None for a line that was being written when the process died."""
    try:
        return msgspec.json.decode(line, type=kind)
    except msgspec.DecodeError:
        return None
