"""`zmm fuzz` from end to end with a stand-in for the engine: budget, findings, deaths, full disks, exit codes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from zmm_fuzz.campaign.corpus import Corpus, input_name
from zmm_fuzz.campaign.engines import Engine, EngineError, find_engine
from zmm_fuzz.campaign.inbox import Inbox
from zmm_fuzz.campaign.life import Crash
from zmm_fuzz.campaign.status import Violation
from zmm_fuzz.cli.fuzz import core_folder
from zmm_fuzz.errors import UserError
from zmm_fuzz.tape import decode_file, encode
from zmm_fuzz.text import parse_text

Run = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., AbstractContextManager[subprocess.Popen[str]]]
FUZZ = ("fuzz", "--jobs", "2", "--output", "found", "--json", "fuzz.json")


def report(tmp_path: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((tmp_path / "fuzz.json").read_text())
    return data


def is_intact(corpus: Path) -> bool:
    """Every input is what its name says."""
    files = Corpus(corpus).files()
    return bool(files) and all(path.name == input_name(path.read_bytes()) for path in files)


def test_a_clean_campaign_ends_at_its_budget(zmm: Run, tmp_path: Path) -> None:
    """Exit code 0, counts in the report, a pruned corpus that stays, nothing else left behind."""
    begin = time.monotonic()
    done = zmm(*FUZZ, "--time-budget", "3s")

    assert done.returncode == 0, done.stdout + done.stderr
    assert time.monotonic() - begin > 3
    data = report(tmp_path)
    assert (data["schema"], data["status"], data["findings"]) == (1, "pass", [])
    assert data["executions"] > 0
    assert sum(row["executions"] for row in data["workers"]) == data["executions"]
    assert data["coverage"] > 0
    assert 0 < data["corpus"]["files"] <= data["corpus"]["files_before"]
    assert is_intact(tmp_path / "zmm-corpus" / "heap")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fuzz.json", "zmm-corpus"]
    assert done.stdout.splitlines()[-1].startswith("zmm fuzz: pass, ")


def crash(program: str, violation: Violation) -> Crash:
    return Crash(encode(parse_text(f"zmm-program 1\n{program}")), violation)


def test_what_a_quicker_twin_has_kept_is_played_where_everything_is_seen(
    zmm: Run, engines: Path, tmp_path: Path
) -> None:
    """The worker has the twin that sees less; a rule that only the other engine knows is found at the end."""
    folder = tmp_path / "twins"
    folder.mkdir()
    for name, rules in (("zmm-fuzz-heap-atheris-asan", "a"), ("zmm-fuzz-heap-atheris-asan-alone", "")):
        (folder / name).write_text(f'#!/bin/sh\nSTAND_IN={rules} exec {engines / "zmm-fuzz-heap"} "$@"\n')
        (folder / name).chmod(0o755)
    corpus = Corpus(tmp_path / "zmm-corpus" / "heap").make()
    data = crash('b = strdup "BUG"\n', Violation("", "")).data
    corpus.add(data)
    command = ("fuzz", "--engine", "atheris", "--sanitize", "--jobs", "1", "--output", "found", "--json", "fuzz.json")
    done = zmm(*command, "--time-budget", "2s", ZMM_FUZZ_ENGINES=str(folder))

    assert done.returncode == 1, done.stdout + done.stderr
    assert "found in the corpus: ABS-3" in done.stdout
    found = report(tmp_path)
    assert found["workers"][0]["crashes"] == 0 < found["crashes"]
    assert {(finding["rule"], finding["repeated"]) for finding in found["findings"]} == {("ABS-3", True)}
    assert data not in [path.read_bytes() for path in corpus.files()]


def test_every_other_worker_has_the_quicker_twin() -> None:
    """Two workers see all that there is to see; an engine without a twin is every worker's."""
    engine = Engine("atheris", "heap", Path("whole"), twin=Path("quick"))

    assert [engine.path_of(worker).name for worker in range(3)] == ["quick", "whole", "quick"]
    assert Engine("atheris", "heap", Path("whole")).path_of(0) == Path("whole")


