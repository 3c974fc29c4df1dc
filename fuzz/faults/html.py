"""The record as one self-contained HTML page: coloured cells, each of which explains itself."""

from __future__ import annotations

from importlib import resources

import jinja2

from .classify import MEANINGS
from .fault import Fault
from .matrix import STYLES, rate_rows
from .record import CellRecord, FaultRecord, FaultsRecord
from .reproduce import to_c

_COLOURS = {"green": "good", "cyan": "good2", "yellow": "late", "bold red": "bad", "red": "bad2", "magenta": "unseen"}


def to_html(record: FaultsRecord, version: str) -> bytes:
    """The report as a page that needs nothing but itself: no scripts, no fonts, no network."""
    cells = {(cell.fault, cell.target): cell for cell in record.rows}
    kinds = {target.name: target.kind for target in record.targets}
    source = resources.files(__package__).joinpath("page.html.j2").read_text("utf-8")
    template = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    ).from_string(source)
    return template.render(
        record=record,
        version=version,
        cells=cells,
        meanings=MEANINGS,
        colours={code: _COLOURS.get(style, "other") for code, style in STYLES.items()},
        rates=list(rate_rows(record)),
        sources=lambda fault: _sources(fault, record, cells, kinds),
        anchor=_anchor,
    ).encode()


def _anchor(fault: str, target: str) -> str:
    return f"{fault}-{target}".replace(":", "-").replace("/", "-").replace(" ", "-")


def _sources(
    fault: FaultRecord,
    record: FaultsRecord,
    cells: dict[tuple[str, str], CellRecord],
    kinds: dict[str, str],
) -> dict[str, str]:
    """A stand-alone C program for each kind of target that the fault was performed on."""
    used = dict.fromkeys(kinds[target.name] for target in record.targets if cells[fault.id, target.name].codes)
    as_fault = Fault(fault.id, fault.kind, fault.title, fault.sequence, exact=fault.exact)
    return {kind: to_c(as_fault, kind) for kind in used}
