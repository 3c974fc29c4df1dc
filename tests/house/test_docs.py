"""What the documents show is true: examples run, commands exist, and the tests they name are there."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

PAGES = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "DIVERGENCES.md", "CHANGELOG.md", "tests/README.md")
REFERENCE = ("docs/formats.md", "docs/faults.md", "docs/ground_truth.md", "docs/fuzz.md", "docs/proofs.md")
BIN = Path(sys.executable).parent
Run = Callable[[list[str], Path], subprocess.CompletedProcess[str]]


def blocks(root: Path, page: str, language: str) -> list[str]:
    """The fenced blocks of a language on a page."""
    return re.findall(rf"^```{language}\n(.*?)^```", (root / page).read_text(), re.DOTALL | re.MULTILINE)


def shown_output(root: Path, page: str, after: str) -> str:
    """The text block that follows a block."""
    text = (root / page).read_text()
    found = re.match(r".*?^```text\n(.*?)^```", text[text.index(after) + len(after) :], re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


@pytest.fixture
def run() -> Run:
    """Runs a command as a user with .venv active would, anywhere but in the tree."""

    def run_command(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
        environment = dict(os.environ, PATH=f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}", PYTHONSAFEPATH="1")
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)

    return run_command


def test_the_python_of_the_readme_prints_what_it_says(root: Path, run: Run, tmp_path: Path) -> None:
    """As written, in an empty folder."""
    (program,) = blocks(root, "README.md", "python")
    (tmp_path / "example.py").write_text(program)
    done = run([sys.executable, "example.py"], tmp_path)

    assert done.stderr == ""
    assert done.stdout == shown_output(root, "README.md", program)


def test_the_c_of_the_readme_compiles_and_prints_what_it_says(root: Path, run: Run, tmp_path: Path) -> None:
    """With the very commands that stand below it, from the installed header and library."""
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler as cc (Debian: apt-get install gcc libc6-dev)")
    (program,) = blocks(root, "README.md", "c")
    (commands,) = [block for block in blocks(root, "README.md", "sh") if "cc example.c" in block]
    (tmp_path / "example.c").write_text(program)
    done = run(["sh", "-e", "-c", commands], tmp_path)

    assert done.stderr == ""
    assert done.stdout == shown_output(root, "README.md", program)


def test_the_examples_are_as_short_as_promised(root: Path) -> None:
    """About ten lines each: whoever needs more has not found the right function."""
    for language in ("python", "c"):
        (program,) = blocks(root, "README.md", language)
        assert len([line for line in program.splitlines() if line.strip()]) <= 12


def test_the_finding_of_the_readme_is_the_one_that_is_found(root: Path, run: Run, tmp_path: Path) -> None:
    """The program it shows diverges on the library it names, at the step and with the values it shows."""
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler as cc (Debian: apt-get install gcc libc6-dev)")
    (commands,) = [block for block in blocks(root, "README.md", "sh") if "tests/planted/build.py" in block]
    plant, verify = (shlex.split(line, comments=True) for line in commands.splitlines())
    built = run([sys.executable, str(root / plant[1]), str(tmp_path), *plant[3:]], root)
    assert built.returncode == 0, built.stderr
    library = built.stdout.strip()
    assert verify[verify.index("--target") + 1] == f"zmm:{plant[2]}/{Path(library).name}"

    (finding,) = [block for block in blocks(root, "README.md", "text") if "EXACT-" in block]
    lines = finding.splitlines()
    program = "".join(f"{line.strip()}\n" for line in lines[2:])
    (tmp_path / "found.zmm").write_text(program)
    done = run([str(BIN / "zmm"), "replay", "found.zmm", "--target", f"zmm:{library}"], tmp_path)

    assert done.returncode == 1, done.stdout + done.stderr
    tier, _, story = lines[0].partition(": ")
    assert tier == verify[verify.index("--tier") + 1]
    assert [f"replay: {story}", *lines[1:2]] == done.stdout.splitlines()[:2]


def shell_lines(root: Path) -> list[tuple[str, list[str]]]:
    """Every command line of every page, split into words, without those that end in a program of the system's."""
    found = []
    for page in PAGES:
        for block in blocks(root, page, "sh"):
            for line in block.splitlines():
                words = shlex.split(line, comments=True)
                if words and "=" not in words[0].partition("/")[0]:
                    found.append((page, words))
    return found


