"""Blocks as addresses: what each call returns, and what each refuses."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import pytest

import zmm

if TYPE_CHECKING:
    from collections.abc import Callable


def test_alloc_returns_a_block_of_at_least_the_size(zend_heap: zmm.Heap) -> None:
    """Each size class gives the block size of ZendMM."""
    sizes = {0: 8, 1: 8, 9: 16, 40: 40, 257: 320, 3072: 3072, 3073: 4096, 2093056: 2093056, 2093057: 2097152}

    assert {size: zend_heap.block_size(zend_heap.alloc(size)) for size in sizes} == sizes


def test_every_byte_asked_for_may_be_used(heap: zmm.Heap) -> None:
    """At every level a block of each size takes that many bytes, beside all others."""
    sizes = [*range(1, 3200, 37), 4096, 4097, 2_093_056, 2_093_057, 5_000_000]
    blocks = [heap.alloc(size) for size in sizes]
    for number, (block, size) in enumerate(zip(blocks, sizes, strict=True)):
        heap.write(block, bytes([number]) * size)

    for number, (block, size) in enumerate(zip(blocks, sizes, strict=True)):
        assert heap.read(block, size) == bytes([number]) * size


def test_calloc_zeroes_at_every_level(heap: zmm.Heap) -> None:
    """Also where other blocks were before."""
    for size in (8, 100, 5000, 3_000_000):
        for _ in range(600 if size < 5000 else 5):
            block = heap.calloc(1, size)
            assert heap.read(block, size) == bytes(size)
            heap.write(block, b"x" * size)
            heap.free(block)


def test_free_block_is_handed_out_again(zend_heap: zmm.Heap) -> None:
    """The last freed slot of a bin is the next one."""
    first = zend_heap.alloc(40)
    zend_heap.alloc(40)
    zend_heap.free(first)

    assert zend_heap.alloc(40) == first


def test_calloc_zeroes_what_was_used_before(zend_heap: zmm.Heap) -> None:
    """Exactly count * size bytes are zero."""
    block = zend_heap.alloc(80)
    zend_heap.write(block, b"\xff" * 80)
    zend_heap.free(block)

    assert zend_heap.calloc(10, 8) == block
    assert zend_heap.read(block, 80) == bytes(80)


def test_safe_alloc_computes_count_times_size_plus_offset(zend_heap: zmm.Heap) -> None:
    """3 * 16 + 9 is 57: the bin of 64."""
    assert zend_heap.block_size(zend_heap.safe_alloc(3, 16, 9)) == 64


def test_realloc_keeps_the_contents(heap: zmm.Heap) -> None:
    """Growing from a slot to pages to a huge block and back loses nothing of the smaller size."""
    block = heap.alloc(40)
    heap.write(block, bytes(range(40)))
    for size in (100, 5000, 3_000_000, 5000, 40):
        block = heap.realloc(block, size)

    assert heap.read(block, 40) == bytes(range(40))


def test_realloc_of_nothing_allocates(zend_heap: zmm.Heap) -> None:
    """Address 0 stands for no block."""
    assert zend_heap.block_size(zend_heap.realloc(0, 20)) == 24


def test_realloc2_copies_at_most_what_it_is_told(heap: zmm.Heap) -> None:
    """A block that moves takes copy_bytes along; the rest is whatever was in the new place."""
    fills = b"open"
    behind = b""
    for fill in fills:
        block = heap.alloc(40)
        heap.write(block, bytes([fill]) * 40)
        moved = heap.realloc2(block, 128, 10)
        assert heap.read(moved, 10) == bytes([fill]) * 10
        behind += heap.read(moved, 1, 10)

    assert behind != fills  # one byte alone is what it was once in 256 times, where seals lay


def test_safe_realloc_computes_count_times_size_plus_offset(zend_heap: zmm.Heap) -> None:
    """4 * 100 + 1 is 401: the bin of 448."""
    assert zend_heap.block_size(zend_heap.safe_realloc(zend_heap.alloc(8), 4, 100, 1)) == 448


def test_strdup_copies_up_to_the_first_nul(heap: zmm.Heap) -> None:
    """As in C, and the copy ends with a NUL."""
    assert heap.read(heap.strdup(b"hello"), 6) == b"hello\0"
    assert heap.read(heap.strdup(b"ab\0cd"), 3) == b"ab\0"


def test_strndup_copies_raw_bytes_and_adds_a_nul(heap: zmm.Heap) -> None:
    """NULs inside are kept."""
    assert heap.read(heap.strndup(b"ab\0cd", 4), 5) == b"ab\0c\0"


def test_strndup_does_not_read_past_the_text(heap: zmm.Heap) -> None:
    """A longer length is a mistake, one that cannot be is refused as in PHP."""
    with pytest.raises(ValueError, match="length_bytes is 4, but text has only 3 bytes"):
        heap.strndup(b"abc", 4)
    with pytest.raises(zmm.SizeOverflowError):
        heap.strndup(b"abc", 2**64 - 1)


def test_free_of_nothing_is_ignored(heap: zmm.Heap) -> None:
    """Address 0 stands for no block."""
    before = heap.usage()
    heap.free(0)

    assert heap.usage() == before


def _bad_addresses(heap: zmm.Heap, other: zmm.Heap, foreign: int) -> dict[str, int]:
    small, large, huge = heap.alloc(40), heap.alloc(20_000), heap.alloc(3_000_000)
    freed = {"small": heap.alloc(56), "large": heap.alloc(9_000), "huge": heap.alloc(4_000_000)}
    for block in freed.values():
        heap.free(block)
    return {
        "inside a slot": small + 8,
        "unaligned": small + 1,
        "the chunk's first page": small & ~(zmm.CHUNK_BYTES - 1),
        "a page inside a run": large + zmm.PAGE_BYTES,
        "inside a run's page": large + 8,
        "inside a huge block": huge + zmm.PAGE_BYTES,
        "a freed slot": freed["small"],
        "a slot never used": freed["small"] + 56,
        "a freed run": freed["large"],
        "a freed huge block": freed["huge"],
        "another heap's": other.alloc(40),
        "not ours at all": foreign,
        "tiny": 1,
        "beyond user space": 2**63,
        "the last one": 2**64 - 1,
        "no address": 2**70,
        "negative": -8,
    }


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda heap, address: heap.free(address), id="free"),
        pytest.param(lambda heap, address: heap.realloc(address, 100), id="realloc"),
        pytest.param(lambda heap, address: heap.realloc2(address, 100, 10), id="realloc2"),
        pytest.param(lambda heap, address: heap.safe_realloc(address, 2, 50, 0), id="safe_realloc"),
        pytest.param(lambda heap, address: heap.block_size(address), id="block_size"),
        pytest.param(lambda heap, address: heap.read(address, 0), id="read"),
        pytest.param(lambda heap, address: heap.write(address, b""), id="write"),
    ],
)
def test_an_address_that_is_no_live_block_is_refused(heap: zmm.Heap, call: Callable[[zmm.Heap, int], object]) -> None:
    """Freed, interior, foreign, another heap's: a typed error that names the address, and an unharmed heap."""
    foreign = ctypes.create_string_buffer(64)
    with zmm.Heap() as other:
        addresses = _bad_addresses(heap, other, ctypes.addressof(foreign))
        before = heap.snapshot()
        for what, address in addresses.items():
            with pytest.raises(zmm.InvalidBlockError) as caught:
                call(heap, address)
            assert (what, caught.value.address) == (what, address)

        assert heap.snapshot() == before
        assert other.usage().size_bytes == 40


