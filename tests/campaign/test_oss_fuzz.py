"""What OSS-Fuzz and ClusterFuzzLite are given: complete, in step with the harness, and working as they would use it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from zmm_fuzz.campaign.dictionary import dictionary
from zmm_fuzz.campaign.seeds import read_seeds, seed_file
from zmm_fuzz.harness import TARGETS, build

ROOT = Path(__file__).resolve().parents[2]
OSS_FUZZ = ROOT / "ci" / "oss-fuzz"
NATIVE = sorted(path.stem for path in (ROOT / "fuzz" / "native" / "harness" / "targets").glob("*.c"))


def words_of(variable: str) -> list[str]:
    """A list in the build script; later assignments count."""
    found = re.findall(rf'\b{variable}="([^"]*)"', (OSS_FUZZ / "build.sh").read_text())
    assert found, variable
    return sorted(str(found[-1]).split())


def test_the_build_script_compiles_what_the_harness_is_made_of() -> None:
    """The same C files as `zmm fuzz` compiles."""
    assert words_of("runner_parts") == sorted(build._RUNNER_PARTS)
    assert words_of("harness_parts") == sorted(build._HARNESS_PARTS)
    assert words_of("engine_parts") == sorted(build.ENGINES["libfuzzer"].parts)
    said = (OSS_FUZZ / "build.sh").read_text()
    for engine in yaml.safe_load((OSS_FUZZ / "project.yaml").read_text())["fuzzing_engines"]:
        assert f"{engine})" in said
        assert f"define=-D{build.ENGINES[engine].define}=1" in said


def test_every_native_harness_has_seeds() -> None:
    """A few short ones; all of them inputs that campaigns begin with, too."""
    assert NATIVE
    assert {name for name in NATIVE if name not in TARGETS} == set()
    for name in NATIVE:
        if TARGETS[name].kind == "tape":
            seeds = read_seeds(seed_file(name))
            assert len(seeds) >= 10, name
            assert max(len(data) for data in seeds) <= 64
            assert seed_file(name).stat().st_size < 20_000


def test_the_dictionary_is_made_of_the_alphabet() -> None:
    """A new word is a new entry: `python -c 'from zmm_fuzz.campaign.dictionary import ...'` writes the file anew."""
    assert (OSS_FUZZ / "tape.dict").read_text() == dictionary()


def test_seeds_are_packed_as_files_named_by_their_contents(tmp_path: Path) -> None:
    """The zip holds each input once, and is the same whenever it is made."""
    archives = [tmp_path / "one.zip", tmp_path / "two.zip"]
    for archive in archives:
        subprocess.run([sys.executable, OSS_FUZZ / "seeds.py", seed_file("heap"), archive], check=True)
    with zipfile.ZipFile(archives[0]) as packed:
        contents = {packed.read(name) for name in packed.namelist()}

    assert contents == set(read_seeds(seed_file("heap")))
    assert archives[0].read_bytes() == archives[1].read_bytes()


def test_the_projects_say_what_their_services_ask_for() -> None:
    """Required keys, known engines and sanitizers; both build with one script."""
    project = yaml.safe_load((OSS_FUZZ / "project.yaml").read_text())
    assert {"homepage", "language", "main_repo", "primary_contact"} <= set(project)
    assert (
        project["language"]
        == yaml.safe_load((ROOT / ".clusterfuzzlite" / "project.yaml").read_text())["language"]
        == "c"
    )
    assert set(project["fuzzing_engines"]) <= {"libfuzzer", "afl", "honggfuzz", "centipede"}
    assert set(project["sanitizers"]) <= {"address", "undefined", "memory"}
    for folder in (OSS_FUZZ, ROOT / ".clusterfuzzlite"):
        image = (folder / "Dockerfile").read_text()
        assert "FROM gcr.io/oss-fuzz-base/base-builder\n" in image
        assert "build.sh $SRC/" in image
        assert (folder / "build.sh").stat().st_mode & 0o111
    assert "ci/oss-fuzz/build.sh" in (ROOT / ".clusterfuzzlite" / "build.sh").read_text()


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("engine", "sanitizer"), [("libfuzzer", "address"), ("libfuzzer", "undefined"), ("afl", "address")]
)
def test_every_fuzzer_builds_and_runs_as_there(engine: str, sanitizer: str, tmp_path: Path) -> None:
    """ci/fuzz_as_oss_fuzz is content with each fuzzer: name, seeds, dictionary, options, a few seconds of fuzzing."""
    command = [str(ROOT / "ci" / "fuzz_as_oss_fuzz"), "--engine", engine, "--sanitizer", sanitizer, "--seconds", "3"]
    done = subprocess.run([*command, "--out", str(tmp_path)], capture_output=True, text=True, check=False)
    if done.returncode == 2:
        pytest.skip(done.stderr.strip())

    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.partition(":")[0] for line in lines] == [f"zmm-fuzz-{name}" for name in NATIVE]
    for name in NATIVE:
        for ending in ("", ".dict", ".options", "_seed_corpus.zip"):
            assert (tmp_path / f"zmm-fuzz-{name}{ending}").is_file()


@pytest.mark.nightly
def test_a_broken_fuzzer_is_noticed(tmp_path: Path) -> None:
    """A tree whose harness violates a rule with its first seed: exit status 1."""
    copy = tmp_path / "zmm"
    for folder in ("ci", "fuzz/native", "fuzz/campaign/seeds", "zmm/core", "zmm/include"):
        shutil.copytree(ROOT / folder, copy / folder)
    entry = copy / "fuzz" / "native" / "harness" / "entry.c"
    entry.write_text(
        entry.read_text().replace("if (harness_target.whole", "__builtin_trap();\n    if (harness_target.whole")
    )
    done = subprocess.run(
        [copy / "ci" / "fuzz_as_oss_fuzz", "--seconds", "1"], capture_output=True, text=True, check=False
    )
    if done.returncode == 2:
        pytest.skip(done.stderr.strip())

    assert done.returncode == 1
    assert "ci/fuzz_as_oss_fuzz: zmm-fuzz-" in done.stderr
