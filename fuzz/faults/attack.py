"""Attacks for the search: legal and illegal steps over a few names, what is wrong with them, and their script."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

# The names of blocks; those of the second heap are apart.
NAMES = tuple("abcdefgh")
SECOND_NAMES = ("x", "y")
SMALL_MAX, LARGE_MAX = 3072, 2 * 1024 * 1024 - 4096
# None near a border: where trims are added, a block must lie in the same kind of place.
SIZES = (8, 16, 40, 64, 128, 320, 1024, 2500, 5000, 8192, 20_480, 65_536, 3_145_728)
_OFFSETS = (1, 8, 16, 32, 48, 64, 128, 4096, 8192, 2_097_152)
VALUES = ("attacker", "attacker+64", "0", "1", "0x4141414141414141")
_BYTES = ("0x41", "0x00", "0xff", "0x01")
_COUNTS = (1, 2, 8, 16, 24, 64)
FOREIGN = ("attacker+64", "attacker+4096-64", "0xdeadbeef010", "st+16", "g+64", "m")
# What gives those of the foreign addresses their names.
_FOREIGN_MAKERS = {"st": "stack st", "g": "static g", "m": "libc_alloc m 64"}
LEGAL = ("alloc", "free", "realloc", "alloc2", "free2", "churn", "gc", "request_end")
MISUSE = (
    *("free_freed", "free_interior", "free_foreign", "free_crossed", "free_wrong_size", "realloc_freed"),
    *("write_freed", "copy_freed", "overflow", "underflow"),
)
# What a program may do with a block of its own matters most, so it comes most often.
_LEGAL_WEIGHTS = (10, 6, 2, 1, 1, 1, 1, 1)
_MISUSE_WEIGHTS = (5, 3, 2, 1, 1, 2, 6, 2, 4, 1)
_WRITES = ("word", "fill", "add", "flip")
_WRITING = ("overflow", "underflow", "write_freed", "copy_freed")


class Step(NamedTuple):
    """One step: what, on which name, with which other name, numbers and kind of write."""

    what: str
    name: str = ""
    other: str = ""
    size: int = 0
    offset: int = 0
    write: str = ""
    value: str = ""


Attack = tuple[Step, ...]


class Line(NamedTuple):
    """A step as it is performed: its line, what is wrong with it (empty: nothing), on which block, and its number."""

    text: str
    misuse: str = ""
    kind: str = ""
    step: int = -1

    @property
    def tag(self) -> str:
        return f"{self.misuse} {self.kind}".strip() if self.misuse else ""


def kind_of(size: int) -> str:
    """What a block of a size lies in, where nothing is added to it."""
    return "small" if size <= SMALL_MAX else "large" if size <= LARGE_MAX else "huge"


def lines_of(attack: Iterable[Step]) -> Iterator[Line]:
    """
    The steps that can be performed, as lines.

    What a step is called is decided here, by what has become of its block meanwhile: a `free_freed` of a live block is
    a plain free. Steps on names without a block, or that would be no misuse and no use either, are left out; so every
    part of an attack is an attack, which delta debugging relies on.
    """
    walk = _Walk()
    for index, step in enumerate(attack):
        for line in walk.lines(step):
            yield line._replace(step=index)


class _Walk:
    """What has become of names, step by step."""

    def __init__(self) -> None:
        self.live: dict[str, bool] = {}
        self.sizes: dict[str, int] = {}
        self.reused: set[str] = set()  # dead names, in whose place another block may lie
        self.collected: set[str] = (
            set()
        )  # dead names that a gc has come after: nothing keeps their memory back any more
        self.made: set[str] = set()

    def lines(self, step: Step) -> Iterator[Line]:
        """The lines of a step: none, one, or one with what it needs before it."""
        what, name = step.what, step.name
        if what in ("alloc", "alloc2"):
            if what == "alloc2":
                yield from self._make("heap@2")
            self._take(name, step.size)
            yield Line(f"alloc{'@2' if what == 'alloc2' else ''} {name} {step.size}")
        elif what == "churn":
            yield Line(f"churn {step.offset} {step.size}")
        elif what == "gc":
            self.collected |= {one for one, lives in self.live.items() if not lives}
            yield Line("gc")
        elif what == "request_end":
            self.live = {one: lives and one in SECOND_NAMES for one, lives in self.live.items()}
            yield Line("request_end")
        elif what == "free_foreign":
            yield from self._make(_FOREIGN_MAKERS.get(step.value.partition("+")[0], ""))
            yield Line(f"free {step.value}", "free-foreign")
        elif name in self.live:
            yield from self._on_block(step)

    def _make(self, line: str) -> Iterator[Line]:
        if line and line not in self.made:
            self.made.add(line)
            yield Line(line)

    def _take(self, name: str, size: int) -> None:
        self.live[name], self.sizes[name] = True, size
        self.reused.discard(name)
        self.collected.discard(name)
        self.reused |= {one for one, lives in self.live.items() if not lives}

    def _drop(self, name: str) -> None:
        self.live[name] = False

    def _about(self, name: str) -> str:
        """What a name's block lies in, and whether another may lie there by now."""
        if name not in self.reused or self.live[name]:
            return kind_of(self.sizes[name])
        return kind_of(self.sizes[name]) + " reused" + (" after gc" if name in self.collected else "")

    def _on_block(self, step: Step) -> Iterator[Line]:
        what, name = step.what, step.name
        about, dead = self._about(name), not self.live[name]
        second = name in SECOND_NAMES
        if what in ("free", "free2", "free_freed"):
            self._drop(name)
            yield Line(f"free{'@2' if second else ''} {name}", "free-freed" if dead else "", about)
        elif what in ("realloc", "realloc_freed") and not second:
            # A block that may stay where it is leaves no second name behind: nobody could tell the two apart.
            other = step.other if dead or kind_of(step.size) != kind_of(self.sizes[name]) else name
            self._drop(name)
            self._take(other, step.size)
            yield Line(f"realloc {other} {name} {step.size}", "realloc-freed" if dead else "", about)
        elif what == "free_interior" and step.offset < self.sizes[name]:
            yield Line(f"free {name}+{step.offset}", "free-interior", about)
        elif what == "free_crossed":
            if not second:
                yield from self._make("heap@2")
            self._drop(name)
            yield Line(f"free{'' if second else '@2'} {name}", "free-crossed", about)
        elif what == "free_wrong_size" and step.size != self.sizes[name]:
            self._drop(name)
            yield Line(f"free_sized {name} {step.size}", "free-wrong-size", about)
        elif what in _WRITING:
            yield from self._writing(step, about, dead=dead)

    def _writing(self, step: Step, about: str, *, dead: bool) -> Iterator[Line]:
        what, name, other = step.what, step.name, step.other
        size = max(8, self.sizes[name])
        if what == "overflow":
            yield Line(_write(step, f"{name}+U({name})+{step.offset}"), "overflow", about)
        elif what == "underflow":
            yield Line(_write(step, f"{name}-{max(8, step.offset)}"), "underflow", about)
        elif what == "write_freed" and dead and step.offset + 8 <= size:
            yield Line(_write(step, f"{name}+{step.offset}"), "write-freed", about)
        elif what == "copy_freed" and dead and not self.live.get(other, True) and other != name:
            count = min(64, size, max(8, self.sizes[other]))
            yield Line(f"copy {name} {other} {count}", "copy-freed", about)


