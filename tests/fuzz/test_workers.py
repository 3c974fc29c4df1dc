"""Worker processes: their messages arrive, their errors are told, their deaths are never missed."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from zmm_fuzz.errors import UserError
from zmm_fuzz.tiers import workers
from zmm_fuzz.tiers.workers import Failed, Lost, Send, describe_exit, run_workers

# Workers import this module by its path, because tests are no package.
HERE = Path(__file__).parent
NAME = "worker_functions"


@pytest.fixture(autouse=True)
def importable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts the functions below where a worker can import them."""
    source = Path(__file__).read_text("utf-8").partition("# -- functions --\n")[2]
    (tmp_path / f"{NAME}.py").write_text("import os, signal, time\nfrom zmm_fuzz.errors import UserError\n" + source)
    monkeypatch.syspath_prepend(str(tmp_path))


def run(function: str, *arguments: tuple[Any, ...]) -> list[Any]:
    return [message for message in run_workers(f"{NAME}:{function}", arguments) if message is not None]


def test_messages_of_all_workers_arrive() -> None:
    """Two workers send three values each: all six arrive, each worker's in order."""
    messages = run("count_up", (10,), (20,))
    assert sorted(messages) == [10, 11, 12, 20, 21, 22]
    assert [message for message in messages if message < 20] == [10, 11, 12]


def test_a_worker_killed_from_outside_is_lost_and_its_messages_are_kept() -> None:
    """SIGKILL in the middle: what was sent before is there, then Lost with the signal's name."""
    messages = run("kill_itself", (signal.SIGKILL,), (0,))
    assert messages.count("before") == 2
    assert [message for message in messages if isinstance(message, Lost)] == [Lost(0, "killed by SIGKILL")]


def test_a_worker_stopped_by_sigterm_is_lost_too() -> None:
    """SIGTERM ends a worker in order, but not its work."""
    assert run("kill_itself", (signal.SIGTERM,))[-1] == Lost(0, "stopped by SIGTERM")


def test_an_error_is_one_line() -> None:
    """An exception arrives as its class and one line of text."""
    (message,) = run("fail", ("not\nhere",))
    assert message == Failed(0, "UserError", "not here")
    assert issubclass(UserError, Exception)


def test_output_of_a_worker_does_not_disturb_its_messages() -> None:
    """What a worker prints goes to stderr, not into the stream of messages."""
    assert run("print_much", (5,)) == ["whole"]


def test_workers_end_with_their_caller() -> None:
    """Closing the generator ends workers that would run for ever, within seconds."""
    begin = time.monotonic()
    messages = run_workers(f"{NAME}:run_for_ever", [(1,), (2,)])
    pids = [next(messages), next(messages)]
    messages.close()
    assert time.monotonic() - begin < 20
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_exit_codes_have_words() -> None:
    """Signals by name, other codes by number."""
    assert describe_exit(-11) == "killed by SIGSEGV"
    assert describe_exit(-63) in ("killed by signal 63", "killed by SIGRTMAX-1")
    assert describe_exit(3) == "exit status 3"
    assert workers._LENGTH_BYTES == 8


def test_send_is_a_function_of_one_value() -> None:
    """The type by which workers are written."""
    send: Send = [].append
    send(1)


# -- functions --
def count_up(send, start):
    for number in range(start, start + 3):
        send(number)


def kill_itself(send, number):
    send("before")
    if number:
        os.kill(os.getpid(), number)
        time.sleep(10)


def fail(send, text):
    raise UserError(text)


def print_much(send, count):
    for _ in range(count):
        print("x" * 1000)
        os.write(1, b"raw bytes\n")
    send("whole")


def run_for_ever(send, _number):
    send(os.getpid())
    while True:
        time.sleep(0.1)
