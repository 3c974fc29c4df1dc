"""Nothing swells: lengths of files and of lines."""

from __future__ import annotations

from pathlib import Path

C_LINES_MAX = 500
PYTHON_LINES_MAX = 400
# Formatters keep code within 120 columns; a comment that people laid out by hand may pass the mark by a word.
LINE_LENGTH_MAX = 128

# Files that are longer, with the length they have: they may only shrink. Make yours shorter rather than a number here
# greater; a new file is split.
LONG = {
    "fuzz/session.py": 415,
    "tests/fuzz/test_runner.py": 525,
    "zmm/_core.pyx": 1024,
}
GENERATED = ("ci/requirements.lock",)
SOURCES = (".c", ".h", ".py", ".pyx", ".pyi", ".build", ".options", ".sh")


def lengths(root: Path, files: list[str]) -> dict[str, int]:
    measured = [name for name in files if name.endswith((".c", ".h", ".py", ".pyx"))]
    return {name: len((root / name).read_text().splitlines()) for name in measured}


def limit(name: str) -> int:
    return C_LINES_MAX if name.endswith((".c", ".h")) else PYTHON_LINES_MAX


def test_files_stay_short(root: Path, files: list[str]) -> None:
    """500 lines of C, 400 of Python: one file, one concept."""
    too_long = {name: lines for name, lines in lengths(root, files).items() if lines > LONG.get(name, limit(name))}

    assert too_long == {}


def test_long_files_only_shrink(root: Path, files: list[str]) -> None:
    """A file that has become short, or is gone, leaves the list."""
    now = lengths(root, files)

    assert [name for name in LONG if now.get(name, 0) <= limit(name)] == []


def test_lines_stay_narrow(root: Path, files: list[str]) -> None:
    """128 columns in every source, and 120 where a formatter can see to it (test_tools.py)."""
    wide = [
        f"{name}:{number}"
        for name in files
        if (name.endswith(SOURCES) or name.startswith("ci/")) and name not in GENERATED
        for number, line in enumerate((root / name).read_text().splitlines(), 1)
        if len(line) > LINE_LENGTH_MAX and "http" not in line and "-" * 8 not in line  # addresses, rulers
    ]

    assert wide == []
