"""What is promised by name is kept somewhere: invariants, rules, public names, reasons."""

from __future__ import annotations

import ast
import inspect
import re
import types
from pathlib import Path

import pytest
from zmm_fuzz.compare import RULES as EXACT_RULES
from zmm_fuzz.faults.subjects import ZMM_SWITCHES
from zmm_model import RULES

import zmm

ID = r"[A-Z]+-\d+"


def head_of(path: Path) -> str:
    found = re.match(r"/\*.*?\*/", path.read_text(), re.DOTALL)
    return found[0] if found else ""


def checked_ids(root: Path) -> set[str]:
    """The ids that check.c can return."""
    return set(re.findall(rf'"({ID})"', (root / "zmm" / "core" / "check.c").read_text()))


def test_every_invariant_stands_in_one_owner_header(root: Path) -> None:
    """The sentence of an invariant has one home: the head of the file that keeps it."""
    owners: dict[str, list[str]] = {}
    for path in sorted((root / "zmm" / "core").glob("*.[ch]")):
        for one in re.findall(rf"^ \*\s+(?:Keeps:\s+)?({ID})\s{{2,}}\S", head_of(path), re.MULTILINE):
            owners.setdefault(one, []).append(path.name)

    assert {one: names for one, names in owners.items() if len(names) != 1} == {}
    assert set(owners) == checked_ids(root)
    assert len(owners) > 10


def test_every_invariant_is_broken_on_purpose(root: Path) -> None:
    """A case of tests/core damages a heap until zmm_heap_check says the id: a check nobody saw fail checks nothing."""
    cases = "".join(path.read_text() for path in (root / "tests" / "core" / "cases").glob("*.c"))

    assert {one for one in checked_ids(root) if f'"{one}"' not in cases} == set()


def test_every_rule_of_the_abstract_model_has_a_row_that_breaks_it(root: Path) -> None:
    """Named in tests/model/test_rules.py, which falsifies a row for each."""
    source = (root / "tests" / "model" / "test_rules.py").read_text()

    assert {number for number in RULES if f'Planted("{number}"' not in re.sub(r"\(\s+", "(", source)} == set()


def test_every_rule_of_the_exact_comparison_is_made_to_fire(root: Path) -> None:
    """Named in the tests of the bridge or by a bug planted in the core."""
    folders = [root / "tests" / name for name in ("fuzz", "planted", "cli")]
    paths = [path for folder in folders for path in folder.rglob("*") if path.suffix in {".py", ".patch"}]
    sources = "".join(path.read_text() for path in paths)

    assert {rule for rule in EXACT_RULES if rule not in sources} == set()


# ---- public names --------------------------------------------------------------------------------------------------


def stub_names(root: Path) -> dict[str, set[str]]:
    """Names of _core.pyi: at the top under "", and of each class."""
    tree = ast.parse((root / "zmm" / "_core.pyi").read_text())
    found: dict[str, set[str]] = {"": set()}
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[""].add(node.target.id)
        elif isinstance(node, ast.ClassDef):
            found[""].add(node.name)
            found[node.name] = {one.name for one in node.body if isinstance(one, ast.FunctionDef)}
    return found


def test_all_lists_every_public_name_once() -> None:
    """`from zmm import *` brings what the package shows, and nothing besides."""
    modules = {name for name, value in vars(zmm).items() if isinstance(value, types.ModuleType)}
    shown = {name for name in vars(zmm) if not name.startswith("_")} - modules - {"annotations"}

    assert set(zmm.__all__) - {"__version__"} == shown - {"VERSION"}  # the same value, under the name Python expects
    assert len(zmm.__all__) == len(set(zmm.__all__))


def test_names_from_the_extension_are_in_its_stub(root: Path) -> None:
    """What a type checker knows and what there is: names, and methods of the two classes."""
    stub = stub_names(root)
    source = ast.parse((root / "zmm" / "__init__.py").read_text())
    lines = [node for node in source.body if isinstance(node, ast.ImportFrom) and node.module == "_core"]
    taken = {alias.name for node in lines for alias in node.names}

    assert {"Block", "LEVELS"} <= taken
    assert taken - stub[""] == set()
    for kind in (zmm._core.Heap, zmm._core.Block):
        methods = {name for name in vars(kind) if not name.startswith("_")}
        assert methods == {name for name in stub[kind.__name__] if not name.startswith("_")}, kind


