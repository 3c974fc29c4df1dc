"""Every program that a campaign has ever kept: it breaks no rule on any level, in either edition, or in the harness."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from zmm_fuzz.campaign.engines import engines_folder
from zmm_fuzz.harness import TARGETS
from zmm_fuzz.harness.build import BuildError, build
from zmm_fuzz.judge import Judge
from zmm_fuzz.load import load_program
from zmm_fuzz.tape import encode

HERE = Path(__file__).resolve().parent
PROGRAMS = sorted(HERE.glob("*.zmm"))
TAPE_TARGETS = [one.name for one in TARGETS.values() if one.kind == "tape" and "replay" in one.engines]
LEVELS = ("zmm:fast", "zmm", "zmm:hardened", "zmm:debug")


@pytest.mark.parametrize("edition", ["zmm", "php-8.2"])
@pytest.mark.parametrize("level", LEVELS)
def test_a_kept_program_agrees_with_the_models(level: str, edition: str) -> None:
    """What was once a finding is none: all programs, judged by the models."""
    with Judge.of(level, edition) as judge:
        found = {path.name: judge.judge(load_program(path)) for path in PROGRAMS}

    assert {name: divergence.story() for name, divergence in found.items() if divergence is not None} == {}
    assert found


def replay(target: str, files: list[Path], *, sanitize: bool) -> subprocess.CompletedProcess[str]:
    """Performs inputs in the harness, without any engine."""
    try:
        # A sanitizer's runtime comes with clang, whose engine performs the files that it is given.
        engine = "libfuzzer" if sanitize else "replay"
        program = build(target, engine=engine, sanitize=sanitize, folder=engines_folder())
    except BuildError as error:
        pytest.skip(str(error))
    return subprocess.run([program, *files], capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("sanitize", [False, pytest.param(True, marks=pytest.mark.nightly)], ids=["plain", "sanitized"])
@pytest.mark.parametrize("target", TAPE_TARGETS)
def test_a_kept_program_passes_in_the_harness(target: str, sanitize: bool, tmp_path: Path) -> None:
    """The shadow model in C, and at night the sanitizers, have nothing to say, either."""
    tapes = []
    for path in PROGRAMS:
        tapes.append(tmp_path / path.stem)
        tapes[-1].write_bytes(encode(load_program(path)))
    done = replay(target, tapes, sanitize=sanitize)

    assert done.returncode == 0, done.stderr


def test_a_kept_input_passes_in_its_harness() -> None:
    """Inputs that are no programs, if there are any: the file's name begins with its harness."""
    for path in sorted(HERE.glob("*.input")):
        done = replay(path.name.partition("-")[0], [path], sanitize=False)

        assert done.returncode == 0, f"{path.name}: {done.stderr}"
