"""The version of the installed package, as reports print it."""

from __future__ import annotations

from importlib import metadata

try:
    VERSION = metadata.version("zmm")
except metadata.PackageNotFoundError:  # run from a checkout without an installation
    VERSION = "unknown"
