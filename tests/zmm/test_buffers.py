"""Blocks as buffers: zero-copy use, and every way a block can end."""

from __future__ import annotations

import gc
import socket
import struct
import sys
import weakref

import pytest

import zmm


def test_a_block_is_a_writable_buffer_of_its_size(heap: zmm.Heap) -> None:
    """Memoryview sees exactly the bytes asked for, and writes go to the heap without a copy."""
    block = heap.block(33)
    view = memoryview(block)
    view[:5] = b"hello"

    assert (len(block), view.nbytes, view.format, view.readonly, view.c_contiguous) == (33, 33, "B", False, True)
    assert heap.read(block.address, 5) == b"hello"
    assert bytes(block)[:5] == b"hello"
    view.release()


def test_a_block_of_no_bytes_is_an_empty_buffer(heap: zmm.Heap) -> None:
    """Size 0 has an address but no bytes."""
    block = heap.block(0)

    assert (len(block), bytes(block)) == (0, b"")
    assert heap.place(block.address) is not None


def test_struct_packs_into_a_block(heap: zmm.Heap) -> None:
    """The buffer protocol is enough for the standard library."""
    block = heap.block(16)
    struct.pack_into("<QQ", block, 0, 7, 2**63)

    assert struct.unpack_from("<QQ", block) == (7, 2**63)


def test_sockets_read_into_and_send_from_blocks(heap: zmm.Heap) -> None:
    """recv_into and sendall use the block's own memory."""
    left, right = socket.socketpair()
    with left, right, heap.block(5) as source, heap.block(10) as target:
        with memoryview(source) as view:
            view[:] = b"bytes"
        left.sendall(source)

        assert right.recv_into(target) == 5
        assert bytes(target)[:5] == b"bytes"


def test_a_block_can_be_cast(heap: zmm.Heap) -> None:
    """As any buffer of bytes: here to 64-bit numbers."""
    block = heap.block(32)
    with memoryview(block).cast("Q") as numbers:
        numbers[3] = 2**64 - 1

    assert bytes(block)[24:] == b"\xff" * 8


def test_free_ends_a_block(heap: zmm.Heap) -> None:
    """Its memory is back, and every use of it raises."""
    block = heap.block(40)
    address = block.address
    block.free()

    assert block.closed
    assert heap.place(address) is None
    for use in (block.free, lambda: len(block), lambda: block.address, lambda: memoryview(block), block.__enter__):
        with pytest.raises(zmm.ClosedBlockError, match="freed"):
            use()
    assert repr(block) == "<zmm.Block of 40 bytes, closed>"


def test_exporting_a_freed_block_is_a_buffer_error(heap: zmm.Heap) -> None:
    """The type that users of buffers look for."""
    block = heap.block(40)
    block.free()
    with pytest.raises(BufferError):
        memoryview(block)


def test_dropping_a_block_frees_it(heap: zmm.Heap) -> None:
    """The last reference is enough."""
    block = heap.block(40)
    address = block.address
    assert heap.place(address) is not None
    del block

    assert heap.place(address) is None


def test_a_with_statement_frees_a_block(heap: zmm.Heap) -> None:
    """At its end, whatever happened inside; freeing it inside is fine."""
    with heap.block(40) as block:
        block.free()
    block = heap.block(40)
    address = block.address
    with pytest.raises(KeyError), block:
        raise KeyError

    assert block.closed
    assert heap.place(address) is None


def test_a_block_with_a_memoryview_is_not_freed(heap: zmm.Heap) -> None:
    """Neither as a Block nor by its address, until the memoryview is released."""
    block = heap.block(40)
    address = block.address
    with memoryview(block) as view:
        for take in (block.free, lambda: heap.free(address), lambda: heap.realloc(address, 100), heap.request_end):
            with pytest.raises(zmm.BlockExportedError):
                take()
        view[0] = 1
    block.free()

    assert heap.place(address) is None


