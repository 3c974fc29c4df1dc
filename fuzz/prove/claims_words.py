"""Page words, addresses, live bits, links and alignment: the core's IR, for all inputs."""

from __future__ import annotations

from typing import Any

import z3

from .bits import Number, symbol
from .claims_sizes import WORD, anything, heap_of
from .executor import State
from .memory import Object
from .subject import Subject, agrees, end_of, ends, number


def _established(subject: Subject) -> tuple[Any, Object]:
    """An executor whose library has been set up with any tables and any secret, and where the tables are."""
    executor = subject.executor()
    tables = executor.module.globals["ground"]
    made = executor.start.objects["@ground"]
    assert executor.module.layout.size(tables.kind) == made.size_bytes
    return executor, made


def _word(executor: Any, face: str, arguments: list[Any]) -> Number:
    """A page word from a face with one path."""
    ((_, word),) = list(end_of(executor, face, arguments))
    return word


def large_word(subject: Subject) -> int:
    sizes = subject.part("sizes")
    identity, known_id = symbol("heap", 32, 1, 65534)
    pages, known_pages = symbol("pages", 32, 1, sizes.USABLE_PAGES)
    executor, _ = _established(subject)
    executor.solver.add(*known_id, *known_pages)
    word = _word(executor, "face_word_large", [identity, pages])
    count = agrees(executor, lambda: (word & 0xFC00) == 0x400, "no mark of a large run")
    count += agrees(executor, lambda: word != 0, "a word that says: free")
    read = _word(executor, "face_word_run_pages", [word])
    return count + agrees(executor, lambda: read == pages, "another number of pages")


def small_word(subject: Subject) -> int:
    """What is packed comes out again, and the marks are those of a small run."""
    sizes = subject.part("sizes")
    identity, known_id = symbol("heap", 32, 1, 65534)
    index, known_bin = symbol("bin", 32, 0, sizes.BIN_COUNT - 1)
    executor, _ = _established(subject)
    executor.solver.add(*known_id, *known_bin)
    back, _known = symbol("back", 32, 0, max(sizes.bin_pages(one) for one in range(sizes.BIN_COUNT)) - 1)
    executor.solver.add(*_known)
    word = _word(executor, "face_word_small", [identity, index, back])
    bin_read = _word(executor, "face_word_bin", [word])
    back_read = _word(executor, "face_word_back_pages", [word])
    count = agrees(executor, lambda: bin_read == index, "another bin")
    count += agrees(executor, lambda: back_read == back, "another distance")
    return count + agrees(executor, lambda: (word & 0xC00) == 0x800, "no mark of a small run")


def word_names_heap(subject: Subject) -> int:
    """The test of the fast path, word against expected word without the distance, is: same heap and same bin."""
    sizes = subject.part("sizes")
    executor, _ = _established(subject)
    symbols = []
    for name in ("first", "second"):
        identity, known = symbol(f"heap {name}", 32, 1, 65534)
        index, known_bin = symbol(f"bin {name}", 32, 0, sizes.BIN_COUNT - 1)
        executor.solver.add(*known, *known_bin)
        symbols.append((identity, index))
    back, known = symbol("back", 32, 0, 6)
    executor.solver.add(*known)
    stored = _word(executor, "face_word_small", [*symbols[0], back])
    expected = _word(executor, "face_word_small", [*symbols[1], Number.of(0)])
    seen = _word(executor, "face_word_without_back", [stored])

    def same() -> Any:
        is_same = bool(symbols[0][0] == symbols[1][0]) and bool(symbols[0][1] == symbols[1][1])
        return (seen == expected) if is_same else (seen != expected)

    return agrees(executor, same, "a slot of another heap or bin passes, or an own one does not")


