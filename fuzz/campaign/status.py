"""What an engine says of itself: libFuzzer's status lines, its final figures, and the line of a violated rule."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field

_STATUS = re.compile(rb"#(\d+)\s+([A-Za-z]+)")
_FIELDS = {
    "coverage": re.compile(rb"\bcov: (\d+)"),
    "features": re.compile(rb"\bft: (\d+)"),
    "corpus_files": re.compile(rb"\bcorp: (\d+)/"),
    "rate": re.compile(rb"\bexec/s: (\d+)"),
}
_FINAL = re.compile(rb"stat::number_of_executed_units:\s*(\d+)")
_DONE = re.compile(rb"Done (\d+) (?:runs|in)")
_VIOLATION = re.compile(rb"zmm-fuzz: ([A-Z][A-Z0-9-]*): (.*)")
_SANITIZER = re.compile(rb"SUMMARY: (\w*Sanitizer): (.*)")
_LIBFUZZER = re.compile(rb"SUMMARY: libFuzzer: (.*)")
_PANIC = b"zend_mm_heap corrupted"
_STEP = re.compile(r"step (\d+) \((\w+)\): (.*)")
# Rules for what the harness itself has no words for.
_BY_SUMMARY = {"timeout": "HANG", "out-of-memory": "MEMORY", "deadly signal": "DEATH"}
_TAIL_LINES = 60


@dataclass(slots=True)
class Progress:
    """
    How far one engine is: written by the thread that reads it, read by whoever shows it.

    ``executions`` is what it last said; engines speak at powers of two and when they find something new.
    """

    executions: int = 0
    coverage: int = 0
    features: int = 0
    corpus_files: int = 0
    rate: int = 0
    ready: bool = False
    said_at: float = field(default_factory=time.monotonic)

    def estimate(self) -> int:
        """Executions by now, going by the last rate."""
        return self.executions + int(self.rate * min(60.0, time.monotonic() - self.said_at))


@dataclass(frozen=True, slots=True)
class Violation:
    """
    What was wrong with an input: the rule, and a sentence without addresses.

    ``step`` and ``word`` name the operation where the harness knows it, else they are 0 and empty.
    """

    rule: str
    sentence: str
    step: int = 0
    word: str = ""


class Reader:
    """Reads the lines of one engine."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.tail: list[str] = []
        self.is_final = False
        self._violation: Violation | None = None
        self._sanitizer: Violation | None = None
        self._summary = ""
        self._panicked = False

    @classmethod
    def of(cls, said: bytes) -> Reader:
        """What an engine that has ended said in all."""
        reader = cls(Progress())
        for line in said.splitlines():
            reader.feed(line)
        return reader

    def feed(self, line: bytes) -> None:
        """One line, with or without its end."""
        found = _STATUS.match(line)
        if found is not None:
            self._status(int(found[1]), found[2], line)
            return
        final = _FINAL.search(line)
        if final is not None:
            self.progress.executions = int(final[1])
            self.is_final = True
        done = _DONE.match(line)
        if done is not None and not self.is_final:
            self.progress.executions = int(done[1])
        self._remember(line)
        if _PANIC in line:
            self._panicked = True
        violation = _VIOLATION.search(line)
        if violation is not None and self._violation is None:
            self._violation = parse_violation(violation[1].decode(), violation[2].decode(errors="replace"))
        sanitizer = _SANITIZER.search(line)
        if sanitizer is not None and self._sanitizer is None:
            self._sanitizer = Violation("SANITIZER", _without_places(sanitizer[2].decode(errors="replace")))
        summary = _LIBFUZZER.search(line)
        if summary is not None:
            self._summary = summary[1].decode(errors="replace").strip()

    def _status(self, number: int, event: bytes, line: bytes) -> None:
        progress = self.progress
        for name, pattern in _FIELDS.items():
            found = pattern.search(line)
            if found is not None:
                setattr(progress, name, int(found[1]))
        progress.executions = max(progress.executions, number)
        progress.said_at = time.monotonic()
        if event in (b"INITED", b"NEW", b"pulse", b"REDUCE", b"RELOAD"):
            progress.ready = True

    def _remember(self, line: bytes) -> None:
        self.tail.append(line.decode(errors="replace").rstrip())
        del self.tail[:-_TAIL_LINES]

    def violation(self) -> Violation:
        """What was wrong, once the engine has ended with a crash."""
        if self._violation is not None:
            return self._violation
        if self._sanitizer is not None:
            return self._sanitizer
        if self._panicked:
            return Violation("PANIC", "a legal input met a corrupted heap")
        for words, rule in _BY_SUMMARY.items():
            if words in self._summary:
                return Violation(rule, self._summary)
        return Violation("DEATH", self._summary or "the engine died of its input")


def parse_violation(rule: str, sentence: str) -> Violation:
    """The harness' own line: RULE, then "step N (word): sentence" or a sentence."""
    found = _STEP.fullmatch(sentence.strip())
    if found is None:
        return Violation(rule, sentence.strip())
    return Violation(rule, found[3].strip(), int(found[1]), found[2])


def _without_places(summary: str) -> str:
    """A sanitizer's summary without paths and numbers of lines, which differ between builds."""
    words = [word for word in summary.split() if not word.startswith(("/", "0x"))]
    return " ".join(re.sub(r":\d+(?::\d+)?$", "", word.rpartition("/")[2]) for word in words)
