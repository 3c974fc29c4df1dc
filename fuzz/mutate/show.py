"""The board for people: in a terminal, as plain lines everywhere else, and as the page `docs/mutation.md`."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from .record import KILLED, DetectionBoard, MutantRow, MutateRecord, TowerBoard

_STYLES = {"pass": "green", "fail": "bold red", "inconclusive": "yellow"}
_HEADS = ("tower", "mutants", "killed", "equivalent", "gaps", "unexplained", "kill rate", "95 % interval", "median s")


def print_board(record: MutateRecord, console: Console) -> None:
    """The towers, what killed, what survived, and one line at the end."""
    for tower in record.towers:
        if console.is_terminal:
            console.print(_table(tower))
        for line in tower_lines(tower, with_head=not console.is_terminal):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    for row in record.survivors:
        console.print(survivor_line(row), markup=False, highlight=False, soft_wrap=True)
    if record.detection_board is not None:
        for line in band_lines(record.detection_board):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    for one in record.detection:
        line = (
            f"{one.key}: found with {one.found} of {one.seeds} seeds, after {one.operations_median:,.0f} operations "
            f"({one.operations_low:,.0f} to {one.operations_high:,.0f}), {one.seconds_median:.2f} s "
            f"({one.seconds_low:.2f} to {one.seconds_high:.2f}): {one.story}"
        )
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    if record.ablation:
        without = [row.rule for row in record.ablation if not row.only_it]
        text = f"ablation: {len(record.ablation)} rules and invariants, each with a bug that only it sees"
        if without:
            text += f", but for {', '.join(without)}"
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    reason = f" ({record.reason})" if record.reason else ""
    console.print(f"zmm mutate: {record.status}{reason}", style=_STYLES[record.status], markup=False, soft_wrap=True)


def _cells(tower: TowerBoard) -> tuple[str, ...]:
    judged = tower.unique - tower.equivalent
    # Figures of nothing would look like figures: a rate of 0 %, a median of 0 s.
    rate = (f"{tower.rate:.1%}", f"{tower.low:.1%} to {tower.high:.1%}") if judged else ("-", "-")
    return (
        tower.tower, f"{tower.unique:,}", f"{tower.killed:,} of {judged:,}", f"{tower.equivalent:,}",
        f"{tower.gaps:,}", f"{tower.unexplained:,}", *rate,
        f"{tower.median_seconds:.2f}" if tower.killed else "-",
    )  # fmt: skip


def _table(tower: TowerBoard) -> Table:
    table = Table(title=f"mutants of the {tower.tower}")
    for head in _HEADS[1:]:
        table.add_column(head, justify="right")
    table.add_row(*_cells(tower)[1:])
    return table


def tower_lines(tower: TowerBoard, *, with_head: bool = True) -> Iterator[str]:
    """A tower's figures as lines."""
    if with_head:
        yield ", ".join(f"{head} {cell}" for head, cell in zip(_HEADS, _cells(tower), strict=True))
    yield (
        f"  {tower.made:,} changes, {tower.tried:,} looked at: {tower.invalid:,} do not compile, {tower.equal:,} "
        f"change nothing, {tower.duplicate:,} are the same as another; {tower.build_seconds:.2f} s to compile one"
    )
    if tower.unique == tower.equivalent:
        yield "  none was tried"
        return
    share = {name: count / max(1, tower.killed) for name, count in tower.by_tier.items()}
    killers = ", ".join(f"{name} {tower.by_tier[name]:,} ({share[name]:.0%})" for name in tower.by_tier)
    yield f"  killed by {killers}" if killers else "  none was killed"
    for name, counts in tower.by_tier_budget.items():
        within = ", ".join(
            f"{count:,} within {one.seconds:.0f} s" for count, one in zip(counts, tower.by_budget, strict=True)
        )
        yield f"    {name}: {within}"
    for one in tower.by_budget:
        bounds = f"{one.low:.1%} to {one.high:.1%}"
        yield f"  within {one.seconds:.0f} s: {one.killed:,} of {one.of:,}, {one.rate:.1%} ({bounds})"


