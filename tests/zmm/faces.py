"""The two faces of a heap, C's and Python's, with the same calls, for misuses that are made through both."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path
from typing import Any, Protocol

import zmm

ROOT = Path(__file__).resolve().parents[2]


class Options(ctypes.Structure):
    """``zmm_options``."""

    _fields_ = (
        ("edition", ctypes.c_int),
        ("limit_bytes", ctypes.c_size_t),
        ("handlers", ctypes.c_void_p),
        ("storage_data", ctypes.c_void_p),
        ("storage_data_bytes", ctypes.c_size_t),
        ("wipes", ctypes.c_bool),
        ("guard_every", ctypes.c_uint32),
        ("check_every", ctypes.c_uint32),
    )


class Face(Protocol):
    """A heap, and where the allocator's own records of it lie."""

    handle: int

    def alloc(self, size_bytes: int) -> int: ...
    def free(self, block: int) -> object: ...
    def free_sized(self, block: int, size_bytes: int) -> object: ...
    def strndup(self, text: int, length_bytes: int) -> object: ...
    def gc(self) -> object: ...
    def end(self) -> object: ...
    def meta(self, kind: str, block: int) -> int: ...


class CFace:
    """The shared library of a level."""

    def __init__(self, level: str, edition: str, guard: int, check_every: int) -> None:
        self._library = ctypes.CDLL(zmm.get_library(level))
        for name in ("startup", "alloc", "strndup"):
            getattr(self._library, f"zmm_heap_{name}").restype = ctypes.c_void_p
        self._library.zmm_test_meta.restype = ctypes.c_void_p
        options = Options(edition=int(edition != "zmm"), guard_every=guard, check_every=check_every)
        self.handle: int = self._library.zmm_heap_startup(ctypes.byref(options))
        self._library.zmm_set_heap(ctypes.c_void_p(self.handle))

    def _call(self, name: str, *arguments: int) -> int:
        values = [ctypes.c_size_t(argument) for argument in (self.handle, *arguments)]
        return getattr(self._library, f"zmm_heap_{name}")(*values) or 0

    def alloc(self, size_bytes: int) -> int:
        return self._call("alloc", size_bytes)

    def free(self, block: int) -> object:
        return self._call("free", block)

    def free_sized(self, block: int, size_bytes: int) -> object:
        return self._call("free_sized", block, size_bytes)

    def strndup(self, text: int, length_bytes: int) -> object:
        return self._call("strndup", text, length_bytes)

    def gc(self) -> object:
        return self._call("gc")

    def end(self) -> object:
        return self._call("shutdown", 0, 1)

    def meta(self, kind: str, block: int) -> int:
        found: int = self._library.zmm_test_meta(ctypes.c_size_t(self.handle), kind.encode(), ctypes.c_size_t(block))
        return found


class PythonFace:
    """``zmm.Heap``.  Its core is another one than the library's, so the records are found through its own table."""

    def __init__(self, level: Any, edition: Any, guard: int, check_every: int) -> None:
        self._heap = zmm.Heap(level=level, edition=edition, guard=guard or None, check_every=check_every or None)
        # The object's head is reference count, type and method table; then come zmm_heap * and const zmm_api *.
        self.handle, table = (ctypes.c_size_t.from_address(id(self._heap) + offset).value for offset in (24, 32))
        entries = re.search(
            r"typedef struct zmm_api \{(.*?)\} zmm_api;", (ROOT / "zmm/include/zmm.h").read_text(), re.S
        )
        assert entries is not None
        last = len(re.findall(r"\(\*\w+\)", entries[1])) + 1  # behind version and level
        assert ctypes.c_char_p.from_address(table + 8).value == level.encode()
        prototype = ctypes.CFUNCTYPE(ctypes.c_size_t, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t)
        self._meta = prototype(ctypes.c_size_t.from_address(table + 8 * last).value)

    def alloc(self, size_bytes: int) -> int:
        return self._heap.alloc(size_bytes)

    def free(self, block: int) -> None:
        self._heap.free(block)

    def free_sized(self, block: int, size_bytes: int) -> object:
        raise NotImplementedError

    def strndup(self, text: int, length_bytes: int) -> object:
        raise NotImplementedError

    def gc(self) -> object:
        return self._heap.gc()

    def end(self) -> None:
        self._heap.request_end()

    def meta(self, kind: str, block: int) -> int:
        return int(self._meta(self.handle, kind.encode(), block))
