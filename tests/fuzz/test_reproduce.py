"""Reproducers: each file means the finding; the C file compiles anywhere and shows the bug, or that it is not there."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from zmm_fuzz.compare import RULES, Divergence, operation_at
from zmm_fuzz.generate import PROFILES, generate
from zmm_fuzz.program import Program
from zmm_fuzz.reproduce import reproducers
from zmm_fuzz.reproduce.c_source import c_source
from zmm_fuzz.tape import decode_file
from zmm_fuzz.targets import TargetError, find_target
from zmm_fuzz.text import parse_text
from zmm_fuzz.tiers.base import Finding

DATA = Path(__file__).parents[1] / "data"
HEADERS = Path(__file__).parents[2] / "zmm" / "include"
STRICT = ("-std=gnu11", "-Wall", "-Wextra", "-Werror", "-Wshadow", "-Wconversion")
COMPILERS = [compiler for compiler in ("gcc", "clang-19", "clang") if shutil.which(compiler)]

pytestmark = pytest.mark.skipif(not COMPILERS, reason="no C compiler here (install gcc or clang)")


def finding(
    program: Program,
    step: int,
    target: str,
    *,
    edition: str = "zmm",
    rule: str = "EXACT-PLACE",
    field: str = "place",
    expected: str = "",
    against: str = "",
) -> Finding:
    """A finding as the tiers make them."""
    operation = operation_at(program.operations, step)
    divergence = Divergence(rule, step, operation, field, expected, "something else", RULES.get(rule, "A sentence."))
    return Finding(divergence, program, target, edition, against)


def compiled(found: Finding, folder: Path, compiler: str = COMPILERS[0] if COMPILERS else "", *flags: str) -> Path:
    """The reproducer's executable."""
    source, binary = folder / "repro.c", folder / "repro"
    source.write_text(c_source(found))
    subprocess.run([compiler, *flags, str(source), "-o", str(binary), "-ldl"], check=True)
    return binary


def run(found: Finding, folder: Path, *library: str) -> tuple[int, str]:
    """Exit status and output of the reproducer."""
    result = subprocess.run(
        [compiled(found, folder), *library], capture_output=True, text=True, timeout=60, check=False
    )
    return result.returncode, result.stdout + result.stderr


def library(name: str, bug: int, folder: Path, *flags: str) -> str:
    """A library with a planted bug (0: without)."""
    path = folder / f"{name}-{bug}.so"
    command = [COMPILERS[0], "-O1", "-shared", "-fPIC", "-fno-builtin", "-Wl,-Bsymbolic", f"-DBUG={bug}"]
    subprocess.run([*command, *flags, str(DATA / f"{name}.c"), "-o", str(path), "-ldl"], check=True)
    return str(path)


def found_library(target: str) -> str:
    """The library of a target, or the test is skipped with the reason."""
    try:
        return find_target(target).library
    except TargetError as error:
        pytest.skip(str(error))


def program(*lines: str) -> Program:
    return parse_text("\n".join(("zmm-program 1", *lines)))


# ---- malloc libraries -----------------------------------------------------------------------------------------------

# Bug, program, step that shows it, what is said.
MALLOC_BUGS = [
    (1, ("a = alloc 80", "b = alloc 80"), 2, "place expected a place of its own"),
    (2, ("a = alloc 33",), 1, "block_bytes expected 33 bytes or more, got 32"),
    (3, ("a = alloc 100", "a = realloc a 200"), 2, "contents expected the bytes written"),
    (4, ("a = calloc 3 8",), 1, "contents expected zeros"),
    (5, ("a = calloc 4294967296 4294967296",), 1, "status expected a refusal"),
    (6, ("a = alloc 8", "free a"), 2, "status expected an answer, got SIGSEGV"),
    (7, ("a = alloc 8",), 1, "place expected a multiple of 8"),
    (8, ("a = alloc 16", "b = alloc 16", "free a", "check"), 4, "contents expected the bytes written"),
    (9, ("a = alloc 100",), 1, "status expected memory, got a refusal"),
]


@pytest.mark.parametrize(("bug", "lines", "step", "said"), MALLOC_BUGS)
def test_a_bug_of_a_malloc_library_is_shown(
    tmp_path: Path, bug: int, lines: tuple[str, ...], step: int, said: str
) -> None:
    """Exit status 1 and one line with the step on the library with the bug, 0 on the one without."""
    found = finding(program(*lines), step, "libc", rule="ABS-1", field="status")
    code, output = run(found, tmp_path, library("bad_malloc", bug, tmp_path))
    assert (code, output.count("\n")) == (1, 1)
    assert output.startswith(f"step {step}: {said}")
    code, output = run(found, tmp_path, library("bad_malloc", 0, tmp_path))
    assert (code, output[:13]) == (0, "no difference")


