"""Files of results: links and what a process has open keep their place, and a check beforehand changes nothing."""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from zmm_fuzz.cli.output import check_directory, check_outputs, check_writable, write_file
from zmm_fuzz.errors import UserError


def test_a_link_stays_a_link(zmm: Callable[..., CompletedProcess[str]], program: Path, tmp_path: Path) -> None:
    """The file that it names gets the report, whole."""
    real = tmp_path / "real.json"
    real.write_text("an older report, " * 1000)
    link = tmp_path / "link.json"
    link.symlink_to("real.json")
    assert zmm("replay", program, "--json", "link.json").returncode == 0
    assert link.is_symlink()
    assert real.read_text().startswith("{")
    assert real.read_text().endswith("}\n")


def test_links_are_followed_to_a_file_that_is_not_there_yet(tmp_path: Path) -> None:
    """Over several, each from its own folder; the check before leaves the links and makes nothing."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "first").symlink_to("folder/second")
    (tmp_path / "folder" / "second").symlink_to("../third")
    check_writable(tmp_path / "first")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["first", "folder", "second"]
    write_file(tmp_path / "first", b"report")
    assert (tmp_path / "third").read_bytes() == b"report"
    assert (tmp_path / "first").is_symlink()
    assert (tmp_path / "folder" / "second").is_symlink()


def test_links_in_a_circle_are_a_mistake(tmp_path: Path) -> None:
    """One line, and the links stay."""
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    with pytest.raises(UserError, match=r"cannot write .*/one: "):
        check_writable(tmp_path / "one")
    with pytest.raises(UserError, match=r"cannot write .*/one: "):
        write_file(tmp_path / "one", b"report")
    assert (tmp_path / "one").is_symlink()


def test_what_a_process_has_open_is_written_directly(tmp_path: Path) -> None:
    """As /dev/stdout is, which is such a link: a file put in its place would be another one, and cut what was said."""
    path = tmp_path / "output"
    with path.open("wb") as stream:
        stream.write(b"said before\n")
        stream.flush()
        number = path.stat().st_ino
        open_file = Path(f"/proc/self/fd/{stream.fileno()}")
        link = tmp_path / "link"
        link.symlink_to(open_file)
        for one in (open_file, link):
            check_writable(one)
            write_file(one, b"report\n")
    assert path.read_bytes() == b"said before\nreport\nreport\n"
    assert path.stat().st_ino == number
    assert link.is_symlink()


def test_a_pipe_is_not_opened_by_the_check(tmp_path: Path) -> None:
    """Its reader would take that for the end."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        seen = select.poll()
        seen.register(reader)
        check_writable(path)
        assert seen.poll(0) == []
        write_file(path, b"report")
        assert os.read(reader, 100) == b"report"
    finally:
        os.close(reader)
    assert path.is_fifo()


def test_two_reports_may_go_to_one_device_but_not_to_one_file(tmp_path: Path) -> None:
    """Whatever the file is called, and whether it is there or not; a folder of results is no file either."""
    (tmp_path / "link").symlink_to("report")
    check_outputs({"--json": Path("/dev/null"), "--html": Path("/dev/null")})
    check_outputs({"--json": tmp_path / "a", "--html": None}, {"--out": tmp_path / "b"})
    for other in (tmp_path / "link", tmp_path / "." / "report"):
        with pytest.raises(UserError, match="--json and --html both name"):
            check_outputs({"--json": tmp_path / "report", "--html": other})
    with pytest.raises(UserError, match="--out and --json both name"):
        check_outputs({"--json": tmp_path / "a"}, {"--out": tmp_path / "a"})


def test_a_directory_is_tried_and_nothing_is_left(tmp_path: Path) -> None:
    """Also where the superuser may everything and the system makes none; what was there stays."""
    (tmp_path / "there").mkdir()
    check_directory(tmp_path / "there" / "below" / "deeper")
    check_directory(tmp_path / "there")
    assert [path.name for path in tmp_path.rglob("*")] == ["there"]
    with pytest.raises(UserError, match=r"cannot write to /proc/none/below: .*; choose another directory with --out"):
        check_directory(Path("/proc/none/below"))
