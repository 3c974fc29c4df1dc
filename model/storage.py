"""The deterministic storage under a heap: numbers mappings, fails on demand, digests every call. Imports sizes, op."""

from __future__ import annotations

from struct import Struct
from zlib import crc32

from .op import Settings

# What a call to the storage is, in the digest.
ALLOC = 1
FREE = 2
TRUNCATE = 3
EXTEND = 4

REFUSED_MAPPING = 2**32 - 1

# What the driver's storage cannot do: larger mappings, and more of them at one time.
MAPPING_BYTES_MAX = 8 * 2**30
LIVE_MAPPINGS_MAX = 6144

_CALL = Struct("<4Q")


class Storage:
    """
    Grants and takes back mappings as the driver's storage does.

    Mappings are numbered from 0 in order of acquisition; a refused one takes no number.  ``calls``
    and ``crc`` count and digest every call, refused ones too; only alloc, truncate and extend can
    fail and are numbered together for ``failing_calls``.  A kernel grants every truncate, because
    unmapping a tail cannot be refused.
    """

    __slots__ = (
        "_extend",
        "_failing",
        "_fallible",
        "_is_kernel",
        "_next",
        "_truncate",
        "calls",
        "crc",
        "live",
    )

    def __init__(self, settings: Settings) -> None:
        self._failing = frozenset(settings.failing_calls)
        self._extend = settings.extend
        self._truncate = settings.truncate
        self._is_kernel = settings.storage == "kernel"
        self._fallible = 0
        self._next = 0
        self.calls = 0
        self.crc = 0
        # Bytes of each mapping not given back yet.
        self.live: dict[int, int] = {}

    def alloc(self, size_bytes: int) -> int:
        """A new mapping's number, or -1 when the storage refuses."""
        self._fallible += 1
        if self._fallible in self._failing or size_bytes > MAPPING_BYTES_MAX or len(self.live) >= LIVE_MAPPINGS_MAX:
            self._record(ALLOC, REFUSED_MAPPING, size_bytes, 0)
            return -1
        mapping = self._next
        self._next = mapping + 1
        self.live[mapping] = size_bytes
        self._record(ALLOC, mapping, size_bytes, 1)
        return mapping

    def free(self, mapping: int) -> None:
        """Takes a whole mapping back."""
        self._record(FREE, mapping, self.live.pop(mapping), 1)

    def truncate(self, mapping: int, new_bytes: int) -> bool:
        """Takes a mapping's tail back, if the storage grants that."""
        self._fallible += 1
        granted = self._is_kernel or (self._truncate and self._fallible not in self._failing)
        return self._resized(TRUNCATE, mapping, new_bytes, granted)

    def extend(self, mapping: int, new_bytes: int) -> bool:
        """Lets a mapping grow where it is, if the storage grants that."""
        self._fallible += 1
        granted = self._extend and self._fallible not in self._failing and new_bytes <= MAPPING_BYTES_MAX
        return self._resized(EXTEND, mapping, new_bytes, granted)

    def _resized(self, kind: int, mapping: int, new_bytes: int, granted: bool) -> bool:
        if granted:
            self.live[mapping] = new_bytes
        self._record(kind, mapping, new_bytes, int(granted))
        return granted

    def _record(self, kind: int, mapping: int, size_bytes: int, granted: int) -> None:
        self.calls += 1
        self.crc = crc32(_CALL.pack(kind, mapping, size_bytes, granted), self.crc)
