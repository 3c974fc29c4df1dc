"""A finding as one C file that needs nothing but a compiler and the library under test."""

from __future__ import annotations

import importlib.util
import re
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from zmm_model.misuse import known_endings
from zmm_model.op import MISUSE, SIZE_MAX, Operation
from zmm_model.outcome import STATUS_WORDS, Row

from ..compare import ROW_BYTES, Divergence, operation_at, unpack_row
from ..predict import predict
from ..text import operation_line, write_text

if TYPE_CHECKING:
    from ..program import Program
    from ..targets import Target
    from ..tiers.base import Finding

_FRAGMENTS = Path(__file__).parent / "c"
_HEADERS = (
    *("dlfcn.h", "errno.h", "link.h", "setjmp.h", "signal.h", "stdarg.h", "stdbool.h", "stdint.h"),
    *("stdio.h", "stdlib.h", "string.h", "sys/mman.h", "sys/wait.h", "unistd.h"),
)
# One function of many thousand calls takes compilers too long.
_CALLS_PER_FUNCTION = 2000

# The fields of a row that are plain numbers, in the order in which a difference tells most.
_NUMBERS = (
    *("block_bytes", "size", "peak", "real_size", "real_peak", "limit", "chunk_count"),
    *("chunk_count_peak", "cached_count", "delete_boundary", "delete_count"),
)


def c_source(finding: Finding) -> str:
    """
    The source of the reproducer.

    Compiled with ``cc FILE -ldl`` and run with the library's path, it performs the program and exits with 1 after one
    line at the diverging step, with 0 when the bug is not there, with 2 when it cannot run.
    """
    kind = _kind(finding.target)
    program = finding.program
    step = finding.divergence.step
    zendmm = kind != "malloc"
    kernel = zendmm and program.settings.storage == "kernel"
    word = operation_at(program.operations, step).word
    digest = zendmm and word == "check"
    misuse = kind == "zmm" and word in MISUSE
    target = _target_of(finding.target)
    library, needed = _place_of(finding.target, target)
    parts = [_head(finding, kind, needed), *(f"#include <{name}>\n" for name in _HEADERS), "\n"]
    if kind == "zmm":
        parts.append(_zmm_header())
    parts.append(f"#define MISUSE {int(misuse)}\n")
    parts.append(_definitions(finding, library, kernel=kernel, digest=digest))
    parts.append(_fragment("base"))
    if zendmm:
        parts.append(_failing_calls(program))
        parts.append(_fragment("storage"))
        if not kernel:
            parts.append(_fragment("handlers"))
        elif kind == "zmm":
            parts.append(_fragment("kernel"))
    if kind == "php":
        parts.append(_fragment("php_layout"))
    if digest:
        parts.append(f"\nstatic const {'zmm_api *api' if kind == 'zmm' else 'struct layout *layout'};\n")
        parts.append(f"static {'zmm_heap' if kind == 'zmm' else 'void'} *heap;\n")
        parts.append(_fragment("digest"))
        parts.append(_fragment(f"{kind}_digest"))
    parts.append(_fragment(kind))
    if misuse:
        parts.append(_fragment("misuse"))
    parts.append(_expectations(finding, kind, target))
    parts.append(_performance(program))
    parts.append(_fragment("main"))
    return "".join(parts)


def _fragment(name: str) -> str:
    return (_FRAGMENTS / f"{name}.c").read_text()


def _kind(target: str) -> str:
    name = target.partition(":")[0]
    return name if name in ("zmm", "php") else "malloc"


def _target_of(name: str) -> Target | None:
    """The target as it is here, None when it is not."""
    from ..targets import TargetError, find_target  # imports users of this package

    try:
        return find_target(name)
    except TargetError:
        return None


def _place_of(name: str, found: Target | None) -> tuple[str, str]:
    """Where the library lay when the finding was made (empty if unknown), and where those lie that it needs."""
    if found is None:
        path = name.partition(":")[2]
        return ("libc.so.6" if name == "libc" else path if "/" in path else ""), ""
    return found.library or "libc.so.6", found.environment.get("LD_LIBRARY_PATH", "")


# ---- what is particular to a finding ---------------------------------------------------------------------------------