@pytest.mark.parametrize("profile", PROFILES)
def test_generated_programs_find_nothing_in_the_c_library(tmp_path: Path, profile: str) -> None:
    """What the reproducer checks of every block holds for a sound allocator."""
    made = generate(11, profile, 300)
    assert run(finding(made, 300, "libc", rule="ABS-1"), tmp_path)[0] == 0


# ---- zmm ------------------------------------------------------------------------------------------------------------

SMALL_HEAP = ("a = alloc 40", "b = alloc 100", "c = alloc 100", "free b", "free c")
ZMM_BUGS = [
    (1, ("a = alloc 112", "b = alloc 100"), 2, "place expected mapping 0, page"),
    (1, ("a = alloc 40", "b = alloc 100"), 2, "block_bytes expected 112, got 224"),
    (2, ("a = alloc 100", "b = alloc 100", "c = alloc 100"), 2, "peak expected"),
    (3, (*SMALL_HEAP, "gc"), 6, "value expected 4096, got 0"),
    (3, (*SMALL_HEAP, "gc", "check"), 7, "value expected"),
    (4, ("a = alloc 100", "check"), 2, "check expected every invariant, got RUN-2"),
    (5, ("a = alloc 100",), 1, "status expected an answer, got SIGABRT"),
    (6, ("a = alloc 112", "b = alloc 100", "check"), 3, "contents expected the bytes written"),
    (7, ("a = alloc 18446744073709551615",), 1, "text_crc expected"),
    (8, ("a = alloc 100",), 1, "status expected done, got refused for overflow"),
    (9, ("a = alloc 2097152",), 2, "storage_calls expected"),
]


@pytest.mark.parametrize("storage", ["handlers", "kernel"])
@pytest.mark.parametrize(("bug", "lines", "step", "said"), ZMM_BUGS)
def test_a_bug_of_zmm_is_shown(
    tmp_path: Path, bug: int, lines: tuple[str, ...], step: int, said: str, storage: str
) -> None:
    """The line names the step and the field that the exact model predicts otherwise; a sound library passes."""
    zmm = found_library("zmm")
    made = program(*lines)
    made = Program(parse_text(f"zmm-program 1\nheap storage={storage}").settings, made.operations)
    found = finding(made, step, "zmm")
    flags = (f"-I{HEADERS}", f'-DLIBRARY="{zmm}"', "-fvisibility=hidden")
    code, output = run(found, tmp_path, library("bad_zmm", bug, tmp_path, *flags))
    assert (code, output.count("\n")) == (1, 1), output
    assert output.startswith(f"step {step}: {said}")
    assert run(found, tmp_path, library("bad_zmm", 0, tmp_path, *flags))[0] == 0
    assert run(found, tmp_path, zmm)[0] == 0


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(("edition", "storage", "step"), [("zmm", "handlers", 100), ("php-8.2", "kernel", 77)])
def test_every_step_of_zmm_is_as_predicted(tmp_path: Path, profile: str, edition: str, storage: str, step: int) -> None:
    """A sound library shows no difference at any step, so a difference is the library's."""
    zmm = found_library("zmm")
    made = generate(step, profile, 100, anchor=edition == "php-8.2", storage=storage)
    code, output = run(finding(made, step, "zmm", edition=edition), tmp_path, zmm)
    assert code == 0, output


@pytest.mark.parametrize("step", [0, 4])
@pytest.mark.parametrize("storage", ["handlers", "kernel"])
def test_opening_and_closing_are_steps(tmp_path: Path, storage: str, step: int) -> None:
    """Step 0 is the opening, one more than the last the closing; both are compared."""
    zmm = found_library("zmm")
    made = program(f"heap storage={storage} limit=9000000", "a = alloc 3000000", "b = alloc 8", "gc")
    assert run(finding(made, step, "zmm"), tmp_path, zmm)[0] == 0


def test_a_heap_that_cannot_open_is_a_step(tmp_path: Path) -> None:
    """The first storage call fails: the opening is refused, as predicted."""
    zmm = found_library("zmm")
    assert run(finding(program("heap fail=1", "a = alloc 8"), 0, "zmm"), tmp_path, zmm)[0] == 0


