"""Runner processes: how they live, how they die, and that nothing is left of them."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from zmm_fuzz.session import Session
from zmm_fuzz.targets import Target, TargetError, find_target
from zmm_fuzz.wire import (
    BURST_TEXT,
    CLOSE_STEP,
    ROW,
    Burst,
    BurstProfile,
    TextArea,
    pack_open,
    pack_steps,
    unpack_rows,
    unpack_steps,
)
from zmm_model.op import Operation, Settings
from zmm_model.outcome import DONE, NO_MAPPING, SKIPPED

# Short, but nothing that a process on a busy machine waits for its turn.
PATIENCE_SECONDS = 0.5
# A malloc library that does as it is told by the size it is asked for.
UNRULY = """
#include <stddef.h>
#include <unistd.h>
#include <signal.h>
#include <sys/prctl.h>
static _Alignas(64) unsigned char arena[1 << 24];
static size_t used;
void *malloc(size_t size)
{
    if (size == 1001) raise(SIGSEGV);
    if (size == 1002) { prctl(PR_SET_NAME, "stuck"); for (;;) pause(); }
    if (size == 1003) { write(2, "so long\\n", 8); _exit(3); }
    if (size == 1004) raise(SIGKILL);
    size = (size + 63) / 64 * 64;
    if (size > sizeof arena - used) return NULL;
    used += size;
    return arena + used - size;
}
void *calloc(size_t count, size_t size) { return malloc(count * size); }
void free(void *block) { (void)block; }
void *realloc(void *block, size_t size) { (void)block; return malloc(size); }
"""


@pytest.fixture(scope="module")
def unruly(tmp_path_factory: pytest.TempPathFactory) -> Target:
    """A target that dies and hangs on demand."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("unruly")
    source = folder / "unruly.c"
    source.write_text(UNRULY)
    library = folder / "libunruly.so"
    subprocess.run([compiler, "-w", "-fno-builtin", "-shared", "-fPIC", "-o", library, source], check=True)
    return find_target(f"malloc:{library}")


@pytest.fixture
def session(unruly: Target) -> Iterator[Session]:
    with Session(unruly) as one:
        yield one


def opening() -> bytes:
    return pack_open(Settings(), TextArea(), edition="zmm")


def allocs(*sizes: int, first_label: int = 0) -> bytes:
    return pack_steps([Operation("alloc", first_label + index, size) for index, size in enumerate(sizes)], TextArea())


def is_gone(pid: int) -> bool:
    """Whether a process is dead and buried, or at least dead."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state in ("Z", "X")


def is_stuck(pid: int) -> bool:
    """Whether a runner is in the middle of the endless step."""
    return Path(f"/proc/{pid}/comm").read_text() == "stuck\n"


def eventually(holds: Callable[[], bool], seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def when_stuck(session: Session, act: Callable[[], object]) -> threading.Thread:
    """Does something as soon as the session's process is in the middle of the endless step."""
    pid = session.pid
    assert pid is not None

    def wait() -> None:
        if eventually(lambda: is_stuck(pid)):
            act()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def test_heap_and_labels_live_on_between_calls(session: Session) -> None:
    """Two calls on one heap are one program: the label of the first is taken in the second."""
    first = unpack_rows(session.perform(opening() + allocs(100)).rows)
    again = unpack_rows(session.perform(allocs(50)).rows)
    assert [row.status for row in first + again] == [DONE, DONE, SKIPPED]
    assert again[0].offset == first[1].offset
    assert session.starts == 1


def test_steps_beyond_one_batch_are_performed_in_pieces(session: Session) -> None:
    """A row for each of 150 000 steps; messages and deaths count through."""
    count = 150_000
    free = pack_steps([Operation("free", 0)], TextArea())
    reply = session.perform(opening() + free * (count - 2) + allocs(1001) + free)
    assert reply.rows_done == count - 1
    assert reply.death is not None
    assert reply.death.step == count - 1
    assert unpack_rows(reply.rows[-ROW.size :])[0].status == DONE


@pytest.mark.parametrize(
    ("size", "kind", "number", "external"),
    [
        (1001, "signal", signal.SIGSEGV, False),
        (1003, "exit", 3, False),
        (1004, "signal", signal.SIGKILL, True),
        (1002, "hang", 0, False),
    ],
)
def test_a_death_is_told_with_its_step(session: Session, size: int, kind: str, number: int, external: bool) -> None:
    """The rows up to the fatal step are there; what the process printed is there; the next call works."""
    if kind == "hang":
        session.hang_seconds = 1.0
    reply = session.perform(opening() + allocs(10, 20, size, 30))
    assert reply.rows_done == 3
    assert reply.death is not None
    assert (reply.death.kind, reply.death.number, reply.death.step) == (kind, number, 3)
    assert reply.death.external is external
    assert reply.death.stderr == ("so long\n" if size == 1003 else "")
    assert reply.death.detail
    after = session.perform(opening() + allocs(10) + CLOSE_STEP)
    assert after.death is None
    assert [row.status for row in unpack_rows(after.rows)] == [DONE] * 3
    assert session.starts == 2