def _write(step: Step, place: str) -> str:
    if step.write == "fill":
        return f"fill {place} {step.value} {step.size}"
    return f"{step.write} {place} {step.value}"


def script_of(attack: Iterable[Step]) -> str:
    """The script: `fault` before the first misuse, `after` behind it; empty when there is none."""
    lines = list(lines_of(attack))
    first = next((index for index, line in enumerate(lines) if line.misuse), None)
    if first is None:
        return ""
    texts = [line.text for line in lines]
    # The detonation asks for blocks of the size that the attack is about.
    sizes = [line.text.split()[2] for line in lines if line.text.startswith("alloc ")]
    head = [f"size {sizes[0]}"] if sizes else []
    return "\n".join([*head, *texts[:first], "fault", texts[first], "after", *texts[first + 1 :]]) + "\n"


def misuses_of(attack: Iterable[Step]) -> tuple[str, ...]:
    """What is wrong with an attack, each thing once: the misuse, and the kind of block where there is one."""
    return tuple(sorted({line.tag for line in lines_of(attack) if line.misuse}))


def without(attack: Attack, tags: Collection[str]) -> Attack:
    """The attack without the steps that misuse in one of these ways."""
    gone = {line.step for line in lines_of(attack) if line.tag in tags}
    return tuple(step for index, step in enumerate(attack) if index not in gone)


def writes_directly(attack: Iterable[Step]) -> bool:
    """Whether the attack itself writes where it may not: a changed block is then no wonder."""
    direct = ("overflow", "underflow", "write-freed", "copy-freed")
    return any(line.misuse in direct for line in lines_of(attack))