def test_freeing_twice_is_refused_for_every_kind(heap: zmm.Heap) -> None:
    """The second free of a slot, a run and a huge block."""
    for size in (8, 40, 3072, 4096, 100_000, 3_000_000):
        block = heap.alloc(size)
        heap.free(block)
        with pytest.raises(zmm.InvalidBlockError):
            heap.free(block)


def test_nothing_lives_at_zero(heap: zmm.Heap) -> None:
    """Where 0 does not stand for "no block" it is refused."""
    for call in (heap.block_size, lambda address: heap.read(address, 0)):
        with pytest.raises(zmm.InvalidBlockError):
            call(0)
    assert not heap.owns(0)
    assert heap.place(0) is None


def test_owns_tells_the_heap_of_an_address(heap: zmm.Heap) -> None:
    """Free pages of a chunk belong to the heap too; other heaps and other memory do not."""
    block, huge = heap.alloc(40), heap.alloc(3_000_000)
    with zmm.Heap() as other:
        assert heap.owns(block)
        assert heap.owns(block + 100_000)
        assert heap.owns(huge + 2_999_999)
        assert not heap.owns(other.alloc(8))
    assert not heap.owns(id(heap))
    assert not heap.owns(-1)
    assert not heap.owns(2**80)


BAD_NUMBERS: list[tuple[Any, type[Exception], str]] = [
    (-1, ValueError, "must not be negative: -1"),
    (-(2**70), ValueError, "must not be negative"),
    (2**64, OverflowError, "does not fit 64 bits: 18446744073709551616"),
    (1.0, TypeError, "must be an integer, not float"),
    ("8", TypeError, "must be an integer, not str"),
    (None, TypeError, "must be an integer, not NoneType"),
]


