"""The table of a run: for terminals, for JSON, and as the page in the documents, which can be read back."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .property import CONFIRMED, ENGINES, INCONCLUSIVE, REFUTED, SKIPPED, Property, Result

_STYLES = {CONFIRMED: "green", REFUTED: "bold red", INCONCLUSIVE: "yellow", SKIPPED: "dim"}
_ROW = re.compile(r"^\| `([\w-]+)` \|.*\| (\w+) \| ([\d.]+) \|$", re.MULTILINE)
BEGIN, END = "<!-- zmm prove: begin -->", "<!-- zmm prove: end -->"


def counts(results: Sequence[Result]) -> str:
    """How many of each status, those that there are."""
    words = [(word, sum(result.status == word for result in results)) for word in _STYLES]
    return ", ".join(f"{count} {word}" for word, count in words if count)


def row_line(result: Result) -> str:
    """A result on a plain line."""
    one = result.row
    line = f"{one.name:<25} {one.engine:<11} {result.status:<13} {result.seconds:>7.1f} s  {one.bound}"
    return f"{line}: {result.remark}" if result.remark else line


def print_results(results: Sequence[Result], console: Console) -> None:
    """The whole table: drawn on a terminal; elsewhere the lines have been printed as they came."""
    if not console.is_terminal:
        return
    table = Table(title="zmm prove")
    for name in ("property", "engine", "status"):
        table.add_column(name)
    table.add_column("bound", overflow="fold")
    table.add_column("seconds", justify="right")
    table.add_column("remark", overflow="fold")
    for result in results:
        one = result.row
        status = Text(result.status, style=_STYLES[result.status])
        table.add_row(one.name, one.engine, status, one.bound, f"{result.seconds:.1f}", result.remark)
    console.print(table)


def as_rows(results: Sequence[Result]) -> list[dict[str, Any]]:
    """The results for JSON."""
    return [
        {
            "name": result.row.name,
            "sentence": result.row.sentence,
            "subject": result.row.subject,
            "engine": result.row.engine,
            "bound": result.row.bound,
            "status": result.status,
            "remark": result.remark,
            "cases": result.sound.cases,
            "seconds": round(result.seconds, 2),
            "planted": {
                "file": result.row.change.file,
                "old": result.row.change.old,
                "new": result.row.change.new,
                "status": result.planted.status,
                "remark": result.planted.remark,
            },
        }
        for result in results
    ]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _line(one: Property, status: str, seconds: str) -> str:
    cells = [f"`{one.name}`", one.sentence, one.subject, one.bound, status, seconds]
    return f"| {' | '.join(map(_cell, cells))} |"


def to_markdown(results: Sequence[Result], table: Sequence[Property], before: Mapping[str, tuple[str, str]]) -> str:
    """
    The part of docs/proofs.md that a run writes.

    Args:
        results: of this run.
        table: every property there is.
        before: what the page showed of those that this run left out: they keep their own last run.
    """
    now = {result.row.name: (result.status, f"{result.seconds:.1f}") for result in results}
    shown = {one.name: now.get(one.name) or before.get(one.name) or (SKIPPED, "0.0") for one in table}
    words = [(word, sum(status == word for status, _ in shown.values())) for word in _STYLES]
    lines = [BEGIN, "", f"{len(table)} properties: {', '.join(f'{n} {word}' for word, n in words if n)}.", ""]
    for engine, sentence in ENGINES.items():
        lines += [f"### Engine `{engine}`", "", f"{sentence}.", ""]
        lines += ["| property | says | of | for | status | seconds |", "| --- | --- | --- | --- | --- | --- |"]
        lines += [_line(one, *shown[one.name]) for one in table if one.engine == engine]
        lines.append("")
    return "\n".join([*lines, END])


def has_table(page: str) -> bool:
    """Whether a page has the two lines between which its table stands."""
    return -1 < page.find(BEGIN) < page.find(END)


def replaced(page: str, results: Sequence[Result], table: Sequence[Property]) -> str:
    """
    The page with its table made anew.

    Raises:
        ValueError: the page has no place for a table.
    """
    begin, end = page.find(BEGIN), page.find(END)
    if not has_table(page):
        raise ValueError(f"no lines {BEGIN} and {END}")
    before = {name: (status, seconds) for name, status, seconds in _ROW.findall(page)}
    return page[:begin] + to_markdown(results, table, before) + page[end + len(END) :]


def statuses_in(page: str) -> dict[str, str]:
    """Properties and their statuses as a page shows them."""
    return {name: status for name, status, _ in _ROW.findall(page)}


def changes(page: str, results: Sequence[Result]) -> list[str]:
    """What a page says otherwise than a run, one line for each property that ran."""
    before, now = statuses_in(page), {result.row.name: result.status for result in results}
    return [
        f"{name}: {before.get(name, 'not there')} -> {status}"
        for name, status in now.items()
        if before.get(name) != status
    ]