def test_a_death_inside_a_burst_is_told_with_its_operation(session: Session) -> None:
    """The operation's number leads to the operation: it is the first that asks for the fatal size."""
    burst = Burst(12, 60_000)
    operations = unpack_steps(session.expand_burst(burst), BURST_TEXT)
    fatal = [index for index, one in enumerate(operations) if one.word == "alloc" and one.a in (1001, 1002, 1003, 1004)]
    reply = session.perform(opening() + burst.pack())
    assert fatal
    assert reply.death is not None
    assert reply.death.step == 1
    assert reply.death.burst_step <= fatal[0]
    assert "alloc" in operations[reply.death.burst_step].word


def test_a_process_killed_while_nothing_is_at_stake_is_replaced_silently(session: Session) -> None:
    """No heap is open: nobody loses anything."""
    assert session.perform(opening() + CLOSE_STEP).death is None
    assert session.pid is not None
    os.kill(session.pid, signal.SIGKILL)
    assert eventually(lambda: not session.alive)
    reply = session.perform(opening() + CLOSE_STEP)
    assert reply.death is None
    assert reply.rows_done == 2
    assert session.starts == 2


def test_a_process_killed_with_an_open_heap_is_a_death_from_outside(session: Session) -> None:
    """What was in the heap is lost, so it is told; no row of the call was reached."""
    assert session.perform(opening()).death is None
    assert session.pid is not None
    os.kill(session.pid, signal.SIGTERM)
    assert eventually(lambda: not session.alive)
    reply = session.perform(allocs(10))
    assert reply.rows_done == 0
    assert reply.death is not None
    assert reply.death.external
    assert reply.death.detail == "SIGTERM"


def test_a_process_killed_in_the_middle_of_a_step_is_a_death_from_outside(unruly: Target) -> None:
    """As soon as it is dead, not after the patience for hangs."""
    with Session(unruly, hang_seconds=100) as session:
        assert session.pid is not None
        killer = when_stuck(session, partial(os.kill, session.pid, signal.SIGKILL))
        begin = time.monotonic()
        reply = session.perform(opening() + allocs(1002))
        killer.join()
        assert time.monotonic() - begin < 80
        assert reply.death is not None
        assert reply.death.external
        assert reply.death.step == 1


def test_progress_is_no_hang() -> None:
    """A call may take longer than the patience for one step: here several times as long, on whatever machine."""
    burst = Burst(1, 100_000, BurstProfile.SMALL).pack()
    with Session(find_target("zmm")) as session:
        begin = time.monotonic()
        assert session.perform(opening() + burst * 5).death is None
        calls = 1 + int(3 * PATIENCE_SECONDS / (time.monotonic() - begin))
        session.hang_seconds = PATIENCE_SECONDS
        begin = time.monotonic()
        assert session.perform(opening() + burst * 5 * calls).death is None
        assert time.monotonic() - begin > PATIENCE_SECONDS


def test_close_ends_the_process_and_gives_the_files_back(unruly: Target) -> None:
    """Also when the session is merely forgotten."""
    gc.collect()
    files = len(list(Path("/proc/self/fd").iterdir()))
    session = Session(unruly)
    pid = session.pid
    assert pid is not None
    session.close()
    session.close()
    assert is_gone(pid)
    with pytest.raises(ValueError, match="closed"):
        session.perform(b"")
    forgotten = Session(unruly)
    pid = forgotten.pid
    assert pid is not None
    del forgotten
    gc.collect()
    assert is_gone(pid)
    assert len(list(Path("/proc/self/fd").iterdir())) == files


