"""Who may use whom: the core by its objects' symbols, the Python packages by their imports."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest

import zmm

# ---- C -------------------------------------------------------------------------------------------------------------

LEVELS = {"fast": 0, "release": 1, "hardened": 2, "debug": 3}
# The last files offer nothing to others, and so have no section.
FACES = ("hooks", "api")


class Section(NamedTuple):
    """A part of core.h: what one file offers to those below it; or, without a file, inline functions only."""

    name: str
    is_file: bool
    text: str


def unity_files(root: Path) -> list[str]:
    """The core's files in layer order."""
    return re.findall(r'#include "(\w+)\.c"', (root / "zmm" / "core" / "unity.c").read_text())


def sections(root: Path) -> list[Section]:
    """The sections of core.h in their order, with what they include."""
    title = re.compile(r"^/\* ---- (\w+)(\.c| \(inline\)).*$", re.MULTILINE)
    core = root / "zmm" / "core"
    text = (core / "core.h").read_text()
    text = text[text.index("/* ---- ") :]
    text = re.sub(r'^#include "(\w+\.h)".*$', lambda one: (core / one[1]).read_text(), text, flags=re.MULTILINE)
    found = list(title.finditer(text))
    ends = [*(one.start() for one in found[1:]), len(text)]
    return [Section(one[1], one[2] == ".c", text[one.end() : end]) for one, end in zip(found, ends, strict=True)]


def inline_functions(section: Section) -> set[str]:
    return set(re.findall(r"^static inline [^(]*?\b\**(\w+)\(", section.text, re.MULTILINE))


@dataclass
class Symbols:
    """What one object defines for others, and what it needs of others or of the inline functions of core.h."""

    defines: set[str]
    needs: set[str]


def symbols_of(obj: Path) -> Symbols:
    done = subprocess.run(["nm", "-P", obj], capture_output=True, text=True, check=True)
    rows = [line.split()[:2] for line in done.stdout.splitlines()]
    return Symbols({name for name, kind in rows if kind in "TDBRC"}, {name for name, kind in rows if kind in "Ut"})


@pytest.fixture(scope="module", params=LEVELS)
def objects(request: pytest.FixtureRequest, root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Symbols]:
    """Each core file compiled to an object of its own, as the variant `checked` does it."""
    if shutil.which("cc") is None or shutil.which("nm") is None:
        pytest.skip("needs cc and nm (Debian: apt-get install gcc binutils)")
    folder = tmp_path_factory.mktemp(f"objects-{request.param}")
    core = root / "zmm" / "core"
    defines = ["-DZMM_SEPARATE=1", "-DZMM_ASSERTS=1", f"-DZMM_LEVEL={LEVELS[request.param]}", "-D_GNU_SOURCE"]
    found = {}
    for name in unity_files(root):
        obj = folder / f"{name}.o"
        command = ["cc", "-std=c11", "-O0", *defines, f"-I{core.parent / 'include'}", "-c", str(core / f"{name}.c")]
        subprocess.run([*command, "-o", str(obj)], check=True)
        found[name] = symbols_of(obj)
    return found


def test_core_h_and_unity_c_have_one_order(root: Path) -> None:
    """Sections of core.h and includes of unity.c name the same files in the same order."""
    described = [section.name for section in sections(root) if section.is_file]

    assert [*described, *FACES] == unity_files(root)


def test_a_core_file_uses_only_files_above_it(root: Path, objects: dict[str, Symbols]) -> None:
    """Each symbol that an object lacks is defined by a file above it; so is each inline function that it uses."""
    order = {section.name: index for index, section in enumerate(sections(root)) if section.is_file}
    order |= {name: 1000 + index for index, name in enumerate(FACES)}
    home = {symbol: order[name] for name, one in objects.items() for symbol in one.defines}
    for index, section in enumerate(sections(root)):
        home |= dict.fromkeys(inline_functions(section), index)

    uphill = {
        f"{name}.c uses {symbol}"
        for name, one in objects.items()
        for symbol in one.needs
        if home.get(symbol, -1) > order[name]
    }

    assert uphill == set()
    assert {"run_find", "small_alloc", "usage_add", "panic"} <= set(home)


def test_a_core_file_offers_what_its_section_declares(root: Path, objects: dict[str, Symbols]) -> None:
    """Each name that a file gives away stands in its own section of core.h; what all share, in layout.h."""
    shared = (root / "zmm" / "core" / "layout.h").read_text()
    texts = {section.name: section.text + shared for section in sections(root) if section.is_file}
    undeclared = {
        f"{name}.c defines {symbol}"
        for name, one in objects.items()
        for symbol in one.defines
        if not symbol.startswith("zmm_") and not re.search(rf"\b{symbol}\b", texts.get(name, ""))
    }

    assert undeclared == set()


