"""From a target's name to the target."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from .base import Target, TargetError
from .php import find_php, php_environment
from .runner import identify

NAMES = "zmm, zmm:LEVEL, zmm:/path, php, php:VERSION, php:/path, libc or malloc:/path"
LEVELS = ("fast", "release", "hardened", "debug")
DEFAULT_LEVEL = "release"
# jemalloc and others keep their state in static thread-local storage, which a library loaded late has little of.
_MALLOC_ENVIRONMENT = {"GLIBC_TUNABLES": "glibc.rtld.optional_static_tls=16384"}


def find_target(name: str) -> Target:
    """
    The target of a name.

    :raises TargetError: there is no such name, or what it names is not there or cannot be loaded.
    """
    kind, _, what = name.partition(":")
    if kind == "zmm":
        return _zmm(name, what)
    if kind == "php":
        return _php(name, what)
    if name == "libc":
        return _malloc(name, "")
    if kind == "malloc" and what:
        return _malloc(name, _existing(what))
    raise TargetError(f"unknown target {name!r}; it is {NAMES}")


def found_targets() -> Iterator[tuple[str, Target | TargetError]]:
    """Every name that needs no path, with its target or why there is none."""
    for name in ("zmm", *(f"zmm:{level}" for level in LEVELS if level != DEFAULT_LEVEL), "php", "libc"):
        try:
            yield name, find_target(name)
        except TargetError as error:
            yield name, error


def _existing(path: str) -> str:
    if not Path(path).is_file():
        raise TargetError(f"{path} is no file; check the path")
    return str(Path(path).resolve())


def _zmm(name: str, what: str) -> Target:
    library = _existing(what) if "/" in what else _zmm_library(what or DEFAULT_LEVEL)
    identity = identify("zmm", library, {})
    return Target(name, "zmm", library, identity["version"], identity["allocator"], level=identity.get("level", ""))


def _zmm_library(level: str) -> str:
    if level not in LEVELS:
        raise TargetError(f"zmm has no level {level!r}; it has {', '.join(LEVELS)}")
    try:
        from zmm.paths import get_library

        return get_library(level)
    except (ImportError, FileNotFoundError, ValueError) as error:
        raise TargetError(f"zmm's level {level} is not built here ({error}); install zmm with ci/setup") from None


def _php(name: str, what: str) -> Target:
    library = _existing(what) if "/" in what else find_php(what)
    environment = php_environment(library)
    identity = identify("php", library, environment)
    return Target(
        name,
        "php",
        library,
        identity["version"],
        identity["allocator"],
        environment=environment,
        soft_limits=identity["limits"] == "soft",
    )


def _malloc(name: str, library: str) -> Target:
    identity = identify("malloc", library, _MALLOC_ENVIRONMENT)
    return Target(
        name,
        "malloc",
        library,
        identity["version"],
        identity["allocator"],
        environment=_MALLOC_ENVIRONMENT,
    )
