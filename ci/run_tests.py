"""Runs the tests on every core; with ``--coverage`` those that are not slow on the coverage variant, for the numbers.

With other arguments, one pytest run with these.  Needs .venv (ci/setup).
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

import variants

ROOT = variants.ROOT
BIN = variants.BIN
REPORTS = ROOT / "build" / "reports"
# The coverage run leaves out what looks at the tree, not at running code, the prover, whose many runs of one line are
# slow to count, and what runs other people's binaries or builds of its own, which count for nothing here.
LEFT_OUT = (
    "--ignore=tests/house",
    "--ignore=tests/prove",
    "--ignore=tests/planted",
    "--ignore=tests/faults",
)


def run(what: str, command: list[str], environment: dict[str, str]) -> int:
    """Run one step, say how long it took, and return its status."""
    print(f"\n== {what}", flush=True)
    started = time.monotonic()
    status = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
    print(f"== {what}: status {status}, {time.monotonic() - started:.0f} seconds", flush=True)
    return status


def with_tools() -> dict[str, str]:
    """Return the environment in which .venv is active."""
    path = f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}"
    return dict(os.environ, PATH=path, VIRTUAL_ENV=str(BIN.parent), PYTHONSAFEPATH="1")


def coverage() -> int:
    """Run the tests that are not slow on the coverage variant, and print lines and branches of Python and of C."""
    folder = variants.build("coverage")
    for counters in folder.rglob("*.gcda"):
        counters.unlink()
    for data in ROOT.glob(".coverage*"):
        data.unlink()
    environment = {**with_tools(), **variants.environment_for("coverage"), "COVERAGE_FILE": str(ROOT / ".coverage")}
    tools = with_tools()
    statuses = [
        run(
            "tests on the coverage variant",
            [str(BIN / "coverage"), "run", "-m", "pytest", "-q", "-m", "not slow", *LEFT_OUT],
            environment,
        ),
        run("collecting", [str(BIN / "coverage"), "combine", "-q"], tools),
        run("lines and branches of Python", [str(BIN / "coverage"), "report"], tools),
        run(
            "lines and branches of C",
            [
                *(str(BIN / "gcovr"), "--root", str(ROOT), str(folder), "--filter", "zmm/core/"),
                # An assert's other branch is never taken: that is its point.
                *("--exclude-branches-by-pattern", r".*zmm_assert\(", "--exclude-unreachable-branches"),
                *("--merge-mode-functions", "merge-use-line-0", "--print-summary"),
                *("--txt-metric", "branch", "--txt", "-"),
                *("--html-details", str(REPORTS / "core.html"), "--json-summary", str(REPORTS / "core.json")),
            ],
            tools,
        ),
    ]
    return max(abs(status) for status in statuses)


def main(arguments: list[str]) -> int:
    """Run what is asked for, and return the first status that is not 0."""
    REPORTS.mkdir(parents=True, exist_ok=True)
    if arguments == ["--coverage"]:
        try:
            return coverage()
        except variants.VariantError as error:
            print(error, file=sys.stderr)
            return 2
    if arguments:
        return run("tests", [str(BIN / "pytest"), *arguments], with_tools())
    # Some tests time out rather than pass when many share a core, so there are never more workers than cores.
    spread = ["-n", str(min(os.cpu_count() or 1, 8)), "--dist", "loadgroup"]
    reports = ["--durations=10", f"--junit-xml={REPORTS / 'tests.xml'}"]
    return run("tests", [str(BIN / "pytest"), "-q", *spread, *reports], with_tools())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
