"""What only one invariant of the heap sees: damage done on purpose, with one check after the other taken out.

The core's cases of `check` damage a heap in every way that an invariant's sentence allows. Here they are compiled with
a core that lacks one invariant, and only tell what it says of each damage: nothing, or another invariant's name.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError
from .build import LEVELS, find_compiler

_CHECK = re.compile(r"CHECK\(((?:[^()]|\((?:[^()]|\([^()]*\))*\))*?), \"([A-Z]+-\d+)\"\);")
_BROKEN = re.compile(r"^\s+\*\s+(?:Keeps:\s+)?([A-Z]+-\d+)\s{2,}(\S.*)$", re.MULTILINE)
_CASE = re.compile(r"^CASE\w*\((\w+)\)", re.MULTILINE)
_SECONDS = 60
_ALONE = "check"
# Files of cases that damage what only some levels have, and such a level.
_ELSEWHERE = {"fences": "hardened", "guarded": "debug"}
# In the place of the expectation: the check is made in a child, which may not survive a heap that nobody checked.
_TELL = r"""
#undef EXPECT_BROKEN
#define EXPECT_BROKEN(heap, id)                                                                                        \
    do {                                                                                                               \
        fflush(stdout);                                                                                                \
        const pid_t teller = fork();                                                                                   \
        if (teller == 0) {                                                                                             \
            alarm(5);                                                                                                  \
            const char *const said = zmm_heap_check(heap);                                                             \
            printf("TOLD %d %s %s\n", __LINE__, id, said != NULL ? said : "nothing");                                  \
            fflush(stdout);                                                                                            \
            _exit(0);                                                                                                  \
        }                                                                                                              \
        int ended;                                                                                                     \
        waitpid(teller, &ended, 0);                                                                                    \
        if (ended != 0) {                                                                                              \
            printf("TOLD %d %s death\n", __LINE__, id);                                                                \
        }                                                                                                              \
    } while (0)
"""


@dataclass(frozen=True, slots=True)
class Damage:
    """One way of damaging a heap: where it stands, which invariant is meant, and what the check said of it."""

    line: int
    meant: str
    said: str
    text: str


def invariant_sentences(root: Path) -> dict[str, str]:
    """Every invariant that check.c names, with the first line of its sentence."""
    names = [name for _, name in _CHECK.findall((root / "zmm/core/check.c").read_text())]
    names += re.findall(r'broken = "([A-Z]+-\d+)"', (root / "zmm/core/check.c").read_text())
    sentences: dict[str, str] = {}
    for path in sorted((root / "zmm" / "core").glob("*.[ch]")):
        sentences |= dict(_BROKEN.findall(path.read_text()))
    return {name: sentences.get(name, "") for name in dict.fromkeys(names)}


def without_invariant(text: str, name: str) -> str:
    """The source of check.c in which one invariant is never found broken."""
    text = _CHECK.sub(lambda found: f"(void)({found[1]});" if found[2] == name else found[0], text)
    return text.replace(f'broken = "{name}"', "broken = NULL")


def damages(root: Path, folder: Path, level: str, without: str = "", file: str = _ALONE) -> list[Damage]:
    """
    What a core without an invariant (none: the whole check) says of every damage that a file of cases does.

    Raises:
        UserError: the cases do not compile.
    """
    work = folder / file / (without or "whole")
    for part in ("zmm/core", "zmm/include", "tests/core"):
        shutil.copytree(root / part, work / part, dirs_exist_ok=True)
    check = work / "zmm/core/check.c"
    check.write_text(without_invariant(check.read_text(), without) if without else check.read_text())
    cases = work / f"tests/core/cases/{file}.c"
    source = cases.read_text()
    # Behind the one include that each file has in its second line.
    head, include, rest = source.split("\n", 2)
    cases.write_text(f"{head}\n{include}\n{_TELL}#line 3\n{rest}")
    program = work / "tests-check"
    main = work / "main.c"
    main.write_text(_main(work / "tests/core/core_tests.c", file))
    command = [find_compiler(), "-std=gnu11", "-pipe", "-w", "-O0", f"-DZMM_LEVEL={LEVELS[level]}", "-pthread"]
    command += [f"-I{work / part}" for part in ("zmm/core", "zmm/include", "tests/core")]
    done = subprocess.run([*command, str(main), "-o", str(program)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise UserError(f"the core's cases do not compile: {done.stderr.strip().splitlines()[0]}")
    command = [str(program), *(_CASE.findall(source) if file != _ALONE else [])]
    said = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False).stdout
    lines = source.splitlines()
    found = []
    for line in said.splitlines():
        if line.startswith("TOLD "):
            _, number, meant, answer = line.split()
            found.append(Damage(int(number), meant, answer, _damage_at(lines, int(number) - 1)))
    return found


def _damage_at(lines: Sequence[str], index: int) -> str:
    """What a case does to the heap: the statement around a line."""
    # A bare expectation tells nothing: what is before it does the damage.
    first = index - 1 if lines[index].lstrip().startswith("EXPECT_BROKEN(heap,") else index
    while first > 0 and not lines[first].lstrip().startswith(("BREAK(", "CASE", "EXPECT_BROKEN")):
        first -= 1
    text = " ".join(" ".join(lines[first : index + 1]).split())
    inner = re.match(r'BREAK\("[A-Z]+-\d+", (.*)\);$', text)
    return inner[1] if inner else text


def _main(program: Path, file: str) -> str:
    """core_tests.c with the cases of `check` only; other files lean on what stands in those before them."""
    lines = program.read_text().splitlines()
    if file == _ALONE:
        lines = [line for line in lines if not line.startswith('#include "cases/') or f"/{file}.c" in line]
    return "\n".join(lines) + "\n"


def only_seen_by(root: Path, folder: Path, level: str, names: Sequence[str]) -> dict[str, str]:
    """
    For each invariant a damage that it sees and that nothing sees without it; those without one are left out.

    Where there is none, a damage of which the check without it gives no answer at all: it crashes, or does not end.
    Invariants of what other levels have are damaged at theirs.
    """
    found = _seen_in(_ALONE, root, folder, level, names)
    for file, its_level in _ELSEWHERE.items():
        missing = [name for name in names if name not in found]
        if missing and (root / f"tests/core/cases/{file}.c").is_file():
            found |= _seen_in(file, root, folder, its_level, missing)
    return found


def _seen_in(file: str, root: Path, folder: Path, level: str, names: Sequence[str]) -> dict[str, str]:
    whole = {
        (one.line, one.text): one.meant
        for one in damages(root, folder, level, file=file)
        if one.said == one.meant and one.meant in names
    }
    found: dict[str, str] = {}
    for name in names:
        if name not in whole.values():
            continue
        told = [
            one
            for one in damages(root, folder, level, name, file)
            if one.meant == name and (one.line, one.text) in whole
        ]
        for said, remark in (("nothing", ""), ("death", " (without it the check does not come back)")):
            texts = [f"{one.text}{remark}" for one in told if one.said == said]
            if texts and name not in found:
                found[name] = min(texts, key=len)
    return found
