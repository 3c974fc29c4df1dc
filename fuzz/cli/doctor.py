"""`zmm doctor`: what the suite needs, what of it is here, and how to get the rest."""

from __future__ import annotations

import importlib
import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import typer

from ..errors import CLEAN, USAGE
from ..harness.build import ENGINES, BuildError, find_compiler
from ..recorded import trace_paths
from ..report.simple import write_simple
from ..targets import Target, TargetError, found_targets, runner_path
from . import options
from .output import check_writable, make_console, write_file

_PYTHON_OLDEST = (3, 11)
_EXTRAS = ("hypothesis", "jinja2", "msgspec", "rich", "typer")


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at: ``status`` is ok, missing (needed) or absent (optional)."""

    name: str
    status: str
    remark: str


def checks() -> Iterator[Check]:
    """Everything there is to look at, what is needed first."""
    version = platform.python_version()
    if sys.version_info >= _PYTHON_OLDEST:
        yield Check("python", "ok", version)
    else:
        yield Check("python", "missing", f"{version}; install Python 3.11 or later")
    if sys.platform == "linux":
        yield Check("system", "ok", f"{platform.system()} {platform.machine()}")
    else:
        yield Check("system", "missing", f"{platform.system()}; the runner needs Linux")
    try:
        zmm = importlib.import_module("zmm")
        yield Check("zmm", "ok", f"version {zmm.__version__}")
    except ImportError as error:
        yield Check("zmm", "missing", f"the extension cannot be imported ({error}); install zmm anew")
    try:
        runner_path()
        yield Check("runner", "ok", "zmm-runner")
    except TargetError as error:
        yield Check("runner", "missing", str(error))
    for name in _EXTRAS:
        if importlib.util.find_spec(name) is not None:
            yield Check(name, "ok", "installed")
        else:
            yield Check(name, "missing", "pip install 'zmm[verify]'")
    for name, found in found_targets():
        if isinstance(found, Target):
            yield Check(f"target {name}", "ok", found.version)
        else:
            needed = name.split(":")[0] == "zmm"
            yield Check(f"target {name}", "missing" if needed else "absent", str(found))
    count = len(trace_paths())
    yield Check("traces", "ok", f"{count} recorded") if count else Check("traces", "absent", "install zmm anew")
    compiler = os.environ.get("CC") or next(filter(shutil.which, ("cc", "gcc", "clang")), "")
    if compiler and shutil.which(compiler.split()[0]):
        yield Check("C compiler", "ok", compiler)
    else:
        yield Check("C compiler", "absent", "only needed to run C reproducers; install gcc or clang")
    yield from engine_checks()
    free_bytes = shutil.disk_usage(".").free
    if free_bytes > 64 << 20:
        yield Check("disk", "ok", f"{free_bytes >> 20:,} MiB free here")
    else:
        yield Check("disk", "absent", f"only {free_bytes >> 20} MiB free here; reproducers may not fit")


def engine_checks() -> Iterator[Check]:
    """What campaigns can be run with."""
    for name in ("libfuzzer", "afl"):
        try:
            yield Check(f"engine {name}", "ok", find_compiler(ENGINES[name]))
        except BuildError as error:
            yield Check(f"engine {name}", "absent", str(error))
    for what, module, extra in (("engine atheris", "atheris", "fuzz"), ("cluster", "distributed", "dask")):
        here = importlib.util.find_spec(module) is not None
        yield Check(what, "ok" if here else "absent", "installed" if here else f"pip install 'zmm[{extra}]'")


def command(json: options.Json = None, quiet: options.Quiet = False) -> None:
    """
    Look at everything the suite needs and say how to get what is missing.

    Exit code 0 when nothing that is needed is missing, else 2.

    For example:

        zmm doctor

        zmm doctor --json doctor.json
    """
    check_writable(json)
    console = make_console()
    found = list(checks())
    for check in found:
        if not quiet:
            console.print(f"{check.name:<18} {check.status:<8} {check.remark}", markup=False, soft_wrap=True)
    missing = [check.name for check in found if check.status == "missing"]
    status = "fail" if missing else "pass"
    said = f"missing: {', '.join(missing)}" if missing else "everything needed is here"
    console.print(f"zmm doctor: {said}", markup=False, soft_wrap=True)
    if json is not None:
        write_file(json, write_simple(status, checks=[asdict(check) for check in found]))
    raise typer.Exit(USAGE if missing else CLEAN)