def test_only_workers_with_short_tapes_choose_evenly() -> None:
    """The first worker's tapes are short; a harness that reads files has none."""
    engine = Engine("libfuzzer", "heap", Path("whole"))
    assert ["-entropic=0" in engine.worker_flags(worker) for worker in range(4)] == [True, False, False, True]
    files = Engine("libfuzzer", "trace", Path("whole"), kind="bytes")
    assert not any("-entropic=0" in files.worker_flags(worker) for worker in range(4))


def test_findings_are_told_apart_shrunk_and_saved(zmm: Run, tmp_path: Path) -> None:
    """Crashes of two rules become two findings or more; each program shows its bug, and is saved; exit code 1."""
    inbox = Inbox(tmp_path / "zmm-corpus" / "heap-crashes")
    words = {"ABS-3": "BUG", "INVARIANT": "OUT"}
    for rule, word in words.items():
        program = f'a = alloc 40\nb = strdup "{word}"\nfree a\n'
        inbox.add(crash(program, Violation(rule, "a sentence", 2, "strdup")))
    done = zmm(*FUZZ, "--time-budget", "2s", STAND_IN="ab")

    assert done.returncode == 1, done.stdout + done.stderr
    assert "2 crashes of an earlier campaign are taken up" in done.stdout
    data = report(tmp_path)
    assert data["status"] == "fail"
    found = {finding["rule"]: finding for finding in data["findings"]}
    assert set(found) == set(words)
    for rule, word in words.items():
        assert found[rule]["repeated"]
        assert word.encode() in bytes.fromhex(found[rule]["input"])
        assert found[rule]["divergence"]["operations"] <= found[rule]["operations_before"]
        assert found[rule]["files"]
        assert all((tmp_path / name).is_file() for name in found[rule]["files"])
        assert rule in done.stdout
    for path in (tmp_path / "found").glob("*.tape"):
        decode_file(path.read_bytes())
    assert len({(one["rule"], one["state"]) for one in data["findings"]}) == len(data["findings"])
    # A settled crash is not taken up again.
    assert not (tmp_path / "zmm-corpus" / "heap-crashes").exists()


def test_quiet_says_the_result_only(zmm: Run) -> None:
    """One line."""
    done = zmm(*FUZZ, "--time-budget", "3s", "--quiet")

    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1


def test_a_crash_that_does_not_repeat_says_so(zmm: Run, tmp_path: Path) -> None:
    """It is reported with its program as it was found, and does not claim more."""
    inbox = Inbox(tmp_path / "zmm-corpus" / "heap-crashes")
    inbox.add(crash("a = alloc 40\n", Violation("ABS-3", "x", 1, "alloc")))
    done = zmm(*FUZZ, "--time-budget", "1s")

    assert done.returncode == 1, done.stdout + done.stderr
    (finding,) = report(tmp_path)["findings"]
    assert not finding["repeated"]
    assert "did nothing wrong when run again" in finding["note"]


def test_an_engine_that_cannot_start_is_inconclusive(zmm: Run, tmp_path: Path) -> None:
    """Zero executions prove nothing: exit code 3, with the engine's last words."""
    done = zmm(*FUZZ, "--time-budget", "20s", "--no-prune", STAND_IN="0")

    assert done.returncode == 3, done.stdout + done.stderr
    data = report(tmp_path)
    assert (data["status"], data["executions"]) == ("inconclusive", 0)
    assert data["reason"] == "every worker gave up before the budget ended"
    assert "told to fail at once" in data["workers"][0]["trouble"]
    assert len(data["workers"][0]["deaths"]) == 3


# ---- deaths and signals ----------------------------------------------------------------------------------------------


