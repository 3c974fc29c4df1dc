"""Variants of the catalogue's faults by rule: other sizes, bins, bytes, orders, depths, levels of indirection."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from .fault import Fault
from .script import ScriptError, check_script

# Sizes of each kind of block, by the size in the catalogue that they stand in for. Those for 40 and 1024 fill their
# slots, as these do; those for 41, 100 and 3000 leave slack behind them.
_SIZES: dict[int, tuple[int, ...]] = {
    40: (16, 24, 32, 48, 56, 80, 96, 112, 128, 160, 192, 256, 320, 448, 640, 768, 1024, 1280, 2048, 3072),
    64: (32, 40, 48, 56, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 512, 640, 896, 1024, 1536, 2560),
    41: (33, 50, 57, 70, 90, 100, 130, 200, 260, 500, 700, 1100),
    256: (192, 224, 320, 384, 512, 640, 1024, 1280),
    320: (128, 160, 192, 224, 384, 448, 640, 768, 1280),
    1024: (128, 256, 384, 512, 640, 768, 896, 1280, 1792, 2048, 3072),
    3000: (1700, 1900, 2100, 2500, 2600, 2900),
    5000: (4500, 9000, 12_300, 30_000, 70_000),
    8192: (12_288, 16_384, 20_480, 36_864, 40_960, 65_536, 102_400),
    16_384: (12_288, 20_480, 40_960, 65_536),
}
_HUGE = ("2M+4096", "3M", "4M", "5M", "6M", "7M")
# What these faults do depends on the very size.
_FIXED = ("S20", "S25", "I13", "I20", "I21", "I22", "S19", "S23", "S24", "A13", "X11", "M02", "M03")
_BYTES = ("0x00", "0x01", "0x7f", "0x80", "0xff", "0x20")
_WIDTHS = (1, 2, 4, 8, 16)
# Sizes of the calls that happen around a fault; each has a bin that no fault uses.
_TRIES = 40
_OTHER_BYTES = (8, 140, 430, 800, 1400, 2300)


@dataclass(frozen=True, slots=True)
class _Draft:
    """A variant on its way: its lines, and what was changed, in words."""

    lines: tuple[str, ...]
    labels: tuple[str, ...] = ()

    def changed(self, lines: Sequence[str], label: str) -> _Draft:
        return _Draft(tuple(lines), (*self.labels, label))


_Rule = Callable[[Fault, _Draft, random.Random], _Draft]


def variants(faults: Sequence[Fault], count: int, seed: int) -> list[Fault]:
    """
    ``count`` variants, as many of each fault as of the next, the same for the same seed; fewer when there are no more.

    Args:
        faults: what they are variants of.
        count: how many at most.
        seed: where the choice begins.
    """
    draw = random.Random(seed)
    sources = [(fault, _distinct(fault, random.Random(draw.getrandbits(64)))) for fault in faults]
    chosen: list[Fault] = []
    while sources and len(chosen) < count:
        left = []
        # The last round may not reach all of them: no class may profit from its place in the catalogue.
        draw.shuffle(sources)
        for fault, source in sources:
            variant = next(source, None)
            if variant is not None and len(chosen) < count:
                chosen.append(variant)
                left.append((fault, source))
        sources = left
    order = {fault.id: index for index, fault in enumerate(faults)}

    def place(variant: Fault) -> tuple[int, int]:
        source, _, number = variant.id.rpartition(".v")
        return order[source], int(number)

    return sorted(chosen, key=place)


def _distinct(fault: Fault, draw: random.Random) -> Iterator[Fault]:
    seen = {_normal(fault.sequence)}
    misses = 0
    while misses < _TRIES:
        draft = _Draft(tuple(line for line in fault.sequence.strip().splitlines() if line.strip()))
        for rule in draw.sample(_RULES, draw.randint(1, 3)):
            draft = rule(fault, draft, draw)
        text = "\n".join(draft.lines) + "\n"
        if _normal(text) in seen or not _can_be_read(text):
            misses += 1
            continue
        misses = 0
        number = len(seen)
        seen.add(_normal(text))
        title = f"{fault.title} ({', '.join(draft.labels)})"
        yield replace(fault, id=f"{fault.id}.v{number}", title=title, exact="", sequence=text)


def _normal(text: str) -> str:
    return "\n".join(" ".join(line.split()) for line in text.strip().splitlines())


def _can_be_read(text: str) -> bool:
    try:
        check_script(text)
    except ScriptError:
        return False
    return True


def _fault_line(lines: Sequence[str]) -> int:
    return next(index for index, line in enumerate(lines) if line.split() == ["fault"])


# ---- the rules ----


def _other_size(fault: Fault, draft: _Draft, draw: random.Random) -> _Draft:
    if fault.id in _FIXED:
        return draft
    text = "\n".join(draft.lines)
    ends = r"^(?:alloc|allocs|pair|alloc@2)\b[^\n]* {}$"
    bases = [size for size in _SIZES if re.search(ends.format(size), text, re.MULTILINE)]
    if not bases:
        huge = re.findall(r"\b[35]M\b", text)
        if not huge or fault.id in {"I10", "X12", "M09", "S17"}:
            return draft
        size = draw.choice(_HUGE)
        return draft.changed(re.sub(r"\b[35]M\b", f"({size})", text).split("\n"), f"huge block of {size}")
    base = draw.choice(bases)
    new = draw.choice(_SIZES[base])
    changes = {base: new, base - 8: new - 8, base // 2: new // 2 & ~7}
    if base in (41, 5000, 3000):
        changes = {base: new}
    # Only what stands for the size or a place in the block: counts of bytes written behind the block stay.
    numbers = "|".join(str(value) for value in sorted(changes, reverse=True))
    pattern = re.compile(rf"(?<![\w.])({numbers})(?![\w.])")
    lines = []
    for line in draft.lines:
        words = line.split(" ")
        kept = {"fill": 3, "copy": -1, "reuse": 2, "allocs": 2, "read": 2, "word": 2, "own": 2}.get(words[0])
        lines.append(
            " ".join(
                word if place == kept else pattern.sub(lambda found: str(changes[int(found[1])]), word)
                for place, word in enumerate(words)
            )
        )
    return draft.changed(lines, f"{new} bytes for {base}")


def _other_byte(_fault: Fault, draft: _Draft, draw: random.Random) -> _Draft:
    start = _fault_line(draft.lines)
    byte = draw.choice(_BYTES)
    lines = [
        re.sub(r"\b0x41\b", byte, line) if index > start and line.startswith(("write", "fill")) else line
        for index, line in enumerate(draft.lines)
    ]
    return draft.changed(lines, f"byte {byte}") if tuple(lines) != draft.lines else draft


def _other_width(_fault: Fault, draft: _Draft, draw: random.Random) -> _Draft:
    start = _fault_line(draft.lines)
    width = draw.choice(_WIDTHS)
    lines = [
        re.sub(r"^(fill p\+\S+ \S+) 8$", rf"\1 {width}", line) if index > start else line
        for index, line in enumerate(draft.lines)
    ]
    return draft.changed(lines, f"{width} bytes wide") if tuple(lines) != draft.lines else draft


def _noise_before(_fault: Fault, draft: _Draft, draw: random.Random) -> _Draft:
    count, size = draw.randint(1, 40), draw.choice((8, 24, 48, 100, 200, 700, 2000, 5000))
    noise = [f"allocs noise {count} {size}"]
    if draw.random() < 0.5:
        noise.append("free_all noise")
    first = draft.lines[0].split()
    # The size of the detonation is that of the fault's own blocks.
    keep = [] if first[0] == "size" else [f"size {size_word}" for size_word in _size_words(draft)[:1]]
    return draft.changed([*keep, *noise, *draft.lines], f"after {count} other blocks")


def _size_words(draft: _Draft) -> list[str]:
    words = []
    for line in draft.lines:
        parts = line.split()
        if parts[0] in ("alloc", "allocs", "pair", "alloc@2") and re.fullmatch(r"[0-9]+[KM]?", parts[-1]):
            words.append(parts[-1])
    return words


def _unused_size(draft: _Draft, draw: random.Random) -> int:
    """A size that no line names: calls of that size leave the fault's own lists as they are."""
    text = " ".join(draft.lines)
    return draw.choice([size for size in _OTHER_BYTES if not re.search(rf"\b{size}\b", text)])


