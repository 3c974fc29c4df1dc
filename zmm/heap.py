"""The heap as a user holds it: options, use as a context manager, looking at it.  From _core and snapshot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from . import _core
from .snapshot import Place, Snapshot, Usage, make_place, make_snapshot

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

Level: TypeAlias = Literal["fast", "release", "hardened", "debug"]
Edition: TypeAlias = Literal["zmm", "php-8.2"]

NO_LIMIT_BYTES = 2**63 - 1
_OFF = 2**32 - 1  # ZMM_OFF of zmm.h
_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}


class Storage(Protocol):
    """
    Where a heap's chunks and huge blocks come from, when not from the system.

    Two more methods may be there: ``chunk_truncate(address, old_bytes, new_bytes)`` and ``chunk_extend(address,
    old_bytes, new_bytes)``, each returning whether the memory now has ``new_bytes`` at the same address.  Without
    them a huge block moves when its size changes.  No method may use the heap it serves.  What a method raises comes
    out of the heap's call once that has failed.
    """

    def chunk_alloc(self, size_bytes: int, alignment_bytes: int, /) -> int | None:
        """Return the address of zeroed memory, aligned, which stays until it is freed; ``None`` to refuse."""

    def chunk_free(self, address: int, size_bytes: int, /) -> None:
        """Take back what ``chunk_alloc`` gave."""


def limit_to_bytes(limit: int | str | None) -> int:
    """
    Return a limit in bytes.

    :param limit: bytes, or a number with K, M or G behind it (``"64M"``), or ``None`` for no limit.
    :raises ValueError: when it is neither, or too small for one chunk.
    """
    if limit is None:
        return NO_LIMIT_BYTES
    if isinstance(limit, str):
        text = limit.strip()
        number, unit = (text[:-1], text[-1:].upper()) if text[-1:].isalpha() else (text, "")
        if unit not in _UNITS or not (number.isascii() and number.isdigit()):
            raise ValueError(f"not a limit: {limit!r}; write bytes, or a number with K, M or G behind it")
        limit = int(number) * _UNITS[unit]
    if limit < _core.CHUNK_BYTES:
        raise ValueError(f"a limit of {limit} bytes is below one chunk of {_core.CHUNK_BYTES} bytes")
    return min(limit, NO_LIMIT_BYTES)


class Heap(_core.Heap):
    """
    An independent heap that places blocks as PHP's ZendMM does; as a context manager, closed at the end.

    Blocks are addresses (:meth:`alloc`, :meth:`free`, ...) or buffers (:meth:`block`).  All of them go when the
    request ends.  The heap belongs to the thread that makes it.

    :param limit: the memory limit: bytes, ``"64M"``, or ``None`` for none.
    :param edition: ``"zmm"``, or ``"php-8.2"`` for PHP 8.2.32 with its harmless quirks.
    :param level: ``None`` for what ZMM_LEVEL says, else ``"release"``; ``"fast"`` makes the checks of PHP 8.2,
        ``"release"`` more, ``"debug"`` all of them.  Addresses are
        looked up before use at every level; at level fast, which records no live slots, that walks a free list.
    :param storage: where memory comes from; ``None`` for the system.
    :param wipes: at levels hardened and debug freed blocks are zeroed, and writes into them found later.
    :param guard: at level debug: ``"all"``, ``"1/64"`` or a number N for one of N blocks on pages of their own,
        ``"off"`` for none; ``None`` for what ZMM_GUARD says.
    :param check_every: at level debug the heap is checked at every so many calls, 0 for never; ``None`` for what
        ZMM_CHECK_EVERY says.
    :raises ValueError: when an option, or one of zmm's environment variables, has a wrong value.
    :raises SystemRefusalError: when no memory can be had for the first chunk.
    """

    __slots__ = ()

    def __init__(
        self,
        limit: int | str | None = None,
        edition: Edition = "zmm",
        level: Level | None = None,
        storage: Storage | None = None,
        *,
        wipes: bool = False,
        guard: str | int | None = None,
        check_every: int | None = None,
    ) -> None:
        default_level = _core.default_level()
        super().__init__(
            default_level if level is None else _index_of(level, _core.LEVELS, "level"),
            _index_of(edition, _core.EDITIONS, "edition"),
            limit_to_bytes(limit),
            storage,
            wipes,
            _guard_every(guard),
            _every(check_every, "check_every"),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        if self.closed:
            return "<zmm.Heap, closed>"
        return f"<zmm.Heap of level {self.level}>"

    def set_limit(self, limit: int | str | None, /) -> None:
        """
        Change the memory limit.

        :param limit: as for the heap.
        :raises LimitInUseError: when the heap holds more already; nothing is changed then.
        """
        super().set_limit(limit_to_bytes(limit))

    def usage(self) -> Usage:
        """Return all counters."""
        return Usage(*self._usage())

    def place(self, address: int, /) -> Place | None:
        """Return where a live block is, ``None`` for any other address."""
        return make_place(self._place(address))

    def snapshot(self) -> Snapshot:
        """Return the whole heap as it is now: chunks with their pages, free slots, huge blocks, counters."""
        return make_snapshot(self.level, self.edition, self.usage(), self._view())


def _every(number: int | None, what: str) -> int:
    """The core's number for "every so many": 0 leaves it to the environment, and its OFF is not even that."""
    if number is None:
        return 0
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < _OFF:
        raise ValueError(f"{what} must be a number from 0 to {_OFF - 1}, not {number!r}")
    return number or _OFF


def _guard_every(guard: str | int | None) -> int:
    if not isinstance(guard, str):
        return _every(guard, "guard")
    share = {"all": "1/1", "off": "1/0"}.get(guard, guard)
    number = share[2:]
    if not share.startswith("1/") or not (number.isascii() and number.isdigit()) or guard == "1/0":
        raise ValueError(f"not a guard mode: {guard!r}; write 'all', 'off', or '1/N' for one block of N")
    return _every(int(number), "guard")


def _index_of(name: str, names: tuple[str, ...], what: str) -> int:
    if name not in names:
        raise ValueError(f"unknown {what} {name!r}; there are {', '.join(names)}")
    return names.index(name)