def _head(finding: Finding, kind: str, needed: str) -> str:
    wanted = {"zmm": "libzmm", "php": "libphp8.2.so", "malloc": "the malloc library"}[kind]
    against = f" (compared with {finding.against})" if finding.against else ""
    run = f"LD_LIBRARY_PATH={needed} ./a.out" if needed else "./a.out"
    lines = [
        f"{finding.divergence.rule} on {finding.target}{against}, edition {finding.edition}.",
        "",
        *_wrapped(finding.divergence.sentence),
        *_wrapped(finding.divergence.story()),
        "",
        f"Compile and run:  cc THIS_FILE.c -ldl && {run} [LIBRARY]",
        f"LIBRARY is the path of {wanted}. Exit status: 1 the bug shows, 0 it does not, 2 cannot run.",
    ]
    if len(finding.program) <= 200:
        lines += ["", *write_text(finding.program).rstrip("\n").split("\n")]
    # Nothing in a comment may end it.
    text = "\n".join(f" * {line}".rstrip() for line in lines).replace("*/", "* /")
    return "/*" + text[2:].replace("/*", "/ *") + " */\n#ifndef _GNU_SOURCE\n#define _GNU_SOURCE\n#endif\n"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(" ".join(text.split()), 110)


def _zmm_header() -> str:
    """zmm.h itself, so that the file stands alone; an include where the header is not at hand."""
    candidates = [Path(__file__).resolve().parents[2] / "zmm" / "include" / "zmm.h"]
    spec = importlib.util.find_spec("zmm")
    if spec is not None:
        candidates += [Path(path) / "include" / "zmm.h" for path in spec.submodule_search_locations or ()]
    for path in candidates:
        if path.is_file():
            text = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)
            lines = [line.rstrip() for line in text.split("\n")]
            body = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n")
            return f"/* ---- zmm.h, without its comments ---- */\n\n{body}\n\n"
    return '#include "zmm.h" /* compile with -I and the folder it lies in */\n\n'


def _definitions(finding: Finding, library: str, *, kernel: bool, digest: bool) -> str:
    settings = finding.program.settings
    edition = "ZMM_EDITION_PHP_8_2" if finding.edition == "php-8.2" else "ZMM_EDITION_ZMM"
    values = {
        "DEFAULT_LIBRARY": _c_string(library.encode()),
        "DIVERGING_STEP": f"{finding.divergence.step}",
        "LABEL_COUNT": f"{max(1, finding.program.label_count())}",
    }
    if _kind(finding.target) != "malloc":
        values |= {
            "LIMIT_BYTES": _c_number(settings.limit_bytes or 0),
            "DATA_BYTES": f"{settings.data_bytes}",
            "KERNEL_STORAGE": f"{int(kernel)}",
            "STORAGE_EXTENDS": f"{int(settings.extend)}",
            "STORAGE_TRUNCATES": f"{int(settings.truncate)}",
            "TRUNCATE_ALWAYS": f"{int(kernel)}",
            "EDITION": edition,
            "DIGEST": f"{int(digest)}",
        }
    return "".join(f"#define {name} {value}\n" for name, value in values.items()) + "\n"


def _failing_calls(program: Program) -> str:
    numbers = "".join(f"{number}, " for number in program.settings.failing_calls)
    return (
        "\n/* The numbers of the fallible storage calls that fail, then 0. */\n"
        f"static const uint64_t failing_calls[] = {{{numbers}0}};\n"
    )


def _performance(program: Program) -> str:
    """The program itself: one call a step."""
    parts = []
    calls = list(_calls(program))
    groups = [calls[start : start + _CALLS_PER_FUNCTION] for start in range(0, len(calls), _CALLS_PER_FUNCTION)]
    for number, group in enumerate(groups):
        parts.append(f"\nstatic void perform_{number}(void)\n{{\n" + "".join(group) + "}\n")
    names = "".join(f"    perform_{number}();\n" for number in range(len(groups)))
    parts.append(f"\nstatic void perform(void)\n{{\n{names}}}\n")
    return "".join(parts)


def _calls(program: Program) -> Iterator[str]:
    for number, operation in enumerate(program.operations, 1):
        name = program.label_name(operation.label) if operation.label >= 0 else ""
        comment = "" if operation.text else f" /* {number}: {operation_line(operation, name)} */"
        call = f"step_{operation.word}({', '.join(_arguments(operation))})"
        if operation.word in MISUSE:
            what = operation.word.replace(".", "_").upper()
            call = f"step_misuse({what}, {operation.label}, {_c_number(operation.a)})"
        yield f"    {call};{comment}\n"


