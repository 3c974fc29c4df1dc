"""The wire format: Python's twin of abi.h, packing and unpacking."""

from __future__ import annotations

import re
import struct
from enum import IntEnum
from pathlib import Path

import pytest
from zmm_fuzz import session as session_module
from zmm_fuzz import wire
from zmm_model import outcome, storage
from zmm_model.op import CLOSE_CODE, OPEN_CODE, WORDS, Operation, Settings
from zmm_model.outcome import Row

ABI = Path(__file__).parents[2] / "fuzz" / "native" / "abi.h"
TARGET = ABI.with_name("target.h")
SIZES = {"uint8_t": 1, "uint16_t": 2, "uint32_t": 4, "uint64_t": 8, "double": 8}
LETTERS = {"uint8_t": "B", "uint16_t": "H", "uint32_t": "I", "uint64_t": "Q", "double": "d"}


def read_c(path: Path) -> str:
    return re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)


def enum_values(name: str, path: Path = ABI) -> dict[str, int]:
    """The members of a C enum, with a count upwards where no value is given."""
    match = re.search(rf"enum {name} {{(.*?)}}", read_c(path), re.DOTALL)
    assert match is not None, name
    values: dict[str, int] = {}
    for member in filter(None, (part.strip() for part in match[1].split(","))):
        key, _, value = member.partition("=")
        values[key.strip()] = ord(value.strip()[1]) if "'" in value else int(value, 0) if value else len(values)
    return values


def struct_fields(name: str) -> list[tuple[str, str]]:
    """The fields of a C struct as (name, type), in order."""
    match = re.search(rf"struct {name} {{(.*?)}};", read_c(ABI), re.DOTALL)
    assert match is not None, name
    fields = []
    for kind, names in re.findall(r"(\w+) ([^;]+);", match[1]):
        fields += [(field.strip(), kind) for field in names.split(",")]
    return fields


def packed_format(name: str) -> str:
    return "<" + "".join(LETTERS[kind] for _, kind in struct_fields(name))


@pytest.mark.parametrize(
    ("name", "size"), [("step", wire.STEP.size), ("row", wire.ROW.size), ("message", 8), ("header", 144)]
)
def test_structs_have_no_padding_and_pythons_size(name: str, size: int) -> None:
    """Each field lies at a multiple of its size, and the sizes add up to Python's."""
    offset = 0
    for field, kind in struct_fields(name):
        assert offset % SIZES[kind] == 0, field
        offset += SIZES[kind]
    assert offset == size == struct.calcsize(packed_format(name))


def test_a_rows_fields_are_those_of_the_model() -> None:
    """The row without its reserved fields names the fields of Row, in order, at the places of the format."""
    fields = struct_fields("row")
    assert tuple(name for name, _ in fields if not name.startswith("reserved")) == Row._fields
    values = list(range(1, len(fields) + 1))
    packed = struct.pack(packed_format("row"), *values)
    kept = [value for value, (name, _) in zip(values, fields, strict=True) if not name.startswith("reserved")]
    assert list(wire.ROW.unpack(packed)) == kept


def test_steps_messages_and_header_have_the_formats_of_c() -> None:
    """The same letters, in the same order."""
    assert packed_format("step") == wire.STEP.format
    assert packed_format("message") == wire.MESSAGE.format
    assert packed_format("header").count("Q") == 17
    assert wire.HEADER.size == struct.calcsize(packed_format("header"))


def test_the_sessions_offsets_are_the_headers() -> None:
    """Each offset that the session reads or writes is that of the field it is named for."""
    offsets: dict[str, int] = {}
    offset = 0
    for name, kind in struct_fields("header"):
        offsets[name] = offset
        offset += SIZES[kind]
    names = {
        "step_count": "_STEP_COUNT",
        "expand_from": "_EXPAND_FROM",
        "rows_done": "_ROWS_DONE",
        "progress": "_PROGRESS",
        "burst_progress": "_BURST_PROGRESS",
        "messages_bytes": "_MESSAGES_USED",
        "messages_lost": "_MESSAGES_LOST",
        "expanded": "_EXPANDED",
        "heap_open": "_HEAP_OPEN",
    }
    assert {name: getattr(session_module, python) for name, python in names.items()} == {
        name: offsets[name] for name in names
    }


def test_step_codes_are_the_words_codes() -> None:
    """STEP_* for every word of the alphabet, and the codes that no program contains."""
    codes = enum_values("step_op")
    assert {name.removeprefix("STEP_").lower().replace("misuse_", "misuse."): code for name, code in codes.items()} == {
        **{word.name: word.code for word in WORDS.values()},
        "open": OPEN_CODE,
        "close": CLOSE_CODE,
        "burst": wire.BURST_CODE,
        "read": wire.READ_CODE,
    }


