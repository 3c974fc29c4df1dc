"""The text form: what it means, that it survives a round trip, and what is said about mistakes in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from zmm_fuzz.generate import PROFILES, generate
from zmm_fuzz.program import Program, ProgramError
from zmm_fuzz.text import parse_text, quoted, write_text
from zmm_model.op import WORDS, Operation, Settings

EXAMPLE = (Path(__file__).parents[1] / "data" / "example.zmm").read_text()


def test_the_example_of_the_format_is_understood() -> None:
    """Every line of the documented example becomes the operation it says."""
    program = parse_text(EXAMPLE)
    assert program.settings == Settings(limit_bytes=8388608)
    assert program.names == ()
    assert program.operations == (
        Operation("alloc", 0, 40),
        Operation("write", 0, 0, 40, 7),
        Operation("calloc", 1, 10, 8),
        Operation("safe_alloc", 2, 3, 16, 8),
        Operation("realloc", 0, 128),
        Operation("realloc2", 0, 64, 32),
        Operation("strdup", 18, text=b"hello"),
        Operation("strndup", 19, 3, text=b"hello"),
        Operation("free", 0),
        Operation("limit", -1, 4194304),
        Operation("gc"),
        Operation("reset_peak"),
        Operation("request_end"),
        Operation("check"),
    )


def test_every_word_has_a_text_form() -> None:
    """No word of the alphabet is lost between writing and reading."""
    operations = []
    for word in WORDS.values():
        a, b, c = [5, 6, 7][: len(word.arguments)] + [0] * (3 - len(word.arguments))
        label = 0 if word.takes_label else -1
        operations.append(Operation(word.name, label, a, b, c, b"x" if word.takes_text else b""))
    program = Program(operations=tuple(operations))
    assert parse_text(write_text(program)) == program


@pytest.mark.parametrize("profile", PROFILES)
def test_generated_programs_survive_a_round_trip(profile: str) -> None:
    """Written and read again, a program is the same; read and written again, a text is the same."""
    for seed in range(20):
        program = generate(seed, profile, 120, anchor=bool(seed % 2))
        text = write_text(program)
        assert parse_text(text) == program
        assert write_text(Program(*_parts(parse_text(text)), origin=program.origin)) == text


def _parts(program: Program) -> tuple[Settings, tuple[Operation, ...], tuple[str, ...]]:
    return program.settings, program.operations, program.names


def test_all_settings_survive_a_round_trip() -> None:
    """Each keyword of the heap line is written and read."""
    settings = Settings(123456789, "kernel", False, False, 99, (1, 5, 1000))
    text = write_text(Program(settings))
    assert "heap limit=123456789 storage=kernel extend=no truncate=no data=99 fail=1,5,1000" in text
    assert parse_text(text).settings == settings


def test_names_of_the_writer_are_kept() -> None:
    """Labels with names of their own are numbered in order of appearance and written under these names."""
    text = "zmm-program 1\nnode = alloc 24\nheap = alloc 8\nnode = realloc node 48\nfree heap\n"
    program = parse_text(text)
    assert program.names == ("node", "heap")
    assert [operation.label for operation in program.operations] == [0, 1, 0, 1]
    assert write_text(program) == text


def test_comments_and_blanks_mean_nothing() -> None:
    """Comments, blank lines, tabs and carriage returns are passed over; a # inside a text is part of it."""
    program = parse_text('# first\n\nzmm-program 1 # version\r\n\t a=strdup "# no comment" # but this\r\n\r\n')
    assert program.operations == (Operation("strdup", 0, text=b"# no comment"),)


def test_a_label_may_be_taken_before_any_block_was_made() -> None:
    """A label is a variable that starts out empty, so a program may free it first."""
    assert parse_text("zmm-program 1\nfree a\n").operations == (Operation("free", 0),)


def test_every_byte_can_stand_in_a_text() -> None:
    """A literal may hold any byte but NUL, and is plain ASCII when written."""
    text = bytes(range(1, 256))
    assert quoted(text).isascii()
    assert parse_text(f"zmm-program 1\na = strdup {quoted(text)}").operations[0].text == text


