"""Readers of files: whatever the bytes, a program or one clear line; and a reader that breaks its promise is found."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from zmm_fuzz.harness import PYTHON, TARGETS, readers
from zmm_fuzz.harness.readers import READERS, ReaderError
from zmm_fuzz.program import Program
from zmm_model.op import Operation, Settings

DATA = Path(__file__).resolve().parents[1] / "data"


def test_every_reader_is_a_target() -> None:
    """And every target that only Python drives is a reader."""
    assert {name for name, target in TARGETS.items() if target.engines == PYTHON} == set(READERS)


@pytest.mark.parametrize("name", READERS)
def test_a_reader_takes_anything(name: str) -> None:
    """Good files, good files with bytes changed, and bytes that are nothing."""
    generator = random.Random(1)
    good = [path.read_bytes() for path in sorted(DATA.glob("example.*"))] + [b"\x00" + bytes(12)]
    for data in good:
        READERS[name](data)
        for _ in range(60):
            changed = bytearray(data)
            for _ in range(generator.randrange(1, 4)):
                changed[generator.randrange(len(changed))] = generator.randrange(256)
            READERS[name](bytes(changed[: generator.randrange(len(changed) + 1)]))
    for _ in range(100):
        READERS[name](generator.randbytes(generator.randrange(60)))


def test_a_reader_that_loses_something_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer of text that leaves the last operation out comes back as another program."""
    monkeypatch.setattr(readers, "write_text", lambda _: "zmm-program 1\n")
    with pytest.raises(ReaderError, match="another program"):
        READERS["text"](b"zmm-program 1\ngc\n")


def test_a_reader_that_makes_up_something_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder of tapes whose program is not legal."""
    illegal = Program(Settings(), (Operation("alloc", -1, 40),))
    monkeypatch.setattr(readers, "decode", lambda _: illegal)
    monkeypatch.setattr(readers, "encode", lambda _: b"")
    with pytest.raises(ReaderError, match="not legal"):
        READERS["tape-file"](b"")
