"""Programs from seeds: each has its own mix of words, sizes and lifetimes, the same on every machine."""

from __future__ import annotations

import functools
from collections.abc import Callable

from zmm_model.op import Operation

from .boundaries import CHUNK_BYTES, LARGE_BYTES_MAX, LIMIT_BYTES_NONE, PAGE_BYTES, SIZE_MAX
from .exhaustive import all_programs
from .misuse import draw_misuse
from .profiles import HOPELESS_BYTES, PRODUCTS, PROFILES, TEXTS
from .program import Program
from .swarm import KINDS, Draws, draw_kinds, draw_settings, draw_sizes, draw_words

__all__ = ["PROFILES", "all_programs", "generate"]

_ANCHOR_BYTES = 16
# Programs of more operations than this get fewer of the words that walk the whole heap or empty it.
_SHORT_PROGRAM = 256

_WordMaker = Callable[[int], None]
_make = functools.partial(tuple.__new__, Operation)


def generate(
    seed: int, profile: str = "mixed", operations: int = 1000, *, anchor: bool = False, storage: str | None = None
) -> Program:
    """
    The program of a seed, the same on every machine and Python version.

    Args:
        seed: any whole number.
        profile: a name from :data:`PROFILES`.
        operations: how many.
        anchor: a program that PHP 8.2 can be held to.  It keeps one small block alive in the main chunk (first of
            all, and again after each request's end), because gc breaks a heap without one; with handlers storage it
            has no ``request_end``, because the memory of the storage record is handed out again then; and it leaves
            out the resizes that PHP 8.2 gets wrong beyond repair.
        storage: ``"handlers"`` or ``"kernel"`` instead of one drawn from the seed.

    Raises ValueError for an unknown profile.
    """
    if profile not in PROFILES:
        raise ValueError(f"unknown profile {profile!r}; there are {', '.join(PROFILES)}")
    draws = Draws(seed, f"{profile}/{operations}/{anchor}/{storage}")
    shape = PROFILES[profile]
    settings = draw_settings(draws, shape, storage)
    words = draw_words(draws, shape)
    if anchor and settings.storage == "handlers":
        words.pop("request_end", None)
    tables = draw_kinds(draws, words)
    pool = draw_sizes(draws, shape, operations)
    maker = _Maker(tables, pool, operations, shape.live_bytes_max, settings.limit_bytes, anchor)
    maker.run(draws)
    origin = f"seed {seed}, profile {profile}, {operations} operations"
    return Program(settings, tuple(maker.made), (), origin)