def test_a_runner_ends_when_its_driver_dies(unruly: Target) -> None:
    """Both when it waits for a command and in the middle of an endless step."""
    script = f"""
from zmm_fuzz.session import Session
from zmm_fuzz.targets import find_target
from zmm_fuzz.wire import TextArea, pack_open, pack_steps
from zmm_model.op import Operation, Settings
target = find_target({"malloc:" + unruly.library!r})
idle, busy = Session(target, hang_seconds=100), Session(target, hang_seconds=100)
print(idle.pid, busy.pid, flush=True)
endless = pack_steps([Operation("alloc", 0, 1002)], TextArea())
busy.perform(pack_open(Settings(), TextArea(), edition="zmm") + endless)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        pids = [int(pid) for pid in driver.stdout.readline().split()]
        assert len(pids) == 2
        assert eventually(lambda: is_stuck(pids[1]))
        driver.kill()
    assert eventually(lambda: all(is_gone(pid) for pid in pids))


def test_an_interrupted_call_leaves_a_session_that_works(unruly: Target) -> None:
    """Control-C while a step hangs: the exception comes through, the process is replaced."""
    main = threading.main_thread().ident
    assert main is not None
    # A shell lets what it starts in the background ignore Control-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with Session(unruly, hang_seconds=100) as session:
            timer = when_stuck(session, partial(signal.pthread_kill, main, signal.SIGINT))
            with pytest.raises(KeyboardInterrupt):
                session.perform(opening() + allocs(1002))
            timer.join()
            assert session.perform(opening() + CLOSE_STEP).death is None
    finally:
        signal.signal(signal.SIGINT, before)


def test_bad_calls_are_refused(session: Session) -> None:
    """Half a step is a mistake of the caller, not of the target."""
    with pytest.raises(ValueError, match="32-byte"):
        session.perform(bytes(33))
    assert session.perform(b"").rows == b""


def test_a_step_outside_of_a_heap_is_skipped(session: Session) -> None:
    """With a row of zeros; an unknown step, too."""
    rows = unpack_rows(session.perform(allocs(8) + CLOSE_STEP).rows)
    assert [tuple(row) for row in rows] == [(SKIPPED, 0, NO_MAPPING, *[0] * 17, 0.0)] * 2
    rows = unpack_rows(session.perform(opening() + bytes(32) + CLOSE_STEP).rows)
    assert [row.status for row in rows] == [DONE, SKIPPED, DONE]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nobody", "unknown target 'nobody'"),
        ("malloc:", "unknown target"),
        ("malloc:/nowhere/lib.so", "/nowhere/lib.so is no file; check the path"),
        ("zmm:huge", "zmm has no level 'huge'; it has fast, release, hardened, debug"),
        ("php:8.2.999", "PHP 8.2.999 is not present; fetch it with ci/oracle"),
        (f"malloc:{__file__}", "cannot load"),
        (f"zmm:{sys.executable}", "cannot load"),
    ],
)
def test_a_target_that_cannot_be_had_is_one_clear_line(name: str, said: str) -> None:
    """The thing and its remedy, and no newline."""
    with pytest.raises(TargetError) as caught:
        find_target(name)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_functions_from_elsewhere_are_noticed(unruly: Target, tmp_path: Path) -> None:
    """A library that only passes on another one's functions is not that library."""
    source = tmp_path / "empty.c"
    source.write_text("int nothing;\n")
    library = tmp_path / "libempty.so"
    compiler = shutil.which("cc") or "gcc"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-Wl,--no-as-needed", "-o", library, source, unruly.library], check=True
    )
    with pytest.raises(TargetError, match=r"malloc comes from .*libunruly\.so, not from .*libempty\.so"):
        find_target(f"malloc:{library}")


def test_a_library_that_dies_while_loading_is_a_target_error(tmp_path: Path) -> None:
    """Not a crash of ours."""
    source = tmp_path / "dies.c"
    source.write_text("#include <stdlib.h>\n__attribute__((constructor)) static void die(void) { abort(); }\n")
    library = tmp_path / "libdies.so"
    subprocess.run([shutil.which("cc") or "gcc", "-shared", "-fPIC", "-o", library, source], check=True)
    with pytest.raises(TargetError, match="ended its process while being loaded"):
        find_target(f"malloc:{library}")
    with pytest.raises(TargetError, match="ended its process while being loaded"):
        Session(Target("malloc:x", "malloc", str(library), "", ""))


def test_a_runner_that_is_not_there_is_a_target_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """ZMM_RUNNER names it."""
    monkeypatch.setenv("ZMM_RUNNER", "/nowhere/zmm-runner")
    with pytest.raises(TargetError, match="ZMM_RUNNER=/nowhere/zmm-runner is no program"):
        find_target("libc")


def test_what_changes_allocators_does_not_reach_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """A preloaded library would be tested in every target's place."""
    monkeypatch.setenv("LD_PRELOAD", "/nowhere.so")
    monkeypatch.setenv("MALLOC_ARENA_MAX", "1")
    with Session(find_target("libc")) as session:
        environment = Path(f"/proc/{session.pid}/environ").read_text()
    assert "LD_PRELOAD" not in environment
    assert "MALLOC_" not in environment
