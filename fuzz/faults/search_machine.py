"""The search as a Hypothesis state machine: the same steps, chosen by what has become of each block."""

from __future__ import annotations

import time
from itertools import count
from typing import ClassVar

import hypothesis
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st
from hypothesis.reporting import with_reporter
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from .attack import FOREIGN, NAMES, SECOND_NAMES, SIZES, VALUES, Step
from .search import Search
from .serving import Server

_EXAMPLES, _STEPS = 50, 14
_PICKS = st.integers(0, 7)
_SIZES = st.sampled_from(SIZES)
_PLACES = st.sampled_from((0, 8, 16, 24, 56))
_WRITINGS = st.one_of(
    st.tuples(st.just("word"), st.sampled_from(VALUES)),
    st.tuples(st.just("fill"), st.sampled_from(("0x00", "0x41", "0xff"))),
    st.tuples(st.just("add"), st.sampled_from(("1", "16"))),
    st.tuples(st.just("flip"), st.just("0x10")),
)


class AttackMachine(RuleBasedStateMachine):
    """
    One attack an example: rules of a correct program and of misuse over the same blocks.

    What was made up is performed at the end of the example, whole: an attack's process has no way back.
    """

    search: ClassVar[Search]
    server: ClassVar[Server]
    end: ClassVar[float]

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[Step] = []
        self.live: list[str] = []
        self.dead: list[str] = []

    def teardown(self) -> None:
        """Performs the attack; what it shows is the search's to keep."""
        if time.monotonic() >= self.end or self.search.over:
            raise Over
        self.search.attempt(tuple(self.steps), self.server, "hypothesis")

    def _any(self, pick: int) -> str:
        names = self.live + self.dead
        return names[pick % len(names)] if names else NAMES[0]

    def _dead(self, pick: int) -> str:
        return self.dead[pick % len(self.dead)] if self.dead else self._any(pick)

    # ---- what a correct program does -----------------------------------------------------------------------------

    @rule(size=_SIZES, times=st.integers(1, 3))
    def alloc(self, size: int, times: int) -> None:
        """Takes blocks under names without one; the first name again when there is none."""
        for _ in range(times):
            name = next((one for one in NAMES if one not in self.live and one not in self.dead), NAMES[0])
            self.steps.append(Step("alloc", name, size=size))
            self.live = [*(one for one in self.live if one != name), name]
            self.dead = [one for one in self.dead if one != name]

    @rule(pick=_PICKS)
    def free(self, pick: int) -> None:
        """Frees a live block."""
        if self.live:
            name = self.live.pop(pick % len(self.live))
            self.steps.append(Step("free", name))
            self.dead.append(name)

    @rule(pick=_PICKS, size=_SIZES)
    def realloc(self, pick: int, size: int) -> None:
        """Resizes a block, in whatever state it is."""
        name = self._any(pick)
        self.steps.append(Step("realloc", name, NAMES[-1], size=size))

    @rule(what=st.sampled_from(("gc", "request_end")))
    def whole_heap(self, what: str) -> None:
        """Collects, or ends the request."""
        self.steps.append(Step(what))
        if what == "request_end":
            self.dead += self.live
            self.live = []

    @rule(times=st.sampled_from((2, 10, 200)), size=_SIZES)
    def churn(self, times: int, size: int) -> None:
        """Blocks come and go."""
        self.steps.append(Step("churn", size=size, offset=times))

    @rule(size=_SIZES)
    def second_heap(self, size: int) -> None:
        """Takes a block from another heap."""
        self.steps.append(Step("alloc2", SECOND_NAMES[0], size=size))

    # ---- what it does not ----------------------------------------------------------------------------------------

    @rule(pick=_PICKS, what=st.sampled_from(("free_freed", "realloc_freed")), size=_SIZES)
    def use_freed(self, pick: int, what: str, size: int) -> None:
        """Frees or resizes a freed block."""
        self.steps.append(Step(what, self._dead(pick), NAMES[-2], size=size))

    @rule(pick=_PICKS, offset=_PLACES, writing=_WRITINGS, length=st.sampled_from((1, 8, 16, 64)))
    def write_freed(self, pick: int, offset: int, writing: tuple[str, str], length: int) -> None:
        """Writes into a freed block."""
        self.steps.append(Step("write_freed", self._dead(pick), "", length, offset, *writing))

    @rule(pick=_PICKS, other=_PICKS)
    def copy_freed(self, pick: int, other: int) -> None:
        """Copies one freed block over another."""
        self.steps.append(Step("copy_freed", self._dead(pick), self._dead(other)))

    @rule(
        pick=_PICKS,
        what=st.sampled_from(("overflow", "underflow")),
        offset=_PLACES,
        writing=_WRITINGS,
        length=st.sampled_from((1, 8, 16, 64)),
    )
    def write_outside(self, pick: int, what: str, offset: int, writing: tuple[str, str], length: int) -> None:
        """Writes behind or before a block."""
        self.steps.append(Step(what, self._any(pick), "", length, offset, *writing))

    @rule(pick=_PICKS, offset=st.sampled_from((1, 8, 16, 64, 4096, 2_097_152)))
    def free_interior(self, pick: int, offset: int) -> None:
        """Frees an address inside a block."""
        self.steps.append(Step("free_interior", self._any(pick), offset=offset))

    @rule(value=st.sampled_from(FOREIGN))
    def free_foreign(self, value: str) -> None:
        """Frees what no heap has given out."""
        self.steps.append(Step("free_foreign", value=value))

    @rule(pick=_PICKS, second=st.booleans())
    def free_crossed(self, pick: int, second: bool) -> None:
        """Frees a block with the other heap."""
        self.steps.append(Step("free_crossed", SECOND_NAMES[0] if second else self._any(pick)))

    @rule(pick=_PICKS, size=_SIZES)
    def free_wrong_size(self, pick: int, size: int) -> None:
        """Frees a block with a size that is not its own."""
        self.steps.append(Step("free_wrong_size", self._any(pick), size=size))


class Over(BaseException):
    """The time is over: ends Hypothesis without being an error to it."""


def search_by_machine(search: Search, seconds: float) -> None:
    """Runs rounds of Hypothesis, each with a seed of its own, until the time is over."""
    settings = hypothesis.settings(
        max_examples=_EXAMPLES,
        stateful_step_count=_STEPS,
        deadline=None,
        database=None,
        print_blob=False,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    begin = time.monotonic()
    end = begin + seconds
    with Server(search.subject) as server, with_reporter(lambda _text: None):
        for number in count():
            fields = {"search": search, "server": server, "end": end}
            machine = hypothesis.seed(search.seed * 1_000_003 + number)(type("Attack", (AttackMachine,), fields))
            try:
                run_state_machine_as_test(machine, settings=settings)
            except Over:
                search.result.seconds += time.monotonic() - begin
                return
