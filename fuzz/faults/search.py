"""The search for new faults: attacks by chance and by neighbourhood, the smallest of each kind, the known left out."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from .attack import Attack, Maker, misuses_of, script_of, without
from .classify import judge
from .impact import GOALS, Primitive, impact_of
from .reduce import reduce_attack
from .run import RUNS, Run, run_once
from .serving import Server
from .subject import Subject

# Fewer attacks than this say nothing about a target.
ATTACKS_MIN = 300
_CORPUS_MAX = 600
# A level may hand slots out in random order: an attack that shows no harm is tried again.
_TRIES_SURE, _TRIES_RANDOM = 1, 4
_RANDOM_LEVELS = ("hardened", "debug")
_BATCH = 20


@dataclass(frozen=True, slots=True)
class Found:
    """
    A primitive with the smallest attack that shows it.

    ``letters`` are those of full runs, as in the matrix; ``shown`` says in how many of them the harm was seen.
    """

    primitive: Primitive
    attack: Attack
    letters: str
    shown: int
    attacks: int
    seconds: float
    engine: str
    message: str = ""

    @property
    def script(self) -> str:
        return script_of(self.attack)


@dataclass(slots=True)
class Searched:
    """What a search did: attacks performed, the letters of all of them, what was found, what was known already."""

    subject: Subject
    attacks: int = 0
    seconds: float = 0.0
    letters: Counter[str] = field(default_factory=Counter)
    found: dict[str, Found] = field(default_factory=dict)
    known: Counter[str] = field(default_factory=Counter)
    unsteady: Counter[str] = field(default_factory=Counter)


Notice = Callable[[Found], None]


class Search:
    """
    Searches one target until the time is over, or until ``enough`` primitives are found.

    Behaviour guides it: an attack that ends as none before (letter, phase, message, kinds of evidence) joins a corpus
    whose members are changed and crossed. Threads share the corpus; each has a process of its own.
    """

    def __init__(
        self,
        subject: Subject,
        seed: int,
        known: Collection[str],
        *,
        jobs: int = 2,
        enough: int = 0,
        notice: Notice | None = None,
    ) -> None:
        self.subject = subject
        self.seed = seed
        self._known = [Primitive.of(signature) for signature in sorted(known)]
        self.jobs = jobs
        self.enough = enough
        self.notice = notice
        self.result = Searched(subject)
        self._corpus: list[Attack] = []
        self._behaviours: set[tuple[object, ...]] = set()
        # Misuses that do harm all by themselves.
        self._explained = {one.misuses[0] for one in self._known if len(one.misuses) == 1 and one.impact != "victim"}
        self._lock = threading.Lock()
        self._begin = time.monotonic()
        self._stop = threading.Event()

    def run(self, seconds: float) -> Searched:
        """
        Searches for so long.

        :raises TargetError: the target cannot be performed on.
        """
        self._begin = time.monotonic()
        end = self._begin + seconds
        with ThreadPoolExecutor(self.jobs) as pool:
            futures = [pool.submit(self._work, index, end) for index in range(self.jobs)]
            try:
                for future in futures:
                    future.result()
            finally:
                self._stop.set()
        self.result.seconds += time.monotonic() - self._begin
        return self.result

    @property
    def over(self) -> bool:
        return self._stop.is_set() or (self.enough > 0 and len(self.result.found) >= self.enough)

    def _work(self, index: int, end: float) -> None:
        draw = random.Random(f"{self.seed}/{index}")
        zend = self.subject.kind != "malloc"
        maker = Maker(draw, zend=zend, sized=self.subject.kind == "zmm")
        with Server(self.subject) as server:
            while time.monotonic() < end and not self.over:
                for _ in range(_BATCH):
                    self.attempt(self._next(maker, draw), server, "chance")

    def _next(self, maker: Maker, draw: random.Random) -> Attack:
        with self._lock:
            corpus = self._corpus
            parents = (draw.choice(corpus), draw.choice(corpus)) if corpus and draw.random() < 0.6 else None
            explained = sorted(self._explained)
        attack = maker.mutated(*parents) if parents else maker.attack()
        # What is known to be open hides what lies behind it.
        avoided = [tag for tag in explained if draw.random() < 0.8]
        return without(attack, avoided) if avoided else attack

    def attempt(self, attack: Attack, server: Server, engine: str) -> Primitive | None:
        """Performs one attack; what it shows for the first time is made small, confirmed and kept."""
        script = script_of(attack)
        if not script:
            return None
        run = server.run(script)
        self._remember(attack, run)
        impact = impact_of(run, attack)
        if not impact:
            return None
        tags = set(misuses_of(attack)) & self._explained
        if tags:
            # Is there harm without what is known to do some?
            attack = without(attack, tags)
            script = script_of(attack)
            impact = impact_of(server.run(script), attack) if script else ""
            if not impact:
                self._count_known(tags)
                return None
        small = reduce_attack(attack, lambda part: self._shows(part, impact, server))
        primitive = Primitive(misuses_of(small), self._worst(small, impact, server))
        with self._lock:
            if len(primitive.misuses) == 1 and primitive.impact != "victim":
                self._explained.add(primitive.misuses[0])
            explained = next((one for one in self._known if primitive.contains(one)), None)
            if explained is not None:
                self.result.known[explained.signature] += 1
                return primitive
            if any(primitive.contains(one.primitive) for one in self.result.found.values()):
                return primitive
        self._confirm(primitive, small, engine)
        return primitive

    def _count_known(self, tags: Collection[str]) -> None:
        with self._lock:
            for one in self._known:
                if set(one.misuses) <= set(tags):
                    self.result.known[one.signature] += 1

    def _worst(self, attack: Attack, impact: str, server: Server) -> str:
        """The worst that some runs of an attack show."""
        seen = {impact_of(server.run(script_of(attack)), attack) for _ in range(_TRIES_RANDOM)} | {impact}
        return next((goal for goal in GOALS if goal in seen), impact)

    def _remember(self, attack: Attack, run: Run) -> None:
        outcome = judge(run)
        kinds = tuple(sorted({piece.kind for piece in run.report.evidence}))
        behaviour = (outcome.code, outcome.phase, outcome.message, kinds, run.report.line if kinds else 0)
        with self._lock:
            self.result.attacks += 1
            self.result.letters[outcome.code] += 1
            if behaviour not in self._behaviours and outcome.code not in "!-":
                self._behaviours.add(behaviour)
                self._corpus.append(attack)
                del self._corpus[:-_CORPUS_MAX]

    def _shows(self, attack: Attack, impact: str, server: Server) -> bool:
        script = script_of(attack)
        tries = _TRIES_RANDOM if self.subject.level in _RANDOM_LEVELS else _TRIES_SURE
        return bool(script) and any(_is_as_bad(impact_of(server.run(script), attack), impact) for _ in range(tries))

    def _confirm(self, primitive: Primitive, attack: Attack, engine: str) -> None:
        """The same with the catalogue's protocol: only what is seen there, too, is a finding."""
        script = script_of(attack)
        runs = [run_once(self.subject, script) for _ in range(RUNS)]
        outcomes = [judge(run) for run in runs]
        shown = sum(_is_as_bad(impact_of(run, attack), primitive.impact) for run in runs)
        found = Found(
            primitive,
            attack,
            "".join(outcome.code for outcome in outcomes),
            shown,
            self.result.attacks,
            time.monotonic() - self._begin,
            engine,
            next((outcome.message for outcome in outcomes if outcome.message), ""),
        )
        with self._lock:
            if not shown:
                self.result.unsteady[primitive.signature] += 1
                return
            is_new = primitive.signature not in self.result.found
            self.result.found.setdefault(primitive.signature, found)
        if is_new and self.notice is not None:
            self.notice(found)


def _is_as_bad(impact: str, wanted: str) -> bool:
    if wanted not in GOALS or impact not in GOALS:
        return impact == wanted
    return GOALS.index(impact) <= GOALS.index(wanted)
