"""What a target is, and the one way in which it cannot be had."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from zmm_model.accounting import Accounting

from ..errors import UserError


class TargetError(UserError):
    """A target cannot be had: one line that names the thing and the remedy."""


# The levels at which a block takes up more than was asked for, and waits after it was freed.
TRIMMED_LEVELS = ("hardened", "debug")


@dataclass(frozen=True, slots=True)
class Target:
    """
    An allocator under test: what the runner has to load, and how far it can be judged.

    ``name`` is how it was asked for; ``kind`` is the runner's (``zmm``, ``php``, ``malloc``); ``library`` is empty for
    the C library.  ``environment`` is added to the child's.  ``version`` is what the library said of itself, ``level``
    the build level of zmm.
    """

    name: str
    kind: str
    library: str
    version: str
    allocator: str
    level: str = ""
    environment: Mapping[str, str] = field(default_factory=dict, hash=False)
    soft_limits: bool = False

    @property
    def is_zendmm(self) -> bool:
        """Whether blocks have places (chunk, page, slot), and limit, gc and storage exist."""
        return self.kind in ("zmm", "php")

    @property
    def is_exact(self) -> bool:
        """Whether the exact model can be held against it: zmm's levels with trims place blocks elsewhere."""
        return self.is_zendmm and self.level not in TRIMMED_LEVELS

    @property
    def accounting(self) -> Accounting:
        """What its rows say besides status, blocks and contents: nothing, what ZendMM's say, or that of their own."""
        if not self.is_zendmm:
            return Accounting.NONE
        return Accounting.ZENDMM if self.is_exact else Accounting.OWN

    @property
    def refuses_exactly(self) -> bool:
        """Whether it refuses as the classic ZendMM does; PHP 8.2.35 and later have soft limits, and may exit."""
        return self.is_zendmm and not self.soft_limits
