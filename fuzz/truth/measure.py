"""How long the suite takes to find each planted bug, over many seeds; every catch is written down at once."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median

from .hunt import SECONDS_MAX, SHRINK_SECONDS, Catch, hunt
from .patch import Patch
from .plant import plant
from .shown import shown_in_c

SEEDS = 20


@dataclass(frozen=True, slots=True)
class Figures:
    """
    What the catches of one bug come to.

    ``found`` of ``seeds`` hunts; the median and the 95th percentile of the seconds to the catch, without shrinking; the
    median of the operations to the catch and of the operations of the shrunk programs (0: none was shrunk); how many C
    reproducers show the bug, and how many do not.
    """

    name: str
    seeds: int
    found: int
    seconds_p50: float
    seconds_p95: float
    operations_p50: int
    size_p50: float
    size_max: int
    shown: int = 0
    not_shown: int = 0

    @property
    def is_good(self) -> bool:
        """Found with every seed, in time at the 95th percentile, and shown by every C reproducer."""
        return 0 < self.seeds == self.found and self.seconds_p95 <= SECONDS_MAX and not self.not_shown


class Catches:
    """
    The catches of all hunts so far, one JSON line each in a file, so that a run that was ended goes on where it was.

    A line counts only for the patch it was made with: a changed patch is measured anew.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known: dict[tuple[str, str, int], Catch] = {}
        if path.exists():
            for line in path.read_text("utf-8").splitlines():
                # A line that was cut off when the disk was full is hunted again.
                if line.endswith("}"):
                    entry = json.loads(line)
                    key = entry.pop("name"), entry.pop("digest"), entry["seed"]
                    self.known[key] = Catch(**entry)

    def of(self, patch: Patch) -> list[Catch]:
        """The catches of a bug, by seed."""
        digest = digest_of(patch)
        return [catch for key, catch in sorted(self.known.items()) if key[:2] == (patch.name, digest)]

    def add(self, patch: Patch, catch: Catch) -> None:
        """Write one more down."""
        digest = digest_of(patch)
        self.known[patch.name, digest, catch.seed] = catch
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"name": patch.name, "digest": digest, **asdict(catch)}) + "\n")


def digest_of(patch: Patch) -> str:
    """Changes with what the patch does and with what finds it, not with its words."""
    what = (patch.hunks, patch.tier, patch.level, sorted(patch.caught_by))
    return hashlib.sha256(repr(what).encode()).hexdigest()[:12]


def measure(
    patches: Sequence[Patch],
    catches: Catches,
    folder: Path,
    *,
    seeds: Iterable[int] = range(SEEDS),
    shrink_seconds: float = SHRINK_SECONDS,
    observe: Callable[[Patch, Catch], None] = lambda _patch, _catch: None,
) -> None:
    """
    Hunt each bug with each seed, all bugs with the first seed first; what is known already is not hunted again.

    :param folder: receives the libraries.
    :param observe: is told of each new catch.
    :raises PlantError: a patch does not apply, or the result does not compile.
    """
    libraries: dict[str, Path] = {}
    for seed in seeds:
        for patch in patches:
            if (patch.name, digest_of(patch), seed) in catches.known:
                continue
            if patch.name not in libraries:
                libraries[patch.name] = plant(patch, folder)
            if patch.level not in libraries:
                libraries[patch.level] = plant(None, folder, level=patch.level)
            library, sound = libraries[patch.name], libraries[patch.level]
            catch, finding = hunt(patch, library, sound, seed, shrink_seconds)
            if catch.rule and shrink_seconds > 0:
                catch = replace(catch, shown=shown_in_c(catch.rule, finding, library, sound))
            catches.add(patch, catch)
            observe(patch, catch)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least ``share`` of all do not exceed; 0 without values."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0


def figures(patch: Patch, catches: Sequence[Catch]) -> Figures:
    """Summarise a bug's hunts; one that found nothing counts with the time after which it was given up."""
    seconds = [catch.seconds if catch.rule else max(catch.seconds, SECONDS_MAX + 1) for catch in catches]
    sizes = [catch.size for catch in catches if catch.size]
    return Figures(
        patch.name,
        len(catches),
        sum(1 for catch in catches if catch.rule),
        round(percentile(seconds, 0.5), 1),
        round(percentile(seconds, 0.95), 1),
        int(percentile([catch.operations for catch in catches], 0.5)),
        median(sizes) if sizes else 0,
        max(sizes, default=0),
        sum(1 for catch in catches if catch.shown is True),
        sum(1 for catch in catches if catch.shown is False),
    )
