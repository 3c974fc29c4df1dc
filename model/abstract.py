"""The abstract model: accepts each row of an allocator, or names the rule it breaks.

Imports accounting, ledger and the rules.
"""

from __future__ import annotations

from functools import cache

from . import counter_rules, misuse_rules  # noqa: F401 -- they enter their rules
from .accounting import TRIM_BYTES_MAX, WAITING_BYTES_MAX, Accounting, huge_bytes, may_be_huge, most_bytes
from .exact import LABELS_MAX, STRNDUP_LENGTH_ABSURD, WRITE_BYTES_MAX
from .ledger import Ledger, Unwatched
from .op import Operation, Settings
from .outcome import DONE, REFUSED_LIMIT, REFUSED_SYSTEM, SKIPPED, STATUS_WORDS, Row
from .rules import (
    BLOCK,
    EVERYWHERE,
    LABELLED,
    MAPPING,
    MEMORY,
    OFFSET,
    PLACE_SHIFT,
    RULES,
    SIZE,
    STATUS,
    TRIED,
    Predicate,
    RowLike,
    Violation,
    rules_for,
)
from .sizes import LARGE_BYTES_MAX

_COUNTS, _SIZES = MEMORY
_NO_ROW: RowLike = tuple(Row(DONE))


# By word: the rules' numbers and predicates, in order.
_Table = dict[str, tuple[tuple[str, Predicate], ...]]


@cache
def _tables(accounting: Accounting, without: frozenset[str]) -> tuple[_Table, _Table]:
    """
    The rules that each word is held to, and those that are enough where a step changes nothing about memory.

    Made once: to look for them anew took three times as long as to judge a short program.
    """
    rules = {word: [rule for rule in rules_for(word, accounting) if rule.number not in without] for word in EVERYWHERE}
    whole = {word: tuple((rule.number, rule.predicate) for rule in spoken) for word, spoken in rules.items()}
    # Most steps neither acquire nor give back memory.
    quiet = {
        word: tuple((rule.number, rule.predicate) for rule in spoken if not (rule.of_memory and word in LABELLED))
        for word, spoken in rules.items()
    }
    return whole, quiet