@pytest.mark.parametrize(("number", "error", "text"), BAD_NUMBERS)
def test_a_bad_size_is_refused_in_words(heap: zmm.Heap, number: Any, error: type[Exception], text: str) -> None:
    """Every size argument of every call says which one it was and what is wrong."""
    block = heap.alloc(8)
    calls: dict[str, Callable[[], int]] = {
        "size_bytes": lambda: heap.alloc(number),
        "count": lambda: heap.calloc(number, 8),
        "offset_bytes": lambda: heap.safe_alloc(1, 1, number),
        "copy_bytes": lambda: heap.realloc2(block, 100, number),
        "length_bytes": lambda: heap.strndup(b"", number),
    }
    for name, call in calls.items():
        with pytest.raises(error, match=f"{name} {text}"):
            call()
    assert heap.block_size(block) == 8


def test_a_number_like_object_is_a_size(heap: zmm.Heap) -> None:
    """Anything with __index__ will do, as for Python's own containers."""

    class Eight:
        def __index__(self) -> int:
            return 8

    number: Any = Eight()
    assert heap.block_size(heap.alloc(number)) == 8


def test_an_address_must_be_an_int(heap: zmm.Heap) -> None:
    """A Block or a string is not an address."""
    block = heap.block(8)
    wrong: Any
    for wrong in (block, "0x10", 8.0, None):
        with pytest.raises(TypeError, match="an address must be an int"):
            heap.free(wrong)


def test_text_must_be_bytes(heap: zmm.Heap) -> None:
    """A str has no bytes until somebody says which."""
    text: Any = "hello"
    with pytest.raises(TypeError):
        heap.strdup(text)
    with pytest.raises(TypeError):
        heap.strndup(text, 3)


def test_read_and_write_stay_inside_the_block(heap: zmm.Heap) -> None:
    """Up to the usable size, from any offset; one byte more is refused and nothing is written."""
    block = heap.alloc(40)
    heap.write(block, bytearray(b"x" * 40))
    heap.write(block, memoryview(b"yz"), 38)

    assert heap.read(block, 4, 36) == b"xxyz"
    assert heap.read(block, 0, 40) == b""
    for length, offset in ((41, 0), (1, 40), (0, 41), (2**64 - 1, 1), (1, 2**64 - 1)):
        with pytest.raises(ValueError, match="do not fit a block of 40 bytes"):
            heap.read(block, length, offset)
    with pytest.raises(ValueError, match="do not fit a block of 40 bytes"):
        heap.write(block, b"123", 38)
    assert heap.read(block, 2, 38) == b"yz"


def test_write_takes_contiguous_bytes_only(heap: zmm.Heap) -> None:
    """What has no buffer is a TypeError, what is strided a BufferError."""
    block = heap.alloc(8)
    wrong: Any = "text"
    with pytest.raises(TypeError):
        heap.write(block, wrong)
    with pytest.raises(BufferError):
        heap.write(block, memoryview(b"abcd")[::2])