def test_numbers_may_be_hexadecimal_and_grouped() -> None:
    """0x10 and 1_000 are numbers, too."""
    program = parse_text("zmm-program 1\na = calloc 0x10 1_000\n")
    assert program.operations == (Operation("calloc", 0, 16, 1000),)


def test_a_gap_in_the_labels_survives() -> None:
    """Standard names carry their number even if others are missing."""
    program = Program(operations=(Operation("alloc", 700, 8), Operation("free", 3)))
    assert parse_text(write_text(program)) == program


HEAD = "zmm-program 1\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file is empty"),
        (" \n\n", "the file is empty"),
        ("# only this\n", "nothing but comments"),
        ("a = alloc 8\n", "line 1: not a program: the first line must be 'zmm-program 1'"),
        ("zmm-program 2\n", "line 1: unknown format version '2'"),
        ("zmm-program\n", "line 1: unknown format version"),
        (HEAD + "\n\na = alocc 8", "line 4: unknown word 'alocc'; did you mean 'alloc'?"),
        (HEAD + "fnord", "line 2: unknown word 'fnord'; known are alloc"),
        (HEAD + "a = alloc -1", "line 2: size_bytes is -1; numbers are never negative"),
        (HEAD + "a = alloc 18446744073709551616", "more than the 18446744073709551615"),
        (HEAD + f"a = alloc {'9' * 6000}", "possible"),
        (HEAD + "a = alloc 0x", "not a number"),
        (HEAD + "a = alloc 12k", "'12k' is not a number for size_bytes"),
        (HEAD + "a = alloc", "line 2: 'alloc' takes 1 numbers, 0 given; write 'LABEL = alloc SIZE_BYTES'"),
        (HEAD + "a = alloc 1 2", "takes 1 numbers, 2 given"),
        (HEAD + "a =", "nothing after '='"),
        (HEAD + "alloc 8", "needs a label for it"),
        (HEAD + "a = free", "makes no block"),
        (HEAD + "free", "'free' needs a label; write 'free LABEL'"),
        (HEAD + "free 1x", "'1x' is not a label"),
        (HEAD + "gc now", "'gc' takes nothing: unexpected 'now'"),
        (HEAD + "a = realloc b 8", "resizes the block of its own label: write 'a = realloc a ...', not 'b'"),
        (HEAD + "a = realloc", "needs the label again"),
        (HEAD + "a = strdup hello", "needs a text in double quotes"),
        (HEAD + 'a = strdup "hello', "without its closing quote"),
        (HEAD + r'a = strdup "\q"', "unknown escape"),
        (HEAD + r'a = strdup "\x00"', "NUL"),
        (HEAD + "heap size=1", "unknown setting 'size'"),
        (HEAD + "heap limti=1", "did you mean 'limit'?"),
        (HEAD + "heap limit", "needs a value"),
        (HEAD + "heap limit=0", "a limit of 0 bytes"),
        (HEAD + "heap limit=1 limit=2", "given twice"),
        (HEAD + "heap storage=disk", "storage=handlers or storage=kernel"),
        (HEAD + "heap extend=maybe", "write extend=yes or extend=no"),
        (HEAD + "heap fail=0", "counted from 1"),
        (HEAD + "heap fail=1,,2", "not a number"),
        (HEAD + "heap data=99999999", "more than the"),
        (HEAD + "heap\nheap", "line 3: a second 'heap' line"),
        (HEAD + "gc\nheap limit=1", "line 3: 'heap' must come before the first operation"),
        ("zmm\0program", "a NUL byte at offset 3"),
    ],
)
def test_a_mistake_is_named_with_its_line(text: str, said: str) -> None:
    """Every mistake gives one line: where, what, and what to write instead."""
    with pytest.raises(ProgramError) as caught:
        parse_text(text, "p.zmm")
    message = str(caught.value)
    assert message.startswith("p.zmm: ")
    assert said in message
    assert "\n" not in message


def test_binary_garbage_is_no_text() -> None:
    """Bytes that are no UTF-8 are refused with the offset of the first bad one."""
    with pytest.raises(ProgramError, match=r"p\.zmm: not a text: byte 0xff at offset 2"):
        parse_text(b"ab\xff\xfe", "p.zmm")