@pytest.mark.parametrize("level", LEVELS)
def test_a_library_exports_exactly_the_functions_of_zmm_h(level: str, root: Path) -> None:
    """Whoever links libzmm sees the public names, and no other."""
    if shutil.which("nm") is None:
        pytest.skip("needs nm (Debian: apt-get install binutils)")
    header = re.sub(r"/\*.*?\*/", "", (root / "zmm" / "include" / "zmm.h").read_text(), flags=re.DOTALL)
    public = set(re.findall(r"^ZMM_API [^;]*?\b(zmm_\w+)\(", header, re.MULTILINE))
    done = subprocess.run(["nm", "-DP", zmm.get_library(level)], capture_output=True, text=True, check=True)
    exported = {line.split()[0] for line in done.stdout.splitlines() if line.split()[1] in "TDBRVWi"}

    # The C runtime's own, which a linker may add to any library.
    assert exported - {"_init", "_fini", "_edata", "_end", "__bss_start"} - public == set()
    assert public - exported == set()
    assert len(public) > 30


# ---- Python --------------------------------------------------------------------------------------------------------

# A module imports only modules that stand before it. "x.*" stands for the whole of a folder, whose modules may use each
# other in any order without a circle. The package itself, and what starts it, come last.
LAYERS: dict[str, tuple[str, ...]] = {
    "zmm": ("errors", "_core", "snapshot", "heap", "paths", ""),
    "model": (
        # words and arithmetic
        *("op", "outcome", "sizes", "contents", "ledger", "misuse"),
        # the exact model
        *("storage", "pages", "state", "ring", "gc", "supply", "resize", "request", "image", "exact"),
        # the abstract model
        *("accounting", "rules", "counter_rules", "misuse_rules", "abstract"),
        "",
    ),
    "fuzz": (
        "",  # nothing but the picture
        # words
        *("errors", "version", "processor", "cachegrind", "boundaries", "program", "wire"),
        # programs: forms, then makers
        *("text", "tape", "recorded", "load"),
        *("exhaustive", "profiles", "swarm", "misuse", "generate"),
        # targets and performing
        *("targets.base", "targets.php", "targets.native", "targets.runner", "targets.find", "targets"),
        *("compare", "session", "driver"),
        # judging
        *("predict", "judge", "versus"),
        # tiers: ways of making and judging programs
        *("tiers.base", "tiers.workers", "tiers.lockstep", "tiers.boundaries", "tiers.oom", "tiers.traces"),
        *("tiers.oracle", "tiers.api_heap", "tiers.api_misuse"),
        *("tiers.machine_rules", "tiers.machine_own", "tiers.machine", "tiers"),
        # what becomes of a finding
        *("proposals", "shrink", "small", "reproduce.c_source", "reproduce.pytest_case", "reproduce", "findings"),
        "verify",
        # reports
        *("report.record", "report.simple", "report.table", "report.html", "report.junit", "report.sarif", "report"),
        # the misuse catalogue
        "faults.*",
        # worst cases
        "worst.*",
        # the measure of the suite itself
        "mutate.*",
        # coverage-guided fuzzing
        *("harness", "harness.processor", "harness.opinion", "harness.readers", "harness.drive", "harness.build"),
        "harness.reach",
        # campaigns
        "campaign.*",
        # bugs on purpose
        *("truth.patch", "truth.plant", "truth.hunt", "truth.shown", "truth.measure", "truth.page", "truth"),
        # proofs
        *("prove", "prove.sources", "prove.property", "prove.memory", "prove.layout", "prove.llvm", "prove.bits"),
        *(
            "prove.paths",
            "prove.operations",
            "prove.access",
            "prove.executor",
            "prove.subject",
            "prove.states",
            "prove.contracts",
        ),
        *("prove.claims_sizes", "prove.claims_words", "prove.claims_runs", "prove.claims_masks"),
        *(
            "prove.claims_finite",
            "prove.claims_search",
            "prove.machine_code",
            "prove.claims_code",
            "prove.machine_door",
            "prove.machine",
        ),
        *("prove.catalogue_model", "prove.catalogue_core", "prove.catalogue_code", "prove.catalogue"),
        *("prove.work", "prove.run", "prove.table"),
        # the command line
        *("cli.options", "cli.output", "cli.progress", "cli.interrupt", "cli.*", "__main__"),
    ),
}
# The only places where the bridge touches the product; everything else speaks to a runner.
IMPORT_ZMM = {
    *("faults.subjects", "targets.find", "tiers.api_heap", "tiers.api_misuse"),
    *("tiers.machine_own", "tiers.machine_rules"),
}


def modules(root: Path, folder: str) -> dict[str, Path]:
    """Modules of a package by their dotted names; the package itself is the empty name."""
    found = {}
    for path in sorted((root / folder).rglob("*.py*")):
        if path.suffix in {".py", ".pyx"} and "native" not in path.parts and "__pycache__" not in path.parts:
            parts = path.relative_to(root / folder).with_suffix("").parts
            found[".".join(part for part in parts if part != "__init__")] = path
    return found


