"""One chunk's pages: finding, taking, giving back and resizing runs.  Imports sizes."""

from __future__ import annotations

from .sizes import CHUNK_PAGES, FIRST_PAGE, USABLE_PAGES

LARGE_RUN = 0x40000000
SMALL_RUN = 0x80000000

ALL_PAGES = (1 << CHUNK_PAGES) - 1
# MASKS[n] has the low n bits set.
MASKS = tuple((1 << pages) - 1 for pages in range(CHUNK_PAGES + 1))

# `hopeless_pages` of a chunk of which nothing is known: no request is that large.
NEVER_FAILS = CHUNK_PAGES + 1


class Chunk:
    """
    One chunk: which pages are used, and what starts where.

    ``used`` has bit i set while page i is used.  ``runs`` maps a run's first page to ``LARGE_RUN |
    pages`` or ``SMALL_RUN | bin``.  ``free_tail`` is ZendMM's lazily kept bound: every run starts
    below it.  ``hopeless_pages`` is our own memo: a search for that many pages or more has failed
    and would again, changing nothing.
    """

    __slots__ = ("free_pages", "free_tail", "hopeless_pages", "mapping", "number", "runs", "used")

    def __init__(self, mapping: int, number: int) -> None:
        self.mapping = mapping
        self.number = number
        self.runs: dict[int, int] = {}
        self.reset()

    def reset(self) -> None:
        """All pages free but the first, which is the chunk's own."""
        self.used = 1
        self.free_pages = USABLE_PAGES
        self.free_tail = FIRST_PAGE
        self.hopeless_pages = NEVER_FAILS
        self.runs.clear()

    def find(self, pages: int) -> int:
        """
        First page of the best-fitting free run, or 0; keeps ``free_tail`` as ZendMM's scan leaves
        it.

        The first exact fit wins; else the shortest interior run that fits (the lowest of equals);
        the tail (the run that reaches the last page) only when it is shorter than that.  The scan
        is done on the whole page map at once: a bit survives in ``fits`` when a free run of at
        least ``pages`` pages starts there.
        """
        used = self.used
        tail = used.bit_length()
        tail_pages = CHUNK_PAGES - tail
        best = 0
        best_pages = CHUNK_PAGES
        if self.free_pages != tail_pages:  # there are free pages below the tail
            free = used ^ MASKS[tail]
            fits = free
            covered = 1
            while covered < pages:
                shift = covered if covered + covered <= pages else pages - covered
                fits &= fits >> shift
                covered += shift
            starts = fits & ~(free << 1)
            if starts:
                exact = starts & ~(fits & fits >> 1)
                if exact:
                    return (exact & -exact).bit_length() - 1
                while starts:
                    low = starts & -starts
                    start = low.bit_length() - 1
                    carried = (free >> start) + 1
                    length = (carried & -carried).bit_length() - 1
                    if length < best_pages:
                        best = start
                        best_pages = length
                    starts ^= low
        if tail_pages:
            if pages <= tail_pages < best_pages:
                self.free_tail = tail + pages
                return tail
            self.free_tail = tail
        if not best:
            self.hopeless_pages = pages
        return best

    def take(self, page: int, pages: int, run: int) -> None:
        """Marks pages that ``find`` named as one run."""
        self.used |= MASKS[pages] << page
        self.free_pages -= pages
        self.runs[page] = run
        if page == self.free_tail:
            self.free_tail = page + pages

    def give_back(self, page: int, pages: int) -> None:
        """Frees a whole run; the chunk itself stays, whoever calls decides on it."""
        self.used ^= MASKS[pages] << page
        self.free_pages += pages
        self.hopeless_pages = NEVER_FAILS
        del self.runs[page]
        if self.free_tail == page + pages:
            self.free_tail = page

    def shrink(self, page: int, old_pages: int, new_pages: int) -> None:
        """Frees the last pages of a large run in place; ``free_tail`` is not looked at."""
        self.used ^= MASKS[old_pages - new_pages] << (page + new_pages)
        self.free_pages += old_pages - new_pages
        self.hopeless_pages = NEVER_FAILS
        self.runs[page] = LARGE_RUN | new_pages

    def grow(self, page: int, old_pages: int, new_pages: int) -> bool:
        """Lengthens a large run in place if the pages right behind it are free; ``free_tail`` is not looked at."""
        if page + new_pages > CHUNK_PAGES:
            return False
        behind = MASKS[new_pages - old_pages] << (page + old_pages)
        if self.used & behind:
            return False
        self.used |= behind
        self.free_pages -= new_pages - old_pages
        self.hopeless_pages = NEVER_FAILS
        self.runs[page] = LARGE_RUN | new_pages
        return True
