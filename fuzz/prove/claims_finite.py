"""Where the domain is finite it is counted out: every value through the compiled core and through the model."""

from __future__ import annotations

import ctypes
from typing import Any

from .executor import Broken
from .subject import Subject


def _function(subject: Subject, name: str, result: Any, *arguments: Any) -> Any:
    found = getattr(subject.library, name)
    found.restype = result
    found.argtypes = list(arguments)
    return found


def _same(what: str, value: int, core: int, model: int) -> None:
    if core != model:
        raise Broken(f"{what} {value}: the core says {core}, the model {model}")


def bins_of_all_sizes(subject: Subject) -> int:
    """Every small size: the core's bin is the model's, by its formula and by its table."""
    sizes = subject.part("sizes")
    bin_of_size = _function(subject, "face_bin_of_size", ctypes.c_uint32, ctypes.c_size_t)
    bytes_of = _function(subject, "face_small_bytes", ctypes.c_size_t, ctypes.c_size_t)
    for size in range(sizes.SMALL_BYTES_MAX + 1):
        _same("size", size, bin_of_size(size), sizes.bin_of(size))
        _same("table, size", size, sizes.BIN_OF[size], sizes.bin_of(size))
        _same("block for size", size, bytes_of(size), sizes.block_bytes(size))
    return int(3 * (sizes.SMALL_BYTES_MAX + 1))


def tables_of_all_bins(subject: Subject) -> int:
    """Bytes, pages and elements of all thirty bins, and that a run of one holds exactly its elements."""
    sizes = subject.part("sizes")
    for name, function, table in (
        ("bytes", sizes.bin_bytes, sizes.BIN_BYTES),
        ("pages", sizes.bin_pages, sizes.BIN_PAGES),
        ("elements", sizes.bin_elements, sizes.BIN_ELEMENTS),
    ):
        core = _function(subject, f"face_bin_{name}", ctypes.c_size_t, ctypes.c_uint32)
        for index in range(sizes.BIN_COUNT):
            _same(f"{name} of bin", index, core(index), function(index))
            _same(f"table of {name}, bin", index, table[index], function(index))
    return int(6 * sizes.BIN_COUNT)


def masks_of_all_lengths(subject: Subject) -> int:
    """The model's table of masks is its formula: what the proofs of runs put in its place."""
    masks = subject.part("pages").MASKS
    for pages in range(subject.part("sizes").CHUNK_PAGES + 1):
        _same("mask", pages, masks[pages], 2**pages - 1)
    return len(masks)


def words_of_all_runs(subject: Subject) -> int:
    """Every bin and distance, every number of pages, some heaps: packed, and unpacked again."""
    sizes = subject.part("sizes")
    word, part = ctypes.c_uint64, ctypes.c_uint32
    small = _function(subject, "face_word_small", word, part, part, part)
    large = _function(subject, "face_word_large", word, part, part)
    read_bin = _function(subject, "face_word_bin", part, word)
    read_back = _function(subject, "face_word_back_pages", part, word)
    read_pages = _function(subject, "face_word_run_pages", part, word)
    count = 0
    for heap in (1, 2, 255, 256, 32768, 65534):
        for index in range(sizes.BIN_COUNT):
            for back in range(sizes.bin_pages(index)):
                packed = small(heap, index, back)
                _same("bin of word", packed, read_bin(packed), index)
                _same("distance of word", packed, read_back(packed), back)
                count += 1
        for pages in range(1, sizes.USABLE_PAGES + 1):
            packed = large(heap, pages)
            _same("pages of word", packed, read_pages(packed), pages)
            count += 1
    return count


def rounding_at_all_pages(subject: Subject) -> int:
    """Around every page border up to two chunks, and around the end of the range."""
    sizes = subject.part("sizes")
    rounded = _function(subject, "face_huge_round", ctypes.c_size_t, ctypes.c_size_t)
    borders = [page * sizes.PAGE_BYTES for page in range(2 * sizes.CHUNK_PAGES + 1)]
    borders += [sizes.SIZE_MAX + 1 - page * sizes.PAGE_BYTES for page in range(4)]
    count = 0
    for border in borders:
        for size in (border - 1, border, border + 1):
            if 0 <= size <= sizes.SIZE_MAX:
                exact = sizes.round_up(size, sizes.PAGE_BYTES)
                _same("rounded", size, rounded(size), exact % (sizes.SIZE_MAX + 1))
                count += 1
    return count


def slots_kept(subject: Subject) -> int:
    """Every bin and every small size: kept in its slot, or moved."""
    sizes = subject.part("sizes")
    keeps = _function(subject, "face_keeps_slot", ctypes.c_bool, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_size_t)
    for index in range(sizes.BIN_COUNT):
        for size in range(sizes.SMALL_BYTES_MAX + 2):
            _same(f"bin {index}, size", size, keeps(None, index, size), sizes.stays_in_bin(index, size))
    return int(sizes.BIN_COUNT * (sizes.SMALL_BYTES_MAX + 2))


# Addresses of chunks lie in a range of 64 GiB: a link that misses by more than that leads outside of every chunk.
RANGE_BYTES = 2**36


def _factors(subject: Subject) -> tuple[int, int]:
    names = ("link_factor", "link_inverse")
    factor, inverse = (ctypes.c_uint64.in_dll(subject.library, name).value for name in names)
    return factor, inverse


def _miss(distance: int, inverse: int) -> int:
    """How far a link that is off by a distance opens from its target, the shorter way round."""
    missed = distance * inverse % 2**64
    return min(missed, 2**64 - missed)


def copied_links(subject: Subject) -> int:
    """
    A link copied to any other slot position of a chunk's size away opens further off than the whole range is long.

    With :func:`.claims_words.link_copied` (it misses by distance times the inverse, before the key) and the fact that
    exclusive or with a key changes no bit above those in which two numbers differ.
    """
    _, inverse = _factors(subject)
    chunk = subject.part("sizes").CHUNK_BYTES
    for distance in range(8, chunk, 8):
        if _miss(distance, inverse) <= RANGE_BYTES:
            raise Broken(f"a link copied {distance} bytes away opens inside the range")
    return int(chunk // 8 - 1)


def bytes_of_links(subject: Subject) -> int:
    """
    One byte of each word changed to anything: the two do not fit each other, or the link opens outside of the range.

    They fit when the first word's change times the factor is the twin's. In a slot of 8 bytes nothing has to fit: there
    every change opens further off than the whole range is long.
    """
    factor, inverse = _factors(subject)
    count = 0
    for place in range(8):
        for change in range(1, 256):
            if _miss(change << 8 * place, inverse) <= RANGE_BYTES:
                raise Broken(f"byte {place} changed by {change}: the link opens inside the range")
            # Both signs of both changes are one case: what fits, fits with both turned round.
            is_one_byte = any(
                _miss(change << 8 * place, factor) == byte << 8 * other for other in range(8) for byte in range(256)
            )
            if is_one_byte and change << 8 * place <= RANGE_BYTES:
                raise Broken(f"byte {place} changed by {change}: the two words fit, inside the range")
            count += 2
    return count
