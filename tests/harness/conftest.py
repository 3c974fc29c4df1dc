"""What the tests of the fuzzing harness share: where it is built, cores with planted bugs, the harness as a library."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import importlib.util
import os
import random
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from zmm_fuzz.harness.build import ENGINES, BuildError, build, find_compiler
from zmm_fuzz.truth.patch import read_patch
from zmm_fuzz.truth.plant import replace_once

ROOT = Path(__file__).resolve().parents[2]
ROW_BYTES = 128


@pytest.fixture(scope="session")
def folder() -> Path:
    """Where harnesses are built: kept from run to run, for objects are known by what they are made of."""
    return ROOT / "build" / "harness"


@pytest.fixture
def needs_engine() -> Callable[[str], None]:
    """Leaves a test out, with the remedy as its reason, where an engine's compiler is not here."""

    def need(engine: str) -> None:
        try:
            find_compiler(ENGINES[engine])
        except BuildError as error:
            pytest.skip(str(error))
        if engine == "atheris" and importlib.util.find_spec("atheris") is None:
            pytest.skip("Atheris is not here (pip install 'zmm[fuzz]')")

    return need


Change = tuple[str, str, str]  # a file below zmm/, an old passage, a new one


def core_with(folder: Path, name: str, changes: Sequence[Change]) -> Path:
    """A copy of the core with passages exchanged; its name says what it is made of, so that workers may share it."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        home = Path(scratch) / "zmm"
        for part in ("core", "include"):
            shutil.copytree(ROOT / "zmm" / part, home / part)
        for file, old, new in changes:
            path = home / file
            path.write_text(replace_once(path.read_text(), old, new))
        digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(home.rglob("*.[ch]"))))
        kept = folder / f"{name}-{digest.hexdigest()[:12]}"
        with contextlib.suppress(OSError):  # another worker was quicker
            Path(scratch, "zmm").rename(kept)
    return kept / "core"


@pytest.fixture(scope="session")
def cores(folder: Path) -> Path:
    """Where copies of the core lie."""
    home = folder / "cores"
    home.mkdir(parents=True, exist_ok=True)
    return home


@pytest.fixture(scope="session")
def changed_core(cores: Path) -> Callable[[str, str, str, str], Path]:
    """A copy of the core in which one passage is another one."""
    return lambda name, file, old, new: core_with(cores, name, [(file, old, new)])


@pytest.fixture(scope="session")
def planted_core(cores: Path) -> Callable[[str], Path]:
    """A copy of the core with a bug of tests/planted."""

    def plant(name: str) -> Path:
        patch = read_patch(ROOT / "tests" / "planted" / f"{name}.patch")
        changes = [(file.removeprefix("zmm/"), old, new) for file, old, new in patch.hunks]
        return core_with(cores, name, changes)

    return plant


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., tuple[int, str]]:
    """Gives one input to a replaying executable; returns its status and what it said."""

    def play(path: Path, body: bytes, **environment: str) -> tuple[int, str]:
        tape = tmp_path / "input"
        tape.write_bytes(body)
        done = subprocess.run(
            [path, tape],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=120,
            check=False,
            env=dict(os.environ, **environment),
        )
        return done.returncode, done.stderr

    return play


class Library:
    """The harness of a target as a library of this process: plays that break no rule, and rows judged."""

    def __init__(self, path: Path) -> None:
        self._library = ctypes.CDLL(str(path))
        self._library.zmm_harness_rows.restype = ctypes.c_void_p
        self._library.zmm_harness_judge.restype = ctypes.c_char_p
        for name in ("mutate", "cross"):
            getattr(self._library, f"zmm_harness_{name}").restype = ctypes.c_size_t
        self._library.zmm_harness_prepare()

    def play(self, body: bytes) -> bytes | None:
        """The rows of a play; None when the target does not want the tape."""
        if self._library.zmm_harness_take_exactly(body, ctypes.c_size_t(len(body))) < 0:
            return None
        count = ctypes.c_size_t()
        address = self._library.zmm_harness_rows(ctypes.byref(count))
        return ctypes.string_at(address, ROW_BYTES * count.value)

    def judge(self, body: bytes, rows: bytes) -> str | None:
        """What the shadow model says of rows, as "RULE: step N (word): ..."."""
        count = ctypes.c_size_t(len(rows) // ROW_BYTES)
        said = self._library.zmm_harness_judge(body, ctypes.c_size_t(len(body)), rows, count)
        return None if said is None else str(said.decode())

    def mutate(self, body: bytes, most: int, seed: int) -> bytes:
        """One mutation; asserts that nothing was written behind the buffer."""
        guard = b"\xa5" * 64
        room = ctypes.create_string_buffer(body.ljust(most, b"\xee")[:most] + guard, most + 64)
        length = self._library.zmm_harness_mutate(
            room, ctypes.c_size_t(min(len(body), most)), ctypes.c_size_t(most), ctypes.c_uint32(seed)
        )
        assert length <= most
        assert room.raw[most:] == guard
        return room.raw[:length]

    def cross(self, one: bytes, other: bytes, most: int, seed: int) -> bytes:
        """One crossing; asserts the same."""
        guard = b"\xa5" * 64
        room = ctypes.create_string_buffer(b"\xee" * most + guard, most + 64)
        lengths = [ctypes.c_size_t(len(one)), ctypes.c_size_t(len(other))]
        length = self._library.zmm_harness_cross(
            one, lengths[0], other, lengths[1], room, ctypes.c_size_t(most), ctypes.c_uint32(seed)
        )
        assert length <= most
        assert room.raw[most:] == guard
        return room.raw[:length]


@pytest.fixture(scope="session")
def heap_library(folder: Path) -> Library:
    """Target `heap`."""
    return Library(build("heap", folder=folder, engine="library"))


def random_bodies(count: int, seed: int, most: int = 200) -> list[bytes]:
    """Bodies of tapes of random bytes, some with a plausible first byte."""
    generator = random.Random(seed)
    bodies = []
    for _ in range(count):
        body = generator.randbytes(generator.randrange(most))
        # The highest bits are for words of misuse, which the harness does not play.
        first = generator.randrange(64) if generator.random() < 0.5 else generator.choice((0, 1, 8, 9, 40))
        bodies.append(bytes((first,)) + body)
    return bodies
