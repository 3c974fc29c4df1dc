"""What the tests of campaigns share: a stand-in for an engine, and a way to run the command line with it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from zmm_fuzz.campaign.engines import Engine

HERE = Path(__file__).resolve().parent
CLANGS = ("clang-19", "clang", "clang-18", "clang-17", "clang-16", "clang-15", "clang-14")


@pytest.fixture(scope="session")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of engines: the stand-in, under the names of the real ones."""
    clang = next((name for name in CLANGS if shutil.which(name)), None)
    if clang is None:
        pytest.skip("needs clang with libFuzzer (Debian: apt-get install clang-19 libclang-rt-19-dev)")
    folder = tmp_path_factory.mktemp("engines")
    command = [clang, "-O1", "-Wall", "-Wextra", "-Werror", "-fsanitize=fuzzer", str(HERE / "stand_in.c")]
    subprocess.run([*command, "-o", str(folder / "zmm-fuzz-heap")], check=True)
    return folder


@pytest.fixture
def engine(engines: Path) -> Engine:
    """The stand-in, without any rule that inputs break."""
    return Engine("libfuzzer", "heap", engines / "zmm-fuzz-heap")


@pytest.fixture
def planted(engines: Path) -> Callable[[str], Engine]:
    """The stand-in with rules that inputs break (see stand_in.c)."""
    return lambda rules: Engine("libfuzzer", "heap", engines / "zmm-fuzz-heap", environment={"STAND_IN": rules})


@pytest.fixture
def environment(environment: dict[str, str], engines: Path) -> dict[str, str]:
    """The environment of a command that finds the stand-in where it looks for engines."""
    return {**environment, "ZMM_FUZZ_ENGINES": str(engines)}