def band_lines(board: DetectionBoard) -> Iterator[str]:
    """What came of all seeds together, as lines."""
    yield f"{board.mutants} mutants under {board.seeds} seeds; medians, and 5 % to 95 % of the seeds"
    for one in board.rates:
        by = "" if one.what == "all" else f" by {one.what}"
        yield f"  killed{by} within {one.seconds:.0f} s: {one.median:.1%} ({one.low:.1%} to {one.high:.1%})"
    operations, seconds = board.operations, board.seconds
    yield f"  operations to a kill: {operations.median:,.0f} ({operations.low:,.0f} to {operations.high:,.0f})"
    yield f"  seconds to a kill: {seconds.median:.2f} ({seconds.low:.2f} to {seconds.high:.2f})"


def survivor_line(row: MutantRow) -> str:
    """A survivor with its key, which is what its reason is filed under."""
    reason = row.reason or f"unexplained after {row.seconds:.0f} s"
    return f"survivor {row.key} {row.file}:{row.line} {row.function}: {row.old} -> {row.new} ({reason})"


# ---- the page --------------------------------------------------------------------------------------------------------


def to_markdown(records: list[MutateRecord], command: str) -> str:
    """`docs/mutation.md`: the boards of one or more runs, written from their JSON."""
    first = records[0]
    parts = [_PREFACE.format(command=command)]
    for record in records:
        parts += _run_section(record)
    survivors = [row for record in records for row in record.survivors]
    parts.append("\n## Who survives\n")
    if survivors:
        parts += ["| mutant | place | change | reason |", "| --- | --- | --- | --- |"]
        parts += [
            f"| `{row.key}` | `{row.file}` {row.function} | {_code(row.old)} becomes {_code(row.new)} | "
            f"{_cell(row.reason or 'unexplained')} |"
            for row in survivors
        ]
    else:
        parts.append("Nobody that is not known to be equivalent (`fuzz/mutate/survivors.toml`).")
    parts += _detection_section([record for record in records if record.detection])
    parts += _ablation_section([record for record in records if record.ablation])
    parts.append(f"\nzmm {first.version}.")
    return "\n".join(parts) + "\n"


_PREFACE = """# The strength of the suite

A suite is worth what it catches. `zmm mutate` plants bugs by rule in the core, in the models and in the Python API,
drops those that the compiler turns into the same machine code (or byte code) as the original or as each other, and
gives every other one to the tiers, cheapest first, until one kills it. This page is written by the command from the
JSON of its runs:

```sh
{command}
```

Seconds are of the processor, of the tiers alone: programs are made and predicted once for all mutants. A rate is of
the mutants that are not known to be equivalent; the interval has 95 % confidence (Wilson). A mutant that makes no
progress for 5 s, and for 20 s when it is tried once more, hangs: that is a kill, and its rule is `HANG`.
"""


def _run_section(record: MutateRecord) -> list[str]:
    parts = []
    for tower in record.towers:
        level = f", level {record.level}" if tower.tower == "core" else ""
        parts += [
            f"\n## Mutants of the {tower.tower}{level}\n",
            f"Seed {record.seed}; {tower.made:,} changes, of which {tower.tried:,} were looked at: {tower.invalid:,} "
            f"do not compile, {tower.equal:,} change nothing, {tower.duplicate:,} are the same as another. Of the "
            f"{tower.unique:,} others {tower.equivalent:,} are known to be equivalent; "
            f"{record.budget_seconds:.0f} s each.",
            f"Measured {record.environment.get('date', 'on a day unknown')}: `zmm mutate --{tower.tower} --sample "
            f"{tower.unique} --time-budget {record.budget_seconds:.0f}s`.",
            *(
                [f"\n{' '.join(filter(None, (record.remark, record.reason and f'({record.reason})')))}"]
                if record.remark or record.reason
                else []
            ),
            "",
            "| budget | killed | rate | 95 % interval |",
            "| ---: | ---: | ---: | --- |",
        ]
        parts += [
            f"| {one.seconds:.0f} s | {one.killed} of {one.of} | {one.rate:.1%} | {one.low:.1%} to {one.high:.1%} |"
            for one in tower.by_budget
        ]
        heads = "".join(f" within {one.seconds:.0f} s |" for one in tower.by_budget)
        parts += ["", f"| tier that killed first | mutants | share |{heads}", "| --- | ---: | ---: |"]
        parts[-1] += " ---: |" * len(tower.by_budget)
        parts += [
            f"| {name} | {count} | {count / max(1, tower.killed):.1%} |"
            + "".join(f" {within} |" for within in tower.by_tier_budget.get(name, ()))
            for name, count in sorted(tower.by_tier.items(), key=lambda item: -item[1])
        ]
        parts += ["", "| kind of change | killed | of |", "| --- | ---: | ---: |"]
        parts += [f"| {name} | {hit} | {of} |" for name, (hit, of) in tower.by_operator.items()]
        parts.append(
            f"\nHalf of the kills took {tower.median_seconds:.2f} s or less, 95 % of them {tower.seconds_95:.2f} s; "
            f"compiling took {tower.build_seconds:.2f} s a mutant."
        )
    return parts


