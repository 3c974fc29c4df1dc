"""Where a C file can be changed: our own operators, which know an allocator's mistakes, and universalmutator's rules.

Our own are made on the code without its comments and strings, offset by offset; whether a change compiles, and whether
it changes anything, is left to the compiler (``build.py``).
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import itertools
import re
from collections.abc import Iterator

from .c_text import CText
from .mutant import CORE, Mutant, from_change, number

_Change = tuple[int, int, str, str]  # start, end, replacement, operator

_COMPARE = re.compile(r"(?<![<>=!\-])(<=|>=|==|!=|<|>)(?![<>=])")
_FLIPS = {
    "<": (("<=", "bound"), (">=", "swap-branch")),
    "<=": (("<", "bound"), (">", "swap-branch")),
    ">": ((">=", "bound"), ("<=", "swap-branch")),
    ">=": ((">", "bound"), ("<", "swap-branch")),
    "==": (("!=", "swap-branch"),),
    "!=": (("==", "swap-branch"),),
}
_CONDITION = re.compile(r"\b(if|while)\s*(\()")
_ELSE = re.compile(r"\belse\b(?!\s+if)")
_LOGIC = re.compile(r"&&|\|\|")
_ARITHMETIC = re.compile(r"(?<=[\w)\]]) ([+\-*/%&|^]|<<|>>) (?=[\w(!~])")
_SWAPPED = {
    "+": "-", "-": "+", "*": "/", "/": "*", "%": "/", "&": "|", "|": "&", "^": "|", "<<": ">>", ">>": "<<"
}  # fmt: skip
_ASSIGN = re.compile(r"([+\-|&^])=(?!=)")
_NUMBER = re.compile(r"(?<![\w.])(0x[0-9a-fA-F]+|\d+)([uUlL]*)(?![\w.])")
_CONSTANT = re.compile(r"\bZMM_[A-Z0-9_]+\b")
_DEFINE = re.compile(r"^#define\s+(ZMM_[A-Z0-9_]+)\s+(\S[^\n]*?)\s*$", re.MULTILINE)
_RETURN = re.compile(r"\breturn\s+([^;{}]+);")
_NOT = re.compile(r"(?<!\w)([!~])(?=[\w(*])")
_CALL = re.compile(r"\b([a-z_]\w*)\(")
_KEYWORDS = {"if", "while", "for", "switch", "return", "sizeof", "defined", "do"}
# Constants that are easily taken for each other.
_SIBLINGS = {
    "ZMM_CHUNK_PAGES": "ZMM_RUN_PAGES_MAX",
    "ZMM_RUN_PAGES_MAX": "ZMM_CHUNK_PAGES",
    "ZMM_PAGE_BYTES": "ZMM_CHUNK_BYTES",
    "ZMM_CHUNK_BYTES": "ZMM_PAGE_BYTES",
    "ZMM_PAGE_SHIFT": "ZMM_SLOT_SHIFT",
    "ZMM_SLOT_SHIFT": "ZMM_PAGE_SHIFT",
    "ZMM_CHUNK_SHIFT": "ZMM_PAGE_SHIFT",
    "ZMM_SMALL_BYTES_MAX": "ZMM_LARGE_BYTES_MAX",
    "ZMM_LARGE_BYTES_MAX": "ZMM_SMALL_BYTES_MAX",
    "ZMM_EDITION_PHP_8_2": "ZMM_EDITION_ZMM",
}


def own_mutants(file: str, text: str) -> list[Mutant]:
    """The changes that our own operators make to a C file."""
    source = CText(text)
    found = []
    for start, end, replacement, operator in _changes(source):
        name = source.function_at(start)
        found.append(from_change(CORE, file, name, text, start, end, replacement, operator))
    return number(found)


def _changes(source: CText) -> Iterator[_Change]:
    code = source.code
    for first, last in source.bodies():
        yield from _statements(source, first, last)
        yield from _conditions(source, first, last)
        for place in _ELSE.finditer(code, first, last):
            yield place.start(), place.end(), "if (0)", "dropped-else"
        for place in _COMPARE.finditer(code, first, last):
            for other, operator in _FLIPS[place[1]]:
                yield *place.span(1), other, operator
        for place in _LOGIC.finditer(code, first, last):
            yield *place.span(), "||" if place[0] == "&&" else "&&", "logic"
        for place in _ARITHMETIC.finditer(code, first, last):
            yield *place.span(1), _SWAPPED[place[1]], "arithmetic"
        for place in _ASSIGN.finditer(code, first, last):
            yield *place.span(), "=", "assignment"
        for place in _NOT.finditer(code, first, last):
            yield *place.span(1), "", "negation"
        for place in _RETURN.finditer(code, first, last):
            yield from _returns(place)
        for place in _CALL.finditer(code, first, last):
            yield from _arguments(source, place)
    yield from _constants(source)


def _statements(source: CText, first: int, last: int) -> Iterator[_Change]:
    """Each statement that is no declaration, dropped."""
    code = source.code
    start = first
    depth = 0
    for index in range(first, last):
        letter = code[index]
        depth += (letter == "(") - (letter == ")")
        if depth or letter not in ";{}":
            continue
        statement = code[start:index]
        begin = start + len(statement) - len(statement.lstrip())
        # A label or a condition before it stays.
        if letter == ";" and (words := statement.strip()) and "#" not in words:
            if (branch := re.match(r"(?:else\s+)?(?:if|while|for)\s*\(|else\b|case\b|default\b", words)) is None:
                operator = "dropped-statement"
                if re.search(r"\blive_", words):
                    operator = "dropped-live-bit"
                elif re.search(r"\+\+|--|[+\-|&]=", words):
                    operator = "dropped-counter"
                if not re.match(r"(?:const|static|u?int\w*|size_t|bool|struct|void|char|position)\b", words):
                    yield begin, index + 1, ";", operator
            del branch
        start = index + 1


def _conditions(source: CText, first: int, last: int) -> Iterator[_Change]:
    for place in _CONDITION.finditer(source.code, first, last):
        opening = place.start(2)
        closing = source.closing(opening)
        if closing < 0:
            continue
        inner = source.text[opening + 1 : closing]
        yield opening + 1, closing, f"!({inner})", "swap-branch"
        if place[1] == "if":
            yield opening + 1, closing, f"({inner}) && 0", "never"
            yield opening + 1, closing, f"({inner}) || 1", "always"


def _returns(place: re.Match[str]) -> Iterator[_Change]:
    value = place[1].strip()
    for other in {"true": ("false",), "false": ("true",), "0": ("1",), "NULL": ()}.get(value, ("0",)):
        yield *place.span(1), other, "wrong-return"


def _arguments(source: CText, place: re.Match[str]) -> Iterator[_Change]:
    """Two neighbouring arguments of a call, exchanged."""
    if place[1] in _KEYWORDS:
        return
    closing = source.closing(place.end() - 1)
    inside = source.code[place.end() : closing]
    if closing < 0 or "," not in inside or any(letter in inside for letter in "{;"):
        return
    commas = []
    depth = 0
    for index in range(place.end(), closing):
        depth += (source.code[index] in "([") - (source.code[index] in ")]")
        if source.code[index] == "," and not depth:
            commas.append(index)
    ends = [place.end(), *(comma + 1 for comma in commas)], [*commas, closing]
    parts = list(zip(*ends, strict=True))
    for (left, left_end), (right, right_end) in itertools.pairwise(parts):
        one, two = source.text[left:left_end].strip(), source.text[right:right_end].strip()
        if one != two:
            yield left, right_end, f"{two}, {one}", "swapped-arguments"


def _constants(source: CText) -> Iterator[_Change]:
    code = source.code
    for place in _NUMBER.finditer(code):
        line = code[code.rfind("\n", 0, place.start()) + 1 : place.start()]
        if line.startswith("#") and not line.startswith("#define"):
            continue
        suffix = place[2]
        yield *place.span(), f"({place[1]}{suffix} + 1)", "off-by-one"
        if int(place[1], 0) > 0:
            yield *place.span(), f"({place[1]}{suffix} - 1)", "off-by-one"
    for place in _CONSTANT.finditer(code):
        line = code[code.rfind("\n", 0, place.start()) + 1 : place.start()]
        if line.startswith("#"):
            continue
        if place[0] in _SIBLINGS:
            yield *place.span(), _SIBLINGS[place[0]], "wrong-constant"
        if re.search(r"_(?:MAX|PAGES|BYTES|COUNT|STEPS|CHUNKS|SLOTS)\b|_MAX$", place[0]):
            yield *place.span(), f"({place[0]} + 1)", "off-by-one"
            yield *place.span(), f"({place[0]} - 1)", "off-by-one"
    for place in _DEFINE.finditer(code):
        if not place[2].startswith(("__attribute__", "static", '"')) and "(" not in place[1]:
            yield *place.span(2), f"({source.bare[slice(*place.span(2))].strip()} + 1)", "wrong-constant"


def has_universalmutator() -> bool:
    """Whether universalmutator is installed."""
    return importlib.util.find_spec("universalmutator") is not None


def universal_mutants(file: str, text: str) -> list[Mutant]:
    """
    The changes that universalmutator's rules for C make, line by line; none when it is not installed.

    Only its rules are used: its own driver runs a command for each mutant.
    """
    if not has_universalmutator():
        return []
    mutator = importlib.import_module("universalmutator.mutator")
    source = CText(text)
    lines = text.splitlines(keepends=True)
    bare = source.bare.splitlines()
    offsets = [0]
    for line in lines:
        offsets.append(offsets[-1] + len(line))
    rules = ["universal.rules", "c_like.rules", "c.rules"]
    with contextlib.redirect_stdout(io.StringIO()):
        made = mutator.mutants_regexp(lines, ruleFiles=rules, ignorePatterns=[])
    found = []
    for line_number, new, _, _ in made:
        index = line_number - 1
        if not bare[index].strip() or bare[index].lstrip().startswith(("#include", "#if", "#e", "*")):
            continue
        name = source.function_at(offsets[index] + len(lines[index]) - len(lines[index].lstrip()))
        found.append(Mutant(CORE, file, name, index, lines[index], new, "universal"))
    return number(found)


def core_mutants(files: dict[str, str]) -> list[Mutant]:
    """All changes to the core's files (path by text): our own first, then those that only universalmutator makes."""
    found: list[Mutant] = []
    for file, text in files.items():
        own = own_mutants(file, text)
        known = {mutant.key for mutant in own}
        found += own
        found += [mutant for mutant in universal_mutants(file, text) if mutant.key not in known]
    return found
