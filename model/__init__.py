"""
The specification: what an allocator must do (abstract), and what ZendMM does exactly.

``op`` is the alphabet of programs, ``outcome`` what is seen of each operation.  ``exact`` predicts
every number of every row for an edition; ``abstract`` accepts or refuses a row of any allocator.
Pure: no clock, no randomness, no files; only the standard library.
"""

from .abstract import AbstractHeap
from .accounting import Accounting
from .exact import ExactHeap
from .op import WORDS, Operation, Settings, Word
from .outcome import STATUS_WORDS, Row
from .rules import RULES, Rule, Violation

__all__ = [
    "RULES",
    "STATUS_WORDS",
    "WORDS",
    "AbstractHeap",
    "Accounting",
    "ExactHeap",
    "Operation",
    "Row",
    "Rule",
    "Settings",
    "Violation",
    "Word",
]
