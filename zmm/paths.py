"""Where the header and the shared libraries are, in an installed copy and in an editable one.  From _core."""

from __future__ import annotations

import os.path

from . import _core

_LIBRARIES = {level: "libzmm.so" if level == "release" else f"libzmm-{level}.so" for level in _core.LEVELS}


def get_include() -> str:
    """Return the folder of ``zmm.h``."""
    return os.path.join(os.path.dirname(__file__), "include")


def get_library(level: str = "release") -> str:
    """
    Return the path of a level's shared library.

    :raises ValueError: when there is no such level.
    :raises FileNotFoundError: when the build left it out.
    """
    if level not in _LIBRARIES:
        raise ValueError(f"unknown level {level!r}; there are {', '.join(_LIBRARIES)}")
    return _find(_LIBRARIES[level], f"level {level} has no shared library in this build")


def get_mixed_library() -> str:
    """
    Return the path of the library that makes the C library's free refuse zmm's blocks, for LD_PRELOAD.

    :raises FileNotFoundError: when the build left it out, as builds with AddressSanitizer do.
    """
    return _find("libzmm-mixed.so", "the preload library is not in this build")


def _find(name: str, complaint: str) -> str:
    # Installed: beside the extension, in lib. Editable: in the build's folder, where the extension is.
    folder = os.path.dirname(_core.__file__)
    candidates = [os.path.join(folder, *parts, name) for parts in (("lib",), ())]
    for path in candidates:
        if os.path.exists(path):
            return path
    raise FileNotFoundError(f"{complaint} (looked for {candidates[0]})")
