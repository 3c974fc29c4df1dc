"""The alphabet: what its table says of a word is what the models do with it."""

from __future__ import annotations

import pytest
from zmm_model.abstract import AbstractHeap
from zmm_model.accounting import Accounting
from zmm_model.exact import LABELS_MAX, ExactHeap
from zmm_model.op import MISUSE, WORDS, Operation, Settings
from zmm_model.outcome import DONE, SKIPPED, Row

WORD_NAMES = sorted(WORDS)
# Numbers that suit every word: `strndup` copies three bytes of its text, `limit` accepts more than a chunk.
NUMBERS = {"strndup": (3, 0, 0), "limit": (3 << 20, 0, 0)}
TEXT = b"text"


def performed(operation: Operation, *before: Operation) -> Row:
    """The row of an operation in a heap of its own, behind others."""
    *_, row, _ = ExactHeap(Settings(), "zmm", "release").run((*before, operation))
    return Row._make(row)


def operation(name: str, text: bytes = TEXT) -> Operation:
    word = WORDS[name]
    numbers = NUMBERS.get(name, (40, 2, 3))[: len(word.arguments)]
    a, b, c = (*numbers, 0, 0, 0)[:3]
    return Operation(name, 0 if word.takes_label else -1, a, b, c, text)


@pytest.mark.parametrize("name", WORD_NAMES)
def test_words_that_make_blocks_make_one(name: str) -> None:
    """Behind such a word an empty label holds a block, and behind no other."""
    assert (performed(operation(name)).block_bytes > 0) == WORDS[name].makes_block


@pytest.mark.parametrize("name", WORD_NAMES)
def test_words_that_take_a_text_copy_it(name: str) -> None:
    """A text says how large the block is, or whether there are so many bytes to copy; others do not look at it."""
    rows = {performed(operation(name, text)) for text in (b"", TEXT, 100 * TEXT)}
    assert (len(rows) > 1) == WORDS[name].takes_text


@pytest.mark.parametrize("name", WORD_NAMES)
def test_words_that_take_a_label_look_at_it(name: str) -> None:
    """What becomes of such a word depends on the block that its label holds; of all others it does not."""
    block = Operation("alloc", 0, 300)
    rows = []
    for label in (0, 1):
        row = performed(operation(name)._replace(label=label), block)
        rows.append((row.status, row.size, row.text_crc))
    assert (rows[0] != rows[1]) == WORDS[name].takes_label


@pytest.mark.parametrize("name", WORD_NAMES)
def test_words_have_no_more_arguments_than_they_name(name: str) -> None:
    """Numbers beyond the named ones change nothing."""
    said = operation(name)
    rest = ("a", "b", "c")[len(WORDS[name].arguments) :]
    assert performed(said) == performed(Operation._make({**said._asdict(), **dict.fromkeys(rest, 7)}.values()))


def test_only_misuse_is_called_so() -> None:
    """Whoever makes programs without misuse leaves out these words and no other."""
    assert {name for name in WORDS if name.startswith("misuse.")} == MISUSE
    assert len(MISUSE) == 12


@pytest.mark.parametrize("name", ["alloc", "calloc", "safe_alloc", "strdup", "strndup"])
def test_no_label_is_so_great(name: str) -> None:
    """A label beyond the table is skipped, and whoever performs it all the same is told so."""

    def broken_by(label: int, row: Row) -> str | None:
        heap = AbstractHeap(Settings(), Accounting.NONE)
        heap.open(Row(DONE))
        said = heap.step(operation(name)._replace(label=label), row)
        return said.rule if said is not None else None

    performed_all_the_same = Row(DONE, 0, 0, 4096, 64)
    assert broken_by(LABELS_MAX, performed_all_the_same) == "ABS-2"
    assert broken_by(LABELS_MAX, Row(SKIPPED)) is None
    assert broken_by(LABELS_MAX - 1, Row(SKIPPED)) == "ABS-2"
    assert broken_by(LABELS_MAX - 1, performed_all_the_same) != "ABS-2"
