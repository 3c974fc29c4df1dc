"""The tiers, in the order in which they run: what finds most in the least time comes first."""

from __future__ import annotations

from .base import Tier
from .boundaries import Boundaries
from .lockstep import Lockstep
from .machine import Machine
from .oom import OutOfMemory
from .oracle import Oracle
from .traces import Traces

TIERS: tuple[Tier, ...] = (Lockstep(), Boundaries(), OutOfMemory(), Traces(), Oracle(), Machine())

__all__ = ["TIERS", "Tier"]
