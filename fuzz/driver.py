"""Performs programs on a target and writes down what happened: many programs a round trip, deaths as outcomes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

from zmm_model.op import Operation, Settings

from .compare import ROW_BYTES, Death
from .program import Program
from .session import Reply, Session
from .targets import Target
from .wire import BURST_TEXT, CLOSE_STEP, Burst, Message, TextArea, pack_open, pack_steps, unpack_steps

# A step that makes no progress for this long is a hang; the program is then performed once more, alone.
HANG_SECONDS = 6.0
# Steps of one round trip at most; longer lists of programs are performed in several.
BATCH_STEPS_MAX = 200_000


class Performer(Protocol):
    """What the driver needs of a session; tests put their own in its place."""

    def perform(self, steps: bytes, texts: bytes = b"") -> Reply: ...
    def expand_burst(self, burst: Burst, first: int = 0, count: int | None = None) -> bytes: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Trace:
    """
    What a target did with one program: packed rows (opening, one for each operation, closing).

    ``messages`` are the target's own sentences by step. A target that died has fewer rows and a ``death``.
    ``alone`` is false when it died only after the programs before it in the same process. ``lost`` says that the
    process was killed from outside and the program performed anew.
    """

    rows: bytes
    messages: dict[int, str] = field(default_factory=dict)
    death: Death | None = None
    alone: bool = True
    lost: str = ""


class Driver:
    """
    A target's process, started when first needed and anew after each death.

    Args:
        target: what to perform on.
        edition: the rules that zmm is told to follow; other targets have one only.
        open_session: how a session is made (tests replace it).
        hang_seconds: how long a step may take.
    """

    def __init__(
        self,
        target: Target,
        edition: str,
        open_session: Callable[[Target], Performer] | None = None,
        hang_seconds: float = HANG_SECONDS,
    ) -> None:
        self.target = target
        self.edition = edition
        self._open_session = open_session or partial(Session, hang_seconds=hang_seconds)
        self._session: Performer | None = None

    def close(self) -> None:
        """Ends the process."""
        if self._session is not None:
            session, self._session = self._session, None
            session.close()

    def restart(self) -> None:
        """The next program finds a new process."""
        with suppress(OSError):
            self.close()

    @property
    def session(self) -> Performer:
        """
        The live session.

        Raises:
            TargetError: the target cannot be started.
        """
        if self._session is None:
            self._session = self._open_session(self.target)
        return self._session

    # ---- programs ------------------------------------------------------------------------------------------------

    def run(self, programs: Sequence[Program], *, all_calls: bool = False) -> list[Trace]:
        """
        Performs programs one after the other, each on a heap of its own, and returns a trace for each.

        Args:
            programs: in any number; they share round trips.
            all_calls: kernel storage of zmm: calls for its own records count and fail too.
        """
        traces: list[Trace] = []
        while len(traces) < len(programs):
            start = len(traces)
            end, steps = start, 0
            while end < len(programs) and (end == start or steps + len(programs[end]) + 2 <= BATCH_STEPS_MAX):
                steps += len(programs[end]) + 2
                end += 1
            traces += self._run_batch(programs[start:end], all_calls=all_calls)
        return traces

    def _run_batch(self, programs: Sequence[Program], *, all_calls: bool) -> list[Trace]:
        """One round trip; the traces up to the first program that kills the process, that one included."""
        traces, death = self._perform(programs, all_calls=all_calls)
        if death is None or not traces:
            return traces
        # Only a death that the program brings about by itself is its own: it is performed once more, alone.
        index = len(traces) - 1
        once, again = self._perform([programs[index]], all_calls=all_calls)
        if again is not None:
            traces[index] = once[0]
        elif death.external:
            traces[index] = replace(
                once[0], lost=f"a child was killed from outside ({death.detail}); its program was performed anew"
            )
        elif index:
            before, repeated = self._perform(programs[: index + 1], all_calls=all_calls)
            if repeated is not None and len(before) == index + 1:
                traces[index] = replace(before[index], alone=False)
            else:
                traces[index] = replace(traces[index], alone=False)
        else:
            traces[index] = replace(traces[index], alone=False)
        return traces

    def _perform(self, programs: Sequence[Program], *, all_calls: bool) -> tuple[list[Trace], Death | None]:
        """One round trip without second thoughts; after a death the last trace is the dead program's."""
        texts = TextArea()
        parts: list[bytes] = []
        if all_calls and self._session is None:
            # The first heap of a process also asks for what all heaps share: without it the calls of every later heap
            # have the same numbers, so that a program fails at the same call in an old process and in a new one.
            self.session.perform(pack_open(Settings(storage="kernel"), texts, edition=self.edition) + CLOSE_STEP)
        for program in programs:
            parts.append(pack_open(program.settings, texts, edition=self.edition, all_calls=all_calls))
            parts.append(pack_steps(program.operations, texts))
            parts.append(CLOSE_STEP)
        reply = self.session.perform(b"".join(parts), bytes(texts))
        death = death_of(reply)
        if death is not None:
            self.restart()
        return split(programs, reply.rows, reply.messages, death), death

    # ---- one long program in pieces ------------------------------------------------------------------------------

    def stream(
        self, settings: Settings, pieces: Iterable[bytes], *, edges: bool = True
    ) -> Iterator[tuple[bytes, Death | None]]:
        """
        Performs packed steps piece by piece on one heap.

        Yields the rows of each piece: the opening's alone first, the closing's alone last. A death ends it.
        """
        texts = TextArea()
        opening = pack_open(settings, texts, edition=self.edition, edges=edges)
        area = bytes(texts)
        yield from self._piece(opening, area)
        for piece in pieces:
            if self._session is None:
                return
            yield from self._piece(piece, area)
        if self._session is not None:
            yield from self._piece(CLOSE_STEP, area)

    def _piece(self, steps: bytes, texts: bytes) -> Iterator[tuple[bytes, Death | None]]:
        reply = self.session.perform(steps, texts)
        death = death_of(reply)
        if death is not None:
            self.restart()
        yield bytes(reply.rows), death

    # ---- bursts --------------------------------------------------------------------------------------------------

    def run_bursts(self, settings: Settings, bursts: Sequence[Burst]) -> Trace:
        """Performs bursts on one heap, natively; a row for each, between those of opening and closing."""
        texts = TextArea()
        opening = pack_open(settings, texts, edition=self.edition, edges=True)
        return self.run_packed(opening + b"".join(burst.pack() for burst in bursts) + CLOSE_STEP, bytes(texts))

    def run_packed(self, steps: bytes, texts: bytes) -> Trace:
        """Performs packed steps in one round trip, as one trace."""
        reply = self.session.perform(steps, texts)
        death = death_of(reply)
        if death is not None:
            self.restart()
        return Trace(bytes(reply.rows), _said(reply.messages), death)

    def expand(self, burst: Burst) -> list[Operation]:
        """The operations of a burst, its final check included."""
        return unpack_steps(self.session.expand_burst(burst), BURST_TEXT)


