"""Programs as a few phases (fill, thin out, grow, churn): the form in which a search changes them, and their traces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from ..recorded import ALLOC, FREE, REALLOC, RECORD

KINDS = ("fill", "thin", "grow", "churn", "drop")
# No program holds more than this at a time: what is searched for is waste, not demand.
LIVE_BYTES_MAX = 8 << 20
OPERATIONS_MAX = 100_000
PHASES_MAX = 32
_COUNT_MAX = 20_000
_STRIDE_MAX = 512
_PAGE = 4096
_CHUNK = 2 << 20
# Borders of ZendMM's geometry: bins, pages, the largest run; a step to either side is drawn as well.
_BORDERS = (
    *(8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512),
    *(640, 768, 896, 1024, 1280, 1536, 1792, 2048, 2560, 3072),
    *(_PAGE * pages for pages in (1, 2, 3, 4, 7, 8, 9, 16, 32, 64, 128, 255, 256, 257, 384, 510, 511)),
    *(_CHUNK, _CHUNK + _PAGE, 2 * _CHUNK, 3 * _CHUNK),
)


@dataclass(frozen=True, slots=True)
class Phase:
    """
    One phase.

    ``fill`` allocates ``count`` blocks of ``size_bytes``; ``thin`` frees all blocks but every ``stride``-th, beginning
    with ``offset``; ``grow`` resizes every ``stride``-th block; ``churn`` allocates and frees a block ``count`` times;
    ``drop`` frees everything.
    """

    kind: str
    size_bytes: int = 0
    count: int = 0
    stride: int = 1
    offset: int = 0


# Where a search may begin: each bin filled and emptied in its turn, as no bin gives pages to another; and a comb of
# single pages, which leaves only gaps that are too small.
STAIRS = tuple(
    phase
    for size in (3072, 2560, 2048, 1792, 1536, 1280, 1024, 896, 768, 640, 512, 448, 384, 320)
    for phase in (Phase("fill", size, _CHUNK // size), Phase("drop"))
)
COMB = (Phase("fill", _PAGE, 2044), Phase("thin", stride=2), Phase("churn", 2 * _PAGE, _COUNT_MAX))


def draw_size(random: Random) -> int:
    """A size at or beside a border, or any size up to a page."""
    if random.random() < 0.2:
        return random.randint(1, _PAGE)
    return max(1, random.choice(_BORDERS) + random.choice((-1, 0, 0, 0, 1)))


def draw_phase(random: Random) -> Phase:
    """Any phase."""
    kind = random.choice(("fill", "fill", "fill", "thin", "thin", "grow", "churn", "drop"))
    stride = random.choice((2, 2, 4, 8, 16, 64, 128, 256, random.randint(1, _STRIDE_MAX)))
    count = random.choice((1, 16, 256, 2048, _COUNT_MAX))
    return Phase(kind, draw_size(random), count, stride, random.randrange(stride))


def change(phases: Sequence[Phase], random: Random) -> tuple[Phase, ...]:
    """The phases with one to three small changes."""
    made = list(phases)
    for _ in range(random.choice((1, 1, 2, 3))):
        place = random.randrange(len(made) + 1)
        choice = random.random()
        if (choice < 0.35 and len(made) < PHASES_MAX) or not made:
            made.insert(place, draw_phase(random))
        elif choice < 0.5 and len(made) > 1:
            del made[place % len(made)]
        elif choice < 0.6:
            other = random.randrange(len(made))
            place %= len(made)
            made[place], made[other] = made[other], made[place]
        elif choice < 0.7 and len(made) < PHASES_MAX:
            made[place:place] = made[max(0, place - 2) : place][: PHASES_MAX - len(made)]
        else:
            place %= len(made)
            drawn = draw_phase(random)
            field = random.choice(("size_bytes", "count", "stride", "offset"))
            made[place] = replace(made[place], **{field: getattr(drawn, field)})
    return tuple(made)


def expand(phases: Sequence[Phase]) -> bytes:
    """The records of a trace that performs the phases, within the bounds on live bytes and operations."""
    return _Writer().run(phases)


class _Writer:
    def __init__(self) -> None:
        self._records: list[bytes] = []
        self._live: dict[int, int] = {}
        self._spare: list[int] = []
        self._bytes = 0

    def run(self, phases: Sequence[Phase]) -> bytes:
        for phase in phases:
            getattr(self, phase.kind)(phase)
        return b"".join(self._records)

    def fill(self, phase: Phase) -> None:
        for _ in range(phase.count):
            if not self._alloc(phase.size_bytes):
                break

    def thin(self, phase: Phase) -> None:
        for number, slot in enumerate(list(self._live)):
            if number % phase.stride != phase.offset % phase.stride:
                self._free(slot)

    def grow(self, phase: Phase) -> None:
        for slot in list(self._live)[phase.offset % phase.stride :: phase.stride]:
            more = phase.size_bytes - self._live[slot]
            if self._full(more):
                break
            self._records.append(RECORD.pack(REALLOC, slot, phase.size_bytes))
            self._live[slot] = phase.size_bytes
            self._bytes += more

    def churn(self, phase: Phase) -> None:
        for _ in range(phase.count):
            if not self._alloc(phase.size_bytes):
                break
            self._free(next(reversed(self._live)))

    def drop(self, _phase: Phase) -> None:
        for slot in list(self._live):
            self._free(slot)

    def _full(self, more_bytes: int) -> bool:
        return self._bytes + more_bytes > LIVE_BYTES_MAX or len(self._records) >= OPERATIONS_MAX

    def _alloc(self, size_bytes: int) -> bool:
        if self._full(size_bytes):
            return False
        slot = self._spare.pop() if self._spare else len(self._live)
        self._records.append(RECORD.pack(ALLOC, slot, size_bytes))
        self._live[slot] = size_bytes
        self._bytes += size_bytes
        return True

    def _free(self, slot: int) -> None:
        self._records.append(RECORD.pack(FREE, slot, 0))
        self._bytes -= self._live.pop(slot)
        self._spare.append(slot)
