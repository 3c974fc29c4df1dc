"""The options that several commands share: their types, their parsers, their one-line errors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from ..errors import UserError

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|)")
_UNITS = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0}
EDITIONS = ("zmm", "php-8.2")


def parse_duration(text: str, option: str = "--time-budget") -> float:
    """
    Seconds of a duration such as 60s, 2m, 1.5h, 500ms or 45.

    Raises:
        UserError: it is not one, or it is zero.
    """
    match = _DURATION.fullmatch(text.strip())
    seconds = float(match[1]) * _UNITS[match[2]] if match else 0.0
    if seconds <= 0:
        raise UserError(f"{option} {text!r} is not a duration; write 60s, 2m or 1h")
    return seconds


def parse_edition(edition: str | None, target: str) -> str:
    """The edition that judges a target: the one asked for, else that of the target itself."""
    if edition is None:
        return "php-8.2" if target.split(":", 1)[0] == "php" else "zmm"
    if edition not in EDITIONS:
        raise UserError(f"unknown edition {edition!r}; there are {' and '.join(EDITIONS)}")
    if edition == "zmm" and target.split(":", 1)[0] == "php":
        raise UserError("the target php has edition php-8.2 only; leave --edition out")
    return edition


def parse_seed(seed: int) -> int:
    """A seed is a number of 64 bits."""
    if not 0 <= seed < 2**64:
        raise UserError(f"--seed {seed} is out of range; use 0 to {2**64 - 1}")
    return seed


def refuse(given: Mapping[str, object], remedy: str) -> None:
    """
    Options that would be passed over without a word: the first of those that were given (whose value is true) is named.

    Raises:
        UserError: one was given.
    """
    for option, value in given.items():
        if value:
            raise UserError(f"{option} {remedy}")


Target = Annotated[
    str, typer.Option("--target", metavar="NAME", help="zmm, zmm:LEVEL, zmm:PATH, php, php:PATH, libc, malloc:PATH")
]
Edition = Annotated[
    str | None,
    typer.Option("--edition", metavar="E", help="rules of the exact model: zmm or php-8.2", show_default="by target"),
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="where the generated programs begin")]
TimeBudget = Annotated[str, typer.Option("--time-budget", metavar="TIME", help="60s, 2m, 1h")]
Json = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="write the result as JSON")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="say nothing but the result line and errors")]
