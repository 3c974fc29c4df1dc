"""The record as a table for people: drawn with rich on a terminal, plain lines everywhere else."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .record import DivergenceRecord, Record, TierRecord

_STYLES = {"pass": "green", "fail": "bold red", "inconclusive": "yellow", "skipped": "dim"}


def print_table(record: Record, console: Console) -> None:
    """The result of a run: a row for each tier, then each divergence as a short story, then one line."""
    if console.is_terminal:
        console.print(_table(record))
    else:
        for line in plain_lines(record):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    for tier in record.tiers:
        for divergence in tier.divergences:
            for line in story_lines(tier.name, divergence):
                console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print(
        Text.assemble("zmm verify: ", (record.status, _STYLES.get(record.status, "")), _summary(record)), soft_wrap=True
    )


def _table(record: Record) -> Table:
    table = Table(title=f"{record.target} {record.target_version}, edition {record.edition}, seed {record.seed}")
    table.add_column("tier")
    table.add_column("status")
    table.add_column("programs", justify="right")
    table.add_column("operations", justify="right")
    table.add_column("seconds", justify="right")
    table.add_column("operations/s", justify="right")
    table.add_column("divergences", justify="right")
    table.add_column("remark", overflow="fold")
    for tier in record.tiers:
        table.add_row(
            tier.name,
            Text(tier.status, style=_STYLES.get(tier.status, "")),
            f"{tier.programs:,}",
            f"{tier.operations:,}",
            f"{tier.seconds:.1f}",
            f"{tier.operations_per_second:,.0f}",
            str(len(tier.divergences)),
            tier.reason,
        )
    return table


def plain_lines(record: Record) -> list[str]:
    """The table without a terminal: aligned columns, one tier a line."""
    lines = [f"target {record.target} {record.target_version}, edition {record.edition}, seed {record.seed}"]
    lines.append(
        f"{'tier':<11}{'status':<14}{'programs':>10}{'operations':>14}{'seconds':>9}{'operations/s':>14}"
        f"{'divergences':>13}  remark"
    )
    lines.extend(_plain_line(tier) for tier in record.tiers)
    return [line.rstrip() for line in lines]


def _plain_line(tier: TierRecord) -> str:
    return (
        f"{tier.name:<11}{tier.status:<14}{tier.programs:>10,}{tier.operations:>14,}{tier.seconds:>9.1f}"
        f"{tier.operations_per_second:>14,.0f}{len(tier.divergences):>13}  {tier.reason}"
    )


def story_lines(tier: str, divergence: DivergenceRecord) -> list[str]:
    """A divergence in a few lines: what, where, the program, the files."""
    lines = [
        "",
        f"{tier}: {divergence.rule} at step {divergence.step} ({divergence.operation}): {divergence.field} should be "
        f"{divergence.expected}, is {divergence.actual}",
    ]
    if divergence.sentence:
        lines.append(f"  rule: {divergence.sentence}")
    if divergence.note:
        lines.append(f"  note: {divergence.note}")
    program = divergence.program.rstrip("\n").split("\n")
    shown = program if len(program) <= 24 else [*program[:22], f"... {len(program) - 22} lines more"]
    lines.extend(f"    {line}" for line in shown)
    if divergence.files:
        lines.append(f"  saved: {', '.join(divergence.files)}")
    return lines


def _summary(record: Record) -> str:
    operations = sum(tier.operations for tier in record.tiers)
    divergences = sum(len(tier.divergences) for tier in record.tiers)
    reason = f" ({record.reason})" if record.reason else ""
    return f", {operations:,} operations checked in {record.seconds:.0f} s, {divergences} divergences{reason}"
