"""Tapes: every byte string is a program, every program is a byte string, and C reads them as Python does."""

from __future__ import annotations

import ctypes
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import zmm_fuzz.program as bounds
from zmm_fuzz.generate import PROFILES, generate
from zmm_fuzz.program import LABEL_COUNT_MAX, Program, ProgramError
from zmm_fuzz.tape import NUMBER_TABLE, TAPE_LABEL_MAX, decode, decode_file, encode, encode_file, encode_number
from zmm_fuzz.text import parse_text
from zmm_fuzz.wire import STEP, OpenFlag
from zmm_model.op import OPEN_CODE, SIZE_MAX, WORDS, Operation, Settings

DATA = Path(__file__).parents[1] / "data"
NATIVE = Path(__file__).parents[2] / "fuzz" / "native"


def bare(program: Program) -> tuple[Settings, tuple[Operation, ...]]:
    """What a tape keeps of a program."""
    return program.settings, program.operations


def random_tapes(count: int, seed: int = 1) -> list[bytes]:
    """Random bytes of many lengths, some of them with a plausible beginning."""
    generator = random.Random(seed)
    tapes = [b"", b"\0", b"\xff", b"\xff" * 50, bytes(range(256)), bytes(reversed(range(256)))]
    tapes += [bytes((byte,)) for byte in range(256)]
    tapes += [bytes((32, byte)) * 4 for byte in range(256)]
    while len(tapes) < count:
        body = generator.randbytes(generator.choice((2, 3, 8, 40, 200, 1000)))
        tapes.append(body if generator.random() < 0.5 else bytes((generator.choice((0, 8, 40)),)) + body)
    return tapes


# ---- the body -------------------------------------------------------------------------------------------------------


def test_every_byte_string_is_a_legal_program() -> None:
    """Whatever the bytes, decoding gives a program that breaks no rule of the language."""
    for body in random_tapes(3000):
        assert list(decode(body).problems()) == []


def test_decoded_programs_survive_a_round_trip() -> None:
    """A program that came from a tape goes into a tape and comes back the same."""
    for body in random_tapes(2000, 2):
        program = decode(body)
        assert bare(decode(encode(program))) == bare(program)


@pytest.mark.parametrize("profile", PROFILES)
def test_generated_programs_survive_a_round_trip(profile: str) -> None:
    """decode(encode(p)) is p."""
    for seed in range(30):
        program = generate(seed, profile, 200)
        assert bare(decode(encode(program))) == bare(program)


def test_extreme_programs_survive_a_round_trip() -> None:
    """The highest label, the largest numbers, every setting and every word."""
    operations = []
    for word in WORDS.values():
        for number in (0, 127, 128, 255, 256, 2**32 + 1, SIZE_MAX - 7, SIZE_MAX, *NUMBER_TABLE):
            a, b, c = [number] * len(word.arguments) + [0] * (3 - len(word.arguments))
            for label in (0, 14, 15, 16, 200, TAPE_LABEL_MAX - 1) if word.takes_label else (-1,):
                operations.append(Operation(word.name, label, a, b, c, b"\x01\xff" * 3 if word.takes_text else b""))
    for settings in (
        Settings(SIZE_MAX, "kernel", False, False, 65536, (1, 2, 1 << 20)),
        Settings(1, failing_calls=tuple(range(5, 1029))),
        Settings(extend=False),
        Settings(truncate=False),
    ):
        program = Program(settings, tuple(operations)).validate()
        assert bare(decode(encode(program))) == bare(program)


def test_a_tape_has_a_highest_label() -> None:
    """A program with more labels than a tape can name is refused, with the operation and the remedy."""
    program = Program(operations=(Operation("gc"), Operation("alloc", TAPE_LABEL_MAX, 8)))
    with pytest.raises(ProgramError, match=r"operation 2: label 65536: .*use the text form"):
        encode(program)


def test_an_illegal_program_is_not_encoded() -> None:
    """What cannot be decoded again is not written."""
    with pytest.raises(ProgramError, match="operation 1"):
        encode(Program(operations=(Operation("alloc", LABEL_COUNT_MAX, 8),)))


