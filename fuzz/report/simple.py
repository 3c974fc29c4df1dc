"""The JSON of the smaller commands: `schema`, `status`, then whatever rows the command has."""

from __future__ import annotations

from typing import Any

import msgspec

from .record import SCHEMA


def write_simple(status: str, **rows: Any) -> bytes:
    """An object with `schema` and `status` first; values are anything msgspec can write."""
    return msgspec.json.format(msgspec.json.encode({"schema": SCHEMA, "status": status, **rows}), indent=2) + b"\n"