def engines_of(pid: int, path: Path) -> list[int]:
    """The engine processes below a process."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if parent == pid and command.startswith(bytes(path)):
                found.append(int(entry.name))
    return sorted(found)


def wait_for_engines(pid: int, path: Path, count: int, but: set[int] | None = None) -> list[int]:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = [one for one in engines_of(pid, path) if one not in (but or set())]
        if len(found) >= count:
            return found
        time.sleep(0.02)
    raise AssertionError(f"process {pid} has no {count} engines")


def wait_for_inputs(tmp_path: Path) -> None:
    """Until an engine has added something to the corpus."""
    deadline = time.monotonic() + 60
    while not Corpus(tmp_path / "zmm-corpus" / "heap").files():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_killed_engine_is_replaced_and_reported(engine: Engine, start: Start, tmp_path: Path) -> None:
    """SIGKILL to one of two engines: another takes its place; the death is told and stands in the report."""
    with start(*FUZZ, "--time-budget", "5m") as process:
        victims = wait_for_engines(process.pid, engine.path, 2)
        wait_for_inputs(tmp_path)
        os.kill(victims[0], signal.SIGKILL)
        assert wait_for_engines(process.pid, engine.path, 1, set(victims))
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)

    assert process.returncode == 3, out + err
    assert [death for row in report(tmp_path)["workers"] for death in row["deaths"]] == ["killed by SIGKILL"]
    assert "its engine was lost (killed by SIGKILL); a new one takes over" in out
    assert is_intact(tmp_path / "zmm-corpus" / "heap")


def test_an_interrupted_campaign_reports_what_it_has(engine: Engine, start: Start, tmp_path: Path) -> None:
    """Ctrl-C: engines end, the report says so, exit code 3."""
    with start(*FUZZ, "--time-budget", "5m") as process:
        children = wait_for_engines(process.pid, engine.path, 2)
        wait_for_inputs(tmp_path)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)

    assert process.returncode == 3, out + err
    assert err == "zmm: interrupted by SIGINT; the results so far are reported as they are\n"
    data = report(tmp_path)
    assert (data["status"], data["interrupted"]) == ("inconclusive", "SIGINT")
    assert data["executions"] > 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)


def test_a_killed_campaign_leaves_no_engine_behind(engine: Engine, start: Start, tmp_path: Path) -> None:
    """SIGKILL to the campaign itself: its engines die with it, the corpus can be used at once."""
    with start(*FUZZ, "--time-budget", "5m") as process:
        children = wait_for_engines(process.pid, engine.path, 2)
        process.kill()
        process.communicate(timeout=60)
    deadline = time.monotonic() + 20
    while any(_runs(pid) for pid in children) and time.monotonic() < deadline:
        time.sleep(0.05)

    assert not any(_runs(pid) for pid in children)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# ---- a full disk -----------------------------------------------------------------------------------------------------


def tiny_disk(folder: Path, first: str) -> tuple[str, ...]:
    """
    What to put before a command so that its ``folder`` is a disk of 64 KiB; skips where nobody may mount one.

    ``first`` is what a shell does there before the command.
    """
    folder.mkdir()
    mount = f'mount -t tmpfs -o size=64k tmpfs {folder} && {first}; exec "$@"'
    prefix = ("unshare", "--map-root-user", "--mount", "sh", "-c", mount, "sh")
    if (
        shutil.which("unshare") is None
        or subprocess.run([*prefix, "true"], cwd=folder.parent, capture_output=True, check=False).returncode
    ):
        pytest.skip("needs a kernel that lets unshare mount a tmpfs")
    return prefix


def test_a_full_disk_is_one_line_and_no_finding_is_lost(zmm: Run, tmp_path: Path) -> None:
    """The corpus' disk fills: exit code 2 with one line, findings saved elsewhere, in the report in any case."""
    before = tiny_disk(tmp_path / "small", 'mkdir small/corpus && printf "a BUG in it" > small/corpus/seed')
    done = zmm(*FUZZ, "--time-budget", "60s", "--corpus", "small/corpus", before=before, STAND_IN="a")

    assert done.returncode == 2, done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("zmm: cannot write to the corpus corpus: the disk is full")
    data = report(tmp_path)
    assert {finding["rule"] for finding in data["findings"]} == {"ABS-3"}
    assert all((tmp_path / name).is_file() for one in data["findings"] for name in one["files"])
    assert data["seconds"] < 60