def _arguments(operation: Operation) -> Sequence[str]:
    word = operation.word
    counts = {"calloc": 2, "safe_alloc": 3, "realloc2": 2, "safe_realloc": 3, "write": 3}
    counts |= {"alloc": 1, "realloc": 1, "limit": 1, "strndup": 1}
    numbers = [_c_number(value) for value in operation[2:5]][: counts.get(word, 0)]
    parts = [str(operation.label)] if operation.label >= 0 else []
    if word in ("strdup", "strndup"):
        parts.append(_c_string(operation.text))
    return [*parts, *numbers]


def _c_number(value: int) -> str:
    names = {SIZE_MAX: "UINT64_MAX", SIZE_MAX >> 1: "INT64_MAX"}
    return names.get(value) or (f"{value}U" if value < 2**31 else f"{value}ULL")


def _c_string(text: bytes) -> str:
    # Question marks begin trigraphs; octal escapes always have three digits, so that no digit behind joins them.
    return '"' + "".join(chr(c) if 32 <= c < 127 and c not in b'"\\?' else f"\\{c:03o}" for c in text) + '"'


# ---- what had to be seen at the diverging step -----------------------------------------------------------------------


def _expectations(finding: Finding, kind: str, target: Target | None) -> str:
    level = target.level if target is not None else "release" if kind == "zmm" else ""
    exact = kind != "malloc" and not finding.against and (target is None or target.is_exact)
    lines = _expected_lines(finding, level) if exact else _said_lines(finding.divergence)
    body = "".join(f"    {line}\n" for line in lines)
    return f"\n/* What had to be seen at the diverging step. */\nstatic void compare(void)\n{{\n{body}}}\n"


def _expected_lines(finding: Finding, level: str) -> list[str]:
    """What the exact model predicts, where it reaches that far."""
    divergence = finding.divergence
    rows = predict(finding.program, finding.edition, level=level).rows
    if (divergence.step + 1) * ROW_BYTES > len(rows):
        return _said_lines(divergence)
    row = unpack_row(rows, divergence.step)
    ending = (
        _ending_lines([known_endings()[row.text_crc]]) if divergence.operation.word in MISUSE and row.text_crc else []
    )
    return [*ending, *_row_lines(row, closing=divergence.step > len(finding.program))]


def _row_lines(row: Row, *, closing: bool) -> list[str]:
    """Every field of the predicted row."""
    lines = [
        f"expect_status({row.status});",
        f'expect_number("refused_bytes", {_c_number(row.refused_bytes)}, seen.refused_bytes);',
        f'expect_number("text_crc", {_c_number(row.text_crc)}, seen.text_crc);',
    ]
    if not closing:  # a closed heap has neither blocks nor counters
        lines.append(f"expect_place({_c_number(row.mapping)}, {_c_number(row.offset)});")
        lines += [f'expect_number("{name}", {_c_number(getattr(row, name))}, seen.{name});' for name in _NUMBERS]
        lines.append(f"expect_average({float(row.chunk_average).hex()}, seen.chunk_average);")
    lines.append(f'expect_number("storage_calls", {row.storage_calls}U, seen.storage_calls);')
    lines.append(f'expect_number("storage_crc", {row.storage_crc}U, seen.storage_crc);')
    lines.append(f'expect_number("value", {_c_number(row.value)}, seen.value);')
    return lines


def _ending_lines(endings: Sequence[str]) -> list[str]:
    return [f"expect_ending({_c_string(chr(10).join(endings).encode())});"]


def _said_lines(divergence: Divergence) -> list[str]:
    """The one field of a divergence, from what was said of it; none where general checks show it."""
    field, expected = divergence.field, divergence.expected
    if divergence.operation.word in MISUSE:
        endings = expected.split(" or ")
        return _ending_lines(endings) if set(endings) <= set(known_endings().values()) else []
    if field == "status":
        for status, words in STATUS_WORDS.items():
            if expected == words or expected.startswith(f"{words} ("):
                return [f"expect_status({status});"] if status <= 5 else []
    if field == "place":
        match = re.fullmatch(r"mapping (\d+), page (\d+)(?: \+ (\d+) bytes)?", expected)
        if match is not None:
            offset = int(match[2]) * 4096 + int(match[3] or 0)
            return [f"expect_place({match[1]}U, {_c_number(offset)});"]
        return ["expect_place(NO_MAPPING, 0);"] if expected == "no block" else []
    if field == "chunk_average":
        return [f"expect_average({float(expected).hex()}, seen.chunk_average);"]
    if field in Row._fields and field != "contents" and re.fullmatch(r"0x[0-9a-f]+|[0-9]+", expected):
        return [f'expect_number("{field}", {_c_number(int(expected, 0))}, seen.{field});']
    return []