def test_tapes_are_compact() -> None:
    """An operation takes about four bytes, besides its text."""
    for profile in ("small", "mixed", "large", "huge", "limit"):
        program = generate(1, profile, 2000)
        texts = sum(len(operation.text) for operation in program.operations)
        assert len(encode(program)) - texts < 5 * len(program)


def test_numbers_have_one_shortest_form() -> None:
    """One byte for small numbers and for those of the table, then as many bytes as the number needs."""
    assert [len(encode_number(number)) for number in (0, 127, 4096, SIZE_MAX)] == [1, 1, 1, 1]
    assert encode_number(1000) == b"\xf9\xe8\x03"
    assert encode_number(2**56) == b"\xff" + bytes(7) + b"\x01"


def test_a_cut_tape_reads_as_zeros() -> None:
    """An operation cut off at the end gets zeros for what is missing."""
    assert decode(b"\0\x00\xfa\x01").operations == (Operation("alloc", 0, 1),)
    assert decode(b"\0\x02").operations == (Operation("safe_alloc", 0, 0, 0, 0),)
    assert decode(b"\0\x06\x09ab").operations == (Operation("strdup", 0, text=b"ab"),)


def test_the_format_never_changes_unnoticed() -> None:
    """The example of the text form has these bytes: a change of them is a new version of the format."""
    program = parse_text((DATA / "example.zmm").read_text())
    assert encode_file(program) == (DATA / "example.tape").read_bytes()
    assert bare(decode_file((DATA / "example.tape").read_bytes())) == bare(program)


# ---- files ----------------------------------------------------------------------------------------------------------


def test_a_file_survives_a_round_trip() -> None:
    """Header and body give the program back, and the file's name becomes its origin."""
    program = generate(4, "mixed", 100)
    again = decode_file(encode_file(program), "x.tape")
    assert bare(again) == bare(program)
    assert again.origin == "x.tape"


def test_every_cut_of_a_file_is_noticed() -> None:
    """However much of the end is missing, the file is refused in one line."""
    whole = encode_file(generate(4, "mixed", 20))
    for length in range(len(whole)):
        with pytest.raises(ProgramError, match=r"^x\.tape: (the tape is cut off|the file is empty)"):
            decode_file(whole[:length], "x.tape")


def alter(position: int, byte: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:position] + bytes((data[position] ^ byte,)) + data[position + 1 :]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (alter(0, 1), "not a tape"),
        (alter(8, 2), "unknown tape version 3; this zmm reads version 1"),
        (alter(12, 1), "checksum"),
        (alter(30, 1), "checksum"),
        (lambda data: data + b"\0", "1 bytes after its end"),
        (lambda _: b"zmm-program 1\na = alloc 8\n", "not a tape"),
        (lambda _: b"\x1f\x8b\x08", "not a tape"),
    ],
)
def test_damage_is_named(damage: Callable[[bytes], bytes], said: str) -> None:
    """Each kind of damage has its own line."""
    with pytest.raises(ProgramError) as caught:
        decode_file(damage(encode_file(generate(4, "mixed", 20))), "x.tape")
    assert said in str(caught.value)
    assert str(caught.value).startswith("x.tape: ")


# ---- C --------------------------------------------------------------------------------------------------------------

COMPILERS = [compiler for compiler in ("gcc", "clang-19", "clang") if shutil.which(compiler)]
SHIM = """
#include "tape.h"
size_t shim(const uint8_t *body, size_t length, struct step *steps, uint8_t *text, size_t *text_bytes, size_t *labels)
{
    struct tape tape = tape_decode(body, length, steps, text);
    *text_bytes = tape.text_bytes;
    *labels = tape.label_count;
    return tape.step_count;
}
"""

Decoded = tuple[list[tuple[int, int, int, int, int, int, int]], bytes, int]


