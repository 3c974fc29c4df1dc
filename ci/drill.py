"""Drills campaigns: four local workers and a cluster of two, one killed, one disk filled half-way; nothing may be lost.

A core with two planted bugs is fuzzed by the real engine.  Part one: four local workers, one is killed with SIGKILL,
the disk of the corpus fills half-way.  Part two: a Dask cluster of two workers; the process of one is killed with
SIGKILL, the disk of the other fills half-way.  After each part: every broken rule that was seen is a saved finding, the
corpus is intact, the exit code is the documented one.  Prints a line for each expectation, and the figures.
Exit status: 0 as expected, 1 not, 2 something is missing (clang, Dask, unshare).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from zmm_fuzz.harness.build import BuildError, build
from zmm_fuzz.truth.patch import PlantError, read_patch
from zmm_fuzz.truth.plant import plant

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
BUGS = ("reset_peak_forgets_real_peak", "calloc_leaves_the_last_bytes")
PORT = 18793
DISK = "8m"
# So many inputs are in the corpus when the first worker is killed, twice as many when the disk is filled.
INPUTS = 100


class Missing(Exception):
    """What the drill cannot do without, and how to get it."""


class Expectations:
    """What was expected and what was seen, a line each."""

    def __init__(self) -> None:
        self.failed = 0

    def expect(self, what: str, fine: bool, seen: object = "") -> None:
        """Say it; a failure counts."""
        self.failed += not fine
        print(f"  {'ok  ' if fine else 'FAIL'} {what}{f': {seen}' if seen != '' else ''}", flush=True)


def small_disk(folder: Path, flag: Path, keep: Path | None = None) -> list[str]:
    """
    Return what to put before a command so that ``folder`` is a small disk for it, which fills when ``flag`` appears.

    :param keep: receives what lies on the disk at the end.
    """
    folder.mkdir(parents=True, exist_ok=True)
    fill = f"(while [ ! -e {flag} ]; do sleep 0.2; done; exec dd if=/dev/zero of={folder}/filling bs=64k 2>/dev/null) &"
    saved = f"cp -r {folder} {keep}" if keep is not None else ":"
    script = f'mount -t tmpfs -o size={DISK} tmpfs {folder} || exit 99; {fill} "$@"; code=$?; {saved}; exit $code'
    prefix = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    probe = [*prefix, f"mount -t tmpfs -o size={DISK} tmpfs {folder}"]
    if shutil.which("unshare") is None or subprocess.run(probe, check=False).returncode:
        raise Missing("the drill needs unshare, and a kernel that lets it mount a tmpfs (apt-get install util-linux)")
    return [*prefix, script, "sh"]


def make_engine(folder: Path) -> tuple[Path, str]:
    """Build the engine and the library of a core with two bugs; the library's name as a target."""
    patches = [read_patch(ROOT / "tests" / "planted" / f"{name}.patch") for name in BUGS]
    both = replace(patches[0], name="drill", hunks=tuple(hunk for patch in patches for hunk in patch.hunks))
    try:
        library = plant(both, folder / "planted")
        build("heap", engine="libfuzzer", folder=folder / "engines", core=folder / "planted" / "drill" / "zmm" / "core")
    except (BuildError, PlantError) as error:
        raise Missing(str(error)) from None
    return folder / "engines", f"zmm:{library}"


def processes() -> Iterator[tuple[int, int, bytes]]:
    """Every process: its number, its parent's, its command line."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                yield int(entry.name), parent, (entry / "cmdline").read_bytes()
            except OSError:
                continue


def below(pid: int) -> list[tuple[int, bytes]]:
    """Return all descendants of a process."""
    everything = list(processes())
    found, wanted = [], {pid}
    while wanted:
        children = [(child, command) for child, parent, command in everything if parent in wanted]
        found += children
        wanted = {child for child, _ in children}
    return found


def wait_for(what: str, look: Callable[[], list[int]], count: int = 1, seconds: float = 90) -> list[int]:
    """Wait until there are so many processes of a kind."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = look()
        if len(found) >= count:
            return found
        time.sleep(0.1)
    raise Missing(f"no {what} appeared within {seconds:.0f} s")


def wait_for_inputs(corpus: Path, count: int, seconds: float) -> int:
    """Wait until a corpus has so many inputs, or the time is over; return how many it has."""
    end = time.monotonic() + seconds
    found = 0
    while time.monotonic() < end and found < count:
        time.sleep(0.2)
        found = len(list(corpus.glob("[0-9a-f]*"))) if corpus.is_dir() else 0
    return found