def test_the_file_stands_alone(tmp_path: Path) -> None:
    """No header of zmm, no Python, no flag but -ldl; strict compilers have nothing to say."""
    for target in ("zmm", "php", "libc"):
        for storage in ("handlers", "kernel"):
            made = program(f"heap storage={storage} data=8 fail=3", 'a = strdup "*/ ?? \\x01 7"', "gc", "check")
            found = finding(made, 3, target)
            source = c_source(found)
            assert '#include "' not in source
            for compiler in COMPILERS:
                compiled(found, tmp_path, compiler, *STRICT)
            compiled(found, tmp_path)


def test_a_library_that_is_not_there_is_said(tmp_path: Path) -> None:
    """Exit status 2 and the reason, for every kind of target."""
    for target in ("zmm", "php", "libc"):
        code, output = run(finding(program("gc"), 1, target), tmp_path, str(tmp_path / "none.so"))
        assert code == 2
        assert output.startswith("cannot load")
        assert "none.so" in output
        wrong = {"zmm": "libc.so.6", "php": "libc.so.6", "libc": "libm.so.6"}[target]
        code, output = run(finding(program("gc"), 1, target), tmp_path, wrong)
        assert (code, output[:7]) == (2, "cannot ")


def test_the_library_of_the_finding_is_the_default(tmp_path: Path) -> None:
    """Without an argument the file loads what the finding was made on."""
    path = library("bad_malloc", 7, tmp_path)
    found = finding(program("a = alloc 8"), 1, f"malloc:{path}", rule="ABS-10")
    assert run(found, tmp_path)[0] == 1


def test_two_targets_against_each_other(tmp_path: Path) -> None:
    """Where another target is the reference, the one field that differed is looked at."""
    zmm = found_library("zmm")
    made = program("a = alloc 40", "limit 4194304")
    case = reproducers(finding(made, 1, "zmm", against="php"))["_test.py"].decode()
    assert 'with Versus.of("zmm", "php", "zmm") as judge:' in case
    for field, expected, code in (
        ("place", "mapping 0, page 1 + 40 bytes", 0),
        ("place", "mapping 0, page 2", 1),
        ("place", "no block", 1),
        ("block_bytes", "40", 0),
        ("block_bytes", "48", 1),
        ("status", "done", 0),
        ("status", "refused by the limit (8 bytes)", 1),
        ("chunk_average", "1.0", 0),
        ("chunk_average", "2.5", 1),
        ("storage_crc", "0x00000007", 1),
    ):
        found = finding(made, 1, "zmm", field=field, expected=expected, against="php")
        assert run(found, tmp_path, zmm)[0] == code, (field, expected)


def test_long_programs_compile(tmp_path: Path) -> None:
    """Thousands of steps are cut into functions that compilers take in their stride."""
    made = generate(1, "small", 5000)
    assert run(finding(made, 5000, "libc", rule="ABS-1"), tmp_path)[0] == 0


# ---- misuse ---------------------------------------------------------------------------------------------------------

# Each word where it is performed and means something: the level's promise is a report, but for the last two.
MISUSES = [
    *("free_freed a", "realloc_freed a 100", "size_freed a", "free_interior a 8", "free_malloc 40", "free_stack"),
    *("free_static", "free_wild", "other_heap a", "stale_request a", "write_freed a 0", "overflow a 1"),
    *("free_interior a 40", "other_heap h"),
]


@pytest.mark.parametrize("misuse", MISUSES)
def test_a_misuse_ends_in_c_as_it_does_in_the_runner(tmp_path: Path, misuse: str) -> None:
    """The child of the C file ends as the model predicts, with the same words; what is skipped is skipped."""
    for storage, level in (("handlers", "release"), ("kernel", "fast")):
        lines = (f"heap storage={storage} fail=9", "a = alloc 40", "h = alloc 3000000", f"misuse.{misuse}")
        found = finding(program(*lines), 3, f"zmm:{level}", rule="MISUSE", field="ending")
        code, output = run(found, tmp_path, found_library(f"zmm:{level}"))
        assert code == 0, output


