"""A dictionary of tapes for engines without our mutator: operations at the borders of the allocator's geometry."""

from __future__ import annotations

from collections.abc import Iterator

from zmm_model.op import WORDS, Operation, Settings

from ..boundaries import CHUNK_BYTES, LARGE_BYTES_MAX, PAGE_BYTES, SIZE_MAX
from ..program import Program
from ..tape import encode

_SIZES = (8, 3072, 3073, PAGE_BYTES, 8 * PAGE_BYTES, LARGE_BYTES_MAX, LARGE_BYTES_MAX + 1, 2 * CHUNK_BYTES, SIZE_MAX)
_SETTINGS = (
    Settings(limit_bytes=CHUNK_BYTES),
    Settings(limit_bytes=2 * CHUNK_BYTES, storage="kernel"),
    Settings(extend=False, truncate=False),
    Settings(failing_calls=(2,)),
)


def operations() -> Iterator[Operation]:
    """Every word, with each border where it takes one size."""
    for word in WORDS.values():
        label = 0 if word.takes_label else -1
        if word.takes_text:
            yield Operation(word.name, label, text=b"zmm")
        elif not word.arguments:
            yield Operation(word.name, label)
        elif len(word.arguments) == 1:
            for size in _SIZES:
                yield Operation(word.name, label, size)
        else:
            yield Operation(word.name, label, 8, 8, 8 if len(word.arguments) > 2 else 0)


def dictionary() -> str:
    """The text of the dictionary, in libFuzzer's and AFL++'s common form."""
    entries = []
    for number, settings in enumerate(_SETTINGS):
        entries.append((f"settings_{number}", encode(Program(settings))))
    for operation in operations():
        name = "_".join(str(part) for part in (operation.word, operation.a or "") if part != "")
        entries.append((name, encode(Program(Settings(), (operation,)))[1:]))
    lines = [f'{name}="{_escaped(data)}"' for name, data in entries]
    return "\n".join(["# Whole operations of tapes, made by zmm_fuzz.campaign.dictionary.", *lines, ""])


def _escaped(data: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in data)
