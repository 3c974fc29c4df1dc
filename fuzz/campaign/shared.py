"""A corpus that many machines share: a folder named by an fsspec URL, brought up to date in both directions."""

from __future__ import annotations

import posixpath
from pathlib import Path
from typing import Any

from ..errors import UserError, one_line
from .corpus import Corpus, input_name, write_whole
from .inbox import crash_of, note_of
from .life import Crash


class SharedCorpus:
    """
    The inputs under a URL (``file:///...``, ``s3://...``, ``memory://...``), and the crashes beside it.

    Files are named by their contents, so whoever writes one twice changes nothing; each appears whole or not at all.
    """

    def __init__(self, url: str) -> None:
        """
        Opens the folder, and makes it if need be.

        :raises UserError: fsspec does not know the URL, or it cannot be reached.
        """
        self.url = url
        try:
            import fsspec

            self._files, self._root = fsspec.core.url_to_fs(url)
            self._crashes = f"{self._root.rstrip('/')}-crashes"
            self._files.makedirs(self._root, exist_ok=True)
            self._files.makedirs(self._crashes, exist_ok=True)
        except ImportError as error:
            raise UserError(
                f"a shared corpus needs {error.name}; pip install 'zmm[dask]' (and what {url} needs)"
            ) from None
        except (OSError, ValueError) as error:
            raise UserError(f"cannot open the corpus {url}: {one_line(str(error))}; check the URL") from None

    def names(self) -> set[str]:
        """The inputs that are there now."""
        return self._list(self._root)

    def pull(self, corpus: Corpus) -> int:
        """
        Fetches what a local folder lacks, and says how many inputs that were; torn ones are passed over.

        Raises:
            OSError: the local disk is full, ...
        """
        count = 0
        for name in sorted(self.names() - {path.name for path in corpus.files()}):
            data = self._read(f"{self._root}/{name}")
            if data is not None and input_name(data) == name:
                write_whole(corpus.path / name, data)
                count += 1
        return count

    def push(self, corpus: Corpus) -> int:
        """
        Adds what a local folder has and the shared one lacks, and says how many inputs that were.

        Torn inputs (an engine is writing them, or the local disk is full) are passed over.
        """
        known = self.names()
        count = 0
        for path in corpus.files():
            if path.name in known:
                continue
            try:
                data = path.read_bytes()
            except FileNotFoundError:
                continue
            if input_name(data) == path.name:
                self._write(f"{self._root}/{path.name}", data)
                count += 1
        return count

    def discard(self, data: bytes) -> None:
        """Removes an input, if it is there."""
        self._remove(f"{self._root}/{input_name(data)}")

    def keep_only(self, names: set[str]) -> int:
        """Removes every other input, and says how many there were."""
        surplus = self.names() - names
        for name in surplus:
            self._remove(f"{self._root}/{name}")
        return len(surplus)

    # ---- crashes -------------------------------------------------------------------------------------------------

    def save_crash(self, crash: Crash) -> None:
        """Adds a crash: its note first, so that an input never lies there without one."""
        name = input_name(crash.data)
        self._write(f"{self._crashes}/{name}.json", note_of(crash))
        self._write(f"{self._crashes}/{name}", crash.data)

    def crash_names(self) -> set[str]:
        """The names of the inputs that any worker has seen crash."""
        return {name for name in self._list(self._crashes) if not name.endswith(".json")}

    def crashes(self) -> list[Crash]:
        """Every crash that any worker has left."""
        found = []
        for name in sorted(self.crash_names()):
            data = self._read(f"{self._crashes}/{name}")
            note = self._read(f"{self._crashes}/{name}.json")
            if data is not None and note is not None:
                found.append(crash_of(data, note))
        return found

    def settle(self, crash: Crash) -> None:
        """A crash has become a finding that is saved elsewhere."""
        for suffix in ("", ".json"):
            self._remove(f"{self._crashes}/{input_name(crash.data)}{suffix}")

    # ---- files ---------------------------------------------------------------------------------------------------

    def _list(self, folder: str) -> set[str]:
        self._files.invalidate_cache()
        entries: list[Any] = self._files.ls(folder, detail=False)
        names = {posixpath.basename(str(entry).rstrip("/")) for entry in entries}
        return {name for name in names if name and not name.startswith(".") and not name.endswith(".part")}

    def _read(self, path: str) -> bytes | None:
        try:
            data: bytes = self._files.cat_file(path)
        except FileNotFoundError:
            return None
        return data

    def _write(self, path: str, data: bytes) -> None:
        if "file" in self._files.protocol:
            write_whole(Path(path), data)
        else:  # an object store: what is put there appears whole
            self._files.pipe_file(path, data)

    def _remove(self, path: str) -> None:
        try:
            self._files.rm_file(path)
        except (FileNotFoundError, OSError):
            return
