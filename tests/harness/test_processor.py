"""Which instructions an engine is compiled for: those that every processor of this machine has."""

from __future__ import annotations

import platform
from collections.abc import Callable
from pathlib import Path

import pytest
from zmm_fuzz.campaign.engines import find_engine
from zmm_fuzz.harness.processor import processor_level

LEVEL_3 = "abm avx avx2 bmi1 bmi2 cx16 f16c fma movbe popcnt sse4_1 sse4_2 ssse3 xsave"


def level_of(monkeypatch: pytest.MonkeyPatch, folder: Path, *processors: str, machine: str = "x86_64") -> str:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    cpuinfo = folder / "cpuinfo"
    lines = [f"processor\t: {number}\nflags\t\t: fpu {flags} sse2\n" for number, flags in enumerate(processors)]
    cpuinfo.write_text("\n".join(lines), encoding="ascii")
    return processor_level(cpuinfo)


def test_the_third_level_where_every_processor_has_all_of_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """x86-64-v3, by Linux' names for its parts."""
    assert level_of(monkeypatch, tmp_path, LEVEL_3, LEVEL_3) == "x86-64-v3"


@pytest.mark.parametrize("missing", LEVEL_3.split())
def test_one_processor_without_one_part_is_enough_for_no_level(
    missing: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An engine may be started on any of them."""
    less = " ".join(flag for flag in LEVEL_3.split() if flag != missing)
    assert level_of(monkeypatch, tmp_path, LEVEL_3, less) == ""


def test_no_level_where_nothing_is_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No processor told of, another kind of machine, no such file."""
    assert level_of(monkeypatch, tmp_path) == ""
    assert level_of(monkeypatch, tmp_path, LEVEL_3, machine="aarch64") == ""
    assert processor_level(tmp_path / "missing") == ""


def test_a_campaigns_engine_stands_in_a_folder_of_its_level(
    needs_engine: Callable[[str], None], tmp_path: Path
) -> None:
    """Machines that share a folder do not start each other's."""
    needs_engine("libfuzzer")
    assert find_engine("libfuzzer", "heap", folder=tmp_path).path.parent == tmp_path / processor_level()
