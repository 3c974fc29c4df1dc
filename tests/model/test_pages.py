"""The search for page runs: best fit, ties, the tail, and which chunk comes first."""

from __future__ import annotations

from zmm_model.pages import Chunk

from tests.model.conftest import CHUNK, PAGE, Make

FULL = 511 * PAGE


def chunk_with_holes(*holes: tuple[int, int], tail: int = 512) -> Chunk:
    """A chunk in which only these runs (first page, pages) are free, and everything from `tail` on."""
    chunk = Chunk(0, 0)
    chunk.used = (1 << tail) - 1
    for page, pages in holes:
        chunk.used ^= ((1 << pages) - 1) << page
    chunk.free_pages = 512 - chunk.used.bit_count()
    chunk.free_tail = tail
    return chunk


def test_the_first_exact_fit_wins_over_everything() -> None:
    """Later than a larger hole, and before a tail."""
    assert chunk_with_holes((5, 4), (20, 3), (30, 3), tail=100).find(3) == 20


def test_an_exact_fit_ends_the_scan_before_the_tail() -> None:
    """So free_tail is not made accurate then, as it is when a larger hole is taken."""
    for pages, free_tail in ((4, 300), (3, 100)):
        chunk = chunk_with_holes((5, 4), tail=100)
        chunk.free_tail = 300
        assert chunk.find(pages) == 5
        assert chunk.free_tail == free_tail


def test_among_larger_holes_the_shortest_wins_and_of_equals_the_lowest() -> None:
    """Best fit, strictly shorter than what was found before."""
    assert chunk_with_holes((5, 9), (30, 5), (50, 5), tail=100).find(3) == 30


def test_a_hole_beats_a_tail_of_equal_or_greater_length() -> None:
    """The tail has to be strictly shorter than the best hole."""
    assert chunk_with_holes((5, 10), tail=502).find(3) == 5
    assert chunk_with_holes((5, 10), tail=400).find(3) == 5


def test_a_tail_shorter_than_every_hole_wins() -> None:
    """In particular a tail of exactly the pages asked for."""
    chunk = chunk_with_holes((5, 10), tail=503)
    assert chunk.find(9) == 503
    assert chunk.free_tail == 512


def test_a_failing_search_leaves_free_tail_accurate() -> None:
    """The tail is too short, so its first page is noted; without a tail nothing is noted."""
    chunk = chunk_with_holes((5, 2), tail=510)
    chunk.free_tail = 512
    assert chunk.find(3) == 0
    assert chunk.free_tail == 510
    full = chunk_with_holes((5, 2))
    full.free_tail = 500
    assert full.find(3) == 0
    assert full.free_tail == 500


def test_the_search_agrees_with_a_plain_scan() -> None:
    """Every request size on pseudo-random page maps, against the rule written as a loop."""
    state = 12345
    for _ in range(60):
        chunk = chunk_with_holes(tail=512)
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        bits = 1
        for page in range(1, 512):
            state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
            if state >> 40 & 7 == 0:
                bits ^= 1
            chunk.used ^= (1 - bits) << page
        chunk.free_pages = 512 - chunk.used.bit_count()
        for pages in (1, 2, 3, 5, 7, 8, 20, 60, 511):
            assert scan(chunk.used, pages) == chunk.find(pages)


def scan(used: int, pages: int) -> int:
    """The rule of the search, page by page."""
    best, best_pages, page = 0, 512, 1
    while page < 512:
        if used >> page & 1:
            page += 1
            continue
        start = page
        while page < 512 and not used >> page & 1:
            page += 1
        length = page - start
        if page == 512:
            if pages <= length < best_pages:
                return start
        elif length == pages:
            return start
        elif pages < length < best_pages:
            best, best_pages = start, length
    return best


def test_free_tail_is_not_raised_by_growing_in_place(make: Make) -> None:
    """An 8-page run at 23..30 grows to 13 pages and shrinks to 3: free_tail stays 31 throughout."""
    heap = make()
    heap.alloc(0, 22 * PAGE)
    heap.alloc(1, 8 * PAGE)
    assert heap.heap.image().chunks[0].free_tail == 31
    heap.realloc(1, 13 * PAGE)
    assert heap.heap.image().chunks[0].free_tail == 31
    heap.realloc(1, 3 * PAGE)
    assert heap.heap.image().chunks[0].free_tail == 31


def test_a_short_run_found_far_down_the_ring_moves_its_chunk_to_the_front(make: Make) -> None:
    """Only beyond two steps, and only for fewer than 8 pages; the main chunk stays first."""
    heap = make()
    for label in range(5):
        heap.alloc(label, FULL - 8 * PAGE if label == 4 else FULL)
    assert heap.chunk_order() == [0, 1, 2, 3, 4]
    heap.alloc(10, 8 * PAGE)
    assert heap.chunk_order() == [0, 1, 2, 3, 4]
    heap.free(10)
    heap.alloc(10, 7 * PAGE)
    assert heap.chunk_order() == [0, 4, 1, 2, 3]


def test_two_steps_down_the_ring_nothing_moves(make: Make) -> None:
    """The third chunk of the list is found in two steps and stays where it is."""
    heap = make()
    for label, size in enumerate((FULL, FULL, FULL - PAGE)):
        heap.alloc(label, size)
    assert heap.alloc(10, PAGE).mapping == 2
    assert heap.chunk_order() == [0, 1, 2]


def test_a_new_chunk_moves_to_the_front_by_the_same_rule(make: Make) -> None:
    """With four full chunks a small block makes a fifth, which then follows the main chunk."""
    heap = make()
    for label in range(4):
        heap.alloc(label, FULL)
    row = heap.alloc(9, 100)
    assert (row.mapping, row.offset) == (4, PAGE)
    assert heap.chunk_order() == [0, 4, 1, 2, 3]


def test_with_three_full_chunks_a_new_one_stays_last(make: Make) -> None:
    """Two steps are not far enough."""
    heap = make()
    for label in range(3):
        heap.alloc(label, FULL)
    heap.alloc(9, 100)
    assert heap.chunk_order() == [0, 1, 2, 3]


def test_a_run_never_spans_chunks(make: Make) -> None:
    """511 pages fit once a chunk; the next such run needs another chunk."""
    heap = make()
    first, second = heap.alloc(0, FULL), heap.alloc(1, FULL)
    assert (first.mapping, first.offset, second.mapping, second.offset) == (0, PAGE, 1, PAGE)
    assert second.real_size == 2 * CHUNK


def test_image_tells_runs_as_they_are(make: Make) -> None:
    """A large run with its pages, a run of slots with its bin's."""
    heap = make()
    heap.alloc(0, 320)
    heap.alloc(1, 3 * PAGE)
    runs = heap.heap.image().chunks[0].runs
    assert [(run.page_index, run.pages, run.bin_index) for run in runs] == [(1, 5, 16), (6, 3, None)]