def _noise_between(_fault: Fault, draft: _Draft, draw: random.Random) -> _Draft:
    size = _unused_size(draft, draw)
    count = draw.randint(10, 300)
    start = _fault_line(draft.lines)
    lines = [*draft.lines[:start], f"churn {count} {size}", *draft.lines[start:]]
    return draft.changed(lines, f"{count} other calls before")


def _delay_after(_fault: Fault, draft: _Draft, draw: random.Random) -> _Draft:
    if "after" not in draft.lines:
        return draft
    size = _unused_size(draft, draw)
    count = draw.randint(1, 100)
    place = draft.lines.index("after") + 1
    return draft.changed([*draft.lines[:place], f"churn {count} {size}", *draft.lines[place:]], f"{count} calls later")


def _deeper(fault: Fault, draft: _Draft, draw: random.Random) -> _Draft:
    """Other blocks of the size are freed last, so that the fault's slot lies deep in the list."""
    start = _fault_line(draft.lines)
    sizes = _size_words(draft)
    if fault.kind not in ("temporal", "spatial") or not sizes or "request_end" in draft.lines or "gc" in draft.lines:
        return draft
    if not any(line.split()[0] == "free" for line in draft.lines[:start]):
        return draft
    if any(line.startswith(("until", "pair")) for line in draft.lines):
        return draft
    count = draw.randint(1, 12)
    lines = [f"size {sizes[0]}", f"allocs deep {count} {sizes[0]}", *draft.lines[:start], "free_all deep"]
    return draft.changed([*lines, *draft.lines[start:]], f"{count} slots deep")


