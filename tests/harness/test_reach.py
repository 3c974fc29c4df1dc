"""What tapes reach of the core: counted, and the rest explained."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from zmm_fuzz.harness import reach
from zmm_fuzz.harness.reach import Group, Line, ReachError, differences, read_list


def test_every_group_has_a_reason(tmp_path: Path) -> None:
    """The list as it is can be read; a group without a reason is refused."""
    assert len(read_list()) > 10
    wrong = tmp_path / "wrong.toml"
    wrong.write_text('[[group]]\nfile = "gc.c"\nreason = " "\n')
    with pytest.raises(ReachError, match=r"gc\.c has no reason"):
        read_list(wrong)


def test_a_line_without_a_group_and_a_group_without_a_line_are_said() -> None:
    """Both ways: what is new is not hidden, what is void does not stay."""
    lines = [Line("gc.c", "gc_bin", "kept = slot;", 40), Line("gc.c", "gc_chunk", "page_index++;", 80)]
    fitting = [Group("because", "gc.c", ("gc_bin",), ()), Group("so", "", (), ("page_index++",))]

    assert differences(lines, fitting) == []
    assert [said.partition(" was")[0] for said in differences(lines, fitting[:1])] == ["gc.c:80: `page_index++;`"]
    void = Group("once", "run.c", (), ())
    assert ["run.c (once) explains nothing" in said for said in differences(lines, [*fitting, void])] == [True]


def test_what_counts_is_asked_for_before_the_long_part(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Gcovr lies beside the interpreter, which need not be on the path; without gcc nothing is grown."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["reach", "--seconds", "600", "-o", str(tmp_path / "reach")])
    assert reach.main() == 2
    assert not (tmp_path / "reach").exists()

    (tmp_path / "gcc").symlink_to(sys.executable)
    assert Path(reach.find_gcovr()).parent == Path(sys.executable).parent


@pytest.mark.nightly
@pytest.mark.timeout(1200)
def test_tapes_reach_what_they_can(folder: Path) -> None:
    """Ten minutes, all targets: every line is reached, or in the list."""
    if shutil.which("clang-19") is None:
        pytest.skip("needs clang-19 (Debian: apt-get install clang-19)")
    command = [sys.executable, "-P", "-m", reach.__name__, "--seconds", "600", "-o", str(folder / "reach")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
