"""Steps of misuse for whoever makes programs: their words, numbers that mean something to them, random ones."""

from __future__ import annotations

from zmm_model.op import MISUSE, WORDS, Operation

# In the order of their codes.
MISUSE_WORDS: tuple[str, ...] = tuple(sorted(MISUSE, key=lambda name: WORDS[name].code))
# Sizes, offsets and lengths; those that a step cannot use make it a skipped one.
NUMBERS = (0, 1, 7, 8, 9, 15, 16, 24, 40, 64, 100, 3000, 4096, 5000, 8192, 65536, 2097152, 3000000)
_LENGTHS = (1, 1, 8, 64)
_OFFSETS = (1, 8, 16, 4096)
_WRITES = (0, 4, 8, 16, 1, 24)


def misuse_of(word: str, label: int, number: int) -> Operation:
    """An operation of misuse with as much of label and number as its word takes."""
    shape = WORDS[word]
    return Operation(word, label if shape.takes_label else -1, number if shape.arguments else 0)


def draw_misuse(r: int, label: int, size_bytes: int) -> Operation:
    """
    An operation of misuse from 64 random bits.

    Args:
        r: the bits.
        label: one with a block, -1 when there is none.
        size_bytes: what that block was asked for.
    """
    word = MISUSE_WORDS[(r >> 12 & 0xFF) % len(MISUSE_WORDS)]
    if label < 0 and WORDS[word].takes_label:
        word = "misuse.free_stack"
    choice = r >> 20 & 3
    if word == "misuse.overflow":
        number = _LENGTHS[choice]
    elif word == "misuse.free_interior":
        number = (_OFFSETS[choice] if r >> 22 & 1 else r >> 24 & 0xFFFFFF) % max(size_bytes, 1)
    elif word == "misuse.write_freed":
        number = max(0, (size_bytes & ~7) - 8) if r >> 22 & 3 == 0 else _WRITES[(r >> 24) % len(_WRITES)]
    else:
        number = NUMBERS[(r >> 24 & 0xFF) % len(NUMBERS)]
    return misuse_of(word, label, number)
