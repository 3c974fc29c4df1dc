"""The detection matrix for people: coloured on a terminal, plain lines everywhere else."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .classify import MEANINGS
from .record import FaultsRecord, RatesRecord

# Green: stopped in time; yellow: too late, or a crash; red: silent harm; dim: nothing to be said.
STYLES = {
    "D": "green",
    "R": "green",
    "s": "cyan",
    "L": "green",
    "l": "yellow",
    "S": "yellow",
    "C": "bold red",
    "c": "red",
    "H": "red",
    "n": "magenta",
    "E": "dim",
    "-": "dim",
    "!": "bold yellow",
}
_STATUS_STYLES = {"pass": "green", "fail": "bold red", "inconclusive": "yellow"}
_COLUMN = 10
_PRICES = (
    ("pair_ns", "pair of 40 B, ns"),
    ("random_ns", "random to 512 B, ns"),
    ("large_ns", "4 to 36 KiB, ns"),
    ("instructions", "instructions a pair"),
    ("memory", "resident / requested"),
)


def print_matrix(record: FaultsRecord, console: Console) -> None:
    """The matrix, the rates, the prices when they were measured, and the result line."""
    if console.is_terminal:
        console.print(_table(record))
        console.print(_rates_table(record))
    else:
        for line in plain_lines(record):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    for target in record.targets:
        for alarm in target.alarms:
            console.print(f"{target.name}: FALSE ALARM: {alarm}", markup=False, soft_wrap=True)
        if target.broken_promises:
            line = f"{target.name} promises to stop and does not: {' '.join(target.broken_promises)}"
            console.print(line, markup=False, soft_wrap=True)
    for name, reason in record.missing.items():
        console.print(f"{name}: left out: {reason}", markup=False, soft_wrap=True)
    style = _STATUS_STYLES[record.status]
    console.print(
        Text.assemble("zmm faults: ", (record.status, style), f": {record.reason}" if record.reason else ""),
        soft_wrap=True,
    )


def _cells(record: FaultsRecord) -> dict[tuple[str, str], str]:
    return {(cell.fault, cell.target): cell.code + ("~" if cell.mixed else "") for cell in record.rows}


def _table(record: FaultsRecord) -> Table:
    cells = _cells(record)
    table = Table(title=f"{len(record.faults)} faults, {record.runs} runs each", box=None, pad_edge=False)
    table.add_column("fault")
    table.add_column("title", overflow="ellipsis", no_wrap=True, max_width=44)
    for target in record.targets:
        table.add_column(target.name, justify="center")
    for fault in record.faults:
        texts = [cells[fault.id, target.name] for target in record.targets]
        table.add_row(fault.id, fault.title, *(Text(text, style=STYLES[text[0]]) for text in texts))
    table.caption = "  ".join(f"{code} {meaning}" for code, meaning in MEANINGS.items())
    return table


def rate_rows(record: FaultsRecord) -> Iterator[tuple[str, list[str]]]:
    """The rates and prices: a name, then a text for each target."""

    def row(name: str, pick: str) -> tuple[str, list[str]]:
        return name, [_percent(target.rates, pick) for target in record.targets]

    yield "faults that apply", [str(target.rates.faults) for target in record.targets]
    yield row("stopped in time", "in_time")
    yield row("diagnosed", "diagnosed")
    yield row("at once", "at_once")
    yield row("silent harm", "silent")
    if any(target.sources for target in record.targets):
        for title, pick in (("in time", "in_time"), ("diagnosed", "diagnosed"), ("silent harm", "silent")):
            yield (
                f"variants less their faults: {title}",
                [_points(target.rates, target.sources, pick) for target in record.targets],
            )
    classes = dict.fromkeys(kind for target in record.targets for kind in target.classes)
    for kind in classes:
        texts = []
        for target in record.targets:
            rates = target.classes.get(kind)
            texts.append(f"{rates.in_time * 100:.0f}/{rates.silent * 100:.0f}" if rates else "-")
        yield f"{kind}: in time/silent", texts
    for name, title in _PRICES:
        if any(name in target.prices for target in record.targets):
            yield title, [_price(target.prices.get(name)) for target in record.targets]


def _points(rates: RatesRecord, sources: RatesRecord | None, name: str) -> str:
    return f"{(getattr(rates, name) - getattr(sources, name)) * 100:+.1f}" if sources else "-"


def _price(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _percent(rates: RatesRecord, name: str) -> str:
    value: float = getattr(rates, name)
    return f"{value * 100:.0f}%" if rates.faults else "-"


def _rates_table(record: FaultsRecord) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for target in record.targets:
        table.add_column(target.name, justify="right")
    for name, texts in rate_rows(record):
        table.add_row(name, *texts)
    return table


def plain_lines(record: FaultsRecord) -> list[str]:
    """The matrix without a terminal: one fault a line, columns as wide as their names."""
    cells = _cells(record)
    widths = [max(len(target.name) + 1, 9) for target in record.targets]

    def line(first: str, texts: list[str], width: int = 26) -> str:
        return (
            first.ljust(width) + " " + "".join(text.rjust(size) for text, size in zip(texts, widths, strict=True))
        ).rstrip()

    lines = [line("fault", [target.name for target in record.targets], _COLUMN)]
    lines += [
        line(fault.id, [cells[fault.id, target.name] for target in record.targets], _COLUMN) for fault in record.faults
    ]
    lines.append(line("", [target.name for target in record.targets]))
    lines += [line(name, texts) for name, texts in rate_rows(record)]
    return lines
