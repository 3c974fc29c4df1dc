"""What a run has found out so far, so that an interrupted run goes on where it ended."""

from __future__ import annotations

import threading
from pathlib import Path

from .journal import Header, Journal
from .record import MutantRow


class State:
    """
    The rows of a run, kept in a file as they come (in memory only without a folder).

    Args:
        folder: made when missing.
        header: rows of another header are not taken over.

    Raises:
        UserError: the file cannot be read or written.
    """

    def __init__(self, folder: Path | None, header: Header) -> None:
        path = folder / header.file_name("mutants") if folder is not None else None
        self._journal = Journal(path, header, MutantRow)
        self._lock = threading.Lock()
        self.rows = {row.key: row for row in self._journal.entries}
        self.note = ""
        if self._journal.begun_anew:
            self.note = f"{path} belongs to other sources, another seed or other tiers; begun anew"

    def add(self, row: MutantRow) -> None:
        """
        Keeps a row.

        Raises:
            UserError: it cannot be written.
        """
        with self._lock:
            self.rows[row.key] = row
            self._journal.add(row)


__all__ = ["Header", "State"]
