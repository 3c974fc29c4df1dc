"""What a run has found out so far, a line of JSON each, so that an interrupted run goes on where it ended."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec

from ..errors import UserError, explain_os_error
from .record import MutantRow


class Header(msgspec.Struct, frozen=True):
    """What a state belongs to: nothing found out about other sources or another level may be used."""

    sources: str
    level: str
    seed: int


class State:
    """
    The rows of a run, kept in a file as they come (in memory only without a folder).

    Args:
        folder: made when missing.
        header: rows of another header are not taken over.
    """

    def __init__(self, folder: Path | None, header: Header) -> None:
        self.rows: dict[str, MutantRow] = {}
        self.note = ""
        self._lock = threading.Lock()
        self._path = folder / f"mutants-{header.level}.jsonl" if folder is not None else None
        if self._path is None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._take_over(self._path, header)
        except OSError as error:
            raise UserError(explain_os_error(error, f"write {self._path}")) from None

    def _take_over(self, path: Path, header: Header) -> None:
        lines = path.read_bytes().splitlines() if path.exists() else []
        if lines:
            try:
                old = msgspec.json.decode(lines[0], type=Header)
            except msgspec.DecodeError:
                old = None
            if old == header:
                self.rows = {row.key: row for row in _rows(lines[1:])}
                return
            self.note = f"{path} belongs to other sources or another seed; begun anew"
        path.write_bytes(msgspec.json.encode(header) + b"\n")

    def add(self, row: MutantRow) -> None:
        """
        Keeps a row.

        Raises:
            UserError: it cannot be written.
        """
        with self._lock:
            self.rows[row.key] = row
            if self._path is not None:
                try:
                    with self._path.open("ab") as stream:
                        stream.write(msgspec.json.encode(row) + b"\n")
                except OSError as error:
                    raise UserError(explain_os_error(error, f"write {self._path}")) from None


def _rows(lines: list[bytes]) -> Iterator[MutantRow]:
    for line in lines:
        try:
            yield msgspec.json.decode(line, type=MutantRow)
        except msgspec.DecodeError:
            # The line that was being written when the process died.
            continue
