"""The programs that every mutant of the core is given, in order: short ones first, then more of all kinds for ever."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from ..boundaries import BIN_BYTES, CHUNK_BYTES, LARGE_BYTES_MAX, PAGE_BYTES, SMALL_BYTES_MAX
from ..generate import generate
from ..judge import Judge
from ..predict import Scope
from ..program import Program
from ..session import Session
from ..targets import Target
from ..tiers import boundaries, lockstep, oom
from ..tiers.base import Task
from .deck import Deck, make_deck, settle

EDITIONS = ("zmm", "php-8.2")
# The first deck: programs of every profile, so short that most mutants cost no more than the start of a process.
_FIRST: tuple[tuple[str, int], ...] = (
    *(("mixed", length) for length in (24, 60, 150)),
    *((profile, 60) for profile in ("small", "large", "huge", "realloc", "limit", "failing", "requests", "text")),
)
_OOM_PROGRAMS = 160

_OOM_WORK = (*oom.WORK, *(f"generated {number}" for number in range(6)))


class Decks:
    """
    The decks of a seed, made when first asked for, settled on the sound core, and then shared by all mutants.

    Where the level keeps an accounting of its own, the abstract model judges, and the sound core's rows are what is
    expected of a mutant that the comparison need not look at.
    """

    def __init__(self, sound: Target, seed: int, tiers: frozenset[str]) -> None:
        self._sound = sound
        self._seed = seed
        self.quick = 0  # how many decks cost so little that every other tier comes after them
        self._plans = self._plan(tiers)
        self._decks: list[Deck] = []
        self._session: Session | None = None

    def close(self) -> None:
        """Ends the sound core's process."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def __iter__(self) -> Iterator[Deck]:
        """
        The decks in order, without end where the tier lockstep is among the tiers.

        Raises:
            SoundCoreError: the sound core does not answer one as the models say.
        """
        index = 0
        while True:
            deck = self.at(index)
            if deck is None:
                return
            yield deck
            index += 1

    def at(self, index: int) -> Deck | None:
        """The deck of a number, None behind the last one."""
        while len(self._decks) <= index:
            plan = next(self._plans, None)
            if plan is None:
                return None
            deck = plan()
            if self._session is None:
                self._session = Session(self._sound)
            self._decks.append(settle(deck, self._session, self._sound))
        return self._decks[index]

    def known(self) -> list[Deck]:
        """The decks made so far."""
        return list(self._decks)

    def prepare(self) -> None:
        """Makes all decks that every mutant is given before the endless ones; the sound core's process is ended."""
        for deck in self:
            if deck.name.startswith("batch 1,"):
                break
        self.close()

    def _plan(self, tiers: frozenset[str]) -> Iterator[Callable[[], Deck]]:
        exact = self._sound.is_exact
        editions = EDITIONS if exact else EDITIONS[:1]
        if "lockstep" in tiers:
            yield from self._each(editions, "lockstep", "first programs", lambda _edition: first_programs(self._seed))
            yield from self._each(editions, "lockstep", "batch 0", lambda edition: self._batch(edition, 0))
        if "oom" in tiers:
            yield from self._failing("handlers", editions[0], work=("chunks", "huge", "node", "moves"), patterns=1)
        self.quick = len(self._decks)
        if "boundaries" in tiers:
            yield from self._each(editions, "boundaries", "bins, pages, sizes", lambda _edition: _boundaries())
        if "oom" in tiers:
            for storage in ("handlers", "kernel", "kernel, all calls"):
                for edition in editions:
                    yield from self._failing(storage, edition)
        number = 1
        while "lockstep" in tiers:
            batch = number
            yield from self._each(
                editions,
                "lockstep",
                f"batch {batch}",
                lambda edition: self._batch(edition, batch),  # noqa: B023 -- made at once
            )
            number += 1

    def _each(
        self, editions: Sequence[str], tier: str, name: str, make: Callable[[str], list[Program]]
    ) -> Iterator[Callable[[], Deck]]:
        for edition in editions:
            yield partial(self._lay, tier, name, edition, make)

    def _lay(self, tier: str, name: str, edition: str, make: Callable[[str], list[Program]]) -> Deck:
        return self._make(tier, name, edition, make(edition))

    def _batch(self, edition: str, number: int) -> list[Program]:
        return lockstep.make_batch(Task("", edition, self._seed), Scope.WHOLE, number)

    def _make(self, tier: str, name: str, edition: str, programs: list[Program], *, all_calls: bool = False) -> Deck:
        exact = self._sound.is_exact and not all_calls
        return make_deck(
            tier,
            f"{name}, edition {edition}",
            edition,
            programs,
            exact=exact,
            all_calls=all_calls,
            level=self._sound.level,
        )

    def _failing(
        self, storage: str, edition: str, *, work: Sequence[str] = _OOM_WORK, patterns: int = 3
    ) -> Iterator[Callable[[], Deck]]:
        """Work of each kind with every single call failing."""
        kind, _, extra = storage.partition(", ")
        programs: list[Program] = []
        with Judge(self._sound, edition) as judge:
            judge.all_calls = bool(extra)
            for name in work:
                base = oom.base_program(f"{kind} {name}", self._seed)
                for first in range(1, oom.fallible_calls(judge, base) + 1):
                    for failing in ((first,), (first, first + 1), tuple(range(first, first + 12)))[:patterns]:
                        programs.append(base.with_settings(replace(base.settings, failing_calls=failing)))
        for start in range(0, len(programs), _OOM_PROGRAMS):
            part = programs[start : start + _OOM_PROGRAMS]
            name = f"{storage}, from {start}"
            yield partial(self._make, "oom", name, edition, part, all_calls=bool(extra))


def first_programs(seed: int) -> list[Program]:
    """Short programs of every profile."""
    first = (seed * 1_000_003 + 999_999) << 12
    return [generate(first + index, profile, length) for index, (profile, length) in enumerate(_FIRST)]


def _boundaries() -> list[Program]:
    """Every bin and page count, and each size beside a border of any kind."""
    edges = {*range(130), CHUNK_BYTES, 2 * CHUNK_BYTES}
    edges |= {size + near for size in BIN_BYTES for near in (-1, 0, 1)}
    edges |= {pages * PAGE_BYTES + near for pages in range(1, 530) for near in (-1, 0, 1)}
    edges |= {size + near for size in (SMALL_BYTES_MAX, LARGE_BYTES_MAX, CHUNK_BYTES) for near in range(-9, 10)}
    sizes = sorted(edges)
    programs = [program for index in range(len(BIN_BYTES)) for program in boundaries.bin_programs(index)]
    programs += [boundaries.size_program(sizes[start : start + 400]) for start in range(0, len(sizes), 400)]
    programs += [boundaries.page_program(pages) for pages in range(1, boundaries.PAGES_MAX + 1)]
    return programs