def _indirect(_fault: Fault, draft: _Draft, draw: random.Random) -> _Draft:
    """The attacker's buffer holds links of its own, so that a followed link leads on."""
    text = "\n".join(draft.lines)
    if not re.search(r"\battacker\b", text):
        return draft
    offset = draw.choice((0, 64, 128, 512))
    levels = draw.randint(1, 3)
    chain = [f"word attacker+{offset + level * 256} attacker+{offset + (level + 1) * 256}" for level in range(levels)]
    lines = re.sub(r"\battacker\b", f"attacker+{offset}", text).split("\n")
    return draft.changed([*chain, *lines], f"{levels} links in the attacker's buffer")


def _resize_instead(fault: Fault, draft: _Draft, draw: random.Random) -> _Draft:
    """What the fault frees is resized instead."""
    start = _fault_line(draft.lines)
    places = [index for index, line in enumerate(draft.lines) if index > start and re.fullmatch(r"free [a-z]\S*", line)]
    if not places or fault.kind not in ("temporal", "invalid-free", "spatial", "cross-heap"):
        return draft
    place = draw.choice(places)
    size = draw.choice((4000, 9000, 50_000))
    line = draft.lines[place].replace("free ", "realloc resized ") + f" {size}"
    return draft.changed([*draft.lines[:place], line, *draft.lines[place + 1 :]], f"realloc to {size} for free")


_RULES: tuple[_Rule, ...] = (
    _other_size,
    _other_size,
    _other_byte,
    _other_width,
    _noise_before,
    _noise_between,
    _delay_after,
    _deeper,
    _indirect,
    _resize_instead,
)
