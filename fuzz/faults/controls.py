"""Controls: the same protocol with legal operations only, which no target may object to."""

from __future__ import annotations

from .fault import Fault

SIZES_BYTES = (
    1,
    8,
    16,
    24,
    40,
    41,
    56,
    64,
    100,
    256,
    320,
    640,
    1024,
    3000,
    3072,
    4096,
    8192,
    20_000,
    100_000,
)

_SEQUENCE = """
alloc p {size}
alloc q {size}
allocs b 8 {size}
free p
fault
alloc r {size}
realloc q q {size}*2+1
realloc r r {size}/2+1
free_all b
alloc s {size}
after
free q
allocs c 8 {size}
free r
free_all c
"""


def controls() -> tuple[Fault, ...]:
    """One control for each size: free, reuse, grow and shrink, then the detonation."""
    return tuple(
        Fault(
            id=f"control-{size}",
            kind="control",
            title=f"Legal operations on blocks of {size} bytes",
            sequence=_SEQUENCE.format(size=size),
        )
        for size in SIZES_BYTES
    )