@pytest.mark.parametrize("name", [name for name in zmm.__all__ if callable(getattr(zmm, name))])
def test_a_public_name_has_a_docstring_of_its_own(name: str) -> None:
    """It says something beyond its signature; so does every public method."""
    value = getattr(zmm, name)
    assert prose(value), name
    if isinstance(value, type) and not issubclass(value, Exception):
        silent = [
            method
            for kind in value.__mro__
            if kind.__module__.startswith("zmm")
            for method, function in vars(kind).items()
            if not method.startswith("_") and callable(function) and not prose(function)
        ]
        assert silent == []


def prose(value: object) -> str:
    """A docstring without the signature that Cython puts before it."""
    text = inspect.getdoc(value) or ""
    return re.sub(r"\A.*?\n--\n", "", text, flags=re.DOTALL).strip() if "\n--\n" in text else text


# ---- reasons and remnants ------------------------------------------------------------------------------------------


def test_every_dependency_has_its_reason(root: Path) -> None:
    """A comment stands beside each requirement of pyproject.toml."""
    lines = (root / "pyproject.toml").read_text().splitlines()
    requirements = [line for line in lines if re.match(r'\s+"[\w-]+ ?[<>=~]=', line)]
    # The build group repeats build-system.requires, where the reasons stand.
    repeated = {'"cython', '"meson', '"meson-python'}
    silent = [line.strip() for line in requirements if "#" not in line and line.split()[0] not in repeated]

    assert len(requirements) > 10
    assert silent == []


def test_every_silenced_rule_has_its_reason(root: Path) -> None:
    """A comment stands beside each rule that ruff leaves out; each `noqa` and `type: ignore` names its rule."""
    lines = (root / "pyproject.toml").read_text().splitlines()
    silenced = [line for line in lines if re.match(r'\s+"[A-Z]+\d+",', line)]
    assert [line for line in silenced if "#" not in line] == []

    bare = re.compile(r"# (noqa|type: ignore)(?![:\[])")
    for folder in ("ci", "fuzz", "model", "tests", "zmm"):
        for path in (root / folder).rglob("*.py"):
            found = [line for line in path.read_text().splitlines() if bare.search(line)]
            assert path.name == Path(__file__).name or found == [], path


# Written in pieces, so that this file does not mention what it forbids.
REMNANTS = [
    ("/" + "work/", "a path of the machine it was written on"),
    ("/" + "root/", "a path of the machine it was written on"),
    ("fa" + r"cts/", "a paper that is not in the tree"),
    (r"\b(?:FIX" + "ME|XX" + r"X|TO" + r"DO)\b", "work that was left"),
    (r"(?i)\b(?:issue|session) #?\d+\b", "how the work was organised"),
    ("<<<<" + "<<<|>>>>" + ">>>", "an unfinished merge"),
]


@pytest.mark.parametrize(("pattern", "what"), REMNANTS, ids=[what for _, what in REMNANTS])
def test_the_tree_mentions_no_remnants(pattern: str, what: str, root: Path, files: list[str]) -> None:
    """Whoever reads the tree needs nothing but the tree."""
    found = [
        f"{name}:{number}"
        for name in files
        if not name.endswith((".gz", ".lock"))
        for number, line in enumerate((root / name).read_text(errors="replace").splitlines(), 1)
        if re.search(pattern, line)
    ]

    assert found == [], what


def test_only_tests_name_temporary_folders(root: Path, files: list[str]) -> None:
    """The product, the models and the suite ask the system where temporary files go."""
    named = re.compile(r"[\"' =(]/" + r"tmp/")
    folders = ("zmm/", "model/", "fuzz/", "ci/")
    sources = [name for name in files if name.startswith(folders) and not name.endswith(".gz")]

    assert [name for name in sources if named.search((root / name).read_text(errors="replace"))] == []


def test_every_test_says_what_it_expects(root: Path) -> None:
    """Test functions have docstrings."""
    silent = [
        f"{path.relative_to(root)}: {node.name}"
        for path in sorted((root / "tests").rglob("test_*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and not ast.get_docstring(node)
    ]

    assert silent == []


def test_switches_are_the_same_in_the_core_the_catalogue_and_the_document(root: Path) -> None:
    """A target's +ZMM_... is refused when the core has no such variable: the three lists are one."""
    core = re.findall(
        r'^    \{"(ZMM_[A-Z_]+)", SWITCH_', (root / "zmm" / "core" / "switches.c").read_text(), re.MULTILINE
    )
    page = re.findall(r"^\| `(ZMM_[A-Z_]+)` \|", (root / "docs" / "switches.md").read_text(), re.MULTILINE)

    assert list(ZMM_SWITCHES) == core == page
    assert len(core) >= 4
