"""Delta debugging of attacks: the smallest part that still shows the same harm, then simpler numbers."""

from __future__ import annotations

from collections.abc import Callable

from .attack import SIZES, Attack, kind_of

# A block's kind says what is at stake, so it stays.
_SIMPLE_SIZES = {"small": 64, "large": 8192, "huge": 3_145_728}
_SIZED = ("alloc", "alloc2", "churn", "realloc", "realloc_freed")


def reduce_attack(attack: Attack, shows: Callable[[Attack], bool]) -> Attack:
    """
    The smallest attack found that still ``shows`` the harm (which the whole one does).

    Whole parts are left out first, halves, quarters and so on, then single steps until none can be spared; then blocks
    get a common size where that changes nothing.
    """
    attack = _without_parts(attack, shows)
    for size in sorted({step.size for step in attack if step.what in _SIZED and step.size in SIZES}):
        simple = _SIMPLE_SIZES[kind_of(size)]
        changed = tuple(
            step._replace(size=simple) if step.size == size and step.what in _SIZED else step for step in attack
        )
        if size != simple and shows(changed):
            attack = changed
    return _without_parts(attack, shows)


def _without_parts(attack: Attack, shows: Callable[[Attack], bool]) -> Attack:
    length = max(1, len(attack) // 2)
    while length:
        start = 0
        spared = False
        while start < len(attack):
            rest = attack[:start] + attack[start + length :]
            if rest and shows(rest):
                attack, spared = rest, True
            else:
                start += length
        if length == 1 and spared:
            continue
        length //= 2
    return attack
