"""The line language: conditions, repeats, and what is refused."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from zmm_fuzz.faults.expression import unreadable_from
from zmm_fuzz.faults.run import run_once
from zmm_fuzz.faults.script import LINES_MAX, ScriptError, check_script, lines_for
from zmm_fuzz.faults.subject import Subject

# Of what can stand in an expression without being asked for something that is not there.
PIECES = (
    *(
        "0",
        "1",
        "64",
        "0x",
        "0x1f",
        "3K",
        "2M",
        "1G",
        "p",
        "b[1]",
        "b",
        "U(p)",
        "S(b[0])",
        "SIZE_MAX",
        "attacker",
        "attack",
    ),
    *("+", "-", "*", "/", "%", "&", "|", "^", "~", "<<", ">>", "<", "(", ")", "[", "]", "K", "U(", "p[", "a_name"),
)


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
        ("alloc p 8\nalloc q 64+\nfault\n", "line 2: cannot read the expression '64\\+' at its end; see docs"),
        ("alloc p (8\nfault\n", "line 1: cannot read the expression '\\(8' at its end"),
        ("alloc p 8)\nfault\n", "line 1: cannot read the expression '8\\)' at '\\)'"),
        ("alloc p 8kB\nfault\n", "line 1: cannot read the expression '8kB' at 'kB'"),
        ("alloc p " + "(" * 5000 + "\nfault\n", "line 1: cannot read the expression"),
        (f"repeat 10000\nrepeat {LINES_MAX}\ngc\nend\nend\nfault\n", "repeat takes a number"),
        ("repeat 10000\nrepeat 3\ngc\nend\nend\nfault\n", "the sequence has more than"),
    ],
)
def test_mistakes_name_their_line(text: str, message: str) -> None:
    """What cannot be performed is refused before a process is started."""
    with pytest.raises(ScriptError, match=message):
        check_script(text)


def test_what_cannot_be_read_is_what_the_runner_cannot_read(subject_of: Callable[[str], Subject]) -> None:
    """The runner's own verdict on a hundred and fifty expressions by chance; other objections of its are left out."""
    libc = subject_of("libc")
    draw = random.Random(1)
    seen = set()
    for count in (1, 2, 3, 3, 4, 5) * 25:
        text = "".join(draw.choice(PIECES) for _ in range(count))
        run = run_once(libc, f"alloc p 8\nallocs b 2 8\nlet x {text}\nfault\ngc\n")
        reason = run.report.reason
        if not reason or "cannot read the expression" in reason:
            assert (unreadable_from(text) is not None) is bool(reason), (text, reason)
            seen.add(bool(reason))
    assert seen == {True, False}
