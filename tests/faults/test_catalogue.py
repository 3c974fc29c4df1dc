"""The catalogue as data: complete, readable, and the same words everywhere."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from zmm_fuzz.faults.fault import CLASSES, FaultError, load_catalogue, load_fault, parse_fault
from zmm_fuzz.faults.script import lines_for

COUNTS = {
    "spatial": 28,
    "temporal": 35,
    "invalid-free": 24,
    "metadata": 12,
    "mixed-api": 12,
    "cross-heap": 8,
    "arithmetic": 16,
}
GOOD = 'id = "U1"\nclass = "temporal"\ntitle = "t"\nsequence = """\nalloc p 64\nfree p\nfault\nfree p\n"""\n'


def test_catalogue_has_all_faults() -> None:
    """There are 135 faults with names of their own, in the classes' order."""
    faults = load_catalogue()
    assert Counter(fault.kind for fault in faults) == COUNTS
    assert len({fault.id for fault in faults}) == len({fault.title for fault in faults}) == 135
    assert list(dict.fromkeys(fault.kind for fault in faults)) == list(CLASSES)


def test_every_fault_says_what_it_is() -> None:
    """The exact sequence in words, the best moment and the lowest level are there."""
    for fault in load_catalogue():
        assert fault.exact, fault.id
        assert fault.moment, fault.id
        assert fault.level != "fast", fault.id


def test_every_fault_can_be_performed() -> None:
    """Each kind of target to which a fault applies gets lines, and the conditions in front of them are gone."""
    for fault in load_catalogue():
        for kind in ("zmm", "php", "malloc"):
            if fault.applies_to(kind):
                lines = lines_for(fault.sequence, kind).splitlines()
                assert "fault" in lines, fault.id
                assert not any(line.split()[0].endswith(":") for line in lines), fault.id


def test_a_user_adds_a_fault_as_a_file(tmp_path: Path) -> None:
    """A file with the four fields is a fault; the rest has defaults."""
    path = tmp_path / "mine.toml"
    path.write_text(GOOD, "utf-8")
    fault = load_fault(path)
    assert (fault.id, fault.kind, fault.level, fault.applies) == ("U1", "temporal", "none", "both")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("id = ", "name = "), "unknown field 'name'; the fields are in docs/faults.md"),
        (('title = "t"', ""), "the field 'title' is missing; a fault needs id, class, title and sequence"),
        (("temporal", "tidal"), "class 'tidal' is unknown; it is one of spatial, temporal"),
        (("alloc p 64", "allocate p 64"), "sequence, line 1: unknown operation 'allocate'"),
        (("alloc p 64", "alloc p"), "sequence, line 1: alloc takes 2 words, not 1"),
        (("fault\n", "\n"), "the line 'fault' comes once"),
        (('"U1"', '"1 2"'), "id '1 2' is no name"),
        (('"U1"', "U1"), "a fault is a TOML file"),
    ],
)
def test_a_bad_file_gets_one_clear_line(change: tuple[str, str], message: str) -> None:
    """The file, the thing and the remedy, in one line."""
    with pytest.raises(FaultError) as error:
        parse_fault(GOOD.replace(*change), "mine.toml")
    assert str(error.value).startswith("mine.toml: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)
