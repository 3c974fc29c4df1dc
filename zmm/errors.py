"""What can go wrong, one class each, with the sentence a user needs.  Imports nothing of ours.

A refusal ("no": a limit, the system, arithmetic) leaves the heap in use and every block as it was.  A mistake of the
caller is found before the heap is touched.  Corruption ends the heap it is found in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "BlockExportedError",
    "ClosedBlockError",
    "ClosedHeapError",
    "HeapBusyError",
    "HeapCorruptedError",
    "InvalidBlockError",
    "LimitInUseError",
    "MemoryLimitError",
    "RefusalError",
    "SizeOverflowError",
    "SystemRefusalError",
    "WrongThreadError",
    "ZmmError",
]


class ZmmError(Exception):
    """The base of everything that zmm raises by itself."""


class RefusalError(ZmmError, MemoryError):
    """The heap said no; it stays in use, and every block is as it was.  The text is PHP's."""


class MemoryLimitError(RefusalError):
    """
    The limit would be exceeded.

    ``limit_bytes`` is the limit, ``tried_bytes`` what was asked for: pages for a run, the request for a huge block.
    """

    def __init__(self, text: str, limit_bytes: int, tried_bytes: int) -> None:
        super().__init__(text, limit_bytes, tried_bytes)
        self.limit_bytes = limit_bytes
        self.tried_bytes = tried_bytes

    def __str__(self) -> str:
        return str(self.args[0])


class SystemRefusalError(RefusalError):
    """
    The system, or the heap's storage, gave no memory.

    ``real_size_bytes`` is what the heap held at that time, ``tried_bytes`` what was asked for.
    """

    def __init__(self, text: str, real_size_bytes: int, tried_bytes: int) -> None:
        super().__init__(text, real_size_bytes, tried_bytes)
        self.real_size_bytes = real_size_bytes
        self.tried_bytes = tried_bytes

    def __str__(self) -> str:
        return str(self.args[0])


class SizeOverflowError(RefusalError, OverflowError):
    """
    The size does not fit an address.

    ``factors`` are the numbers as passed: two for a sum, three for ``a * b + c``.
    """

    def __init__(self, text: str, factors: tuple[int, ...]) -> None:
        super().__init__(text, factors)
        self.factors = factors

    def __str__(self) -> str:
        return str(self.args[0])


class LimitInUseError(ZmmError, ValueError):
    """
    A limit below what the heap holds already; nothing was changed.

    ``limit_bytes`` was asked for, ``real_size_bytes`` is in use (cached chunks included).
    """

    def __init__(self, limit_bytes: int, real_size_bytes: int) -> None:
        super().__init__(limit_bytes, real_size_bytes)
        self.limit_bytes = limit_bytes
        self.real_size_bytes = real_size_bytes

    def __str__(self) -> str:
        return (
            f"cannot set the limit to {self.limit_bytes} bytes: "
            f"the heap holds {self.real_size_bytes} bytes; free blocks first"
        )


class InvalidBlockError(ZmmError, ValueError):
    """
    An address that is not the start of a live block of this heap: freed, inside a block, or somebody else's.

    ``address`` is the number that was passed.
    """

    def __init__(self, address: int) -> None:
        super().__init__(address)
        self.address = address

    def __str__(self) -> str:
        return (
            f"{self.address:#x} is not the start of a live block of this heap "
            "(freed, inside a block, or from elsewhere)"
        )


class ClosedHeapError(ZmmError, ValueError):
    """The heap was closed; make a new one."""


class ClosedBlockError(ZmmError, BufferError, ValueError):
    """The block was freed, or the request it belonged to ended."""


class BlockExportedError(ZmmError, BufferError):
    """A memoryview of the block, or of a block of the heap, is alive; release it first."""


class WrongThreadError(ZmmError, RuntimeError):
    """A heap belongs to the thread that made it; make one heap for each thread."""


class HeapBusyError(ZmmError, RuntimeError):
    """The heap is inside one of its storage's methods, which must not use it."""


class HeapCorruptedError(ZmmError):
    """
    The heap's bookkeeping is damaged: somebody wrote outside a block.  The heap can't be used any more.

    ``reason`` is the broken invariant's id or the panic's phrase, ``address`` where it was noticed (0: nowhere).  The
    rest is what the report of a panic says, as far as the level knows it: ``text`` (all of it, as printed), ``hint``,
    ``owner``, ``heap`` and ``owner_heap`` (the C heaps that complains and that owns the address; 0: none), ``block``
    (its address), ``block_bytes``, ``requested_bytes``, ``block_is_live``, ``bin_index``,
    ``mapping_index``, ``page_index``, ``slot_index``, ``expected``, ``found``, and the return addresses
    ``alloc_site``, ``free_site`` and ``access_site`` (0: not known).
    """

    def __init__(self, reason: str, address: int = 0, fields: Mapping[str, Any] | None = None) -> None:
        super().__init__(reason, address, fields)
        self.reason = reason
        self.address = address
        known = fields or {}
        self.text: str = known.get("text", "")
        self.hint: str = known.get("hint", "")
        self.owner: str = known.get("owner", "")
        self.heap: int = known.get("heap", 0)
        self.owner_heap: int = known.get("owner_heap", 0)
        self.block: int = known.get("block", 0)
        self.block_bytes: int = known.get("block_bytes", 0)
        self.requested_bytes: int | None = known.get("requested_bytes")
        self.block_is_live: bool = known.get("block_is_live", False)
        self.bin_index: int | None = known.get("bin_index")
        self.mapping_index: int = known.get("mapping_index", 0)
        self.page_index: int = known.get("page_index", 0)
        self.slot_index: int = known.get("slot_index", 0)
        self.expected: int | None = known.get("expected")
        self.found: int | None = known.get("found")
        self.alloc_site: int = known.get("alloc_site", 0)
        self.free_site: int = known.get("free_site", 0)
        self.access_site: int = known.get("access_site", 0)

    def __str__(self) -> str:
        first = "zend_mm_heap corrupted" if self.text.startswith("zend_mm_heap") else "zmm: heap corruption"
        at = f" at {self.address:#x}" if self.address else ""
        return f"{first}: {self.reason}{at}"