class AbstractHeap:
    """
    What is true of any allocator, followed step by step.

    Args:
        settings: the heap the program runs on.
        accounting: what the target's rows say besides status, blocks and contents; the other rules
            apply as far as they speak of it.
        edition: ``"php-8.2"`` excuses what PHP 8.2 is known to get wrong without harm
            (DIVERGENCES.md), ``"zmm"`` excuses nothing.
        without: numbers of rules that are switched off, to show what only they see.

    ``open``, ``step`` and ``close`` each take a row (a plain tuple in the order of ``Row`` will do)
    and answer None or the first rule that it breaks.  After a violation the state is no longer
    meaningful.

    """

    __slots__ = (
        "_blocks",
        "_huge_bytes",
        "_huge_most_bytes",
        "_ledger",
        "_live_bytes",
        "_most_bytes",
        "_predicates",
        "_quiet",
        "_waiting_bytes",
        "_without",
        "asked",
        "block",
        "counters",
        "expects",
        "huge_bytes",
        "huge_change",
        "huge_most_bytes",
        "is_open",
        "last",
        "live_bytes",
        "lost",
        "most_bytes",
        "overhead",
        "own",
        "settings",
        "strict",
        "trim_bytes",
        "waiting_bytes",
    )

    def __init__(
        self,
        settings: Settings,
        accounting: Accounting,
        edition: str = "php-8.2",
        *,
        without: frozenset[str] = frozenset(),
    ) -> None:
        self.settings = settings
        self._without = without
        self.counters = accounting is not Accounting.NONE
        self.own = accounting is Accounting.OWN
        self.trim_bytes = TRIM_BYTES_MAX if self.own else 0
        self.strict = edition != "php-8.2"
        self.is_open = False
        self.last: RowLike = _NO_ROW
        self.block: tuple[int, int, int] | None = None
        self.asked = -1
        self.expects = True
        self.live_bytes = self._live_bytes = 0
        self.huge_bytes = self._huge_bytes = 0
        self.huge_most_bytes = self._huge_most_bytes = 0
        self.huge_change = 0
        self.most_bytes = self._most_bytes = 0
        self.waiting_bytes = self._waiting_bytes = 0
        self.overhead = 0
        self.lost = 0
        self._blocks: dict[int, tuple[int, int, int]] = {}
        self._ledger = Unwatched() if "ABS-11" in without else Ledger()
        self._predicates, self._quiet = _tables(accounting, without)

    def open(self, row: RowLike) -> Violation | None:
        """Judges the row of the heap's opening."""
        if row[STATUS] == REFUSED_SYSTEM:
            return None
        self.is_open = True
        self.last = row
        self.overhead = self._most_bytes = row[SIZE]
        return self._judge(Operation("open"), row)

    def close(self, row: RowLike) -> Violation | None:
        """Judges the row of the heap's closing."""
        if not self.is_open:
            return None
        self.block, self.asked = None, -1
        return self._judge(Operation("close"), row)

    def step(self, operation: Operation, row: RowLike) -> Violation | None:
        """Judges one row and remembers what it says."""
        word, label, a, b, c, text = operation
        if not self.is_open:
            return None if row[STATUS] == SKIPPED else _violation("ABS-2", "skipped", STATUS_WORDS[row[STATUS]])
        blocks = self._blocks
        block = blocks.get(label)
        self.block = block
        status = row[STATUS]
        expects = label < LABELS_MAX
        asked = -1
        if word == "alloc":
            asked = a
            expects = expects and block is None
        elif word == "free":
            pass
        elif word in ("realloc", "realloc2"):
            asked = a
        elif word == "write":
            expects = expects and block is not None and b <= WRITE_BYTES_MAX and a + b <= block[2]
        elif word == "calloc":
            asked = a * b
            expects = expects and block is None
        elif word == "safe_alloc":
            asked = a * b + c
            expects = expects and block is None
        elif word == "safe_realloc":
            asked = a * b + c
        elif word == "strdup":
            asked = len(text) + 1
            expects = expects and block is None
        elif word == "strndup":
            asked = a + 1
            expects = expects and block is None and not len(text) < a < STRNDUP_LENGTH_ABSURD
        elif word not in ("check", "request_end"):
            expects = expects and self.counters
        self.asked = asked
        self.expects = expects

        # The sums as they must be after the step, if the row is true.
        live_bytes, huge_bytes, huge_change = self._live_bytes, self._huge_bytes, 0
        changes = status == DONE and (asked >= 0 or word == "free")
        if changes:
            if block is not None:
                live_bytes -= block[1]
                if block[1] > LARGE_BYTES_MAX:
                    huge_bytes -= block[1]
                    huge_change = -1
            if asked >= 0:
                live_bytes += row[BLOCK]
                if row[BLOCK] > LARGE_BYTES_MAX:
                    huge_bytes += row[BLOCK]
                    huge_change += 1
        elif word == "request_end" and status == DONE:
            live_bytes = huge_bytes = 0
        self.live_bytes = live_bytes
        self.huge_bytes = self.huge_most_bytes = huge_bytes
        self.huge_change = huge_change
        if self.own:
            self._weigh(operation, status, block if changes else None)
            huge_change = self.huge_change

        last = self.last
        is_quiet = (
            not huge_change
            and self.huge_bytes == self._huge_bytes
            and self.huge_most_bytes == self._huge_most_bytes
            and row[_COUNTS] == last[_COUNTS]
            and row[_SIZES] == last[_SIZES]
        )
        for number, predicate in (self._quiet if is_quiet else self._predicates)[word]:
            found = predicate(self, operation, row)
            if found is not None:
                return _violation(number, *found)

        if changes:
            if block is not None:
                self._ledger.leave(block[0])
                if asked < 0:
                    del blocks[label]
            if asked >= 0:
                place = row[MAPPING] << PLACE_SHIFT | row[OFFSET]
                other = self._ledger.enter(place, row[BLOCK] or 1)
                if other is not None:
                    return _violation("ABS-11", "a place of its own", f"it overlaps {self._owner(other)}")
                blocks[label] = (place, row[BLOCK], asked)
        elif word == "request_end" and status == DONE:
            blocks.clear()
            self._ledger.clear()
        elif (
            status in (REFUSED_LIMIT, REFUSED_SYSTEM)
            and asked > LARGE_BYTES_MAX
            and row[TRIED] != asked
            and not self.own
        ):
            self.lost += 1  # PHP 8.2 forgets the mapping of a huge block whose list node it refuses
        self._live_bytes = live_bytes
        self._huge_bytes = self.huge_bytes
        self._huge_most_bytes = self.huge_most_bytes
        self._most_bytes = self.most_bytes
        self._waiting_bytes = 0 if operation.word == "gc" else self.waiting_bytes  # gc lets go what waits (ABS-21)
        self.overhead = row[SIZE] - live_bytes
        self.last = row
        return None

    def _weigh(self, operation: Operation, status: int, left: tuple[int, int, int] | None) -> None:
        """The sums where accounting is own: within bounds, from what was asked for; ``left`` is the block that goes."""
        asked = self.asked
        most, least_huge, most_huge = self._most_bytes, self._huge_bytes, self._huge_most_bytes
        waiting = self._waiting_bytes
        self.huge_change = 0
        if left is not None:
            bytes_left = most_bytes(left[2])
            most -= bytes_left
            waiting = min(waiting + bytes_left, WAITING_BYTES_MAX)
            least, at_most = huge_bytes(left[2])
            least_huge -= least
            most_huge -= at_most
            self.huge_change -= least > 0
        if status == DONE and asked >= 0:
            most += most_bytes(asked)
            least, at_most = huge_bytes(asked)
            least_huge += least
            most_huge += at_most
            self.huge_change += may_be_huge(asked)
        elif operation.word == "request_end" and status == DONE:
            most = waiting = least_huge = most_huge = 0
        elif status in (REFUSED_LIMIT, REFUSED_SYSTEM):
            waiting = 0  # a refusal is the last resort: every waiting block was let go before it
        self.most_bytes, self.waiting_bytes = most, waiting
        self.huge_bytes, self.huge_most_bytes = least_huge, most_huge

    def _judge(self, operation: Operation, row: RowLike) -> Violation | None:
        for number, predicate in self._predicates[operation.word]:
            found = predicate(self, operation, row)
            if found is not None:
                return _violation(number, *found)
        return None

    def _owner(self, place: int) -> str:
        label = next(label for label, block in self._blocks.items() if block[0] == place)
        return f"the block of label {label}"


def _violation(number: str, expected: str, actual: str) -> Violation:
    return Violation(number, RULES[number].sentence, expected, actual)