def test_a_with_statement_leaves_memoryviews_their_memory(heap: zmm.Heap) -> None:
    """The block is closed at once and freed when the last memoryview goes."""
    with heap.block(3_000_000) as block:
        view = memoryview(block)
    assert block.closed
    with pytest.raises(zmm.ClosedBlockError):
        memoryview(block)
    view[2_999_999] = 9
    assert heap.usage().size_bytes > 0
    view.release()

    assert heap.usage().size_bytes == 0


def test_a_memoryview_outlives_its_block_and_heap() -> None:
    """The memory stays as long as anybody looks at it, also behind the end of the heap."""
    with zmm.Heap() as heap:
        view = memoryview(heap.block(3_000_000))
        view[2_999_999] = 7
    assert heap.closed
    gone = weakref.ref(heap)
    del heap
    gc.collect()

    assert gone() is not None
    assert view[2_999_999] == 7
    view.release()
    gc.collect()
    assert gone() is None


def test_a_block_keeps_its_heap_alive() -> None:
    """A heap that nobody else holds stays open for its blocks."""
    block = zmm.Heap().block(100)
    gc.collect()
    with memoryview(block) as view:
        view[99] = 1

    assert not block.heap.closed


def test_the_end_of_the_request_closes_its_blocks(zend_heap: zmm.Heap) -> None:
    """A block of the request before raises, also when its address lives again; dropping it harms nobody."""
    block = zend_heap.block(40)
    address = block.address
    zend_heap.request_end()
    again = zend_heap.alloc(40)

    assert again == address
    assert block.closed
    for use in (zmm.Block.free, len, lambda block: block.address, memoryview):
        with pytest.raises(zmm.ClosedBlockError, match="request has ended"):
            use(block)
    del block
    assert zend_heap.block_size(again) == 40


def test_the_end_of_the_heap_closes_its_blocks() -> None:
    """A block whose heap was closed says so."""
    with zmm.Heap() as heap:
        block = heap.block(40)

    with pytest.raises(zmm.ClosedBlockError, match="heap was closed"):
        memoryview(block)


def test_freeing_a_block_by_its_address_closes_it(heap: zmm.Heap) -> None:
    """The address belongs to whoever frees or moves it; the Block lets go."""
    block, other = heap.block(40), heap.block(40)
    heap.free(block.address)
    moved = heap.realloc(other.address, 40)

    assert (block.closed, other.closed) == (True, True)
    del block, other
    assert heap.block_size(moved) == 40


def test_a_refused_realloc_leaves_the_block_open() -> None:
    """Nothing happened, so nothing is closed."""
    with zmm.Heap(limit="4M") as heap:
        block = heap.block(40)
        with pytest.raises(zmm.MemoryLimitError):
            heap.realloc(block.address, 8_000_000)

        assert not block.closed


def test_cycles_through_blocks_are_collected() -> None:
    """A heap, its block and a memoryview that only know each other go, and their memory with them."""

    class Holder:
        pass

    holder = Holder()
    heap = zmm.Heap()
    holder.parts = (heap, heap.block(100), memoryview(heap.block(50)), holder)  # type: ignore[attr-defined]
    gone = weakref.ref(heap)
    del heap, holder
    gc.collect()

    assert gone() is None


def test_blocks_are_made_by_heaps_only() -> None:
    """There is no block without a heap, and no second kind of block."""
    with pytest.raises(TypeError, match="made by heaps"):
        zmm.Block()
    empty = zmm.Block.__new__(zmm.Block)
    assert empty.closed
    with pytest.raises(zmm.ClosedBlockError):
        memoryview(empty)
    with pytest.raises(TypeError):
        type("Sub", (zmm.Block,), {})


def test_many_blocks_leak_nothing() -> None:
    """Made, exported and dropped ten thousand times: Python's and the heap's memory are as before."""
    with zmm.Heap() as heap:
        blocks = sys.getrefcount(heap)
        for size in range(10_000):
            with memoryview(heap.block(size % 300)):
                pass

        assert sys.getrefcount(heap) == blocks
        assert heap.usage().size_bytes == 0
