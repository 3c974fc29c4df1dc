"""The process in which a mutated model is held against rows that are known to be right.

The exact model must predict them, and the abstract model must accept them. Prints one line of JSON: how the mutant was
found out, or null.
"""

from __future__ import annotations

import json
import marshal
import sys
from pathlib import Path
from typing import Any

from zmm_model.accounting import Accounting
from zmm_model.exact import ExactHeap
from zmm_model.op import Operation, Settings

from ..compare import exact_divergence
from ..judge import judge_rows
from ..predict import pack_rows
from ..program import Program
from ..wire import ROW

# A program as it is written to the file: edition, accounting, whether the exact model predicts it, settings by name,
# operations, rows.
Known = tuple[str, str, bool, dict[str, Any], list[tuple[Any, ...]], bytes]


def write_known(path: Path, known: list[Known]) -> None:
    """Writes programs and their rows in plain values, which no mutated module has a part in."""
    path.write_bytes(marshal.dumps(known))


def hold_model(known: list[Known]) -> dict[str, object] | None:
    """The first row that the models get wrong: which rule, which program, after how many operations."""
    done = 0
    for edition, accounting, exact, settings, operations, rows in known:
        program = Program(Settings(**settings), tuple(Operation(*one) for one in operations))
        if exact:
            predicted = pack_rows(ExactHeap(program.settings, edition).run(program.operations))
            found = exact_divergence(program.operations, predicted, rows)
            if found is not None:
                return _told(
                    found.rule, f"predicts {found.field} {found.expected}, which is {found.actual}", done, found.step
                )
        tuples = list(ROW.iter_unpack(rows))
        broken = judge_rows(program, tuples, edition, Accounting[accounting])
        if broken is not None:
            return _told(broken.rule, f"refuses a row that is right: {broken.actual}", done, broken.step)
        done += len(operations)
    return None


def _told(rule: str, detail: str, done: int, step: int) -> dict[str, object]:
    return {"rule": rule, "detail": detail, "operations": done + step}


def main() -> None:
    """Reads the file that is named, and says what came of it."""
    known: list[Known] = marshal.loads(Path(sys.argv[1]).read_bytes())
    try:
        told = hold_model(known)
    except Exception as error:
        told = {"rule": "EXCEPTION", "detail": f"{type(error).__name__}: {error}", "operations": 0}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