def is_intact(corpus: Path) -> tuple[bool, int]:
    """Whether every input is what its name says, and how many there are."""
    files = [path for path in corpus.iterdir() if path.is_file() and not path.name.startswith(".")]
    right = [hashlib.sha1(path.read_bytes(), usedforsecurity=False).hexdigest() == path.name for path in files]
    return all(right) and bool(files), len(files)


def judge_findings(expectations: Expectations, report: dict[str, Any], said: str, folder: Path) -> None:
    """Compare the rules that were seen with the findings that were saved."""
    seen = {line.split(": ")[1] for line in said.splitlines() if line.startswith("found: ")}
    findings = report["findings"]
    told = {one["rule"] for one in findings} | {rule for rule in seen if any(rule in one["note"] for one in findings)}
    expectations.expect(
        "every rule that was seen is a finding", bool(seen) and seen <= told, f"{sorted(seen)} -> {sorted(told)}"
    )
    saved = [all((folder / name).is_file() for name in one["files"]) and one["files"] for one in findings]
    expectations.expect("every finding is saved", bool(saved) and all(saved), f"{len(findings)} findings")
    operations = sorted(one["divergence"]["operations"] for one in findings if one["divergence"])
    print(f"       operations of the reproducers: {operations}; crashes seen: {report['crashes']}")


