"""What the Python models say of a tape that the C harness has played: both of them, row by row."""

from __future__ import annotations

from zmm_model.accounting import Accounting

from ..compare import ROW_BYTES, Divergence, exact_divergence
from ..judge import judge_rows
from ..predict import predict
from ..tape import decode
from ..wire import ROW

# A longer program takes the models longer than a thousand plays; lockstep and the machine play long ones.
OPERATIONS_MAX = 1000


def opinion(body: bytes, rows: bytes, edition: str) -> Divergence | None:
    """
    The first divergence of a play from the models.

    Args:
        body: the tape's body.
        rows: packed rows of the play: opening, one for each operation performed, closing. A play may end early, by its
            work budget; then the program is judged up to there.
        edition: of the exact model.
    """
    program = decode(body)
    performed = len(rows) // ROW_BYTES - 2
    if performed > OPERATIONS_MAX:
        return None
    if performed < len(program.operations):
        program = program.with_operations(program.operations[: max(performed, 0)])
    prediction = predict(program, edition)
    exact = exact_divergence(program.operations, prediction.rows, rows)
    broken = judge_rows(program, list(ROW.iter_unpack(rows)), edition, Accounting.ZENDMM)
    if broken is not None and (exact is None or broken.step < exact.step):
        return broken
    return exact
