"""What all tests share: the command line as a user runs it; and which tests run only when they are asked for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-P", "-m", "zmm_fuzz"]
Run = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., AbstractContextManager[subprocess.Popen[str]]]


@pytest.fixture
def environment() -> dict[str, str]:
    """The environment without what changes how output looks."""
    return {name: value for name, value in os.environ.items() if name not in ("CI", "NO_COLOR", "FORCE_COLOR")}


@pytest.fixture
def zmm(tmp_path: Path, environment: dict[str, str]) -> Run:
    """
    Runs `zmm ARGUMENTS` in an empty directory; never with a traceback.

    ``before`` is a command that the command line is put behind; ``variables`` join the environment.
    """

    def run(
        *arguments: str | Path, timeout: float = 120, before: tuple[str, ...] = (), **variables: str
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*before, *COMMAND, *map(str, arguments)],
            cwd=tmp_path,
            env={**environment, **variables},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert "Traceback" not in done.stderr
        assert "Traceback" not in done.stdout
        return done

    return run


@pytest.fixture
def start(tmp_path: Path, environment: dict[str, str]) -> Start:
    """Starts `zmm ARGUMENTS` in a process group of its own, as a shell does; nothing of it outlives the test."""

    @contextmanager
    def started(*arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
        process = subprocess.Popen(
            [*COMMAND, *map(str, arguments)],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            for stream in (process.stdout, process.stderr):
                assert stream is not None
                stream.close()

    return started


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out tests marked nightly, unless ``-m`` speaks of them or one is named by itself."""
    named = any("::" in argument for argument in config.args)
    if named or "nightly" in config.getoption("markexpr"):
        return
    left_out = [item for item in items if item.get_closest_marker("nightly")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("nightly")]
