"""
Python in the lead: Atheris drives the C harness by its edges, and the models judge what is new and samples.

Started by the script that ``build.py`` writes, which preloads the runtime: ``drive.py TARGET SCRIPT LIBRARY [flags]``.
The script is also what libFuzzer starts again for ``-fork``, ``-merge`` and ``-minimize_crash``, so it stands as the
program's name.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import FunctionType

from .. import program, recorded, tape, text
from . import TARGETS, Target
from .opinion import opinion
from .readers import READERS

# A sampled play is judged by the models, which takes them as long as some hundred plays.
JUDGE_EVERY = 2048
_EVERY_VARIABLE = "ZMM_FUZZ_JUDGE_EVERY"
# What the script puts in place for this process alone: a child that libFuzzer starts goes through the script again.
_OWN_VARIABLES = ("LD_PRELOAD",)


def report(rule: str, sentence: str) -> None:
    """Says what was found, as the C harness does, and ends the process, so that the runtime keeps the input."""
    sys.stderr.write(f"\nzmm-fuzz: {rule}: {sentence}\n")
    sys.stderr.flush()
    os.abort()


class Harness:
    """The C harness of one target, loaded into this process."""

    def __init__(self, target: Target, library: Path) -> None:
        self.target = target
        self._path = library
        self._library = ctypes.CDLL(str(library))
        self._take_exactly = self._library.zmm_harness_take_exactly
        self._take_exactly.argtypes = (ctypes.c_char_p, ctypes.c_size_t)
        self._rows = self._library.zmm_harness_rows
        self._rows.argtypes = (ctypes.POINTER(ctypes.c_size_t),)
        self._rows.restype = ctypes.c_void_p
        self._library.zmm_harness_words.restype = ctypes.c_uint32
        self._library.zmm_harness_settings.restype = ctypes.c_uint8
        self._library.zmm_harness_prepare()

    def tell_mutator(self) -> None:
        """Puts the target's taste where the preloaded mutator looks for it."""
        os.environ["ZMM_FUZZ_WORDS"] = str(self._library.zmm_harness_words())
        os.environ["ZMM_FUZZ_SETTINGS"] = str(self._library.zmm_harness_settings())

    def callback(self, every: int) -> Callable[[bytes], int]:
        """What is done with each input: a play, and a judgement where it is new, or one in ``every``."""
        # As Python's own libraries are called: it makes and calls objects, so the interpreter's lock stays taken.
        make = ctypes.PyDLL(str(self._path)).zmm_harness_callback
        make.argtypes, make.restype = (ctypes.py_object, ctypes.c_uint64), ctypes.py_object
        made: Callable[[bytes], int] = make(self.judge, every)
        return made

    def rows(self, body: bytes) -> bytes | None:
        """The rows of a play as the runner would send them; None when the target does not want the tape."""
        if self._take_exactly(body, len(body)) < 0:
            return None
        count = ctypes.c_size_t()
        address = self._rows(ctypes.byref(count))
        return ctypes.string_at(address, 128 * count.value)

    def judge(self, body: bytes) -> None:
        """Plays once more, exactly, and ends the process when the models disagree."""
        rows = self.rows(body)
        if rows is None:
            return
        found = opinion(body, rows, self.target.edition)
        if found is not None:
            step = f"step {found.step} ({found.operation.word})"
            report(found.rule, f"{step}: {found.field} should be {found.expected}, is {found.actual}")


def reading_functions() -> list[FunctionType]:
    """Every function and method of the modules that read: their edges guide."""
    found: list[FunctionType] = []
    for module in (program, text, tape, recorded):
        values = [value for value in vars(module).values() if getattr(value, "__module__", "") == module.__name__]
        for value in values:
            members = vars(value).values() if isinstance(value, type) else [value]
            found += [member for member in members if isinstance(member, FunctionType)]
    return found


def bytes_callback(name: str) -> Callable[[bytes], int]:
    """What is done with each input of a target that reads files."""
    read = READERS[name]

    def take_bytes(data: bytes) -> int:
        try:
            read(data)
        except Exception as error:  # any at all is the finding
            report("READER", f"{type(error).__name__}: {error}")
        return 0

    return take_bytes


def main(arguments: list[str]) -> int:
    """Sets Atheris up and lets it run; does not return when it does."""
    name, script, library, *flags = arguments
    for variable in _OWN_VARIABLES:
        os.environ.pop(variable, None)
    import atheris  # only here: it is an extra, and takes the process over

    target = TARGETS[name]
    if name in READERS:
        for function in reading_functions():
            atheris.instrument_func(function)
        callback = bytes_callback(name)
    else:
        harness = Harness(target, Path(library))
        harness.tell_mutator()
        callback = harness.callback(int(os.environ.get(_EVERY_VARIABLE, "") or JUDGE_EVERY))
    atheris.Setup([script, *flags], callback, enable_python_coverage=name in READERS)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