@cache
def options_of(command: str) -> str:
    done = subprocess.run([BIN / "zmm", command, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"zmm {command}: {done.stderr}"
    return done.stdout


def test_every_command_that_is_shown_exists(root: Path) -> None:
    """Scripts are there and may be executed, modules and paths exist, `zmm` knows each command and each option."""
    lines = shell_lines(root)
    assert len(lines) > 15
    for page, words in lines:
        program, arguments = words[0].removeprefix(".venv/bin/"), words[1:]
        if program.startswith("ci/"):
            assert os.access(root / program, os.X_OK), f"{page}: {program}"
            arguments = arguments if program != "ci/verify" else ["verify", *arguments]
        if program in {"zmm", "ci/verify"} and arguments:
            shown = options_of(arguments[0])
            unknown = [word for word in arguments if word.startswith("--") and word not in shown]
            assert unknown == [], f"{page}: zmm {arguments[0]}"
        if program in {"python", "python3"} and arguments[0] != "-c":
            assert (root / arguments[0]).is_file(), f"{page}: {arguments[0]}"
        elif program not in {"zmm", "cc", "./example", "clang-format-19"} and not program.startswith("ci/"):
            assert (BIN / program).exists(), f"{page}: {program}"
        for word in arguments:
            if re.fullmatch(r"(?:tests|zmm|model|fuzz|ci)/[\w/.*]+", word):
                assert list(root.glob(word)), f"{page}: {word}"


def test_inline_commands_exist(root: Path) -> None:
    """`zmm NAME` and `ci/NAME` in running text, with their options."""
    for page in (*PAGES, *REFERENCE):
        for code in re.findall(r"`((?:zmm|ci/\w+) ?[^`\n]*)`", (root / page).read_text()):
            words = code.split()
            if words[0].startswith("ci/"):
                assert (root / words[0].partition(":")[0]).exists(), f"{page}: {code}"
            elif len(words) > 1 and words[0] == "zmm" and words[1].isalpha() and words[1].islower():
                shown = options_of(words[1])
                assert [word for word in words if word.startswith("--") and word not in shown] == [], f"{page}: {code}"


def test_every_path_that_is_named_exists(root: Path) -> None:
    """Links and file names in running text: a renamed file takes its mentions along."""
    for page in (*PAGES, *REFERENCE):
        text = re.sub(r"^```.*?^```", "", (root / page).read_text(), flags=re.DOTALL | re.MULTILINE)
        folder = (root / page).parent
        for target in re.findall(r"\]\((?!http)([^)#]+)\)", text):
            assert (folder / target).exists(), f"{page}: {target}"
        for named in re.findall(r"`((?:\.ci|ci|docs|fuzz|model|tests|zmm)/[\w./*-]+)(?:::\w+)?`", text):
            assert "NAME" in named or list(root.glob(named)), f"{page}: {named}"


def pinning_names(root: Path, path: str) -> set[str]:
    """The tests of a Python file, or the cases of a C file."""
    text = (root / path).read_text()
    tests = re.findall(r"^(?:    )?def (test_\w+)", text, re.MULTILINE)
    return {*tests, *re.findall(r"^CASE\w*\((\w+)\)", text, re.MULTILINE)}


def test_every_divergence_names_a_test_that_exists(root: Path) -> None:
    """Each row ends with what pins it, as `file::test`; a C case is `tests/core/cases/file.c::case`."""
    rows = [line for line in (root / "DIVERGENCES.md").read_text().splitlines() if re.match(r"\| [DEK]\d+ \|", line)]
    assert len(rows) >= 20
    for row in rows:
        named = re.findall(r"`([\w/.]+)::(\w+)`", row.rstrip("| ").rpartition("|")[2])
        assert named != [], row
        for path, test in named:
            assert (root / path).is_file(), f"{path} in {row}"
            assert test in pinning_names(root, path), f"{path}::{test} in {row}"


def test_every_figure_of_a_speed_stands_beside_its_command(root: Path) -> None:
    """No page claims operations a second or times: they are printed by commands, and differ on every machine."""
    claim = re.compile(
        r"\b[\d,.]+ ?(?:k|M|million )?(?:ops|operations|calls)?(?:/s| a second| per second)|\b[\d.]+ ?(?:ns|µs|us|ms)\b"
    )
    for page in PAGES:
        found = [line for line in (root / page).read_text().splitlines() if claim.search(line)]
        assert found == [], page