@pytest.fixture(scope="module")
def c_decoder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bytes], Decoded]:
    """The C decoder, compiled with every warning an error and with the undefined-behaviour sanitizer's traps."""
    if not COMPILERS:
        pytest.skip("no C compiler here (install gcc or clang)")
    folder = tmp_path_factory.mktemp("tape")
    (folder / "shim.c").write_text(SHIM)
    for compiler in COMPILERS:
        command = [compiler, "-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-Wshadow", "-Wconversion", "-shared"]
        command += ["-fPIC", "-fsanitize=undefined", "-fsanitize-undefined-trap-on-error", f"-I{NATIVE}"]
        if "clang" in compiler:
            command = [word for word in command if word != "-fsanitize-undefined-trap-on-error"]
            command.append("-fsanitize-trap=undefined")
        command += [str(NATIVE / "tape.c"), str(folder / "shim.c"), "-o", str(folder / "shim.so")]
        subprocess.run(command, check=True)
    shim = ctypes.CDLL(str(folder / "shim.so")).shim
    shim.restype = ctypes.c_size_t

    def decoded(body: bytes) -> Decoded:
        steps = ctypes.create_string_buffer(STEP.size * (len(body) + 1))
        text_room = 8 * 1024 + len(body)
        text = ctypes.create_string_buffer(b"\xaa" * (text_room + 16), text_room + 16)
        text_bytes, labels = ctypes.c_size_t(), ctypes.c_size_t()
        count = shim(body, ctypes.c_size_t(len(body)), steps, text, ctypes.byref(text_bytes), ctypes.byref(labels))
        assert count <= len(body) + 1
        assert text_bytes.value <= text_room
        assert text.raw[text_room:] == b"\xaa" * 16, "the decoder wrote beyond the room it asks for"
        rows = list(STEP.iter_unpack(steps.raw[: STEP.size * count]))
        return rows, text.raw[: text_bytes.value], labels.value

    return decoded


def expected_steps(program: Program) -> Decoded:
    """What the C decoder has to say of a program, from Python's decoder."""
    settings = program.settings
    flags = OpenFlag(0)
    if settings.storage == "kernel":
        flags |= OpenFlag.KERNEL
    if settings.extend:
        flags |= OpenFlag.EXTEND
    if settings.truncate:
        flags |= OpenFlag.TRUNCATE
    text = b"".join(number.to_bytes(8, "little") for number in settings.failing_calls)
    calls = len(settings.failing_calls)
    steps = [(OPEN_CODE, int(flags), 0, calls, settings.limit_bytes or 0, settings.data_bytes, 0)]
    for operation in program.operations:
        word = WORDS[operation.word]
        b, c = operation.b, operation.c
        if word.takes_text:
            b, c = len(text), len(operation.text)
            text += operation.text + b"\0"
        steps.append((word.code, 0, 0, operation.label & 0xFFFFFFFF, operation.a, b, c))
    return steps, text, program.label_count()


def test_c_reads_random_bytes_as_python_does(c_decoder: Callable[[bytes], Decoded]) -> None:
    """For any bytes, the steps, the texts and the number of labels are the same."""
    for body in random_tapes(6000, 3):
        assert c_decoder(body) == expected_steps(decode(body)), body.hex()


@pytest.mark.parametrize("profile", PROFILES)
def test_c_reads_programs_as_python_does(c_decoder: Callable[[bytes], Decoded], profile: str) -> None:
    """The same for tapes of real programs, whole and cut off anywhere."""
    body = encode(generate(9, profile, 60))
    for length in range(len(body) + 1):
        assert c_decoder(body[:length]) == expected_steps(decode(body[:length]))


def test_the_bounds_are_the_same_in_c() -> None:
    """The header's bounds are Python's."""
    header = (NATIVE / "tape.h").read_text()
    assert f"TAPE_LABEL_MAX = {TAPE_LABEL_MAX}," in header
    assert f"TAPE_FAILING_MAX = {bounds.FAILING_COUNT_MAX}," in header
    for name, value in (
        ("TAPE_CALL_MAX", bounds.FAILING_CALL_MAX),
        ("TAPE_DATA_MAX", bounds.DATA_BYTES_MAX),
        ("TAPE_STRING_MAX", bounds.TEXT_BYTES_MAX),
    ):
        assert f"{name} = 1 << {value.bit_length() - 1}" in header


def test_the_documented_table_is_the_one_in_use() -> None:
    """The page of formats lists every number of the table, in order."""
    page = (Path(__file__).parents[2] / "docs" / "formats.md").read_text()
    rows = [
        line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ") and line.count("|") == 12
    ]
    numbers = [int(cell) for row in rows[1:] for cell in row[1:]]
    assert tuple(numbers) == NUMBER_TABLE
    assert [int(row[0]) for row in rows[1:]] == list(range(128, 248, 10))
