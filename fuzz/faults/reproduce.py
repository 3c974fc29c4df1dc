"""A fault as a stand-alone C program: what the sequence does, with nothing of the suite around it."""

from __future__ import annotations

import re
from importlib import resources

from .fault import Fault
from .script import lines_for

_HOW = {
    "malloc": "cc -o fault FILE && ./fault    (another allocator: LD_PRELOAD=/path/liballocator.so ./fault)",
    "php": "cc -rdynamic -o fault FILE -ldl && ./fault /path/libphp8.2.so",
    "zmm": "cc -o fault FILE -ldl && ./fault /path/libzmm-release.so",
}
_NUMBER = re.compile(r"(?<![\w.])(0x[0-9a-fA-F]+|\d+)([KMG]?)\b")
_NAME = re.compile(r"\b([a-z][a-z0-9_]*)\b(\[[^\]]*\])?")
_UNITS = {"": "", "K": " << 10", "M": " << 20", "G": " << 30"}
# Which words of an operation are names that it gives, and which follow them as expressions.
_GIVES = {
    "alloc": 1,
    "calloc": 1,
    "safe_alloc": 1,
    "aligned": 1,
    "allocs": 1,
    "pair": 2,
    "until": 1,
    "realloc": 1,
    "realloc2": 1,
    "safe_realloc": 1,
    "strndup": 1,
    "libc_alloc": 1,
    "libc_aligned": 1,
    "libc_strdup": 1,
    "stack": 1,
    "static": 1,
    "map": 1,
    "pick": 1,
    "let": 1,
    "meta": 1,
}


def to_c(fault: Fault, kind: str) -> str:
    """
    The C text of a fault for a kind of target: ``zmm``, ``php`` or ``malloc``.

    It has no detonation but everyday life of the block's size, and looks for damage only at the end.
    """
    base = resources.files(__package__).joinpath("reproducer.c").read_text("utf-8")
    names: dict[str, int] = {}
    body = []
    for line in lines_for(fault.sequence, kind).splitlines():
        body.append(_statement(line.split(), names))
    declarations = "".join(f"static struct block {name}[{max(count, 1)}];\n" for name, count in names.items())
    head = f"/* {fault.id}: {fault.title}.\n *\n * {_HOW[kind]} */\n"
    return (
        head
        + f"#define TARGET_{kind.upper()} 1\n"
        + base.replace("/* DECLARATIONS */\n", declarations).replace("/* STATEMENTS */\n", "\n".join(body) + "\n")
    )


def _statement(words: list[str], names: dict[str, int]) -> str:
    operation, _, heap = words[0].partition("@")
    number = "1" if heap else "0"
    if operation in ("fault", "after"):
        return f'    say("{operation}");'
    gives = _GIVES.get(operation, 0)
    arguments = [number]
    for place, word in enumerate(words[1:]):
        if place < gives:
            count = 1
            if operation == "allocs":
                count = int(words[2])
            names[word] = max(names.get(word, 0), count)
            arguments.append(word)
        elif operation == "meta" and place == 1:
            arguments.append(f'"{word}"')
        elif (operation == "free_all" and place == 0) or (operation == "pick" and place == 1):
            arguments.append(f"{word}, {names.get(word, 1)}")
        elif operation in ("realloc", "realloc2", "safe_realloc") and place == gives and word in names:
            arguments.append(f"{word}->address")
        else:
            arguments.append(_expression(word, names))
    if operation in ("reveal", "reuse", "pick") and gives == 0:
        arguments[1] = f"{words[1]}[0].address" if words[1] in names else arguments[1]
    if operation == "write":
        rest = ", ".join(arguments[2:])
        return f"    do_write({arguments[1]}, (const unsigned char[]){{{rest}}}, {len(arguments) - 2});"
    return f"    do_{operation}({', '.join(arguments)});"


def _expression(text: str, names: dict[str, int]) -> str:
    """The C expression for one of the language: names are blocks, numbers have 64 bits."""
    text = re.sub(r"\bU\(([a-z][a-z0-9_]*(?:\[[^\]]*\])?)\)", r"USABLE<\1>", text)
    text = re.sub(r"\bS\(([a-z][a-z0-9_]*(?:\[[^\]]*\])?)\)", r"SIZE<\1>", text)
    text = _NUMBER.sub(lambda found: f"(UINT64_C({found[1]}){_UNITS[found[2]]})", text)

    def name(found: re.Match[str]) -> str:
        if found[1] not in names:
            return found[0]
        return f"{found[1]}{found[2] or '[0]'}.address"

    text = _NAME.sub(name, text)
    text = re.sub(r"USABLE<([^>]*)\.address>", r"\1.usable", text)
    text = re.sub(r"SIZE<([^>]*)\.address>", r"\1.size", text)
    text = re.sub(r"\battacker\b", "(uint64_t)(uintptr_t)attacker", text)
    return re.sub(r"\battack\b", "(uint64_t)(uintptr_t)attack", text)