def imports(path: Path, name: str, known: set[str]) -> Iterator[str]:
    """
    What a module imports: ``.x`` for modules of its own package, full names for the rest.

    Imports inside functions and for type checkers count, too: an arrow is an arrow.
    """
    if path.suffix == ".pyx":
        yield from (f".{one}" for one in re.findall(r"^from \.(\w+) import", path.read_text(), re.MULTILINE))
        return
    package = [part for part in name.split(".") if part]
    package = package if path.name == "__init__.py" else package[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module or ""
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] + (node.module or "").split(".")
            source = ".".join(part for part in base if part)
            for alias in node.names:
                inner = f"{source}.{alias.name}".strip(".")
                yield f".{inner if inner in known else source}"


def graph(root: Path, folder: str) -> dict[str, set[str]]:
    found = modules(root, folder)
    known = set(found)
    return {name: set(imports(path, name, known)) - {f".{name}"} for name, path in found.items()}


def position(layers: tuple[str, ...], name: str) -> int | None:
    """Where a module stands, None when nowhere."""
    if name in layers:
        return layers.index(name)
    folder = name.partition(".")[0]
    return layers.index(f"{folder}.*") if f"{folder}.*" in layers else None


@pytest.mark.parametrize("folder", LAYERS)
def test_every_module_has_its_place_in_the_layers(folder: str, root: Path) -> None:
    """A new file is put where it belongs, a file that is gone leaves the list."""
    names = set(modules(root, folder))
    listed = {name for name in LAYERS[folder] if not name.endswith("*")}

    assert {name for name in names if position(LAYERS[folder], name) is None} == set()
    assert listed - names == set()


@pytest.mark.parametrize("folder", LAYERS)
def test_a_module_imports_only_what_stands_before_it(folder: str, root: Path) -> None:
    """One way, so that each file can be read with nothing in mind but those before it."""
    layers = LAYERS[folder]
    wrong = []
    for name, needed in graph(root, folder).items():
        here = position(layers, name)
        for other in (one.removeprefix(".") for one in needed if one.startswith(".")):
            there = position(layers, other)
            together = here == there and here is not None and layers[here].endswith("*")
            if here is not None and there is not None and there >= here and not together:
                wrong.append(f"{name} imports {other}")

    assert wrong == []


@pytest.mark.parametrize("folder", LAYERS)
def test_no_imports_run_in_a_circle(folder: str, root: Path) -> None:
    """Also within a folder that has one place in the layers."""
    edges = {
        name: {one.removeprefix(".") for one in needed if one.startswith(".")}
        for name, needed in graph(root, folder).items()
    }
    while leaves := {name for name, needed in edges.items() if not needed & set(edges)}:
        edges = {name: needed for name, needed in edges.items() if name not in leaves}

    assert edges == {}


def outside(root: Path, folder: str) -> dict[str, set[str]]:
    """The top-level names that each module of a folder imports from elsewhere, the standard library left out."""
    return {
        name: {top for one in needed if not one.startswith(".") and (top := one.partition(".")[0])}
        - sys.stdlib_module_names
        for name, needed in graph(root, folder).items()
    }


def test_the_product_and_the_specification_import_only_the_standard_library(root: Path) -> None:
    """Neither knows the other, and `import zmm` needs nothing."""
    assert {name: tops for folder in ("zmm", "model") for name, tops in outside(root, folder).items() if tops} == {}


def test_the_bridge_imports_the_product_in_few_places(root: Path) -> None:
    """Everything else sees zmm only through a runner, as it sees every other target."""
    assert {name for name, tops in outside(root, "fuzz").items() if "zmm" in tops} <= IMPORT_ZMM


def test_the_bridge_imports_only_declared_dependencies(root: Path) -> None:
    """Each is part of the extra, and each of the extra is imported or is a tool that is run by name."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    declared = {re.split(r"[ <>=\[]", one)[0] for name in ("verify", "dask", "fuzz", "prove") for one in extras[name]}
    used = set().union(*outside(root, "fuzz").values()) - {"zmm", "zmm_model", "zmm_fuzz"}
    used -= {"angr"}  # in an environment of its own: ci/angr
    declared = (declared - {"z3-solver"}) | {"z3"}

    assert used - declared == set()
    assert declared - used - {"crosshair-tool", "hypothesis-crosshair"} == set()


def test_the_map_shows_the_core_in_layer_order(root: Path) -> None:
    """The rows of the core's C files stand as unity.c includes them, those of the model as above."""
    page = (root / "ARCHITECTURE.md").read_text()
    core, model = (re.split(r"^### ", page, flags=re.MULTILINE)[index] for index in map_sections(page))

    assert [name for name in re.findall(r"^\| `(\w+)\.c`", core, re.MULTILINE) if name != "unity"] == unity_files(root)
    assert re.findall(r"^\| `(\w+)\.py`", model, re.MULTILINE) == [name or "__init__" for name in LAYERS["model"]]


def map_sections(page: str) -> list[int]:
    titles = re.split(r"^### ", page, flags=re.MULTILINE)
    return [next(i for i, part in enumerate(titles) if part.startswith(f"`{name}/`")) for name in ("zmm/core", "model")]
