"""Reads the compiler's IR: llvmlite parses and verifies the module, and its text becomes instructions and tables."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from .layout import Layout, split_types
from .memory import Unsupported

_LABEL = re.compile(r"^([\w.$-]+):")
_HEAD = re.compile(r"^define .*?@([\w.$]+)\((.*)\).*\{$")
# "facts" is ours: a load with metadata that would make its result poison; the executor refuses it.
# Flags that make a result poison when they are broken; all but `inbounds` are looked at by the executor.
FLAGS = frozenset({"nuw", "nsw", "exact", "disjoint", "nneg", "inbounds", "nusw", "samesign"})


@dataclass(frozen=True, slots=True)
class Instruction:
    """One line: what it defines, its operation, the flags behind that, and the rest as text."""

    result: str
    opcode: str
    flags: frozenset[str]
    rest: str


@dataclass(slots=True)
class Function:
    """A function's parameters (type, name) and its blocks in their order."""

    name: str
    parameters: list[tuple[str, str]]
    entry: str
    blocks: dict[str, list[Instruction]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Global:
    """A variable: its type, whether it is constant, and the text of what it holds at first ("" when elsewhere)."""

    kind: str
    is_constant: bool
    initial: str


@dataclass(frozen=True, slots=True)
class Module:
    """All that the executor needs to know of a compiled file."""

    functions: dict[str, Function]
    globals: dict[str, Global]
    layout: Layout


def read_module(text: str) -> Module:
    """
    Parses, verifies and takes apart.

    Raises:
        Unsupported: LLVM says that it is no valid module.
    """
    import llvmlite.binding as llvm

    try:
        module = llvm.parse_assembly(text)
        module.verify()
    except RuntimeError as error:
        raise Unsupported(f"invalid IR: {error}") from None
    canonical = str(module)
    functions = {one.name: one for one in _functions(canonical)}
    return Module(functions, dict(_globals(canonical)), Layout.of_text(canonical))


def _functions(text: str) -> list[Function]:
    found: list[Function] = []
    function: Function | None = None
    block: list[Instruction] = []
    pending = ""
    for line in text.splitlines():
        if function is None:
            if head := _HEAD.match(line):
                function = _function(head[1], head[2])
                block = function.blocks.setdefault(function.entry, [])
            continue
        if line == "}":
            found.append(function)
            function = None
        elif label := _LABEL.match(line):
            if not block and function.entry in function.blocks and len(function.blocks) == 1:
                del function.blocks[function.entry]
                function.entry = label[1]
            block = function.blocks.setdefault(label[1], [])
        elif line.strip() and not line.lstrip().startswith(";"):
            pending = f"{pending} {line.strip()}".strip()
            if pending.startswith("switch") and not pending.rstrip().endswith("]"):
                continue
            block.append(parse(pending))
            pending = ""
    return found


def _function(name: str, parameters: str) -> Function:
    parts = [part for part in split_types(parameters) if part != "..."]
    named = [(part.split()[0], part.split()[-1]) for part in parts]
    return Function(name, named, str(len(named)))


def parse(line: str) -> Instruction:
    """One instruction, its metadata and comments cut off."""
    has_facts = re.search(r"!(range|nonnull|noundef|align|dereferenceable)\b", line) is not None
    line = re.sub(r",? ![\w.]+( ![\w.]+)?", "", re.sub(r" ;.*$", "", line))
    line = re.sub(r" #\d+$", "", re.sub(r" #\d+,", ",", line))
    result = ""
    if match := re.match(r"(%[\w.$-]+) = ", line):
        result, line = match[1], line[match.end() :]
    line = re.sub(r"^(tail|musttail|notail) ", "", line)
    opcode, _, rest = line.partition(" ")
    flags = {"facts"} if has_facts else set()
    while (word := rest.partition(" ")[0]) in FLAGS:
        flags.add(word)
        rest = rest.partition(" ")[2]
    return Instruction(result, opcode, frozenset(flags), rest)


def _globals(text: str) -> list[tuple[str, Global]]:
    found = []
    for name, words, rest in re.findall(r"^@([\w.$]+) = (.*?)\b(?=global |constant )(.*)$", text, re.MULTILINE):
        keyword, _, value = rest.partition(" ")
        kind, _, initial = _cut_type(value)
        is_elsewhere = "external" in words.split()
        found.append((name, Global(kind, keyword == "constant", "" if is_elsewhere else initial)))
    return found


def _cut_type(text: str) -> tuple[str, str, str]:
    """A type at the beginning of a text, and what follows."""
    text = text.strip()
    if text[:1] in "[{<":
        depth = 0
        for at, letter in enumerate(text):
            depth += letter in "[{<"
            depth -= letter in "]}>"
            if depth == 0:
                return text[: at + 1], " ", text[at + 1 :].strip()
    head, space, tail = text.partition(" ")
    return head.rstrip(","), space, tail


cut_type = _cut_type


def initial_bytes(layout: Layout, kind: str, text: str) -> bytes:
    """
    The bytes of a constant table.

    Raises:
        Unsupported: it holds more than numbers and texts.
    """
    size = layout.size(kind)
    text = text.split(", align", maxsplit=1)[0].split(", section", maxsplit=1)[0].strip()
    if text.startswith("zeroinitializer"):
        return bytes(size)
    if match := re.match(r'c"(.*)"$', text):
        decoded = re.sub(r"\\([0-9A-Fa-f]{2})", lambda hit: chr(int(hit[1], 16)), match[1])
        return decoded.encode("latin-1")
    if re.fullmatch(r"i\d+", kind) and re.fullmatch(r"-?\d+|true|false", text):
        value = {"true": 1, "false": 0}.get(text) if text in ("true", "false") else int(text)
        assert value is not None
        return (value % (1 << 8 * size)).to_bytes(size, "little")
    if kind.startswith("[") and text.startswith("["):
        parts = split_types(text[1 : text.rindex("]")])
        return b"".join(initial_bytes(layout, *_cut_type(part)[::2]) for part in parts)
    if text.startswith("{"):
        data = bytearray(size)
        for index, part in enumerate(split_types(text[1 : text.rindex("}")])):
            inner, _, held = _cut_type(part)
            _, _, place = layout.inside(kind, index)
            assert place is not None
            field = initial_bytes(layout, inner, held)
            data[place : place + len(field)] = field
        return bytes(data)
    raise Unsupported(f"a table that holds {text[:40]}")
