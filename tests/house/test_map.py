"""The map in ARCHITECTURE.md is the tree, and every file says in its first lines what it owns."""

from __future__ import annotations

import re
from pathlib import Path

import tree


def test_the_map_is_up_to_date(root: Path, files: list[str]) -> None:
    """Every file once, each with the sentence of its own head; `python ci/tree.py` brings a stale map up to date."""
    page = (root / tree.PAGE).read_text()

    assert page.splitlines() == tree.rewrite(page, files).splitlines()


def test_every_row_of_the_map_says_something(root: Path) -> None:
    """A file without a sentence would be a room without a name."""
    rows = [line for line in (root / tree.PAGE).read_text().splitlines() if re.match(r"\| `[^`]+` \|", line)]

    assert len(rows) > 100
    assert [row for row in rows if re.search(r"\|\s*\|$", row)] == []


def test_every_folder_has_a_heading_of_its_own(root: Path, files: list[str]) -> None:
    """A folder of which the map says nothing, except where one row stands for everything in it."""
    page = (root / tree.PAGE).read_text()
    folders = {Path(name).parent.as_posix() for name in files}
    stars = set(re.findall(r"^\| `([\w/]+)/\*", page, re.MULTILINE))
    unnamed = {folder for folder in folders if f"### `{folder}/`" not in page}

    assert {folder for folder in unnamed if not any(folder.endswith(star) for star in stars)} == set()


def test_every_head_says_what_its_file_owns(root: Path, files: list[str]) -> None:
    """A comment or docstring begins every source file."""
    headless = [name for name in files if not (sentence := tree.head_sentence(root / name)) and sentence is not None]

    assert [name for name in headless if (root / name).stat().st_size > 0] == []


def test_the_map_follows_heads_and_drops_what_is_gone(tmp_path: Path) -> None:
    """A changed head changes its row, a new file gets a row at the end, a row without a file goes; the order stays."""
    (tmp_path / "zmm").mkdir()
    for name, head in (("b.py", "Second."), ("a.py", "The first room.  More."), ("c.c", "Third.")):
        text = f'"""{head}"""\n' if name.endswith(".py") else f"/* c.c -- {head} */\n"
        (tmp_path / "zmm" / name).write_text(text)
    page = (
        "# Map\n\n### `./`: doors\n\n### `zmm/`: rooms\n\n| file | owns |\n| --- | --- |\n"
        "| `b.py` | old |\n| `a.py` | |\n| `gone.py` | x |\n"
    )

    after = tree.rewrite(page, ["zmm/a.py", "zmm/b.py", "zmm/c.c"], tmp_path)

    assert after.splitlines()[-3:] == ["| `b.py` | Second |", "| `a.py` | The first room |", "| `c.c` | Third |"]
    assert tree.rewrite(after, ["zmm/a.py", "zmm/b.py", "zmm/c.c"], tmp_path) == after
