"""Ctrl-C, SIGTERM, and children killed from outside: one clear line, partial results kept, documented exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from zmm_fuzz.cli.interrupt import interruption_behind
from zmm_fuzz.tiers.base import Interrupted

Start = Callable[..., AbstractContextManager[subprocess.Popen[str]]]
ARGUMENTS = ["verify", "--tier", "lockstep", "--tier", "boundaries", "--json", "r.json"]


def children(pid: int, command: bytes) -> list[int]:
    """The direct children of a process whose command line has a word in it (a build may run beside them)."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                said = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if int(fields[1]) == pid and command in said:
                found.append(int(entry.name))
    return sorted(found)


WORKER, RUNNER = b"tiers.workers", b"zmm-runner"


def wait_for(pid: int, count: int, command: bytes) -> list[int]:
    """The children of a process, once there are so many."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = children(pid, command)
        if len(found) >= count:
            return found
        time.sleep(0.05)
    raise AssertionError(f"process {pid} has {len(children(pid, command))} such children, not {count}")


def wait_for_operations(process: subprocess.Popen[str]) -> str:
    """Reads the progress lines up to the first that counts something."""
    assert process.stdout is not None
    read = ""
    for line in process.stdout:
        read += line
        if " operations, " in line and ": 0 operations" not in line:
            return read
    raise AssertionError(f"no progress was shown: {read}")


def report(tmp_path: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((tmp_path / "r.json").read_text())
    return data


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_reports_what_it_has(number: signal.Signals, tmp_path: Path, start: Start) -> None:
    """Half-way: the whole group gets the signal, as from a terminal; one line, a partial JSON, exit code 3."""
    with start(*ARGUMENTS, "--time-budget", "3m") as process:
        shown = wait_for_operations(process)
        workers = wait_for(process.pid, 2, WORKER)
        runners = [pid for worker in workers for pid in wait_for(worker, 1, RUNNER)]
        if number == signal.SIGINT:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 3, out + err
    assert err == f"zmm: interrupted by {number.name}; the results so far are reported as they are\n"
    data = report(tmp_path)
    assert data["status"] == "inconclusive"
    assert data["reason"] == f"interrupted by {number.name}"
    first, second = data["tiers"]
    assert (first["status"], second["status"]) == ("inconclusive", "skipped")
    assert first["operations"] > 0
    assert "interrupted" in shown + out
    for pid in (*workers, *runners):
        assert not _alive(pid)


def test_a_worker_killed_from_outside_is_told(tmp_path: Path, start: Start) -> None:
    """One of two workers is killed: its part is missing, so inconclusive; what it had reported is kept."""
    with start(*ARGUMENTS, "--time-budget", "30s") as process:
        wait_for_operations(process)
        os.kill(wait_for(process.pid, 2, WORKER)[0], signal.SIGKILL)
        out, err = process.communicate(timeout=150)
    assert process.returncode == 3, out + err
    first, second = report(tmp_path)["tiers"]
    assert first["status"] == "inconclusive"
    assert first["reason"] == "a worker process was lost (killed by SIGKILL); what it had reported is kept"
    assert first["operations"] > 0
    # The next tier has had its moment; how far it comes in it is the machine's.
    assert second["status"] != "skipped"
    assert second["seconds"] > 0
    assert first["divergences"] == second["divergences"] == []


def test_a_runner_killed_from_outside_is_no_divergence(tmp_path: Path, start: Start) -> None:
    """A runner is killed: its program is performed anew, the run goes on, and the remark says what happened."""
    with start(*ARGUMENTS, "--time-budget", "3m") as process:
        wait_for_operations(process)
        worker = wait_for(process.pid, 2, WORKER)[0]
        (runner,) = wait_for(worker, 1, RUNNER)
        os.kill(runner, signal.SIGKILL)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and children(worker, RUNNER) in ([], [runner]):
            time.sleep(0.05)
        assert children(worker, RUNNER) not in ([], [runner])
        wait_for_operations(process)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 3, out + err
    first = report(tmp_path)["tiers"][0]
    assert first["divergences"] == []
    assert first["operations"] > 0


def _alive(pid: int) -> bool:
    """Whether a process still runs; one that only waits to be buried does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# A command, and what it says first of all that shows it is at work ("" when it says nothing before it is over: then the
# program that it begins shows it).
AT_WORK = {
    "faults": (["faults", "--target", "libc"], "libc: "),
    "search": (["faults", "--search", "--time-budget", "60s"], "zmm: searching"),
    "prices": (["bench", "prices"], ""),
}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("name", AT_WORK)
def test_a_command_without_partial_results_says_one_line(
    name: str, number: signal.Signals, tmp_path: Path, start: Start
) -> None:
    """A second signal at once, as timeout(1) sends it, is the same; no traceback, exit code 3."""
    arguments, first = AT_WORK[name]
    with start(*arguments) as process:
        if first:
            assert process.stdout is not None
            while not process.stdout.readline().startswith(first):
                pass
        else:
            wait_for(process.pid, 1, b"zmm-faults")
        time.sleep(0.5)  # wherever it is now
        process.send_signal(number)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (3, f"zmm: interrupted by {number.name}\n"), out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_a_command_is_imported_is_one_line(
    number: signal.Signals, tmp_path: Path, environment: dict[str, str], start: Start
) -> None:
    """A library that the command line imports at once sends it, twice."""
    (tmp_path / "typer.py").write_text(f"import os\nfor _ in range(2):\n    os.kill(os.getpid(), {int(number)})\n")
    environment["PYTHONPATH"] = str(tmp_path)
    with start("targets") as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (3, "", f"zmm: interrupted by {number.name}\n")


def test_an_error_on_the_way_up_hides_no_interruption() -> None:
    """Hypothesis raises FlakyStrategyDefinition where it was interrupted in the middle of a draw."""
    try:
        try:
            raise Interrupted("SIGTERM")
        finally:
            raise ValueError("on the way up")
    except ValueError as error:
        found = interruption_behind(error)
    assert found is not None
    assert found.signal_name == "SIGTERM"
    assert interruption_behind(ValueError()) is None