def split(
    programs: Sequence[Program], rows: bytes | memoryview, messages: Sequence[Message], death: Death | None
) -> list[Trace]:
    """Cuts the rows of a round trip into a trace for each program; after a death the last one is the dead program's."""
    rows = bytes(rows)
    said = _said(messages)
    traces: list[Trace] = []
    first = 0
    for program in programs:
        count = len(program) + 2
        part = rows[first * ROW_BYTES : (first + count) * ROW_BYTES]
        mine = {step - first: text for step, text in said.items() if first <= step < first + count} if said else {}
        died = death is not None and (len(part) < count * ROW_BYTES or _ends_in_panic(part))
        traces.append(Trace(part, mine, death if died else None))
        if died:
            return traces
        first += count
    if death is not None and traces:
        # It answered everything and died on the way out: the last program is the one to look at.
        traces[-1] = replace(traces[-1], death=death)
    return traces


def _ends_in_panic(rows: bytes) -> bool:
    return len(rows) >= ROW_BYTES and rows[len(rows) - ROW_BYTES] == 7


def _said(messages: Sequence[Message]) -> dict[int, str]:
    """The last message of each step."""
    return {message.step: message.text for message in messages}


def death_of(reply: Reply) -> Death | None:
    """How a reply's process ended, in the words of the comparison."""
    death = reply.death
    if death is None:
        return None
    said = death.stderr.strip().splitlines()
    detail = f"{death.detail}: {said[-1]}" if said else death.detail
    return Death("HANG" if death.kind == "hang" else "DEATH", detail, death.external)
