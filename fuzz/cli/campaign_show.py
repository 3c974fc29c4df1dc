"""How a campaign is shown while it goes: a live table on a terminal, a line now and then everywhere else."""

from __future__ import annotations

import time
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ..campaign.plan import Outcome, Plan, WorkerRow

_PLAIN_LINE_SECONDS = 10.0
_REDRAW_SECONDS = 0.5


class Show:
    """Shows rate, coverage and findings of a campaign; ``quiet`` shows nothing but what has to be said."""

    def __init__(self, console: Console, *, quiet: bool = False) -> None:
        self._console = console
        self._quiet = quiet
        self._plan: Plan | None = None
        self._begin = time.monotonic()
        self._last = self._begin
        self._said: list[str] = []
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.stop()

    def begin(self, plan: Plan) -> None:
        """The engine is built, the workers are about to start."""
        self._plan = plan
        self._begin = self._last = time.monotonic()
        if self._live is not None and not self._quiet:
            self._live.start()
        sanitized = " with sanitizers" if plan.sanitize else ""
        workers = f"cluster {plan.scheduler}" if plan.scheduler else f"{plan.jobs} workers"
        self._plain(f"{plan.engine} on {plan.fuzz_target}{sanitized}, {workers}, {plan.seconds:.0f} s, {plan.corpus}")

    def tick(self, rows: list[WorkerRow], outcome: Outcome) -> None:
        """The workers have moved."""
        now = time.monotonic()
        pause = _REDRAW_SECONDS if self._live is not None else _PLAIN_LINE_SECONDS
        if self._quiet or now - self._last < pause:
            return
        self._last = now
        if self._live is not None:
            self._live.update(self._table(rows, outcome), refresh=True)
        else:
            self._plain(self._line(rows, outcome))

    def say(self, line: str) -> None:
        """Something that has to be said, whatever is shown besides."""
        self._plain(line)

    def _line(self, rows: list[WorkerRow], outcome: Outcome) -> str:
        elapsed = time.monotonic() - self._begin
        rate = outcome.executions / elapsed if elapsed > 0 else 0.0
        crashes = sum(row.crashes for row in rows)
        return (
            f"{elapsed:5.0f} s  {outcome.executions:,} executions, {rate:,.0f}/s, "
            f"coverage {outcome.coverage:,}, features {outcome.features:,}, {crashes} crashes"
        )

    def _table(self, rows: list[WorkerRow], outcome: Outcome) -> Group:
        table = Table(show_edge=False)
        for name in ("worker", "executions", "crashes", "lost"):
            table.add_column(name, justify="left" if name == "worker" else "right")
        for row in rows:
            table.add_row(row.name, f"{row.executions:,}", str(row.crashes), str(len(row.deaths)))
        return Group(Text(self._line(rows, outcome)), table)

    def _plain(self, line: str) -> None:
        if not self._quiet:
            self._console.print(line, markup=False, soft_wrap=True)
