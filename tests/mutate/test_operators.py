"""Operators: the changes that they make to C and to Python, and names of mutants that outlive other changes."""

from __future__ import annotations

from pathlib import Path

import pytest
from zmm_fuzz.mutate.c_operators import core_mutants, has_universalmutator, own_mutants, universal_mutants
from zmm_fuzz.mutate.core_lab import core_files
from zmm_fuzz.mutate.mutant import find_root
from zmm_fuzz.mutate.py_operators import python_digest, python_mutants

C = """/* a.c -- if (0) stands in a comment. */
#define ZMM_LIMIT_STEPS (2u * 2u)
static void give_back(heap *heap, chunk *chunk) {
    if (chunk->pages <= ZMM_LIMIT_STEPS && heap->count > 0) {
        heap->count--;
        live_clear(chunk, heap);
    } else {
        heap->other = true;
    }
}
"""
PYTHON = '''"""Docstrings stay: 1 + 1."""

LIMIT = 4


def take(pages: int = 2) -> int:
    """Not 3."""
    total = 0
    if pages < LIMIT and pages != 3:
        total += pages
    return total
'''


def changes(text: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for mutant in own_mutants("a.c", text):
        new = [line for line in mutant.new.splitlines() if line.strip()]
        found.setdefault(mutant.operator, set()).add(" ".join(new[0].split()) if new else "")
    return found


@pytest.mark.parametrize(
    ("operator", "line"),
    [
        ("bound", "if (chunk->pages < ZMM_LIMIT_STEPS && heap->count > 0) {"),
        ("swap-branch", "if (!(chunk->pages <= ZMM_LIMIT_STEPS && heap->count > 0)) {"),
        ("logic", "if (chunk->pages <= ZMM_LIMIT_STEPS || heap->count > 0) {"),
        ("off-by-one", "if (chunk->pages <= (ZMM_LIMIT_STEPS + 1) && heap->count > 0) {"),
        ("dropped-counter", ";"),
        ("dropped-live-bit", ";"),
        ("dropped-statement", ";"),
        ("dropped-else", "} if (0) {"),
        ("swapped-arguments", "live_clear(heap, chunk);"),
        ("wrong-constant", "#define ZMM_LIMIT_STEPS ((2u * 2u) + 1)"),
        ("never", "if ((chunk->pages <= ZMM_LIMIT_STEPS && heap->count > 0) && 0) {"),
    ],
)
def test_each_operator_makes_its_change(operator: str, line: str) -> None:
    """One mistake that a developer of an allocator makes, as a changed line."""
    assert line in changes(C)[operator]


def test_comments_and_strings_are_not_changed() -> None:
    """What the compiler does not read is no mutant."""
    assert all(mutant.first > 0 for mutant in own_mutants("a.c", C))
    assert own_mutants("b.c", 'static const char *text = "a < b && 1";\n') == []


def test_every_mutant_of_the_core_applies_and_has_a_key_of_its_own() -> None:
    """Thousands of changes, each of one place; without universalmutator there are still enough of our own."""
    root = find_root()
    assert root is not None
    files = core_files(root)
    mutants = core_mutants(files)
    assert len({mutant.key for mutant in mutants}) == len(mutants)
    assert len([mutant for mutant in mutants if mutant.operator != "universal"]) > 3000
    for mutant in mutants[::97]:
        changed = mutant.apply(files[mutant.file])
        assert changed != files[mutant.file]
        assert mutant.story()


def test_key_outlives_lines_that_move() -> None:
    """A reason for a survivor stays when other lines come and go, and when a formatter lays the line out anew."""
    before = {mutant.key for mutant in own_mutants("a.c", C)}
    moved = C.replace("static void", "\n\nint before;\n\nstatic void").replace("heap->count--;", "heap->count--  ;")
    after = {mutant.key for mutant in own_mutants("a.c", moved)}
    assert len(before & after) > 0.9 * len(before)


def test_stale_mutant_is_refused() -> None:
    """A mutant of lines that have changed is an error, not another mutant."""
    mutant = own_mutants("a.c", C)[5]
    with pytest.raises(ValueError, match="is not what it was"):
        mutant.apply(C.replace("heap", "pile"))


def test_universalmutator_adds_its_rules() -> None:
    """Its rules for C, line by line: `break` behind a statement is one that we do not have."""
    assert has_universalmutator(), "it is in ci/requirements.lock: run ci/setup"
    assert any("break;" in mutant.new for mutant in universal_mutants("a.c", C))


@pytest.mark.parametrize(
    ("operator", "line"),
    [
        ("off-by-one", "LIMIT = (4 + 1)"),
        ("bound", "if pages <= LIMIT and pages != 3:"),
        ("swap-branch", "if pages < LIMIT and pages == 3:"),
        ("logic", "if pages < LIMIT or pages != 3:"),
        ("dropped-condition", "if pages < LIMIT and True:"),
        ("dropped-counter", "pass"),
        ("assignment", "total = pages"),
        ("wrong-return", "return None"),
    ],
)
def test_each_python_operator_makes_its_change(operator: str, line: str) -> None:
    """As for C: one mistake as a changed line."""
    found = {(one.operator, " ".join(one.new.split())) for one in python_mutants("model", "a.py", PYTHON)}
    assert (operator, line) in found


def test_python_mutants_compile_to_something_else() -> None:
    """No docstring and no annotation is changed; the digest tells programs apart and ignores documentation."""
    original = python_digest(PYTHON, "a.py")
    digests = {python_digest(one.apply(PYTHON), "a.py") for one in python_mutants("model", "a.py", PYTHON)}
    assert "" not in digests
    assert original not in digests
    assert python_digest(PYTHON.replace("Not 3.", "Not 4."), "a.py") == original
    assert python_digest("def :", "a.py") == ""


def test_every_mutant_of_the_models_compiles(root: Path) -> None:
    """The operators write Python, whatever brackets stand around an operand."""
    files = ["model/sizes.py", "model/rules.py", "model/exact.py", "zmm/heap.py"]
    for file in files:
        text = (root / file).read_text()
        for mutant in python_mutants("model", file, text)[::7]:
            assert python_digest(mutant.apply(text), file), mutant.story()