class _Maker:
    """
    One program in the making.

    Every method for a word takes ``r``, 64 random bits, and uses ranges of them: slicing one number is many times
    cheaper than drawing several.  The maker knows what it asked for, not what a heap would answer: a label whose
    allocation is refused counts as live, and what is done with it later is legal all the same.
    """

    __slots__ = (
        *("anchor", "base_limit_bytes", "count", "fifo", "kept", "keep_mask", "last", "live", "live_bytes"),
        *("live_bytes_max", "made", "order", "pool", "pool_mask", "queue", "sizes", "spare", "tables"),
    )

    def __init__(
        self,
        tables: list[bytes],
        pool: list[int],
        count: int,
        live_bytes_max: int,
        limit_bytes: int | None,
        anchor: bool,
    ) -> None:
        self.tables = tables
        self.pool = pool
        self.pool_mask = len(pool) - 1
        self.count = count
        self.last = count - 1
        self.live_bytes_max = live_bytes_max
        self.base_limit_bytes = limit_bytes
        self.anchor = anchor
        self.made: list[Operation] = []
        self.sizes: list[int] = []  # the requested bytes of each label
        self.spare: list[int] = []  # labels without a block
        self.live: list[int] = []  # labels with a block, oldest first
        self.queue: list[int] = []  # labels with a block, youngest first: what a first-in-first-out phase frees from
        self.kept: list[int] = []  # labels with a block that outlives its phase
        self.live_bytes = 0
        self.fifo = False
        self.order = 0
        self.keep_mask = 0

    def run(self, draws: Draws) -> None:
        """Makes the whole program: phases, then a ``check``."""
        if self.count <= 0:
            return
        words = [getattr(self, word) for word in KINDS]
        if self.anchor and self.last:
            self.drop_anchor()
        while len(self.made) < self.last:
            self.phase(draws, words)
        self.add("check")

    def phase(self, draws: Draws, words: list[_WordMaker]) -> None:
        """A stretch with one direction (growing, steady, shrinking) and one order of freeing: lifetimes mix phases."""
        table = self.tables[2 if self.live_bytes > self.live_bytes_max // 2 else draws.below(3)]
        self.live = self.queue[::-1] + self.live
        self.queue = []
        self.order = draws.below(4)
        self.fifo = self.order == 1
        self.keep_mask = (0, 3, 15, 0)[draws.below(4)]
        if self.kept and draws.chance(4):
            self.live += self.kept
            self.kept = []
        made, last = self.made, self.last
        if draws.chance(8):
            # The same block again and again: nothing else reaches what counts how often something happens.
            size, label = self.pool[draws.below(len(self.pool))], self.fresh()
            for _ in range(min(2 + draws.below(8), (last - len(made)) // 2)):
                self.add("alloc", label, size)
                self.add("free", label)
            self.spare.append(label)
            return
        for r in draws.words(min(16 << draws.below(5), last - len(made))):
            words[table[r & 511]](r)
            if len(made) >= last:
                return

    def add(self, word: str, label: int = -1, a: int = 0, b: int = 0, c: int = 0, text: bytes = b"") -> None:
        self.made.append(_make((word, label, a, b, c, text)))

    def drop_anchor(self) -> None:
        if not self.sizes:
            self.sizes.append(_ANCHOR_BYTES)
        self.add("alloc", 0, _ANCHOR_BYTES)

    # ---- labels ----------------------------------------------------------------------------------------------------

    def fresh(self) -> int:
        """A label without a block: the one freed last, as programs do that use few variables."""
        if self.spare:
            return self.spare.pop()
        self.sizes.append(0)
        return len(self.sizes) - 1

    def hold(self, r: int, label: int, size: int) -> None:
        """The label holds a block of ``size`` bytes from now on (or none, when no heap could serve it)."""
        if size >= HOPELESS_BYTES:
            self.spare.append(label)
            return
        self.sizes[label] = size
        self.live_bytes += size
        if self.keep_mask and not r >> 32 & self.keep_mask:
            self.kept.append(label)
        else:
            self.live.append(label)

    def victim(self, r: int) -> int:
        """The label whose block is freed next in this phase's order, -1 when there is none."""
        live = self.live
        if self.fifo:
            if not self.queue:
                self.queue, self.live = live[::-1], []
            if self.queue:
                return self.queue.pop()
        elif live:
            if self.order == 0 or (self.order == 3 and r & 512):  # last in, first out
                return live.pop()
            position = (r >> 10 & 0xFFFFF) * len(live) >> 20
            label = live[position]
            live[position] = live[-1]
            live.pop()
            return label
        return self.kept.pop() if self.kept else -1

    def one_of_the_live(self, r: int) -> int:
        """Any label with a block, -1 when this phase knows none."""
        if self.live:
            return self.live[(r >> 40) % len(self.live)]
        return self.queue[-1] if self.queue else -1

    # ---- words that make blocks ------------------------------------------------------------------------------------

    def size(self, r: int) -> int:
        if r >> 60:
            return self.pool[r >> 9 & self.pool_mask]
        # Rarely any number, the small ones more often.
        return (r >> 20 & 0x3FFFFF) >> (r >> 44 & 15)

    def full(self, r: int) -> bool:
        """Frees instead when there is too much alive."""
        if self.live_bytes <= self.live_bytes_max:
            return False
        self.free(r)
        return True

    def alloc(self, r: int) -> None:
        if self.live_bytes > self.live_bytes_max:
            self.free(r)
            return
        size = self.size(r)
        if self.live and not r >> 50 & 1023:
            self.add("alloc", self.live[0], size)  # into a label that holds a block: the step is skipped
            return
        label = self.fresh()
        self.made.append(_make(("alloc", label, size, 0, 0, b"")))
        self.hold(r, label, size)

    def calloc(self, r: int) -> None:
        if self.full(r):
            return
        label = self.fresh()
        if r >> 18 & 63:
            count = 1 + (r >> 24 & 7)
            size = self.size(r) // count
            if r >> 27 & 1:
                count, size = size, count
        else:
            count, size, _ = PRODUCTS[(r >> 24) % len(PRODUCTS)]
        self.add("calloc", label, count, size)
        self.hold(r, label, count * size)

    def safe_alloc(self, r: int) -> None:
        if self.full(r):
            return
        label = self.fresh()
        count, size, offset = self.product(r, self.size(r))
        self.add("safe_alloc", label, count, size, offset)
        self.hold(r, label, count * size + offset)

    def product(self, r: int, size: int) -> tuple[int, int, int]:
        """Count, size and offset that come to ``size`` bytes, or rarely to a case of hard arithmetic."""
        if r >> 18 & 63:
            count = 1 + (r >> 24 & 7)
            return count, size // count, size % count
        return PRODUCTS[(r >> 24) % len(PRODUCTS)]

    def strdup(self, r: int) -> None:
        if self.full(r):
            return
        label = self.fresh()
        text = TEXTS[(r >> 12) % len(TEXTS)]
        self.add("strdup", label, text=text)
        self.hold(r, label, len(text) + 1)

    def strndup(self, r: int) -> None:
        if self.full(r):
            return
        label = self.fresh()
        text = TEXTS[(r >> 12) % len(TEXTS)]
        length = (r >> 20 & 0xFFFF) % (len(text) + 1) if r >> 20 & 63 else SIZE_MAX - (r >> 30 & 1)
        self.add("strndup", label, length, text=text)
        self.hold(r, label, length + 1)

    # ---- words that take blocks ------------------------------------------------------------------------------------

    def free(self, r: int) -> None:
        label = self.victim(r)
        if label >= 0:
            self.live_bytes -= self.sizes[label]
            self.spare.append(label)
            self.made.append(_make(("free", label, 0, 0, 0, b"")))
        elif self.spare and not r & 0x3C00:
            self.add("free", self.spare[-1])  # free of nothing is legal, too
        else:
            # Allocates instead: a program has as many effects as operations.  Nothing is alive but what realloc made
            # out of nothing, so the count of live bytes starts anew.
            self.live_bytes = 0
            self.alloc(r)

    def to_resize(self, r: int) -> int:
        """A label to resize: often the youngest, which walks then, and a fresh one when nothing is alive."""
        label = self.live[-1] if self.live and r & 0x600 else self.one_of_the_live(r)
        if label < 0:
            label = self.fresh()
            self.sizes[label] = 0
            self.live.append(label)
        return label

    def new_size(self, r: int, old: int) -> int:
        """Where a resize goes: any size, or a step of a walk."""
        if self.live_bytes > self.live_bytes_max:
            return old // 2
        walk = r >> 12 & 15
        if walk < 6:
            size = self.pool[r >> 16 & self.pool_mask]
            # PHP 8.2 truncates a huge block to nothing when the new size wraps around.
            return min(size, SIZE_MAX - PAGE_BYTES) if self.anchor else size
        if walk < 8:
            return old + 1 + (r >> 16 & 15)
        if walk == 8:
            return old + PAGE_BYTES
        if walk == 9:
            return old * 2
        if walk == 10:
            return old // 2
        if walk == 11:
            return old - PAGE_BYTES if old > PAGE_BYTES else old // 2
        if walk == 12:
            return old - 1 if old else 0
        if walk == 13:
            return old + CHUNK_BYTES if old > LARGE_BYTES_MAX else old + 8 * PAGE_BYTES
        if walk == 14:
            return old - CHUNK_BYTES if old > 2 * CHUNK_BYTES else old * 3 // 4
        return old

    def resized(self, label: int, size: int) -> None:
        if size < HOPELESS_BYTES:
            self.live_bytes += size - self.sizes[label]
            self.sizes[label] = size

    def realloc(self, r: int) -> None:
        label = self.to_resize(r)
        size = self.new_size(r, self.sizes[label])
        self.made.append(_make(("realloc", label, size, 0, 0, b"")))
        self.resized(label, size)

    def realloc2(self, r: int) -> None:
        label = self.to_resize(r)
        old = self.sizes[label]
        size = self.new_size(r, old)
        copy = (old, size, 0, old // 2, 8, SIZE_MAX, old + 1, 1)[r >> 24 & 7]
        if self.anchor and copy > size:
            copy = size  # PHP 8.2 would write past the end of a smaller block
        self.add("realloc2", label, size, copy)
        self.resized(label, size)

    def safe_realloc(self, r: int) -> None:
        label = self.to_resize(r)
        count, size, offset = self.product(r, self.new_size(r, self.sizes[label]))
        if self.anchor and SIZE_MAX - PAGE_BYTES < count * size + offset <= SIZE_MAX:
            offset = 0 if count * size <= SIZE_MAX - PAGE_BYTES else SIZE_MAX  # as above
        self.add("safe_realloc", label, count, size, offset)
        self.resized(label, count * size + offset)

    def write(self, r: int) -> None:
        label = self.one_of_the_live(r)
        if label < 0:
            self.check(r)
            return
        size = self.sizes[label]
        offset = (r >> 12 & 0xFFFFFF) % (size or 1)
        length = min(size - offset, r >> 36 & 127)
        if not r >> 43 & 127:
            length = size - offset + 1  # one byte too many: the step is skipped, and both sides must say so
        self.add("write", label, offset, length, r >> 48)

    def misuse(self, r: int) -> None:
        label = self.one_of_the_live(r)
        self.made.append(draw_misuse(r, label, self.sizes[label] if label >= 0 else 0))

    # ---- words for the whole heap ----------------------------------------------------------------------------------

    def limit(self, r: int) -> None:
        """A limit near what the program may use by now: multiples of a chunk and their neighbours, rarely none."""
        choice = r >> 12 & 15
        if choice == 0:
            limit_bytes = LIMIT_BYTES_NONE
        elif choice == 1:
            limit_bytes = CHUNK_BYTES - 1
        elif choice == 2 and self.base_limit_bytes is not None:
            limit_bytes = self.base_limit_bytes
        else:
            chunks = 1 + self.live_bytes // CHUNK_BYTES + (r >> 16 & 3)
            limit_bytes = chunks * CHUNK_BYTES + (0, 0, 0, PAGE_BYTES, 1, -1, 300 * PAGE_BYTES, 0)[r >> 20 & 7]
        self.add("limit", a=limit_bytes)

    def gc(self, _r: int) -> None:
        self.add("gc")

    def reset_peak(self, _r: int) -> None:
        self.add("reset_peak")

    def request_end(self, r: int) -> None:
        if len(self.made) + 1 >= self.last or (self.count > _SHORT_PROGRAM and r >> 12 & 7):
            # A long program would be nothing but ends of requests at the weight that a short one needs.
            self.add("gc")
            return
        self.add("request_end")
        self.live, self.queue, self.kept = [], [], []
        self.live_bytes = 0
        self.spare = list(range(len(self.sizes) - 1, 0 if self.anchor else -1, -1))
        if self.anchor:
            self.drop_anchor()

    def check(self, r: int) -> None:
        # A check walks the whole heap: few of them in long programs, whose heaps are big.
        if self.count <= _SHORT_PROGRAM or not r >> 12 & 3:
            self.add("check")
