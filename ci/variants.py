"""Build variants: one table, the same keys in the same order, all of the same sources.

``list`` shows the table, ``build NAME ...`` builds into ``build/NAME``, ``run NAME COMMAND ...`` runs a command that
imports the variant's packages instead of the installed ones, ``check`` builds everything with each compiler that is
here, warnings being errors.  Needs .venv (ci/setup).
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
BIN = ROOT / ".venv" / "bin"


class Row(NamedTuple):
    """One way to compile the same sources; the fields are meson's and our own options."""

    compiler: str  # "": what CC says, else cc
    buildtype: str
    levels: str
    asserts: bool
    separate: bool
    sanitize: str
    coverage: bool
    fuzzer: bool
    python: bool
    valgrind: bool


# fmt: off
ALL = "fast,release,hardened,debug"
BOTH = "address,undefined"
VARIANTS = {
    #                 compiler    buildtype         levels      asserts separ. sanitize coverage fuzzer python valgrind
    "fast":       Row("",         "release",        "fast",     False,  False, "none",  False,   False, False, False),
    "release":    Row("",         "release",        "release",  False,  False, "none",  False,   False, False, False),
    "hardened":   Row("",         "release",        "hardened", False,  False, "none",  False,   False, False, False),
    "debug":      Row("",         "debugoptimized", "debug",    True,   False, "none",  False,   False, False, False),
    "checked":    Row("",         "debug",          ALL,        True,   True,  "none",  False,   False, True,  False),
    "asan+ubsan": Row("",         "debugoptimized", ALL,        False,  False, BOTH,    False,   False, True,  False),
    "coverage":   Row("",         "debug",          ALL,        False,  False, "none",  True,    False, True,  False),
    "fuzz":       Row("clang-19", "debugoptimized", ALL,        False,  False, "none",  False,   True,  True,  False),
    "valgrind":   Row("",         "debugoptimized", ALL,        False,  False, "none",  False,   False, False, True),
}
# fmt: on


class VariantError(Exception):
    """What went wrong and the remedy, in one line."""


def folder_of(name: str, compiler: str = "") -> Path:
    """Return the build folder of a variant, which is one for each compiler asked for by name."""
    return BUILD / (f"{name}-{compiler}" if compiler else name)


def site_of(folder: Path) -> Path:
    """Return where a variant's Python packages are installed."""
    return folder / "site"


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _tools(compiler: str) -> dict[str, str]:
    environment = dict(os.environ, PATH=f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}")
    if compiler:
        environment["CC"] = compiler
    return environment


