"""Refusals: their types, fields and texts; afterwards the heap is in use as before."""

from __future__ import annotations

import ctypes
import pickle
from collections.abc import Callable

import pytest

import zmm
from zmm.heap import Edition, Level


def test_the_limit_refuses_a_huge_block_with_the_raw_size(zend_heap: zmm.Heap) -> None:
    """MemoryLimitError is a MemoryError with the limit, the size and PHP's text."""
    zend_heap.set_limit("8M")
    with pytest.raises(MemoryError) as caught:
        zend_heap.alloc(6_291_457)

    error = caught.value
    assert isinstance(error, zmm.MemoryLimitError)
    assert (error.limit_bytes, error.tried_bytes) == (8_388_608, 6_291_457)
    assert str(error) == "Allowed memory size of 8388608 bytes exhausted (tried to allocate 6291457 bytes)"
    assert zend_heap.block_size(zend_heap.alloc(6_291_456)) == 6_291_456


def test_the_limit_refuses_a_chunk_with_the_size_of_the_run(zend_heap: zmm.Heap) -> None:
    """3072 bytes need a run of three pages."""
    zend_heap.set_limit(2**21)
    zend_heap.alloc(2_093_056)
    with pytest.raises(zmm.MemoryLimitError) as caught:
        zend_heap.alloc(3072)

    assert caught.value.tried_bytes == 12_288


@pytest.mark.parametrize(
    ("factors", "text"),
    [
        ((2**63, 2, 1), "(9223372036854775808 * 2 + 1)"),
        ((1, 2**64 - 1, 1), "(1 * 18446744073709551615 + 1)"),
        ((2**32, 2**32, 0), "(4294967296 * 4294967296 + 0)"),
    ],
)
def test_overflow_names_its_factors(heap: zmm.Heap, factors: tuple[int, int, int], text: str) -> None:
    """SizeOverflowError is an OverflowError and a MemoryError; a block to be resized is as it was."""
    block = heap.strdup(b"kept")
    calls: list[Callable[[], int]] = [lambda: heap.safe_alloc(*factors), lambda: heap.safe_realloc(block, *factors)]
    for call in calls:
        with pytest.raises(OverflowError) as caught:
            call()
        error = caught.value
        assert isinstance(error, zmm.SizeOverflowError)
        assert isinstance(error, MemoryError)
        assert error.factors == factors
        assert str(error) == f"Possible integer overflow in memory allocation {text}"
    assert heap.read(block, 4) == b"kept"


def test_rounding_that_overflows_names_two_factors(zend_heap: zmm.Heap) -> None:
    """The largest size cannot be rounded up to pages."""
    with pytest.raises(zmm.SizeOverflowError) as caught:
        zend_heap.alloc(2**64 - 1)

    assert caught.value.factors == (2**64 - 1, 4096)


def test_multiplying_by_zero_is_no_overflow(heap: zmm.Heap) -> None:
    """0 * anything + 8 is 8."""
    assert heap.block_size(heap.safe_alloc(0, 2**64 - 1, 8)) == 8


def test_the_system_refuses_what_no_machine_has(zend_heap: zmm.Heap, capfd: pytest.CaptureFixture[str]) -> None:
    """SystemRefusalError tells what the heap held and what was tried."""
    with pytest.raises(zmm.SystemRefusalError) as caught:
        zend_heap.alloc(2**62)

    error = caught.value
    assert (error.real_size_bytes, error.tried_bytes) == (2**21, 2**62)
    assert str(error) == f"Out of memory (allocated {2**21} bytes) (tried to allocate {2**62} bytes)"
    assert capfd.readouterr().err == "\nmmap() failed: [12] Cannot allocate memory\n"


def test_a_refused_realloc_keeps_the_block(heap: zmm.Heap) -> None:
    """Contents, address and counters are as before."""
    heap.set_limit("4M")
    block = heap.strdup(b"kept")
    before = heap.snapshot()
    with pytest.raises(zmm.MemoryLimitError):
        heap.realloc(block, 9_000_000)

    assert heap.read(block, 4) == b"kept"
    assert heap.snapshot() == before


