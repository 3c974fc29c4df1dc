"""How a run is shown while it goes: a live line on a terminal, a line now and then everywhere else."""

from __future__ import annotations

import time
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from ..tiers.base import Tier, TierResult

_PLAIN_LINE_SECONDS = 10.0
_REDRAW_SECONDS = 0.1


class Show:
    """Shows tiers as they begin, move and end. ``quiet`` shows nothing but what has to be said."""

    def __init__(self, console: Console, *, quiet: bool = False) -> None:
        self._console = console
        self._quiet = quiet
        self._result: TierResult | None = None
        self._task: TaskID | None = None
        self._last = 0.0
        self._progress: Progress | None = None
        if console.is_terminal and not quiet:
            self._progress = Progress(
                TextColumn("{task.description:<11}"),
                BarColumn(bar_width=30),
                TextColumn("{task.fields[count]:>24}"),
                TimeElapsedColumn(),
                console=console,
                transient=True,
            )

    def __enter__(self) -> Self:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def begin(self, tier: Tier, result: TierResult) -> None:
        """A tier begins."""
        self._result = result
        self._last = time.monotonic()
        if self._progress is not None:
            self._task = self._progress.add_task(tier.name, total=tier.goal or None, count="")
        else:
            self._plain(f"{tier.name}: {tier.sentence}")

    def tick(self) -> None:
        """A tier has moved."""
        now = time.monotonic()
        pause = _REDRAW_SECONDS if self._progress is not None else _PLAIN_LINE_SECONDS
        if self._result is None or now - self._last < pause:
            return
        self._last = now
        if self._progress is not None and self._task is not None:
            self._progress.update(
                self._task, completed=min(self._result.operations, self._result.goal or 0), count=_count(self._result)
            )
        else:
            self._plain(f"{self._result.name}: {_count(self._result)}")

    def end(self, result: TierResult) -> None:
        """A tier has ended."""
        if self._progress is not None and self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None
        remark = f" ({result.reason})" if result.reason else ""
        self._plain(f"{result.name}: {result.status}, {_count(result)} in {result.seconds:.1f} s{remark}")

    def say(self, line: str) -> None:
        """Something that has to be said, whatever is shown besides."""
        self._console.print(line, markup=False, soft_wrap=True)

    def _plain(self, line: str) -> None:
        if not self._quiet:
            self._console.print(line, markup=False, soft_wrap=True)


def _count(result: TierResult) -> str:
    return f"{result.operations:,} operations, {result.operations_per_second:,.0f}/s"
