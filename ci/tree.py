"""The tree: which files belong to it, the sentence each begins with, and the map of them in ARCHITECTURE.md.

Standard library only.  Run without arguments it brings the map up to date: sentences follow the files' heads, rows of
files that are gone go, files that have no row get one at the end of their folder.  The order of rows is made by people
and is kept.  ``--check`` changes nothing, prints what would change, and returns 1 then.
"""

from __future__ import annotations

import ast
import fnmatch
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = "ARCHITECTURE.md"
_HEADING = re.compile(r"#+ `(?P<folder>[^`]*)/`")
_ROW = re.compile(r"\| `(?P<name>[^`]+)` \| ?(?P<sentence>.*?) ?\|$")
_HASH_COMMENT = (".build", ".options", ".txt", ".yml", ".yaml", ".dict")
_HASH_NAMES = (".clang-format", ".gitignore", "pyproject.toml", "Dockerfile")
_SKIPPED_FOLDERS = frozenset({"__pycache__", "build", "dist", "zmm-findings"})


def tree_files(root: Path = ROOT) -> list[str]:
    """Return the files that belong to the tree, as paths relative to it: what git tracks or would track."""
    command = ["git", "-C", str(root), "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:  # no git here
        done = None
    if done is not None and done.returncode == 0:
        names = set(done.stdout.splitlines())
    else:
        names = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
        names = {name for name in names if not _is_hidden(name)}
    return sorted(name for name in names if (root / name).is_file() and not _SKIPPED_FOLDERS & set(name.split("/")))


def _is_hidden(name: str) -> bool:
    parts = [part for part in name.split("/") if part not in {".ci", ".clang-format", ".gitignore"}]
    return any(part.startswith(".") for part in parts)


def head_sentence(path: Path) -> str | None:
    """
    Return the first sentence of a file's head, without its full stop.

    :returns: ``None`` when a file of this kind has no head, an empty text when the head is missing.
    """
    text = path.read_text(errors="replace") if path.suffix != ".gz" else ""
    if path.suffix in {".py", ".pyx", ".pyi"}:
        head = _docstring(text, path.suffix == ".pyx")
    elif path.suffix in {".c", ".h"}:
        found = re.match(r"\s*/\*(.*?)\*/", text, re.DOTALL)
        lines = found[1].splitlines() if found else []
        head = "\n".join(line.strip().removeprefix("*").strip() for line in lines)
        head = re.sub(r"^[\w.]+ -- ", "", head.strip().strip("-").strip())
    elif path.suffix in _HASH_COMMENT or path.name in _HASH_NAMES or text.startswith("#!/bin/sh"):
        lines = text.removeprefix("#!/bin/sh\n").splitlines()
        head = "\n".join(_leading(lines))
    elif text.startswith("#!") and "python" in text.partition("\n")[0]:
        head = _docstring(text, False)
    else:
        return None
    paragraph = " ".join(head.strip().split("\n\n")[0].split())
    sentence = re.split(r"(?<=[^.])\.(?:\s|$)", paragraph, maxsplit=1)[0].replace("``", "`").replace("|", "or")
    return sentence if sentence.startswith("zmm") else sentence[:1].upper() + sentence[1:]


def _docstring(text: str, is_cython: bool) -> str:
    if is_cython:
        found = re.search(r'^"""(.*?)"""', text, re.DOTALL | re.MULTILINE)
        return found[1] if found else ""
    return ast.get_docstring(ast.parse(text)) or ""


def _leading(lines: list[str]) -> list[str]:
    kept = []
    for line in lines:
        if not line.startswith("#"):
            break
        kept.append(line.lstrip("#").strip())
    return kept


def rewrite(page: str, files: list[str], root: Path = ROOT) -> str:
    """Return the page with its map brought up to date."""
    lines = page.splitlines()
    folders = {found["folder"] for line in lines if (found := _HEADING.match(line))}
    homes: dict[str, list[str]] = {folder: [] for folder in folders}
    for name in files:
        homes[_home(name, folders)].append(name)

    kept: list[str] = []
    folder, seen, last_row = None, set(), None
    for line in [*lines, "# "]:
        heading, row = _HEADING.match(line), _ROW.match(line)
        if line.startswith("#") and folder is not None and last_row is not None:
            rows = [_new_row(name, folder, root) for name in homes[folder] if name not in seen]
            kept[last_row + 1 : last_row + 1] = rows
        if line.startswith("#"):
            folder, last_row = (heading["folder"] if heading else None), None
        if row is not None and folder is not None:
            matching = [name for name in homes[folder] if fnmatch.fnmatch(name, _join(folder, row["name"]))]
            matching = [name for name in matching if name not in seen]
            if not matching:
                continue
            seen.update(matching)
            line = _row(row["name"], _sentence(matching, row, root))
            last_row = len(kept)
        elif line == "| --- | --- |":
            last_row = len(kept)
        kept.append(line)
    return "\n".join(kept[:-1]) + "\n"


def _home(name: str, folders: set[str]) -> str:
    folder = name.rpartition("/")[0] or "."
    while folder not in folders:
        folder = folder.rpartition("/")[0] or "."
    return folder


def _join(folder: str, pattern: str) -> str:
    return pattern if folder == "." else f"{folder}/{pattern}"


def _row(name: str, sentence: str) -> str:
    return f"| `{name}` | {sentence} |"


def _sentence(names: list[str], row: re.Match[str], root: Path) -> str:
    if "*" in row["name"]:
        return row["sentence"]  # many files: people say what they are
    said = head_sentence(root / names[0])
    return row["sentence"] if said is None else said


def _new_row(name: str, folder: str, root: Path) -> str:
    relative = name if folder == "." else name.removeprefix(f"{folder}/")
    return _row(relative, head_sentence(root / name) or "")


def main(arguments: list[str]) -> int:
    """Rewrite the map, or say what is wrong with it."""
    page = ROOT / PAGE
    before = page.read_text()
    after = rewrite(before, tree_files())
    if "--check" not in arguments:
        page.write_text(after)
        return 0
    wrong = set(before.splitlines()) ^ set(after.splitlines())
    for line in sorted(wrong):
        print(line)
    return 1 if before != after else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