# ---- made by chance --------------------------------------------------------------------------------------------------


class Maker:
    """Draws attacks; a few sizes each, so that blocks meet again."""

    def __init__(self, draw: random.Random, *, zend: bool, sized: bool) -> None:
        self.draw = draw
        self.zend = zend
        self.sized = sized
        self.names: tuple[str, ...] = NAMES

    def attack(self) -> Attack:
        """A new attack."""
        draw = self.draw
        sizes = [draw.choice(SIZES) for _ in range(draw.choice((1, 1, 1, 2, 3)))]
        # Few names, all of them with a block at first: so most steps find what they want.
        self.names = tuple(draw.sample(NAMES, draw.randint(2, 5)))
        steps = [Step("alloc", name, size=draw.choice(sizes)) for name in self.names]
        steps += [Step("free", draw.choice(self.names)) for _ in range(draw.randint(0, 3))]
        for _ in range(draw.randint(2, 10)):
            steps.append(self.misuse(sizes) if draw.random() < 0.35 else self.legal(sizes))
        steps += [Step("alloc", draw.choice(NAMES), size=sizes[0]) for _ in range(draw.randint(2, 6))]
        return tuple(steps)

    def mutated(self, attack: Attack, other: Attack) -> Attack:
        """A neighbour of an attack; ``other`` is one to cross it with."""
        draw = self.draw
        steps = list(attack)
        sizes = [step.size for step in steps if step.what == "alloc"] or [64]
        for _ in range(draw.randint(1, 3)):
            place = draw.randrange(len(steps) + 1)
            how = draw.randrange(6)
            if how == 0 and len(steps) > 2:
                del steps[min(place, len(steps) - 1)]
            elif how == 1 and steps:
                steps[min(place, len(steps) - 1)] = self.legal(sizes)
            elif how == 2 and steps:
                steps.insert(place, draw.choice(steps))
            elif how == 3:
                cut = draw.randrange(len(other) + 1)
                steps = steps[:place] + list(other[cut : cut + 6]) + steps[place:]
            else:
                steps.insert(place, self.misuse(sizes) if draw.random() < 0.5 else self.legal(sizes))
        return tuple(steps[:40])

    def legal(self, sizes: Sequence[int]) -> Step:
        """A step that a correct program may make."""
        draw = self.draw
        what = draw.choices(LEGAL, _LEGAL_WEIGHTS)[0]
        size = draw.choice(sizes)
        if what in ("alloc2", "free2", "gc", "request_end") and not self.zend:
            what = "alloc"
        if what in ("alloc2", "free2"):
            return Step(what, draw.choice(SECOND_NAMES), size=size)
        if what == "churn":
            return Step(what, size=size, offset=draw.choice((1, 2, 10, 200)))
        if what == "realloc":
            return Step(
                what, draw.choice(self.names), draw.choice(self.names), size=draw.choice((*sizes, draw.choice(SIZES)))
            )
        return Step(what, draw.choice(self.names), size=size)

    def misuse(self, sizes: Sequence[int]) -> Step:
        """A step that no correct program makes, if its block is in the state that it wants."""
        draw = self.draw
        what = draw.choices(MISUSE, _MISUSE_WEIGHTS)[0]
        if (what == "free_crossed" and not self.zend) or (what == "free_wrong_size" and not self.sized):
            what = "free_freed"
        name, other = draw.choice(self.names), draw.choice(self.names)
        if what == "free_foreign":
            return Step(what, value=draw.choice(FOREIGN))
        if what == "free_crossed" and draw.random() < 0.5:
            name = draw.choice(SECOND_NAMES)
        if what in ("free_wrong_size", "realloc_freed"):
            return Step(what, name, other, size=draw.choice((*sizes, draw.choice(SIZES))))
        if what in ("write_freed", "overflow", "underflow"):
            return self._writing(what, name)
        return Step(what, name, other, offset=draw.choice(_OFFSETS))

    def _writing(self, what: str, name: str) -> Step:
        draw = self.draw
        write = draw.choice(_WRITES)
        value = {
            "word": draw.choice(VALUES),
            "fill": draw.choice(_BYTES),
            "add": draw.choice(("1", "8", "16", "64")),
            "flip": draw.choice(("0x10", "0x40", "0x1000")),
        }[write]
        offset = draw.choice((0, 0, 0, 8, 8, 16, 24, 32, 56))
        return Step(what, name, size=draw.choice(_COUNTS), offset=offset, write=write, value=value)
