"""The runner against the catalogue's measured matrix: the same codes, but for reasons that are written down."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping

import pytest
from zmm_fuzz.faults.classify import Cell, judge
from zmm_fuzz.faults.fault import load_catalogue
from zmm_fuzz.faults.measure import measure
from zmm_fuzz.faults.run import run_faults
from zmm_fuzz.faults.subject import Subject


def _codes(text: str) -> dict[str, str]:
    return {word[:3]: word[3:] for word in text.split()}


# Measured on Debian 12 with a runner of its own; the letters are those of docs/faults.md.
GLIBC_2_36 = _codes("""
S01n S02n S03L S04L S05L S06l S07L S08L S09L S10L S11C S12L S13l S14L S15L S16n S17n S18L
S19- S20- S21n S22C S23n S24n S25- S26L S27L S28l
T01n T02L T03n T04n T05L T06L T07C T08n T09C T10n T11s T12C T13D T14D T15l T16D T17D T18l
T19s T20s T21D T22l T23n T24D T25C T26l T27l T28- T29- T30- T31C T32L T33- T34D T35-
I01D I02D I03D I04- I05D I06D I07D I08D I09D I10D I11D I12- I13- I14s I15s I16C I17D I18D
I19s I20- I21- I22- I23s I24-
M01- M02- M03- M04- M05- M06- M07- M08- M09- M10- M11- M12-
X01- X02- X03- X04- X05- X06- X07- X08- X09- X10- X11- X12-
H01- H02- H03- H04- H05- H06- H07- H08-
A01R A02- A03R A04R A05R A06R A07R A08- A09- A10- A11- A12- A13l A14R A15R A16-
""")
PHP_8_2_36 = _codes("""
S01n S02C S03C S04C S05c S06C S07S S08C S09C S10n S11C S12C S13C S14n S15C S16s S17n S18s
S19s S20C S21C S22C S23n S24n S25C S26C S27n S28c
T01c T02n T03n T04n T05c T06S T07C T08n T09C T10n T11s T12C T13c T14c T15c T16c T17n T18c
T19D T20D T21c T22c T23c T24c T25C T26c T27c T28n T29n T30c T31C T32S T33c T34c T35n
I01c I02c I03c I04D I05D I06s I07D I08n I09D I10D I11c I12n I13C I14s I15D I16C I17c I18D
I19s I20n I21C I22C I23n I24D
M01L M02c M03C M04H M05C M06S M07c M08C M09S M10C M11n M12n
X01s X02D X03D X04s X05D X06D X07s X08s X09s X10s X11C X12D
H01D H02D H03D H04D H05s H06D H07D H08D
A01D A02D A03D A04D A05D A06D A07D A08n A09D A10D A11D A12D A13c A14- A15D A16D
""")
PHP_8_4_24 = _codes("""
S01n S02C S03C S04C S05L S06C S07L S08C S09C S10L S11C S12C S13C S14n S15C S16s S17n S18s
S19L S20C S21C S22C S23n S24L S25C S26C S27n S28c
T01L T02n T03L T04n T05L T06L T07C T08n T09C T10n T11s T12C T13L T14L T15l T16L T17n T18c
T19D T20D T21L T22L T23L T24L T25C T26L T27L T28n T29n T30l T31C T32L T33L T34L T35n
I01l I02l I03l I04D I05D I06D I07D I08n I09D I10D I11L I12n I13C I14s I15D I16C I17l I18D
I19s I20n I21C I22C I23n I24D
M01L M02L M03C M04H M05C M06S M07l M08C M09S M10C M11S M12n
X01s X02D X03D X04s X05D X06s X07s X08s X09s X10s X11C X12D
H01D H02D H03D H04D H05s H06D H07D H08D
A01D A02D A03D A04D A05D A06D A07D A08n A09D A10D A11D A12D A13l A14- A15D A16D
""")

# Other codes that are right as well, each with its reason.
GLIBC_REASONS: dict[str, tuple[str, str]] = {
    "S28": ("n", "the byte hits the size field of a chunk that is only reused at its own size afterwards"),
    "T27": ("lc", "two blocks in one place; which check comes first depends on the addresses"),
    "T05": ("lL", "the shifted link leads to an overlap or to a bad header, as the addresses fall"),
}
PHP_REASONS: dict[str, tuple[str, str]] = {
    "S05": (
        "cl",
        "freeing a block in the attacker's buffer reads 2 MiB before it: mapped or not, as the addresses fall",
    ),
    "T01": ("cl", "as S05"),
    "T23": ("cl", "as S05"),
    "M07": ("cl", "as S05"),
    "X01": ("sD", "freeing a foreign block reads 2 MiB before it: mapped or not, as the addresses fall"),
    "X04": ("sD", "as X01"),
    "X06": ("sD", "as X01"),
    "X07": ("sD", "as X01"),
    "X08": ("sD", "as X01"),
    "X09": ("sD", "as X01"),
    "S07": ("cS", "whether the misplaced slot overlaps a live one before the crash depends on the pair chosen"),
    "S19": ("S", "the write goes through, as the next chunk is mapped; the crash comes with its next use"),
    "S28": ("C", "the freed neighbour's link is written anew by the free, so nothing crashes"),
    "T05": ("cS", "whether the misplaced slot overlaps a live one before the crash depends on the list"),
    "T32": ("cS", "as T05"),
    "I05": ("sD", "as X01"),
    "I06": ("sD", "as X01"),
    "I18": ("sD", "as X01"),
    "M11": ("SLlcC", "several chunks are cached here, so the overwritten link is followed"),
    "A10": ("s", "8.2.36 wants an engine to raise the error; without one it reads through a null pointer"),
    "A11": ("s", "as A10"),
    "A12": ("s", "as A10"),
    "A13": ("C", "the neighbour is live and keeps the written bytes, so nothing crashes"),
    "A16": ("s", "as A10"),
}
_KEY = "8.4 keys its links anew in each process: what a wrong one leads to differs from run to run"
PHP_NEWER_REASONS: dict[str, tuple[str, str]] = {
    **{id_: PHP_REASONS[id_] for id_ in ("X01", "X04", "X06", "X07", "X08", "X09", "I05", "I06", "I18", "S19", "S28")},
    "A13": PHP_REASONS["A13"],
    "M11": PHP_REASONS["M11"],
    "S24": ("n", "the slack written to is only read when its slot is used again with another size"),
    "T15": ("c", _KEY),
    "T30": ("c", _KEY),
}

# Every class, every code and every operation of the language; the faults that hang are left to the whole run.
SAMPLE = [
    "S01",
    "S02",
    "S05",
    "S06",
    "S09",
    "S12",
    "S16",
    "S18",
    "S20",
    "S21",
    "S22",
    "S25",
    "T01",
    "T02",
    "T03",
    "T06",
    "T07",
    "T09",
    "T11",
    "T12",
    "T13",
    "T15",
    "T16",
    "T20",
    "T22",
    "T25",
    "T28",
    "T30",
    "T31",
    "T34",
    "I01",
    "I04",
    "I05",
    "I06",
    "I12",
    "I13",
    "I14",
    "I16",
    "I21",
    "I22",
    "I23",
    "M01",
    "M02",
    "M03",
    "M05",
    "M07",
    "M08",
    "M09",
    "M10",
    "X01",
    "X02",
    "X07",
    "X11",
    "X12",
    "H01",
    "H02",
    "H05",
    "H07",
    "A01",
    "A04",
    "A06",
    "A08",
    "A09",
    "A14",
]


# Three runs are chance where the answer depends on the addresses: on glibc T02 and T06 leave an unaligned link but in
# one process of 16, and I12's page is mapped in one of 16. Where three runs disagree with the matrix, many tell.
FEW_RUNS = 3
MANY_RUNS = 24


def differences(
    subject: Subject,
    expected: Mapping[str, str],
    reasons: Mapping[str, tuple[str, str]],
    sample: Collection[str] = SAMPLE,
) -> list[str]:
    """The faults of the sample whose most frequent code is neither the measured one nor one with a reason."""

    def cells(ids: Collection[str], runs: int) -> list[Cell]:
        faults = [fault for fault in load_catalogue() if fault.id in ids]
        performed = run_faults(subject, faults, runs=runs)
        return [Cell(fault, subject.name, tuple(judge(run) for run in done)) for fault, done in performed]

    def wrong(cells: list[Cell]) -> list[Cell]:
        return [
            cell for cell in cells if cell.code not in expected[cell.fault.id] + reasons.get(cell.fault.id, ("", ""))[0]
        ]

    doubtful = {cell.fault.id for cell in wrong(cells(sample, FEW_RUNS))}
    return [
        f"{cell.fault.id}: {cell.text}, measured {expected[cell.fault.id]}: {cell.shown}"
        for cell in wrong(cells(doubtful, MANY_RUNS))
    ]


def test_glibc_agrees_with_the_measured_matrix(subject_of: Callable[[str], Subject]) -> None:
    """Glibc 2.36, the version of the measurement."""
    version = os.confstr("CS_GNU_LIBC_VERSION")
    if version != "glibc 2.36":
        pytest.skip(f"the matrix was measured on glibc 2.36, this is {version}")
    assert differences(subject_of("libc"), GLIBC_2_36, GLIBC_REASONS) == []


def test_another_letter_than_the_measured_one_is_a_difference(subject_of: Callable[[str], Subject]) -> None:
    """The comparison is awake: libc notices S09 late, so a matrix that has it refused is contradicted by name."""
    (said,) = differences(subject_of("libc"), {"S01": "n", "S09": "R"}, {}, ["S01", "S09"])
    assert said.startswith("S09: ")


@pytest.mark.oracle
def test_php_agrees_with_the_measured_matrix(subject_of: Callable[[str], Subject]) -> None:
    """Libphp 8.2.36, the version of the measurement."""
    assert differences(subject_of("php:8.2.36"), PHP_8_2_36, PHP_REASONS) == []


@pytest.mark.nightly
@pytest.mark.oracle
def test_php_with_keyed_links_agrees_with_the_measured_matrix(subject_of: Callable[[str], Subject]) -> None:
    """Libphp 8.4.24, the version of the measurement, on the C library it was built for."""
    assert differences(subject_of("php:8.4.24"), PHP_8_4_24, PHP_NEWER_REASONS) == []


@pytest.mark.parametrize(
    "name",
    [
        "zmm:fast",
        "zmm:release",
        "zmm:hardened",
        "zmm:debug",
        pytest.param("php", marks=pytest.mark.oracle),
        pytest.param("php:8.4", marks=pytest.mark.oracle),
        "libc",
        "libc:check",
        "jemalloc",
        "tcmalloc",
        "mimalloc",
    ],
)
def test_legal_operations_raise_no_alarm(name: str, subject_of: Callable[[str], Subject]) -> None:
    """19 sizes, free, reuse, grow and shrink: a diagnosis or evidence here would make every other result worthless."""
    column = measure(subject_of(name), [], runs=1)
    assert [(cell.fault.id, cell.shown) for cell in column.alarms] == []
    assert column.controls == 19