def run_local(folder: Path, engines: Path, target: str, seconds: int) -> int:
    """Part one: four local workers."""
    print(f"four local workers, {seconds} s: one is killed, later the disk is filled")
    expectations = Expectations()
    (folder / "local").mkdir()
    flag = folder / "local" / "fill"
    prefix = small_disk(folder / "disk", flag, folder / "kept")
    command = [*prefix, str(BIN / "zmm"), "fuzz", "--jobs", "4", "--time-budget", f"{seconds}s", "--target", target]
    command += ["--corpus", str(folder / "disk" / "corpus"), "--output", "found", "--json", "report.json"]
    process = subprocess.Popen(
        command,
        cwd=folder / "local",
        env={**os.environ, "ZMM_FUZZ_ENGINES": str(engines), "PYTHONSAFEPATH": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    engine = bytes(engines / "zmm-fuzz-heap")
    look = lambda: [pid for pid, command in below(process.pid) if command.startswith(engine)]  # noqa: E731
    wait_for("four engines", look, 4)
    # What the campaign sees below its own root, its small disk included.
    corpus = Path(f"/proc/{process.pid}/root{folder / 'disk' / 'corpus'}")
    wait_for_inputs(corpus, INPUTS, seconds / 3)
    os.kill(wait_for("engine", look)[0], signal.SIGKILL)
    count = wait_for_inputs(corpus, 2 * INPUTS, seconds / 3)
    print(f"       the disk is filled at {count} inputs", flush=True)
    flag.touch()
    out, err = process.communicate(timeout=seconds * 4 + 120)
    report = json.loads((folder / "local" / "report.json").read_text())
    expectations.expect("exit code 2, one line", process.returncode == 2 and len(err.splitlines()) == 1, err.strip())
    deaths = [death for row in report["workers"] for death in row["deaths"]]
    expectations.expect("the killed engine is reported", "killed by SIGKILL" in deaths, deaths)
    expectations.expect("it stopped when the disk was full", report["seconds"] < seconds, f"{report['seconds']:.0f} s")
    judge_findings(expectations, report, out, folder / "local")
    fine, count = is_intact(folder / "kept" / "corpus")
    expectations.expect("the corpus is intact", fine, f"{count} inputs")
    print(f"       {report['executions']:,} executions, {report['executions_per_second']:,.0f}/s")
    return expectations.failed


@contextmanager
def cluster(folder: Path, environment: dict[str, str]) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """A scheduler and two workers, each in a process group of its own; the second works on a small disk."""
    address = f"tcp://127.0.0.1:{PORT}"
    dask = str(BIN / "dask")
    common = ["--no-dashboard", "--nthreads", "2", "--local-directory", str(folder / "dask")]
    commands = {
        "scheduler": [dask, "scheduler", "--host", "127.0.0.1", "--port", str(PORT), "--no-dashboard"],
        "one": [dask, "worker", address, "--name", "one", *common],
        "two": [*small_disk(folder / "scratch", folder / "fill"), dask, "worker", address, "--name", "two", *common],
    }
    running: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name, command in commands.items():
            scratch = {"ZMM_FUZZ_SCRATCH": str(folder / "scratch")} if name == "two" else {}
            running[name] = subprocess.Popen(
                command,
                cwd=folder,
                env={**environment, **scratch},
                stdout=subprocess.DEVNULL,
                stderr=(folder / f"{name}.log").open("wb"),
                start_new_session=True,
            )
        time.sleep(5)
        yield running
    finally:
        for process in running.values():
            for pid in (process.pid, *(pid for pid, _ in below(process.pid))):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            process.wait()


def run_cluster(folder: Path, engines: Path, target: str, seconds: int) -> int:
    """Part two: a cluster of two workers."""
    print(f"a Dask cluster of two workers, {seconds} s: one is killed, later the other's disk is filled")
    expectations = Expectations()
    (folder / "cluster").mkdir()
    environment = {**os.environ, "ZMM_FUZZ_ENGINES": str(engines), "PYTHONSAFEPATH": "1"}
    with cluster(folder / "cluster", environment) as running:
        command = [str(BIN / "zmm"), "fuzz", "--scheduler", f"tcp://127.0.0.1:{PORT}", "--target", target]
        command += ["--corpus", str(folder / "shared"), "--output", "found", "--json", "report.json"]
        command += ["--time-budget", f"{seconds}s", "--no-prune"]
        process = subprocess.Popen(
            command,
            cwd=folder / "cluster",
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        engine = bytes(engines / "zmm-fuzz-heap")
        # The engines of worker one, whose parent is the process that is killed.
        look = lambda: [pid for pid, command in below(running["one"].pid) if command.startswith(engine)]  # noqa: E731
        wait_for("engine on the cluster", look)
        wait_for_inputs(folder / "shared", INPUTS, seconds / 3)
        victim = wait_for("engine on the cluster", look)[0]
        parents = {pid: parent for pid, parent, _ in processes()}
        os.kill(parents[victim], signal.SIGKILL)
        count = wait_for_inputs(folder / "shared", 2 * INPUTS, seconds / 3)
        print(f"       the disk is filled at {count} inputs", flush=True)
        (folder / "cluster" / "fill").touch()
        out, err = process.communicate(timeout=seconds * 4 + 180)
    report = json.loads((folder / "cluster" / "report.json").read_text())
    expectations.expect(
        "exit code 1, nothing on stderr", process.returncode == 1 and not err, err.strip() or process.returncode
    )
    deaths = [death for row in report["workers"] for death in row["deaths"]]
    troubles = [row["trouble"] for row in report["workers"] if row["trouble"]]
    expectations.expect("the killed worker is reported", "its process is gone" in deaths, deaths)
    expectations.expect("the full disk is reported", any("disk is full" in one for one in troubles), troubles)
    expectations.expect("a worker went on to the end", report["seconds"] >= seconds, f"{report['seconds']:.0f} s")
    judge_findings(expectations, report, out, folder / "cluster")
    fine, count = is_intact(folder / "shared")
    expectations.expect("the shared corpus is intact", fine, f"{count} inputs")
    left = list((folder / "shared-crashes").iterdir())
    expectations.expect("no crash is left unsettled", not left, len(left))
    print(f"       {report['executions']:,} executions, {report['executions_per_second']:,.0f}/s")
    return expectations.failed


def main() -> int:
    """Run both parts, or one of them."""
    parser = argparse.ArgumentParser(description="drill campaigns: killed workers, full disks")
    parser.add_argument("--seconds", type=int, default=90, help="of each part's budget")
    parser.add_argument("--part", choices=("local", "cluster"), help="only this one")
    options = parser.parse_args()
    parts = {"local": run_local, "cluster": run_cluster}
    failed = 0
    with tempfile.TemporaryDirectory(prefix="zmm-drill-") as name:
        folder = Path(name)
        try:
            engines, target = make_engine(folder)
            for part, run in parts.items():
                if options.part in (None, part):
                    failed += run(folder, engines, target, options.seconds)
        except Missing as error:
            print(f"ci/campaign_drill: {error}", file=sys.stderr)
            return 2
    print("the drill went as expected" if not failed else f"{failed} expectations failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