def granule(subject: Subject) -> int:
    """One comparison says: in the range, and a multiple of 8 from its beginning."""
    address = anything("address")
    executor, tables = _established(subject)
    base = symbol("base", WORD)[0]
    granules, known = symbol("granules", WORD, 0, 2**61 - 1)
    executor.solver.add(*known)
    tables.put(0, base.term)
    tables.put(8, granules.at_width(WORD))
    ((_, granule_number),) = list(end_of(executor, "face_granule", [address]))
    ((_, answer),) = list(end_of(executor, "face_has_granule", [granule_number]))

    def expected() -> Any:
        offset = (address - base) & (2**64 - 1)
        is_inside = bool(offset % 8 == 0) and bool(offset // 8 < granules)
        return answer == int(is_inside)

    return agrees(executor, expected, "an address outside is taken for one inside, or the other way round")


def position_page(subject: Subject) -> int:
    sizes, state = subject.part("sizes"), subject.part("state")
    offset, known = symbol("offset", WORD, 0, sizes.CHUNK_BYTES - 1)
    slot, known_slot = symbol("slot", WORD, 0, 2**16 - 1)
    executor = subject.executor([*known, *known_slot])
    position = slot * sizes.CHUNK_BYTES + offset
    return sum(
        agrees(
            executor,
            lambda page=page: page == (offset & state.OFFSET_MASK) >> state.PAGE_SHIFT,
            "another page",
        )
        for _, page in end_of(executor, "face_position_page", [position])
    )


def live_bit(subject: Subject) -> int:
    """A slot has bit `number % 64` of word `number // 64`; exchanging touches no other and tells what it was."""
    position, word = anything("position"), anything("word")
    count = 0
    executor = subject.executor()
    for _, index in end_of(executor, "face_live_index", [position]):
        count += agrees(executor, lambda index=index: index == position // 8 // 64, "another word")
    for value in (0, 1):
        executor = subject.executor()
        cell = executor.add_object("live", 8)
        cell.put(0, word.term)
        granule_number = position // 8
        for state, before in end_of(
            executor, "face_live_exchange", [cell.base, granule_number, z3.BitVecVal(value, 1)]
        ):

            def expected(state: State = state, before: Number = before, value: int = value) -> Any:
                mask = 1 << (granule_number % 64)
                was = (word >> (granule_number % 64)) & 1
                after = (word | mask) if value else word - was * mask
                return bool(before == was) and number(state.objects["live"].get(0, 8)) == after

            count += agrees(executor, expected, "another bit")
    return count


def _link(subject: Subject, slot_bytes: int) -> tuple[Any, State, Object, Number, Number]:
    """A slot whose link was just set: executor, state, slot, what it leads to, the key."""
    executor = subject.executor()
    key, following = anything("key"), anything("next")
    heap = heap_of(subject, executor, link_key=key)
    slot = executor.add_object("slot", slot_bytes)
    ((state, _),) = list(ends(executor, "face_link_set", [heap.base, slot.base, Number.of(slot_bytes), following]))
    return executor, state, slot, following, key


def _opened(executor: Any, slot: Object, slot_bytes: int) -> Any:
    return end_of(executor, "face_link_open", [executor.start.objects["heap"].base, slot.base, Number.of(slot_bytes)])


def _go_on(executor: Any, state: State) -> None:
    """The next face begins where the last one ended."""
    executor.start.objects = dict(state.objects)


def link_round_trip(subject: Subject) -> int:
    """For every bin, key, slot and next: whole, and opened to what was sealed."""
    count = 0
    for slot_bytes in subject.part("sizes").BIN_BYTES:
        executor, state, slot, following, _ = _link(subject, slot_bytes)
        _go_on(executor, state)
        for _, whole in end_of(executor, "face_link_is_whole", [slot.base, Number.of(slot_bytes)]):
            count += agrees(executor, lambda whole=whole: whole == 1, "a fresh link is not whole")
        for _, opened in _opened(executor, slot, slot_bytes):
            count += agrees(executor, lambda opened=opened: opened == following, "opens to another address")
    return count


def link_one_word(subject: Subject) -> int:
    """Whatever is written over one of a link's two words, unless it is what stood there, the link is not whole."""
    count = 0
    for slot_bytes in subject.part("sizes").BIN_BYTES[1:]:
        for place in (0, slot_bytes - 8):
            executor, state, slot, _, _ = _link(subject, slot_bytes)
            written = anything("written")
            before = number(state.objects["slot"].get(place, 8))
            state.changed("slot").put(place, written.term)
            _go_on(executor, state)
            for _, whole in end_of(executor, "face_link_is_whole", [slot.base, Number.of(slot_bytes)]):
                count += agrees(
                    executor, lambda whole=whole: whole == int(bool(written == before)), "a broken link passes as whole"
                )
    return count


def link_one_to_one(subject: Subject) -> int:
    """Two different values in a slot of 8 bytes never open to the same address."""
    executor, state, slot, following, _ = _link(subject, 8)
    written = anything("written")
    sealed = number(state.objects["slot"].get(0, 8))
    state.changed("slot").put(0, written.term)
    _go_on(executor, state)
    executor.solver.add((written != sealed).term)
    return sum(
        agrees(executor, lambda opened=opened: opened != following, "a changed link still leads to its target")
        for _, opened in _opened(executor, slot, 8)
    )


def link_copied(subject: Subject) -> int:
    """
    A link of 8 bytes copied to another slot misses its target by the distance times the inverse factor, before the key.

    How far that is for every distance within a chunk is counted out (:mod:`.claims_finite`).
    """
    executor, state, _, following, key = _link(subject, 8)
    inverse = subject.constant("link_inverse")
    other = executor.add_object("other slot", 8)
    state.objects["other slot"] = other
    state.changed("other slot").put(0, state.objects["slot"].get(0, 8))
    _go_on(executor, state)
    distance = Number(z3.simplify(other.base - state.objects["slot"].base), 0, 2**64 - 1)

    def expected(opened: Number) -> Any:
        missed = ((opened ^ key) - (following ^ key)) & (2**64 - 1)
        return missed == (distance * inverse) & (2**64 - 1)

    return sum(
        agrees(executor, lambda opened=opened: expected(opened), "misses by another distance")
        for _, opened in _opened(executor, other, 8)
    )


def link_pair_copied(subject: Subject) -> int:
    """Both words of a link, copied to another slot of the bin, are not whole there."""
    count = 0
    for slot_bytes in subject.part("sizes").BIN_BYTES[1:]:
        executor, state, _, _, _ = _link(subject, slot_bytes)
        other = executor.add_object("other slot", slot_bytes)
        executor.solver.add(other.base != state.objects["slot"].base)
        state.objects["other slot"] = other
        for place in (0, slot_bytes - 8):
            state.changed("other slot").put(place, state.objects["slot"].get(place, 8))
        _go_on(executor, state)
        for _, whole in end_of(executor, "face_link_is_whole", [other.base, Number.of(slot_bytes)]):
            count += agrees(executor, lambda whole=whole: whole == 0, "a copied link passes as whole")
    return count


def alignment(subject: Subject) -> int:
    """
    A chunk-sized mapping at any address that the kernel gives: aligned, inside, and all the rest given back.

    `mmap` answers with any page; the calls of `munmap` are compared with what lies before and behind the place.
    """
    sizes = subject.part("sizes")
    chunk = sizes.CHUNK_BYTES
    first, second = (symbol(name, WORD)[0] for name in ("first", "second"))
    given = [first, second]
    page_bits = sizes.PAGE_BYTES - 1
    known = [one.term & page_bits == 0 for one in given]
    known += [z3.And(z3.UGE(one.term, 65536), z3.ULT(one.term, 2**47)) for one in given]
    count = 0

    def mapped(state: State, _arguments: Any) -> z3.BitVecRef:
        return given[sum(name == "mmap" for name, _ in state.calls) - 1].term

    executor = subject.executor(
        known, level=0, answers={"mmap": mapped, "munmap": lambda _state, _arguments: z3.BitVecVal(0, 32)}
    )
    executor.loose_addresses = True
    for state, result in ends(executor, "face_map_chunk", []):
        maps = [arguments for name, arguments in state.calls if name == "mmap"]
        unmaps = [(number(calls[0]), number(calls[1])) for name, calls in state.calls if name == "munmap"]
        place = number(result) if result is not None else Number.of(0)

        def expected(maps: Any = maps, unmaps: Any = unmaps, place: Number = place) -> Any:
            if bool(place % chunk != 0) or len(maps) not in (1, 2):
                return False
            start, length = given[len(maps) - 1], number(maps[-1][1])
            given_back = Number.of(0)
            for at, size in unmaps[len(maps) - 1 :]:
                is_before = bool(at == start) and bool(at + size == place)
                is_behind = bool(at == place + chunk) and bool(at + size == start + length)
                if not is_before and not is_behind:
                    return False
                given_back = given_back + size
            if len(maps) == 2 and not (bool(unmaps[0][0] == first) and bool(unmaps[0][1] == chunk)):
                return False
            return given_back + chunk == length

        count += agrees(executor, expected, "misaligned, or too much or too little given back")
    return count