def _run(command: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode != 0:
        print(done.stdout, file=sys.stderr)
        raise VariantError(f"`{' '.join(command)}` failed with status {done.returncode}; its output is above")
    for line in done.stdout.splitlines():
        if "warning:" in line:
            print(line)


def build(name: str, compiler: str = "", werror: bool = False) -> Path:
    """
    Configure and build one variant, install its Python packages inside its folder, and return the folder.

    :param compiler: instead of the table's; the folder's name then tells.
    """
    variant = VARIANTS[name]
    used = compiler or variant.compiler
    if used and shutil.which(used) is None:
        raise VariantError(f"variant {name} needs {used}, which is not here (apt-get install {used})")
    folder = folder_of(name, compiler)
    site = site_of(folder)
    environment = _tools(used)
    if not (folder / "build.ninja").exists():
        _run(
            [
                "meson",
                "setup",
                str(folder),
                str(ROOT),
                f"--prefix={folder / 'prefix'}",
                f"-Dpython.platlibdir={site}",
                f"-Dpython.purelibdir={site}",
                f"-Dbuildtype={variant.buildtype}",
                f"-Dwerror={_flag(werror)}",
                f"-Dlevels={variant.levels}",
                f"-Dasserts={_flag(variant.asserts)}",
                f"-Dseparate={_flag(variant.separate)}",
                f"-Db_sanitize={variant.sanitize}",
                f"-Db_coverage={_flag(variant.coverage)}",
                f"-Dfuzzer={_flag(variant.fuzzer)}",
                f"-Drunner={_flag(not variant.fuzzer)}",
                f"-Dpython={_flag(variant.python)}",
                f"-Dvalgrind={_flag(variant.valgrind)}",
                # Sanitizers and libFuzzer bring their symbols when the process starts.
                f"-Db_lundef={_flag(variant.sanitize == 'none' and not variant.fuzzer)}",
            ],
            environment,
        )
    _run(["meson", "compile", "-C", str(folder)], environment)
    if variant.python:
        if site.exists():
            shutil.rmtree(site)
        _run(["meson", "install", "-C", str(folder), "--no-rebuild"], environment)
    return folder


def environment_for(name: str, compiler: str = "") -> dict[str, str]:
    """Return the environment in which Python imports a variant's packages."""
    variant = VARIANTS[name]
    if not variant.python:
        raise VariantError(f"variant {name} has no Python packages; see the table in ci/variants.py")
    environment = _tools(compiler or variant.compiler)
    # The editable install's hook comes before PYTHONPATH; it steps aside for a build folder named here.
    editable = BUILD / f"cp{sys.version_info.major}{sys.version_info.minor}"
    environment["MESONPY_EDITABLE_SKIP"] = str(editable)
    environment["PYTHONPATH"] = str(site_of(folder_of(name, compiler)))
    environment["PYTHONSAFEPATH"] = "1"  # the checkout has folders of the same names
    environment["ZMM_VARIANT"] = name
    if "address" in variant.sanitize:
        cc = (compiler or environment.get("CC") or "cc").split()[0]
        ask = [[cc, f"-print-file-name={library}"] for library in ("libasan.so", "libubsan.so")]
        paths = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for command in ask]
        environment["LD_PRELOAD"] = ":".join(path.strip() for path in paths)
        environment["ASAN_OPTIONS"] = "detect_leaks=0:allocator_may_return_null=1"  # the interpreter keeps memory
        environment["UBSAN_OPTIONS"] = "print_stacktrace=1:halt_on_error=1"
    return environment


def show() -> None:
    """Print the table."""
    rows: list[tuple[str, ...]] = [("variant", *Row._fields)]
    for name, variant in VARIANTS.items():
        rows.append((name, *({"": "-", "True": "yes", "False": "no"}.get(str(value), str(value)) for value in variant)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def check() -> None:
    """Build every variant with gcc and with clang, as far as they are here, warnings being errors."""
    compilers = [name for name in ("gcc", "clang-19") if shutil.which(name)]
    for compiler in compilers:
        for name, variant in VARIANTS.items():
            if variant.compiler in {"", compiler}:
                build(name, compiler, werror=True)
                print(f"{name:<12}{compiler:<12}built without a warning", flush=True)
        # The fuzzing harness has a build of its own: one executable for each target and engine.
        folder = BUILD / f"harness-{compiler}"
        targets = sorted(path.stem for path in (ROOT / "fuzz" / "native" / "harness" / "targets").glob("*.c"))
        command = [str(BIN / "python"), "-P", "-m", "zmm_fuzz.harness.build", "--engine", "replay", "--strict"]
        _run([*command, "-o", str(folder), *targets], dict(_tools(compiler), CC=compiler))
        print(f"{'harness':<12}{compiler:<12}built without a warning", flush=True)


def main() -> int:
    """Run one of the four commands."""
    parser = argparse.ArgumentParser(description="build variants of zmm")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="show the table")
    commands.add_parser("check", help="build all with every compiler, warnings being errors")
    builder = commands.add_parser("build", help="build into build/NAME")
    builder.add_argument("names", nargs="+", choices=VARIANTS, metavar="NAME")
    builder.add_argument("--compiler", default="", help="instead of the table's")
    runner = commands.add_parser("run", help="run a command with the variant's packages")
    runner.add_argument("name", choices=VARIANTS, metavar="NAME")
    runner.add_argument("arguments", nargs=argparse.REMAINDER, metavar="COMMAND ...")
    options = parser.parse_args()
    try:
        if options.command == "list":
            show()
        elif options.command == "check":
            check()
        elif options.command == "build":
            for name in options.names:
                print(build(name, options.compiler))
        else:
            build(options.name)
            environment = environment_for(options.name)
            return subprocess.run(options.arguments, env=environment, check=False).returncode
    except VariantError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
