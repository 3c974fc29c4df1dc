"""Misuse through the Python API, which must refuse it; in a child process where it would change the heap."""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
from collections.abc import Callable

from zmm_model.misuse import applies
from zmm_model.op import WORDS, Operation

import zmm

from .api_heap import ApiHeap

REFUSED, VOID = "a refusal", "void"
_REFUSALS = (zmm.InvalidBlockError, ValueError, IndexError, OverflowError)
_WILD_ADDRESS = 0xDEADBEEF010
_MALLOC_WORDS = ("misuse.free_malloc", "misuse.free_stack", "misuse.free_static")
_PATIENCE_SECONDS = 10
_NOT_REFUSED = 3


def misuse_api(api: ApiHeap, operation: Operation) -> str:
    """
    Tries a step of misuse through the API.

    The answer is :data:`REFUSED` (as it has to be), :data:`VOID` when the step does not apply, or what happened.
    """
    word, label, a, _, _, _ = operation
    block = api.block_of(label)
    place = api.heap.place(block[0]) if block else None
    looked = (place.offset_bytes, place.block_bytes, block[1]) if place and block else None
    if not applies(word, looked, a, takes_label=WORDS[word].takes_label):
        return VOID
    if word in _MALLOC_WORDS or word == "misuse.free_wild":
        return _refused(lambda: _free_foreign(api.heap, word, a))
    assert block is not None
    address = block[0]
    if word == "misuse.free_interior":
        return _refused(lambda: api.heap.free(address + a))
    if word == "misuse.other_heap":
        return _refused(lambda: _free_elsewhere(api, address))
    return _in_a_child(lambda: _misuse_block(api.heap, operation, address, looked[1] if looked else 0))


def _refused(act: Callable[[], object]) -> str:
    try:
        act()
    except _REFUSALS:
        return REFUSED
    return "done"


def _free_foreign(heap: zmm.Heap, word: str, size_bytes: int) -> None:
    """Frees what is not the heap's. Of foreign memory only the address matters: none of it is touched."""
    if word == "misuse.free_wild":
        heap.free(_WILD_ADDRESS)
    elif word == "misuse.free_malloc":
        foreign = ctypes.create_string_buffer(max(1, size_bytes))
        heap.free(ctypes.addressof(foreign))
    else:
        with mmap.mmap(-1, mmap.PAGESIZE) as window:
            anchor = ctypes.c_char.from_buffer(window)
            try:
                heap.free(ctypes.addressof(anchor))
            finally:
                del anchor


def _free_elsewhere(api: ApiHeap, address: int) -> None:
    with api.another() as other:
        other.free(address)


def _misuse_block(heap: zmm.Heap, operation: Operation, address: int, block_bytes: int) -> None:
    word, a = operation.word, operation.a
    if word == "misuse.overflow":
        heap.write(address, b"\xa5" * a, block_bytes)
        return
    if word == "misuse.stale_request":
        heap.request_end()
    else:
        heap.free(address)
    if word == "misuse.realloc_freed":
        heap.realloc(address, a)
    elif word == "misuse.size_freed":
        heap.block_size(address)
    elif word == "misuse.write_freed":
        heap.write(address, b"\xa5" * 8, a)
    else:
        heap.free(address)


def _in_a_child(act: Callable[[], object]) -> str:
    """Performs something in a copy of this process."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(_PATIENCE_SECONDS)
            status = 0 if _refused(act) == REFUSED else _NOT_REFUSED
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return f"death by {signal.Signals(os.WTERMSIG(status)).name}"
    code = os.WEXITSTATUS(status)
    return {0: REFUSED, _NOT_REFUSED: "done"}.get(code, f"an exception that is no refusal (status {code})")
