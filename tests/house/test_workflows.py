"""The workflows: valid for GitHub, in step with the tree, and naming only commands and options that exist."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

BIN = Path(sys.executable).parent
ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
NAMES = [path.name for path in WORKFLOWS]


def schema_says(*paths: Path) -> subprocess.CompletedProcess[str]:
    command = [str(BIN / "check-jsonschema"), "--builtin-schema", "vendor.github-workflows", *map(str, paths)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_workflows_are_valid_for_github() -> None:
    """Against GitHub's own schema."""
    done = schema_says(*WORKFLOWS)

    assert done.returncode == 0, done.stdout


def test_a_broken_workflow_is_refused(tmp_path: Path) -> None:
    """The schema notices a misspelt key."""
    path = tmp_path / "broken.yml"
    path.write_text(WORKFLOWS[0].read_text().replace("runs-on:", "run-on:"))

    assert schema_says(path).returncode == 1


def test_each_occasion_has_its_workflow() -> None:
    """Proposed changes, nights, weeks, pruning, coverage, and ClusterFuzzLite's own."""
    needed = {"pull-request", "nightly", "weekly-campaign", "corpus-pruning", "coverage"}
    needed |= {"cflite_pr", "cflite_batch", "cflite_cron"}

    assert needed <= {path.stem for path in WORKFLOWS}


def loaded(path: Path) -> dict[Any, Any]:
    data: dict[Any, Any] = yaml.safe_load(path.read_text())
    return data


def steps_of(path: Path) -> Iterator[dict[str, Any]]:
    for job in loaded(path)["jobs"].values():
        yield from job.get("steps", [])


@cache
def help_of(command: str) -> str:
    program = [str(BIN / "zmm"), *command.split(), "--help"]
    return subprocess.run(program, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("path", WORKFLOWS, ids=NAMES)
def test_commands_in_workflows_exist(path: Path) -> None:
    """Scripts are in the tree, `zmm` has the command and each option."""
    for step in steps_of(path):
        script = re.sub(r"\$\{\{.*?\}\}", "VALUE", str(step.get("run", "")))
        for line in re.split(r"\n|&&|;", script):
            words = shlex.split(line)
            if words and words[0].startswith("ci/"):
                assert (ROOT / words[0]).is_file(), line
            elif words and words[0] == ".venv/bin/zmm":
                end = 3 if words[1] == "corpus" else 2
                shown = help_of(" ".join(words[1:end]))
                for option in (word for word in words[end:] if word.startswith("--")):
                    assert option in shown, line


@pytest.mark.parametrize("path", WORKFLOWS, ids=NAMES)
def test_actions_are_pinned_to_a_version(path: Path) -> None:
    """`uses` names an action with its version, or a workflow of this tree."""
    for step in (*steps_of(path), *loaded(path)["jobs"].values()):
        if "uses" in step:
            here = step["uses"].startswith("./")
            assert (ROOT / step["uses"]).is_file() if here else re.search(r"@v\d", step["uses"]), step["uses"]


def test_campaigns_run_on_every_native_harness() -> None:
    """The weekly campaign and the pruning know all of them."""
    native = {path.stem for path in (ROOT / "fuzz" / "native" / "harness" / "targets").glob("*.c")}
    weekly = loaded(ROOT / ".github" / "workflows" / "weekly-campaign.yml")
    pruned = re.search(r"for name in ([\w ]+);", (ROOT / ".github" / "workflows" / "corpus-pruning.yml").read_text())

    assert pruned is not None
    assert set(weekly["jobs"]["campaign"]["strategy"]["matrix"]["fuzz-target"]) == set(pruned[1].split()) == native
