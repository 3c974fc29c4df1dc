"""zmm: PHP's request memory manager as a library.  The public names, and nothing besides."""

from __future__ import annotations

from ._core import (
    BIN_COUNT,
    CHUNK_BYTES,
    EDITIONS,
    LARGE_BYTES_MAX,
    LEVELS,
    PAGE_BYTES,
    SMALL_BYTES_MAX,
    VERSION,
    Block,
)
from .errors import (
    BlockExportedError,
    ClosedBlockError,
    ClosedHeapError,
    HeapBusyError,
    HeapCorruptedError,
    InvalidBlockError,
    LimitInUseError,
    MemoryLimitError,
    RefusalError,
    SizeOverflowError,
    SystemRefusalError,
    WrongThreadError,
    ZmmError,
)
from .heap import Heap, Storage
from .paths import get_include, get_library, get_mixed_library
from .snapshot import Chunk, FreeSlot, Huge, Place, Run, Snapshot, Usage

__version__ = VERSION

__all__ = [
    "BIN_COUNT",
    "CHUNK_BYTES",
    "EDITIONS",
    "LARGE_BYTES_MAX",
    "LEVELS",
    "PAGE_BYTES",
    "SMALL_BYTES_MAX",
    "Block",
    "BlockExportedError",
    "Chunk",
    "ClosedBlockError",
    "ClosedHeapError",
    "FreeSlot",
    "Heap",
    "HeapBusyError",
    "HeapCorruptedError",
    "Huge",
    "InvalidBlockError",
    "LimitInUseError",
    "MemoryLimitError",
    "Place",
    "RefusalError",
    "Run",
    "SizeOverflowError",
    "Snapshot",
    "Storage",
    "SystemRefusalError",
    "Usage",
    "WrongThreadError",
    "ZmmError",
    "__version__",
    "get_include",
    "get_library",
    "get_mixed_library",
]