@pytest.mark.parametrize(
    ("name", "prefix", "twin"),
    [
        ("open_flag", "OPEN_", wire.OpenFlag),
        ("burst_profile", "BURST_", wire.BurstProfile),
        ("burst_flag", "BURST_", wire.BurstFlag),
        ("message_kind", "MESSAGE_", wire.MessageKind),
    ],
)
def test_enums_have_pythons_values(name: str, prefix: str, twin: type[IntEnum]) -> None:
    """Member by member."""
    members = {member.removeprefix(prefix): value for member, value in enum_values(name).items()}
    assert members == {member.name: member.value for member in twin}


def test_the_runners_statuses_are_the_models() -> None:
    """target.h and outcome.py number the statuses alike."""
    for name, value in enum_values("status", TARGET).items():
        assert getattr(outcome, name.removeprefix("STATUS_")) == value


def test_the_bounds_are_those_of_c() -> None:
    """Constants that both sides name."""
    text = read_c(ABI)
    for name in ("STORAGE_LIVE_MAX", "BURST_TEXT_BYTES"):
        match = re.search(rf"{name} = (\d+)", text)
        assert match is not None
        assert int(match[1]) == getattr(wire, name)
    assert wire.STORAGE_LIVE_MAX == storage.LIVE_MAPPINGS_MAX
    assert "LABELS_MAX = 1 << 24" in text
    assert wire.LABELS_MAX == 1 << 24
    assert "STORAGE_BYTES_MAX ((uint64_t)8 << 30)" in text
    assert wire.STORAGE_BYTES_MAX == 8 << 30
    assert f"HEADER_MAGIC 0x{wire.HEADER_MAGIC:08x}U" in text
    assert f"ABI_VERSION = {wire.ABI_VERSION}" in text


def test_steps_come_back_as_the_operations_they_were() -> None:
    """Every word, with the largest arguments, texts included."""
    top = 2**64 - 1
    operations = []
    for word in WORDS.values():
        arguments = [top - index for index in range(len(word.arguments))]
        text = b"hello" if word.takes_text else b""
        a, b, c = (*arguments, 0, 0, 0)[:3]
        operations.append(Operation(word.name, 7 if word.takes_label else -1, a, b, c, text))
    operations += [Operation("strdup", 1), Operation("strndup", 2, 0)]
    texts = wire.TextArea()
    steps = wire.pack_steps(operations, texts)
    assert len(steps) == len(operations) * wire.STEP.size
    assert wire.unpack_steps(steps, bytes(texts)) == operations


def test_equal_texts_are_kept_once_and_end_in_a_nul() -> None:
    """An offset for each text; numbers lie at multiples of 8."""
    texts = wire.TextArea()
    first = texts.add(b"abc")
    assert texts.add(b"abc") == first
    assert texts.add(b"") == 0
    numbers = texts.add_numbers([1, 2**64 - 1])
    area = bytes(texts)
    assert area[first : first + 4] == b"abc\0"
    assert area[0] == 0
    assert numbers % 8 == 0
    assert struct.unpack_from("<2Q", area, numbers) == (1, 2**64 - 1)


def test_the_opening_says_what_the_settings_say() -> None:
    """Flags, limit, data, and the failing calls in ascending order, each once."""
    texts = wire.TextArea()
    settings = Settings(
        limit_bytes=4096, storage="kernel", extend=False, truncate=True, data_bytes=20, failing_calls=(3, 1, 3)
    )
    opening = wire.pack_open(settings, texts, edition="php-8.2", edges=True, all_calls=True)
    op, flags, _, count, limit, data, offset = wire.STEP.unpack(opening)
    flag = wire.OpenFlag
    assert op == OPEN_CODE
    assert flags == flag.KERNEL | flag.TRUNCATE | flag.PHP | flag.EDGES | flag.ALL_CALLS
    assert (count, limit, data) == (2, 4096, 20)
    assert struct.unpack_from("<2Q", bytes(texts), offset) == (1, 3)
    with pytest.raises(ValueError, match=r"unknown edition 'php-9'"):
        wire.pack_open(Settings(), texts, edition="php-9")


def test_messages_come_out_in_order_with_their_step() -> None:
    """Texts are padded to a multiple of 8; an area that ends in the middle ends the list."""
    area = b""
    for step, text in ((0, b""), (3, b"12345678"), (9, b"one")):
        area += wire.MESSAGE.pack(step, 1, len(text)) + text + bytes(-len(text) % 8)
    messages = wire.unpack_messages(area, 100)
    assert messages == [(100, 1, ""), (103, 1, "12345678"), (109, 1, "one")]
    assert wire.unpack_messages(area[:-12], 100) == messages[:2]


def test_a_burst_is_one_step() -> None:
    """Seed, operations, and profile, flags and labels in one word."""
    burst = wire.Burst(2**64 + 5, 10, wire.BurstProfile.CHURN, wire.BurstFlag.GC | wire.BurstFlag.LIMITS, 77)
    assert wire.STEP.unpack(burst.pack()) == (
        wire.BURST_CODE, 0, 0, wire.NO_LABEL, 5, 10, 4 | 1024 | 512 | 77 << 32,
    )  # fmt: skip