def _detection_section(records: list[MutateRecord]) -> list[str]:
    parts: list[str] = []
    for record in records:
        board = record.detection_board
        parts.append("\n## How soon, over many seeds\n")
        if board is not None:
            parts.append(
                f"{board.mutants} mutants of those above, every file and kind of change with its share, each under the "
                f"tiers with programs of {board.seeds} other seeds, {board.budget_seconds:.0f} s each (`--seeds "
                f"{board.seeds} --seeds-sample {board.mutants}`, {record.environment.get('date', '')}). Medians, and "
                "5 % to 95 % of the seeds; what the cases and the misuse catalogue say does not depend on a seed.\n"
            )
            parts += [
                "| budget | killed by | of the mutants | 5 % to 95 % of the seeds |",
                "| ---: | --- | ---: | --- |",
            ]
            parts += [
                f"| {one.seconds:.0f} s | {'any tier' if one.what == 'all' else one.what} | {one.median:.1%} | "
                f"{one.low:.1%} to {one.high:.1%} |"
                for one in board.rates
            ]
            operations, seconds = board.operations, board.seconds
            parts.append(
                f"\nUp to a kill {operations.median:,.0f} operations are performed ({operations.low:,.0f} to "
                f"{operations.high:,.0f}), in {seconds.median:.2f} s ({seconds.low:.2f} to {seconds.high:.2f}); "
                "medians, and 5 % to 95 % of all kills of all seeds.\n"
            )
        parts += [
            "| mutant | killed | operations | band | seconds | band |",
            "| --- | ---: | ---: | --- | ---: | --- |",
        ]
        parts += [
            f"| `{one.key}` {_cell(one.story)} | {one.found} of {one.seeds} | {one.operations_median:,.0f} | "
            f"{one.operations_low:,.0f} to {one.operations_high:,.0f} | {one.seconds_median:.2f} | "
            f"{one.seconds_low:.2f} to {one.seconds_high:.2f} |"
            for one in record.detection
        ]
    return parts


def _ablation_section(records: list[MutateRecord]) -> list[str]:
    if not records:
        return []
    parts = ["\n## Ablation\n", _ABLATION]
    parts += ["| rule | the bug that only it sees | a mutant of the core that only it sees |", "| --- | --- | --- |"]
    parts += [
        f"| {row.rule} | {_code(row.only_it) or '**none**'} | {_code(row.mutant)} |" for row in records[-1].ablation
    ]
    return parts


_ABLATION = """Each rule is switched off by itself, and a bug is looked for that is then missed. For the rules of the
models the bug is a slip in the rows of a program that is right (`fuzz/mutate/slips.py`); for an invariant it is damage
done to a heap by a case of `tests/core/cases/check.c`, or of a file for the levels that have what is damaged. The last
column is a mutant of the same run whose rows break this rule of the exact comparison and no other.
"""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _code(text: str) -> str:
    quoted = text.replace("`", "'").replace("|", "\\|")
    return f"`{quoted}`" if quoted else ""


def killed_rows(record: MutateRecord) -> list[MutantRow]:
    """The mutants that were killed, the slowest first."""
    return sorted((row for row in record.mutants if row.status == KILLED), key=lambda row: -row.seconds)
