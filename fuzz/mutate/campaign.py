"""A run over the mutants of one tower: which are tried, in which order, by how many processes, and for how long."""

from __future__ import annotations

import hashlib
import multiprocessing
import random
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import msgspec

from ..text import write_text
from .deck import Kill
from .mutant import Mutant, squeeze
from .record import DUPLICATE, EQUAL, INVALID, KILLED, KNOWN, LOST, SURVIVED, MutantRow
from .state import State
from .survivors import EQUIVALENT, Survivor

# What is lost with its process this often is not tried again.
_STRIKES = 3


@dataclass(frozen=True, slots=True)
class Made:
    """A mutant made ready: the digest of what it compiles to (empty: it does not), and how long that took."""

    mutant: Mutant
    digest: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a mutant in the hands of the tiers."""

    kill: Kill | None
    seconds: float
    operations: int


class Laboratory(Protocol):
    """Makes mutants of one tower and tries them, in several processes that are copies of the one it was made in."""

    original: str  # the digest of the sources without a mutant

    def make(self, mutant: Mutant) -> Made: ...
    def try_out(self, made: Made, budget_seconds: float) -> Verdict: ...
    def discard(self, made: Made) -> None: ...


@dataclass(slots=True)
class Plan:
    """What a run is to do: ``count`` unique mutants (None: all there are), each for ``budget_seconds`` at most."""

    count: int | None
    budget_seconds: float
    jobs: int = 2
    deadline: float = float("inf")
    again: bool = False
    only: frozenset[str] = frozenset()
    observe: Callable[[MutantRow], None] = field(default=lambda _row: None)


def sample(mutants: Sequence[Mutant], seed: int) -> list[Mutant]:
    """All mutants in an order drawn from the seed: every beginning of it is a fair sample."""
    ordered = sorted(mutants, key=lambda mutant: mutant.key)
    random.Random(seed).shuffle(ordered)
    return ordered


def digest_of(texts: Mapping[str, str]) -> str:
    """A digest of sources."""
    whole = hashlib.sha256()
    for name, text in sorted(texts.items()):
        whole.update(name.encode() + b"\0" + text.encode() + b"\0")
    return whole.hexdigest()[:16]


def run_campaign(
    laboratory: Laboratory,
    mutants: Sequence[Mutant],
    plan: Plan,
    state: State,
    known: Mapping[str, Survivor],
) -> list[MutantRow]:
    """
    Makes mutants in the order given, drops what is invalid, equal or a duplicate, and tries the rest.

    What the state knows already is not done again. The same seed gives the same mutants however many jobs there are.
    """
    rows: dict[str, MutantRow] = {}
    digests: dict[str, str] = {laboratory.original: ""}
    chosen = [mutant for mutant in mutants if not plan.only or mutant.key in plan.only]
    unique = 0
    with Crew(laboratory, plan.jobs) as crew:
        for start in range(0, len(chosen), 16 * plan.jobs):
            part = chosen[start : start + 16 * plan.jobs]
            ready: list[Made] = []
            for one in _make_all(crew, part, plan, state):
                if plan.count is not None and unique >= plan.count:
                    laboratory.discard(one)
                    continue
                row = _sorted_out(one, digests)
                if row is None:
                    unique += 1
                    ready.append(one)
                    continue
                laboratory.discard(one)
                rows[row.key] = row
                if row.key not in state.rows:
                    state.add(row)
            for row in _try_all(crew, ready, plan, state, known):
                rows[row.key] = row
                plan.observe(row)
            if (plan.count is not None and unique >= plan.count) or time.monotonic() > plan.deadline:
                break
    return list(rows.values())


def _make_all(crew: Crew, mutants: Sequence[Mutant], plan: Plan, state: State) -> list[Made]:
    """Mutants made ready, in their order; those that the state knows all about are not compiled again."""
    found: dict[str, Made] = {}
    wanted = []
    for mutant in mutants:
        old = state.rows.get(mutant.key)
        if old is not None and not plan.again:
            found[mutant.key] = Made(mutant, old.digest, old.build_seconds)
        else:
            wanted.append(mutant)
    if time.monotonic() <= plan.deadline:
        for made in crew.each(_do_make, [(mutant,) for mutant in wanted]):
            if isinstance(made, Made):
                found[made.mutant.key] = made
    return [found[mutant.key] for mutant in mutants if mutant.key in found]


def _try_all(
    crew: Crew, ready: Sequence[Made], plan: Plan, state: State, known: Mapping[str, Survivor]
) -> Iterator[MutantRow]:
    wanted = []
    for one in ready:
        old = state.rows.get(one.mutant.key)
        entry = known.get(one.mutant.key)
        if (
            old is not None
            and not plan.again
            and (old.status == KILLED or (old.status == SURVIVED and old.budget_seconds >= plan.budget_seconds))
        ):
            # A reason may have been found since.
            yield _explained(old, entry)
        elif entry is not None and entry.kind == EQUIVALENT and not plan.again:
            row = make_row(one, KNOWN, reason=entry.reason)
            state.add(row)
            crew.laboratory.discard(one)
            yield row
        elif time.monotonic() <= plan.deadline:
            wanted.append(one)
    for result in crew.each(_do_try, [(one, plan.budget_seconds) for one in wanted]):
        if isinstance(result, Lost):
            one = result.arguments[0]
            row = make_row(one, LOST, reason=f"the process that tried it was lost {_STRIKES} times")
        else:
            one, verdict = result
            status = SURVIVED if verdict.kill is None else KILLED
            row = _explained(
                make_row(one, status, verdict=verdict, budget_seconds=plan.budget_seconds), known.get(one.mutant.key)
            )
        crew.laboratory.discard(one)
        state.add(row)
        yield row


def _explained(row: MutantRow, entry: Survivor | None) -> MutantRow:
    """A survivor with what is known of it; an equivalent one is no survivor of the suite's."""
    if row.status != SURVIVED or entry is None:
        return row
    status = KNOWN if entry.kind == EQUIVALENT else SURVIVED
    return msgspec.structs.replace(row, status=status, reason=f"{entry.kind}: {entry.reason}")


