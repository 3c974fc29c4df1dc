"""The contracts of the size arithmetic are confirmed over all paths, and a broken copy is refuted."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from zmm_model import sizes

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        importlib.util.find_spec("crosshair") is None,
        reason="crosshair-tool is not installed (zmm[verify])",
    ),
]

SOURCE = Path(sizes.__file__)
# Each a plausible slip in one function: a border moved, a class too few, a rounding too short.
SLIPS = (
    ("bin_of", "if size_bytes <= 64:", "if size_bytes <= 80:"),
    ("bin_of", "bit_length() - 7", "bit_length() - 6"),
    (
        "bin_elements",
        "return bin_pages(bin_index) * PAGE_BYTES // bin_bytes(bin_index)",
        "return PAGE_BYTES // bin_bytes(bin_index)",
    ),
    ("pages_for", "return (size_bytes + PAGE_BYTES - 1) // PAGE_BYTES\n", "return size_bytes // PAGE_BYTES + 1\n"),
    ("safe_size", "total if total <= SIZE_MAX else None", "total if total <= SIZE_MAX + 1 else None"),
    (
        "stays_in_bin",
        "bin_index == 0 or size_bytes >= bin_bytes(bin_index - 1)",
        "bin_index > 0 or size_bytes >= 8",
    ),
)


def crosshair(folder: Path, target: str, seconds: int) -> tuple[list[str], list[str]]:
    """The lines of "crosshair check" that confirm, and all others; seconds are for each condition."""
    command = [sys.executable, "-m", "crosshair", "check", target, "--report_all"]
    done = subprocess.run(
        [*command, f"--per_condition_timeout={seconds}"], capture_output=True, text=True, check=False, cwd=folder
    )
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    confirmed = [line for line in lines if "Confirmed over all paths" in line]
    return confirmed, [line for line in lines if line not in confirmed]


def test_every_contract_is_confirmed(tmp_path: Path) -> None:
    """As many confirmations as there are postconditions, and nothing else."""
    copy = tmp_path / "sizes_copy.py"
    source = SOURCE.read_text()
    copy.write_text(source)

    confirmed, others = crosshair(tmp_path, copy.name, 60)

    assert others == []
    assert source.count(" post:") == len(confirmed)


@pytest.mark.parametrize(("function", "sound", "slip"), SLIPS)
def test_a_slip_is_refuted(tmp_path: Path, function: str, sound: str, slip: str) -> None:
    """The prover is awake: each planted slip breaks a contract."""
    copy = tmp_path / "sizes_slip.py"
    source = SOURCE.read_text()
    assert sound in source
    # The tables are built when the module is loaded, which a slip may already break.
    copy.write_text(source.replace(sound, slip).partition("# The same as tables")[0])

    _, others = crosshair(tmp_path, f"sizes_slip.{function}", 20)

    assert any("error:" in line for line in others)
