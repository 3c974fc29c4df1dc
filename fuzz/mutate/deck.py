"""Decks: programs made and predicted once, so that holding a mutant against them costs the C run and a comparison.

A deck's expected rows are kept as a digest; when a mutant's rows differ, the prediction is made again and the first
difference gets its name from the same comparison as in every tier. The sound core must answer every deck as predicted
before any mutant does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from ..compare import (
    Divergence,
    exact_divergence,
    find_difference,
    first_difference,
    next_difference,
    operation_at,
    unpack_row,
)
from ..driver import Trace, death_of, split
from ..judge import judge_abstract
from ..predict import predict
from ..program import Program
from ..session import Reply, Session
from ..targets import Target
from ..wire import CLOSE_STEP, TextArea, pack_open, pack_steps


@dataclass(frozen=True, slots=True)
class Deck:
    """
    Programs of one tier in one round trip. ``exact`` says that the exact model predicts their rows; else the rows are
    those of the sound core, which the abstract model has accepted, and it judges the ones that differ.
    """

    tier: str
    name: str
    edition: str
    programs: Sequence[Program]
    steps: bytes
    texts: bytes
    digest: bytes
    exact: bool = True
    all_calls: bool = False
    operations: int = field(default=0)
    level: str = "release"


@dataclass(frozen=True, slots=True)
class Kill:
    """
    How a mutant was found out: the rule, the tier, the deck's program and step, how many operations were performed up
    to that step, and which rules of the exact comparison any row of the deck breaks (for the ablation).
    """

    tier: str
    rule: str
    detail: str
    operations: int
    program: Program | None = None
    rules: tuple[str, ...] = ()


def make_deck(
    tier: str,
    name: str,
    edition: str,
    programs: Sequence[Program],
    *,
    exact: bool = True,
    all_calls: bool = False,
    level: str = "release",
) -> Deck:
    """A deck: predicted by the exact model, or (not ``exact``) left to the abstract one and the sound core."""
    steps, texts = pack(programs, edition, all_calls=all_calls)
    rows = b"".join(predict(program, edition, level=level).rows for program in programs) if exact else b""
    count = sum(len(program) for program in programs)
    return Deck(tier, name, edition, programs, steps, texts, _digest(rows), exact, all_calls, count, level)


def pack(programs: Sequence[Program], edition: str, *, all_calls: bool = False) -> tuple[bytes, bytes]:
    """The steps and the text area of programs, one heap after the other."""
    texts = TextArea()
    parts: list[bytes] = []
    for program in programs:
        parts.append(pack_open(program.settings, texts, edition=edition, all_calls=all_calls))
        parts.append(pack_steps(program.operations, texts))
        parts.append(CLOSE_STEP)
    return b"".join(parts), bytes(texts)


def _digest(rows: bytes) -> bytes:
    return hashlib.blake2b(rows, digest_size=16).digest()


def settle(deck: Deck, session: Session, target: Target) -> Deck:
    """
    The deck once the sound core has answered it: rows that the models accept become what is expected.

    Raises:
        SoundCoreError: the core that is to be mutated does not answer as the models say.
    """
    reply = session.perform(deck.steps, deck.texts)
    if deck.exact and _is_expected(deck, reply):
        return deck
    kill = name_kill(deck, reply, target)
    if kill is not None:
        raise SoundCoreError(f"the core without a mutant is not clean ({deck.name}: {kill.rule}: {kill.detail})")
    return replace(deck, digest=_digest(reply.rows))


class SoundCoreError(Exception):
    """The unchanged core fails a check: nothing can be said about mutants."""


def _is_expected(deck: Deck, reply: Reply) -> bool:
    return reply.death is None and _digest(reply.rows) == deck.digest


def hold(deck: Deck, session: Session, target: Target, *, explain: bool = True) -> Kill | None:
    """
    Holds a mutant against a deck; None when every row is as expected.

    Args:
        deck: settled.
        session: of the mutant's library.
        target: the mutant, for its accounting.
        explain: also find out which rules any of the rows breaks.
    """
    reply = session.perform(deck.steps, deck.texts)
    if _is_expected(deck, reply):
        return None
    if reply.death is not None and reply.death.external:
        # Somebody else's signal: it is performed once more.
        reply = session.perform(deck.steps, deck.texts)
        if _is_expected(deck, reply):
            return None
    return name_kill(deck, reply, target, explain=explain)


def name_kill(deck: Deck, reply: Reply, target: Target, *, explain: bool = False) -> Kill | None:
    """The first divergence of a reply, with its rule and its place; None when the models accept every row."""
    death = death_of(reply)
    traces = split(deck.programs, reply.rows, reply.messages, death)
    done = 0
    for program, trace in zip(deck.programs, traces, strict=False):
        expected = b"" if not deck.exact else predict(program, deck.edition, level=deck.level).rows
        if not deck.exact or expected != trace.rows:
            found = _judge(deck, program, trace, expected, target)
            if found is not None:
                rules = rules_broken(deck, traces) if explain and deck.exact else ()
                detail = f"{deck.name}, step {found.step} ({found.operation.word}): {found.field} {found.actual}"
                return Kill(deck.tier, found.rule, detail, done + found.step, program, rules)
        done += len(program)
    if death is not None:
        return Kill(deck.tier, death.kind, f"{deck.name}: {death.detail}", done)
    return None


def _judge(deck: Deck, program: Program, trace: Trace, expected: bytes, target: Target) -> Divergence | None:
    if not deck.exact:
        return judge_abstract(program, trace, deck.edition, target.accounting)
    return exact_divergence(program.operations, expected, trace.rows, death=trace.death, messages=trace.messages)


def rules_broken(deck: Deck, traces: Sequence[Trace], programs_max: int = 12) -> tuple[str, ...]:
    """The rules of the exact comparison that any row of the first differing programs breaks, in their order."""
    found: set[str] = set()
    looked = 0
    for program, trace in zip(deck.programs, traces, strict=False):
        expected = predict(program, deck.edition, level=deck.level).rows
        if expected == trace.rows:
            continue
        looked += 1
        if looked > programs_max:
            break
        step = first_difference(expected, trace.rows)
        while step is not None:
            ours, theirs = unpack_row(expected, step), unpack_row(trace.rows, step)
            operation = operation_at(program.operations, step)
            without: frozenset[str] = frozenset()
            while True:
                said = trace.messages.get(step, "")
                difference = find_difference(
                    operation, step, ours, theirs, death=trace.death, message=said, without=without
                )
                if difference is None:
                    break
                found.add(difference.rule)
                without |= {difference.rule}
            step = next_difference(expected, trace.rows, step + 1)
    return tuple(sorted(found))


MakeDeck = Callable[[], Deck]
__all__ = ["Deck", "Kill", "MakeDeck", "SoundCoreError", "hold", "make_deck", "name_kill", "settle"]
