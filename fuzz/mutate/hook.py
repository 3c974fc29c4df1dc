"""Puts a mutated source in the place of one module, in a Python process and in all Python processes that it starts.

A copy of this file named sitecustomize.py lies in a folder of PYTHONPATH; which module and which source, the
environment says. It uses nothing of ours, because it runs before anything of ours is imported.
"""

from __future__ import annotations

import importlib.abc
import os
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any, SupportsIndex

MODULE_VARIABLE = "ZMM_MUTANT_MODULE"
SOURCE_VARIABLE = "ZMM_MUTANT_SOURCE"


class _Loader(importlib.abc.SourceLoader):
    """The mutated source under the name, and with the path, of the original."""

    def __init__(self, path: str, source: str) -> None:
        self._path = path
        self._source = source

    def get_filename(self, fullname: str) -> str:
        del fullname
        return self._path

    def get_data(self, path: Any) -> bytes:
        del path
        # Without path_stats nothing is read from, or written to, a cache of byte code.
        return Path(self._source).read_bytes()


class _Finder(importlib.abc.MetaPathFinder):
    """Asks the other finders where a module is, and exchanges its loader if it is the one."""

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if fullname != os.environ.get(MODULE_VARIABLE):
            return None
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec: ModuleSpec | None = finder.find_spec(fullname, path, target)
            if spec is not None and spec.origin is not None:
                spec.loader = _Loader(spec.origin, os.environ[SOURCE_VARIABLE])
                return spec
        return None


class _Front(list[Any]):
    """A list of finders whose first one stays the first, whatever an editable install puts before it."""

    def insert(self, index: SupportsIndex, finder: Any) -> None:
        super().insert(max(index.__index__(), 1), finder)


if os.environ.get(MODULE_VARIABLE):
    sys.meta_path = _Front([_Finder(), *sys.meta_path])
