"""Crashes on their way to becoming findings: kept in memory, and on disk as soon as there is one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from .corpus import input_name, write_whole
from .life import Crash
from .status import Violation

# Of one rule, how many different inputs are kept: the shortest ones.
_KEPT_OF_A_RULE = 8


class Note(msgspec.Struct, frozen=True):
    """What lies beside a crash on disk: what was said about it."""

    rule: str
    sentence: str
    step: int = 0
    word: str = ""
    report: tuple[str, ...] = ()


class Inbox:
    """
    The crashes of a campaign, the shortest few of each rule.

    Each is written to ``folder`` at once, so that a killed campaign leaves them to the next one; where that fails
    (a full disk), it stays in memory and is reported all the same.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.seen = 0
        self.unsaved = 0
        self._kept: dict[str, list[Crash]] = {}
        self._lock = threading.Lock()

    def load(self) -> int:
        """Takes up what an earlier campaign left behind, and says how many there were."""
        count = 0
        for crash in _read(self.folder) if self.folder is not None else ():
            self._keep(crash)
            count += 1
        return count

    def add(self, crash: Crash) -> bool:
        """Takes a crash in; false when the inbox has shorter ones of its rule already."""
        with self._lock:
            self.seen += 1
            if not self._keep(crash):
                return False
        if self.folder is not None:
            try:
                save_crash(self.folder, crash)
            except OSError:
                self.unsaved += 1
        return True

    def _keep(self, crash: Crash) -> bool:
        kept = self._kept.setdefault(crash.violation.rule, [])
        if any(one.data == crash.data for one in kept):
            return False
        kept.append(crash)
        kept.sort(key=lambda one: (len(one.data), one.data))
        for dropped in kept[_KEPT_OF_A_RULE:]:
            self._forget(dropped)
        del kept[_KEPT_OF_A_RULE:]
        return crash in kept

    def _forget(self, crash: Crash) -> None:
        if self.folder is not None:
            with suppress(OSError):
                for suffix in ("", ".json"):
                    (self.folder / (input_name(crash.data) + suffix)).unlink(missing_ok=True)

    def rules(self) -> list[str]:
        """The rules that are broken, in the order in which that was seen."""
        with self._lock:
            return list(self._kept)

    def crashes(self) -> list[Crash]:
        """Every crash kept, by rule, shortest first."""
        with self._lock:
            return [crash for kept in self._kept.values() for crash in kept]

    def settle(self, crash: Crash) -> None:
        """A crash has become a finding that is saved elsewhere."""
        self._forget(crash)
        if self.folder is not None:
            with suppress(OSError):
                self.folder.rmdir()


def save_crash(folder: Path, crash: Crash) -> None:
    """
    Writes a crash and its note, each whole or not at all.

    Raises:
        OSError: the disk is full, ...
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = input_name(crash.data)
    write_whole(folder / name, crash.data)
    write_whole(folder / f"{name}.json", note_of(crash))


def note_of(crash: Crash) -> bytes:
    """The note that lies beside a crash."""
    violation = crash.violation
    note = Note(violation.rule, violation.sentence, violation.step, violation.word, crash.report)
    return msgspec.json.encode(note) + b"\n"


def crash_of(data: bytes, note: bytes) -> Crash:
    """
    A crash from its two files.

    Raises:
        ValueError: the note is none.
    """
    try:
        read = msgspec.json.decode(note, type=Note)
    except msgspec.MsgspecError as error:
        raise ValueError(f"not the note of a crash: {error}") from None
    return Crash(data, Violation(read.rule, read.sentence, read.step, read.word), read.report)


def _read(folder: Path) -> Iterator[Crash]:
    """The crashes in a folder; one whose note is missing or torn is a death of unknown cause, not a loss."""
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if path.suffix or path.name.startswith("."):
            continue
        data = path.read_bytes()
        try:
            yield crash_of(data, path.with_name(f"{path.name}.json").read_bytes())
        except (OSError, ValueError):
            yield Crash(data, Violation("DEATH", "found by an earlier campaign, which left no note"))