def test_a_limit_below_use_is_refused(heap: zmm.Heap) -> None:
    """LimitInUseError tells both numbers, and the old limit stays."""
    heap.set_limit("64M")
    block = heap.alloc(3_000_000)
    with pytest.raises(zmm.LimitInUseError) as caught:
        heap.set_limit("4M")

    error = caught.value
    assert (error.limit_bytes, error.real_size_bytes) == (4_194_304, 2**21 + 3_002_368)
    assert "cannot set the limit to 4194304 bytes: the heap holds 5099520 bytes" in str(error)
    assert heap.usage().limit_bytes == 2**26
    heap.free(block)
    heap.set_limit("4M")


ERRORS: list[zmm.ZmmError] = [
    zmm.MemoryLimitError("text", 1, 2),
    zmm.SystemRefusalError("text", 1, 2),
    zmm.SizeOverflowError("text", (1, 2, 3)),
    zmm.LimitInUseError(1, 2),
    zmm.InvalidBlockError(255),
    zmm.HeapCorruptedError("RUN-2", 16),
    zmm.HeapCorruptedError("RUN-2"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_errors_travel_between_processes(error: zmm.ZmmError) -> None:
    """Pickling keeps type, text and fields."""
    copy = pickle.loads(pickle.dumps(error))

    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))
    assert vars(type(error)(*error.args)) == vars(error)  # not only by what pickling adds


def test_what_a_report_does_not_tell_is_nothing() -> None:
    """Without a report only the reason says something; what may be 0 where it is known is None."""
    fields = vars(zmm.HeapCorruptedError("RUN-2"))
    unknown = {name for name, value in fields.items() if value is None}

    assert unknown == {"requested_bytes", "bin_index", "expected", "found"}
    assert {name for name, value in fields.items() if value} == {"reason"}


def test_damage_without_an_address_names_none() -> None:
    """The address is told where there is one, and is 0 where there is none."""
    assert str(zmm.HeapCorruptedError("RUN-2", 16)) == "zmm: heap corruption: RUN-2 at 0x10"
    assert str(zmm.HeapCorruptedError("RUN-2")) == "zmm: heap corruption: RUN-2"
    assert zmm.HeapCorruptedError("RUN-2").address == 0


@pytest.mark.parametrize(
    ("level", "edition", "first"),
    [
        ("release", "zmm", "zmm: heap corruption"),
        ("release", "php-8.2", "zend_mm_heap corrupted"),
        ("fast", "zmm", "zend_mm_heap corrupted"),
    ],
)
def test_damage_is_called_what_the_report_calls_it(level: Level, edition: Edition, first: str) -> None:
    """PHP's words in its edition, and at the level that has nothing else to say."""
    heap = zmm.Heap(level=level, edition=edition)
    block = heap.alloc(40)
    heap.free(block)
    ctypes.c_uint64.from_address(block).value = 0x4141414141414141  # the link
    with pytest.raises(zmm.HeapCorruptedError) as caught:
        heap.gc()
    assert str(caught.value).startswith(f"{first}: {caught.value.reason}")


def test_every_error_is_a_zmm_error_and_what_python_calls_it() -> None:
    """Users catch by our base, by the refusal, or by Python's own types."""
    bases = {
        zmm.MemoryLimitError: (zmm.RefusalError, MemoryError),
        zmm.SystemRefusalError: (zmm.RefusalError, MemoryError),
        zmm.SizeOverflowError: (zmm.RefusalError, MemoryError, OverflowError),
        zmm.LimitInUseError: (ValueError,),
        zmm.InvalidBlockError: (ValueError,),
        zmm.ClosedHeapError: (ValueError,),
        zmm.ClosedBlockError: (BufferError, ValueError),
        zmm.BlockExportedError: (BufferError,),
        zmm.WrongThreadError: (RuntimeError,),
        zmm.HeapBusyError: (RuntimeError,),
        zmm.HeapCorruptedError: (),
    }

    for error, expected in bases.items():
        assert all(issubclass(error, base) for base in (zmm.ZmmError, *expected))
