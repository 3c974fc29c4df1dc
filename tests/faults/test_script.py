"""The line language: conditions, repeats, and what is refused."""

from __future__ import annotations

import pytest
from zmm_fuzz.faults.script import LINES_MAX, ScriptError, check_script, lines_for


def test_conditions_choose_lines_by_kind() -> None:
    """zend: lines are for zmm and php, malloc: lines for the others."""
    text = "zend: alloc p 1\nmalloc: alloc p 2\nphp: alloc q 3\nzmm: alloc q 4\nfault\nfree p\n"
    assert lines_for(text, "zmm") == "alloc p 1\nalloc q 4\nfault\nfree p\n"
    assert lines_for(text, "php") == "alloc p 1\nalloc q 3\nfault\nfree p\n"
    assert lines_for(text, "malloc") == "alloc p 2\nfault\nfree p\n"


def test_repeats_are_written_out() -> None:
    """Repeats may lie in one another."""
    text = "repeat 2\nalloc p 8\nrepeat 3\nfree p\nend\nend\nfault\ngc\n"
    assert lines_for(text, "zmm") == ("alloc p 8\n" + "free p\n" * 3) * 2 + "fault\ngc\n"


def test_comments_are_left_out() -> None:
    """Everything behind # is for people."""
    assert lines_for("# a\nalloc p 8 # b\nfault\nfree p\n", "zmm") == "alloc p 8\nfault\nfree p\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("repeat 2\nfault\n", "line 1: repeat without end"),
        ("end\nfault\n", "line 1: end without repeat"),
        ("repeat 0\nend\nfault\n", "line 1: repeat takes a number"),
        ("fault\nafter\nafter\n", "'after' at most once"),
        ("after\nfault\n", "'after' at most once behind it"),
        ("gcc: gc\nfault\n", "line 1: unknown condition 'gcc:'"),
        ("zmm:\nfault\n", "line 1: there is nothing behind the condition"),
        ("free@3 p\nfault\n", "line 1: 'free@3' names no heap"),
        ('free "p"\nfault\n', "line 1: cannot read"),
        (f"repeat 10000\nrepeat {LINES_MAX}\ngc\nend\nend\nfault\n", "repeat takes a number"),
        ("repeat 10000\nrepeat 3\ngc\nend\nend\nfault\n", "the sequence has more than"),
    ],
)
def test_mistakes_name_their_line(text: str, message: str) -> None:
    """What cannot be performed is refused before a process is started."""
    with pytest.raises(ScriptError, match=message):
        check_script(text)