def test_a_finding_that_cannot_be_saved_is_in_the_report(zmm: Run, tmp_path: Path) -> None:
    """Nowhere to write a reproducer: the program is printed and stands in the report; exit code 2."""
    inbox = Inbox(tmp_path / "zmm-corpus" / "heap-crashes")
    inbox.add(crash('a = strdup "BUG"\n', Violation("ABS-3", "a sentence", 1, "strdup")))
    before = tiny_disk(tmp_path / "small", "dd if=/dev/zero of=small/filling bs=1k 2>/dev/null")
    done = zmm(*FUZZ, "--time-budget", "1s", "--output", "small/found", before=before, STAND_IN="a")

    assert done.returncode == 2, done.stdout + done.stderr
    assert "the disk is full" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    (first, *_) = report(tmp_path)["findings"]
    assert first["rule"] == "ABS-3"
    assert first["files"] == []
    assert "zmm-program 1" in first["divergence"]["program"]
    # What was not saved is left for the next campaign.
    assert list((tmp_path / "zmm-corpus" / "heap-crashes").glob("*.json"))


# ---- mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fuzz", "--engine", "honggfuzz"], ["unknown engine 'honggfuzz'", "libfuzzer, atheris, afl"]),
        (["fuzz", "--fuzz-target", "nothing"], ["unknown fuzz target 'nothing'", "heap"]),
        (["fuzz", "--time-budget", "soon"], ["'soon'"]),
        (["fuzz", "--target", "nobody"], ["unknown target 'nobody'"]),
        (["fuzz", "--corpus", "s3://bucket/corpus"], ["needs --scheduler"]),
        (["fuzz", "--core", "missing"], ["--core missing is no folder"]),
        (["fuzz", "--sanitize"], ["has no zmm-fuzz-heap-asan"]),
        (["corpus", "stats", "missing"], ["missing is neither a corpus folder nor a seed file"]),
        (["corpus", "prune", "missing"], ["missing is no folder"]),
        (["corpus", "merge", "into", "missing"], ["missing is neither"]),
        (["corpus", "merge", "into"], ["FROM"]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else None,
)
def test_a_mistake_is_one_line(arguments: list[str], words: list[str], zmm: Run) -> None:
    """It names the thing and the remedy; exit code 2."""
    done = zmm(*arguments)

    assert done.returncode == 2, (done.stdout, done.stderr)
    (line,) = done.stderr.splitlines()
    assert line.startswith("zmm: ")
    for word in words:
        assert word in line


def test_a_copy_of_the_core_may_be_named_in_each_way(tmp_path: Path) -> None:
    """The tree, zmm/ or zmm/core/; sources without their headers are not taken for a copy."""
    core = tmp_path / "tree" / "zmm" / "core"
    core.mkdir(parents=True)
    (core / "unity.c").touch()
    with pytest.raises(UserError, match="include/ beside core/"):
        core_folder(core)
    (core.parent / "include").mkdir()
    for named in (core, core.parent, core.parent.parent):
        assert core_folder(named) == core


def test_a_missing_compiler_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without clang nothing can be built: the line says what to install."""
    monkeypatch.delenv("ZMM_FUZZ_ENGINES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineError, match="apt-get install clang"):
        find_engine("libfuzzer", "heap", folder=tmp_path)
    with pytest.raises(EngineError, match=r"apt-get install afl\+\+"):
        find_engine("afl", "heap", folder=tmp_path)