def test_a_misuse_that_ends_otherwise_is_shown(tmp_path: Path) -> None:
    """Held to what another level promises, a library differs, and the line says both endings."""
    made = program("a = alloc 40", "misuse.free_freed a")
    report = "panic: zmm: heap corruption: not a live slot; belongs to this heap"
    found = finding(made, 2, "zmm:release", rule="MISUSE", field="ending")
    assert run(found, tmp_path, found_library("zmm:fast")) == (1, f"step 2: ending expected {report}, got nothing\n")

    # At a level with trims the abstract model has spoken, and its finding names every ending that keeps the promise.
    made = program("a = alloc 40", "misuse.overflow a 1")
    report = "panic: zmm: heap corruption: written beyond its end; belongs to this heap"
    found = finding(made, 2, "zmm:hardened", rule="ABS-31", field="row", expected=report)
    assert run(found, tmp_path, found_library("zmm:hardened"))[0] == 0
    assert run(found, tmp_path, found_library("zmm:release")) == (1, f"step 2: ending expected {report}, got nothing\n")


def test_a_level_with_trims_is_not_held_to_places_of_one_without(tmp_path: Path) -> None:
    """What the abstract model finds there is shown by general checks; the exact model's rows are of other levels."""
    hardened = found_library("zmm:hardened")
    made = program("a = alloc 40", "free a", "b = alloc 40")
    assert run(finding(made, 3, "zmm:hardened", rule="ABS-11", field="row"), tmp_path, hardened)[0] == 0


# ---- PHP ------------------------------------------------------------------------------------------------------------


@pytest.mark.oracle
def test_a_difference_of_php_is_shown(tmp_path: Path) -> None:
    """PHP 8.2 never collects 8-byte slots: held to the other edition it differs, held to its own it does not."""
    php = found_library("php")
    made = program("a = alloc 24", "b = alloc 8", "free b", "gc", "check")
    code, output = run(finding(made, 4, "php", edition="zmm"), tmp_path, php)
    assert (code, output) == (1, "step 4: value expected 4096, got 0\n")
    assert run(finding(made, 5, "php", edition="zmm"), tmp_path, php)[0] == 1
    for step in range(7):
        assert run(finding(made, step, "php", edition="php-8.2"), tmp_path, php)[0] == 0


@pytest.mark.oracle
@pytest.mark.parametrize("profile", PROFILES)
def test_every_step_of_php_is_as_predicted(tmp_path: Path, profile: str) -> None:
    """Refusals, both storages, opening and closing: PHP itself shows no difference to its edition."""
    php = found_library("php:8.2.32")
    for seed, storage, step in ((5, "handlers", 100), (6, "kernel", 77)):
        made = generate(seed, profile, 100, anchor=True, storage=storage)
        code, output = run(finding(made, step, "php", edition="php-8.2"), tmp_path, php)
        assert code == 0, (seed, output)


# ---- the other forms ------------------------------------------------------------------------------------------------


def test_a_finding_has_all_its_forms() -> None:
    """Text and tape hold the program, the text says what happened, the C file carries the program in its head."""
    made = program("heap limit=4194304", "node = alloc 40", "free node")
    files = reproducers(finding(made, 1, "libc"))
    assert sorted(files) == [".c", ".tape", ".zmm", "_test.py"]
    assert parse_text(files[".zmm"]) == made
    assert b"# EXACT-PLACE on libc, edition zmm\n# step 1 (alloc): EXACT-PLACE" in files[".zmm"]
    again = decode_file(files[".tape"])
    assert (again.settings, again.operations) == (made.settings, made.operations)
    assert b" * node = alloc 40" in files[".c"]


def test_a_program_too_large_for_a_tape_has_no_tape() -> None:
    """The other forms are still there."""
    files = reproducers(finding(Program(operations=program("u2600 = alloc 8").operations), 1, "libc"))
    assert sorted(files) == [".c", ".zmm", "_test.py"]


def test_a_program_too_long_for_sources_has_none() -> None:
    """Text and tape hold it all the same."""
    made = Program(operations=program("gc").operations * 50_001)
    assert sorted(reproducers(finding(made, 1, "libc"))) == [".tape", ".zmm"]


def test_the_pytest_case_runs(tmp_path: Path) -> None:
    """The case is a test module that passes where the bug is not, whatever its texts hold."""
    try:
        find_target("libc")
    except TargetError as error:
        pytest.skip(str(error))
    made = program('a = strdup "\\"\\"\\" \\\\ {x} \\x80"', "free a")
    path = tmp_path / "case_test.py"
    path.write_bytes(reproducers(finding(made, 1, "libc", rule="ABS-11"))["_test.py"])
    command = [sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null", str(path)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "def test_abs_11() -> None:" in path.read_text()
