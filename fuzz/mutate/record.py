"""The record of `zmm mutate`: what became of each mutant, and the JSON of schema 1 that is made of it."""

from __future__ import annotations

import msgspec

from .statistics import Interval, interval

KILLED, SURVIVED, KNOWN = "killed", "survived", "equivalent"
INVALID, EQUAL, DUPLICATE, LOST = "invalid", "equal", "duplicate", "lost"
PASS, FAIL, INCONCLUSIVE = "pass", "fail", "inconclusive"
BUDGETS = (10.0, 60.0, 600.0)


class MutantRow(msgspec.Struct, frozen=True, omit_defaults=True):
    """
    One mutant. ``status`` is ``killed``, ``survived`` (``seconds`` spent without a kill), ``equivalent`` (known to be:
    ``reason`` says why), ``invalid``, ``equal`` (to the original's machine code) or ``duplicate`` (of another's).
    """

    key: str
    tower: str
    file: str
    function: str
    line: int
    old: str
    new: str
    operator: str
    status: str
    tier: str = ""
    rule: str = ""
    detail: str = ""
    seconds: float = 0.0
    operations: int = 0
    build_seconds: float = 0.0
    budget_seconds: float = 0.0
    reason: str = ""
    rules: tuple[str, ...] = ()
    program: str = ""
    digest: str = ""


class BudgetRate(msgspec.Struct, frozen=True):
    """How many mutants were killed within a budget each; ``low`` and ``high`` bound the rate with 95 % confidence."""

    seconds: float
    killed: int
    of: int
    rate: float
    low: float
    high: float


class TowerBoard(msgspec.Struct, frozen=True):
    """
    The figures of one tower. ``rate`` is killed of those not known to be equivalent, with its 95 % interval.

    ``by_tier`` counts the tier that killed first, ``by_tier_budget`` those of its kills that took no longer than each
    budget of ``by_budget``; ``by_operator`` is (killed, not equivalent).
    """

    tower: str
    made: int
    tried: int
    invalid: int
    equal: int
    duplicate: int
    unique: int
    killed: int
    equivalent: int
    gaps: int
    unexplained: int
    rate: float
    low: float
    high: float
    by_tier: dict[str, int]
    by_budget: list[BudgetRate]
    by_operator: dict[str, tuple[int, int]]
    median_seconds: float
    seconds_95: float
    build_seconds: float
    by_tier_budget: dict[str, list[int]] = {}


class DetectionRun(msgspec.Struct, frozen=True):
    """One mutant under programs of one seed: the tier that killed it (empty: none within the budget), and how soon."""

    seed: int
    tier: str
    operations: int
    seconds: float


class DetectionRow(msgspec.Struct, frozen=True):
    """
    How long the tiers need to find one mutant, over several seeds: medians and 90 % bands of the seeds that found it.

    ``operations`` are those performed before it, 0 where a tier without any has killed it with every seed.
    """

    key: str
    story: str
    seeds: int
    found: int
    operations_low: float
    operations_median: float
    operations_high: float
    seconds_low: float
    seconds_median: float
    seconds_high: float
    runs: tuple[DetectionRun, ...] = ()


class BandRow(msgspec.Struct, frozen=True):
    """What came of each seed of a sample: median, and the bounds between which 90 % of the seeds lie."""

    what: str
    seconds: float
    low: float
    median: float
    high: float


class DetectionBoard(msgspec.Struct, frozen=True):
    """
    A sample of mutants under the tiers with several seeds.

    ``rates`` are the shares killed within each budget, by any tier (``what`` is "all") and by each one first.
    ``operations`` and ``seconds`` are of all kills of all seeds.
    """

    mutants: int
    seeds: int
    budget_seconds: float
    rates: list[BandRow]
    operations: BandRow
    seconds: BandRow


class AblationRow(msgspec.Struct, frozen=True):
    """
    A rule or invariant, and the planted bug that is missed when it alone is off; empty when there is none.

    ``mutant`` is a mutant of the core of the same run whose rows break this rule and no other, if there was one.
    """

    rule: str
    sentence: str
    only_it: str
    kind: str
    mutant: str = ""


class MutateRecord(msgspec.Struct, frozen=True, omit_defaults=False):
    """Everything of a run."""

    schema: int
    status: str
    reason: str
    version: str
    level: str
    seed: int
    seconds: float
    budget_seconds: float
    towers: list[TowerBoard]
    survivors: list[MutantRow]
    detection: list[DetectionRow]
    ablation: list[AblationRow]
    mutants: list[MutantRow]
    environment: dict[str, str]
    detection_board: DetectionBoard | None = None
    remark: str = ""


def make_board(tower: str, made: int, rows: list[MutantRow], budget_seconds: float, gaps: set[str]) -> TowerBoard:
    """The figures of a tower from its rows."""
    count = {status: sum(row.status == status for row in rows) for status in
             (KILLED, SURVIVED, KNOWN, INVALID, EQUAL, DUPLICATE)}  # fmt: skip
    judged = [row for row in rows if row.status in (KILLED, SURVIVED)]
    killed = [row for row in judged if row.status == KILLED]
    whole = interval(len(killed), len(judged))
    budgets = []
    for seconds in BUDGETS:
        if seconds > budget_seconds * 1.01 and any(row.status == SURVIVED for row in judged):
            continue
        hits = sum(row.seconds <= seconds for row in killed)
        one = interval(hits, len(judged))
        budgets.append(BudgetRate(seconds, hits, len(judged), one.rate, one.low, one.high))
    operators: dict[str, tuple[int, int]] = {}
    for row in judged:
        hit, of = operators.get(row.operator, (0, 0))
        operators[row.operator] = (hit + (row.status == KILLED), of + 1)
    tiers: dict[str, int] = {}
    within: dict[str, list[int]] = {}
    for row in killed:
        tiers[row.tier] = tiers.get(row.tier, 0) + 1
        counts = within.setdefault(row.tier, [0] * len(budgets))
        for index, one_budget in enumerate(budgets):
            counts[index] += row.seconds <= one_budget.seconds
    times = sorted(row.seconds for row in killed)
    builds = [row.build_seconds for row in judged]
    explained = sum(row.key in gaps for row in judged if row.status == SURVIVED)
    return TowerBoard(
        tower, made, len(rows), count[INVALID], count[EQUAL], count[DUPLICATE], len(judged) + count[KNOWN],
        len(killed), count[KNOWN], explained, count[SURVIVED] - explained, whole.rate, whole.low, whole.high, tiers,
        budgets, dict(sorted(operators.items())), _quantile(times, 0.5), _quantile(times, 0.95),
        sum(builds) / len(builds) if builds else 0.0, within,
    )  # fmt: skip


def _quantile(values: list[float], share: float) -> float:
    return values[min(len(values) - 1, int(share * len(values)))] if values else 0.0


def encode(record: MutateRecord) -> bytes:
    """The record as JSON."""
    return msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"


def decode(data: bytes) -> MutateRecord:
    """The record of a JSON file."""
    return msgspec.json.decode(data, type=MutateRecord)


__all__ = ["Interval", "MutantRow", "MutateRecord", "TowerBoard", "decode", "encode", "make_board"]
