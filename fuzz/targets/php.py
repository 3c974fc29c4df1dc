"""Where PHP's library is: named by the environment, fetched by ci/oracle, or installed in the system."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from .base import TargetError

PHP_VARIABLE = "ZMM_PHP"
ORACLE_VARIABLE = "ZMM_ORACLE"
# The last one with the classic limits is the one to compare with.
PREFERRED_VERSION = "8.2.32"
_LIBRARY_NAMES = ("libphp8.2.so", "libphp.so")
_SYSTEM_FOLDERS = ("/usr/lib", "/usr/local/lib", "/usr/lib64")


def find_php(version: str = "") -> str:
    """
    The path of libphp.

    Args:
        version: such as ``"8.2.36"`` or ``"8.4"``; empty for what ``ZMM_PHP`` names,
            or the preferred version, or any other.

    :raises TargetError: when there is none.
    """
    named = os.environ.get(PHP_VARIABLE)
    if named and not version:
        if not Path(named).is_file():
            raise TargetError(f"{PHP_VARIABLE}={named} is no file; unset it, or name a libphp8.2.so")
        return str(Path(named).resolve())
    for path in _candidates(version or PREFERRED_VERSION):
        if path.is_file():
            return str(path.resolve())
    if not version:
        for path in (*_other_oracles(), *_installed()):
            if path.is_file():
                return str(path.resolve())
    wanted = f"PHP {version}" if version else "PHP"
    raise TargetError(
        f"{wanted} is not present; fetch it with ci/oracle, or name a libphp8.2.so (php:/path or {PHP_VARIABLE})"
    )


def php_environment(library: str) -> dict[str, str]:
    """What a process needs to load this libphp: the libraries fetched along with it, when the system lacks some."""
    environment = {"PHP_INI_SCAN_DIR": "", "PHPRC": "/nonexistent"}
    bundled = Path(library).parent / "needed"
    if bundled.is_dir() and not php_loader(library):
        environment["LD_LIBRARY_PATH"] = str(bundled)
    return environment


def php_loader(library: str) -> tuple[str, ...]:
    """What comes before a program that loads this libphp, when it came with a newer C library than the system's."""
    bundled = Path(library).parent / "needed"
    loader = bundled / "ld-linux-x86-64.so.2"
    return (str(loader), "--library-path", str(bundled)) if loader.is_file() else ()


def _oracle_folders() -> Iterator[Path]:
    named = os.environ.get(ORACLE_VARIABLE)
    if named:
        yield Path(named)
    yield Path(__file__).resolve().parents[2] / ".oracle"
    yield Path.cwd() / ".oracle"


def _candidates(version: str) -> Iterator[Path]:
    for folder in _oracle_folders():
        yield from sorted(folder.glob(f"php-{version}/libphp8.*.so"))
        yield from sorted(folder.glob(f"php-{version}.*/libphp8.*.so"), reverse=True)


def _other_oracles() -> Iterator[Path]:
    for folder in _oracle_folders():
        yield from sorted(folder.glob("php-*/libphp8.2.so"))


def _installed() -> Iterator[Path]:
    for folder in _SYSTEM_FOLDERS:
        for name in _LIBRARY_NAMES:
            yield Path(folder) / name
            yield from sorted(Path(folder).glob(f"*-linux-gnu/{name}"))
