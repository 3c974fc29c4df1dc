"""The record as one self-contained HTML page."""

from __future__ import annotations

from importlib import resources

import jinja2

from .record import MutateRecord
from .show import killed_rows


def to_html(record: MutateRecord) -> bytes:
    """The board as a page that needs nothing but itself: no scripts, no fonts, no network."""
    source = resources.files(__package__).joinpath("page.html.j2").read_text("utf-8")
    template = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    ).from_string(source)
    return template.render(record=record, killed=killed_rows(record)).encode()
