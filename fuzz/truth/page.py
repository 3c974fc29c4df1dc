"""The ground truth as a page: every bug with its source, what it did, what finds it, and the figures measured last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from .measure import Figures
from .patch import Patch

_HEAD = """\
# Ground truth

Bugs that allocators really had, planted in our core: each as a patch that makes the core do what the other allocator
did, as far as our core can express it. The suite has to find every one of them. Below them, bugs of our own.

The page is made by `ci/truth page` from the heads of the patches (`tests/truth/*.patch`,
`tests/planted/*.patch`) and from the figures of the last `ci/truth measure` that `ci/truth keep` has kept
(`tests/truth/figures.json`).

How to read a row. *Found by* is the tier, or `faults` for the misuse catalogue, and the rules (or faults) one of which
speaks. *Hunts* are the seeds with which it was found, of those tried. *Seconds* are the median and the 95th percentile
of the processor time of one worker and its target up to the catch, without shrinking (budget: 60); on an idle machine
that is the time on the clock. *Operations* were performed up to then; a tier judges whole batches, so that nothing is
found in less than one of them. *Reproducer* is the median size of the shrunk programs in operations (for the misuse
catalogue: the lines of the fault). *In C* are the C reproducers that compile, show the bug on the library that has it
and nothing on the one that has not, of those tried.
"""


def page(truth: Sequence[Patch], planted: Sequence[Patch], known: Mapping[str, Figures], remark: str) -> str:
    """
    Return the page as Markdown.

    :param known: the figures of each bug that was measured, by name.
    :param remark: under which circumstances they were measured.
    """
    projects = sorted({patch.project for patch in truth}, key=str.lower)
    parts = [_HEAD, f"\n{len(truth)} bugs of {len(projects)} projects, {len(planted)} of our own.\n"]
    parts.append(f"\n{_summary(known, [*truth, *planted])}{remark}\n")
    parts.append("\n## Real bugs\n\n")
    parts.append("| bug | there | here | found by | hunts | seconds | operations | reproducer | in C |\n")
    parts.append("| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n")
    for patch in truth:
        there = f"[{patch.project}]({patch.source}): {patch.did}"
        parts.append(f"| `{patch.name}` | {there} | {patch.breaks} | {_finder(patch)} | {_cells(known, patch)} |\n")
    parts.append("\n## Bugs of our own\n\n")
    parts.append("| bug | here | found by | hunts | seconds | operations | reproducer | in C |\n")
    parts.append("| --- | --- | --- | --- | --- | --- | --- | --- |\n")
    for patch in planted:
        parts.append(f"| `{patch.name}` | {patch.breaks} | {_finder(patch)} | {_cells(known, patch)} |\n")
    return "".join(parts)


def _finder(patch: Patch) -> str:
    level = f", level {patch.level}" if patch.level != "release" else ""
    return f"{patch.tier}{level}: {', '.join(sorted(patch.caught_by))}"


def _cells(known: Mapping[str, Figures], patch: Patch) -> str:
    found = known.get(patch.name)
    if found is None:
        return "- | - | - | - | -"
    seconds = f"{found.seconds_p50:.1f} / {found.seconds_p95:.1f}"
    shown = f"{found.shown} of {found.shown + found.not_shown}"
    return f"{found.found} of {found.seeds} | {seconds} | {found.operations_p50:,} | {found.size_p50:g} | {shown}"


def _summary(known: Mapping[str, Figures], patches: Sequence[Patch]) -> str:
    measured = [known[patch.name] for patch in patches if patch.name in known]
    if not measured:
        return "Nothing has been measured yet. "
    good = sum(1 for one in measured if one.is_good)
    size = median(one.size_p50 for one in measured if one.size_p50)
    shown = sum(one.shown for one in measured)
    tried = shown + sum(one.not_shown for one in measured)
    return (
        f"Of {len(measured)} bugs measured, {good} are found with every seed within 60 seconds at the 95th percentile; "
        f"the median of their reproducers is {size:g} operations. {shown:,} of {tried:,} C reproducers show their bug. "
    )