# ---- the processes that do it ----------------------------------------------------------------------------------------

_laboratory: list[Laboratory] = []


@dataclass(frozen=True, slots=True)
class Lost:
    """A task whose process died each time."""

    arguments: tuple[Any, ...]


class Crew:
    """
    Processes that share a laboratory as it is when the first task is given to them.

    A process that dies, or is killed, takes the others with it (Python cannot tell which task it had): all that was
    not finished is given to new ones, and what is lost three times is reported as lost.
    """

    def __init__(self, laboratory: Laboratory, jobs: int) -> None:
        self.laboratory = laboratory
        self._jobs = jobs
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        _laboratory[:] = [self.laboratory]
        return self

    def __exit__(self, *error: object) -> None:
        self._close()

    def _close(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            processes = list((pool._processes or {}).values())
            pool.shutdown(wait=False, cancel_futures=True)
            for process in processes:
                process.terminate()

    def each(self, function: Callable[..., Any], tasks: Sequence[tuple[Any, ...]]) -> Iterator[Any]:
        """What a function makes of each task, as it comes; :class:`Lost` for those that killed their process."""
        waiting = [(task, 0) for task in tasks]
        while waiting:
            if self._pool is None:
                self._pool = ProcessPoolExecutor(
                    self._jobs, mp_context=multiprocessing.get_context("fork"), initializer=_begin
                )
            futures = {self._pool.submit(function, *task): (task, strikes) for task, strikes in waiting}
            waiting = []
            for future in as_completed(futures):
                task, strikes = futures[future]
                try:
                    yield future.result()
                except BrokenProcessPool:
                    if strikes + 1 >= _STRIKES:
                        yield Lost(task)
                    else:
                        waiting.append((task, strikes + 1))
            if waiting:
                self._close()


def _begin() -> None:
    # Ctrl-C reaches the whole group; only the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _do_make(mutant: Mutant) -> Made:
    return _laboratory[0].make(mutant)


def _do_try(made: Made, budget_seconds: float) -> tuple[Made, Verdict]:
    return made, _laboratory[0].try_out(made, budget_seconds)


def _sorted_out(one: Made, digests: dict[str, str]) -> MutantRow | None:
    """The row of a mutant that need not be tried, None for all others."""
    if not one.digest:
        return make_row(one, INVALID)
    first = digests.get(one.digest)
    if first is None:
        digests[one.digest] = one.mutant.key
        return None
    return make_row(one, EQUAL if not first else DUPLICATE, reason=f"the same machine code as {first}" if first else "")


def make_row(
    one: Made, status: str, *, verdict: Verdict | None = None, budget_seconds: float = 0.0, reason: str = ""
) -> MutantRow:
    """The row of a mutant."""
    mutant = one.mutant
    kill = verdict.kill if verdict else None
    program = kill.program if kill else None
    return MutantRow(
        key=mutant.key,
        tower=mutant.tower,
        file=mutant.file,
        function=mutant.function,
        line=mutant.first + 1,
        old=squeeze(mutant.old),
        new=squeeze(mutant.new),
        operator=mutant.operator,
        status=status,
        digest=one.digest,
        tier=kill.tier if kill else "",
        rule=kill.rule if kill else "",
        detail=kill.detail if kill else "",
        seconds=round(verdict.seconds, 3) if verdict else 0.0,
        operations=verdict.operations if verdict else 0,
        build_seconds=round(one.seconds, 3),
        budget_seconds=budget_seconds,
        reason=reason,
        rules=kill.rules if kill else (),
        program=write_text(program) if program is not None and len(program) <= 60 else "",
    )


__all__ = ["Laboratory", "Made", "Plan", "Verdict", "digest_of", "run_campaign", "sample"]
