"""The instructions beyond the common ones that this machine's processor has, as flags of a compiler."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Final

# The third level of the x86-64 psABI, by the names that Linux gives its parts.
_LEVEL_3: Final = {
    *("avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"),
    *("xsave", "cx16", "popcnt", "sse4_1", "sse4_2", "ssse3"),
}
_CPUINFO: Final = Path("/proc/cpuinfo")


def processor_level(cpuinfo: Path = _CPUINFO) -> str:
    """
    ``x86-64-v3`` where the processor has all of that level, else empty: what compilers take for granted.

    What is built for it plays a tenth more inputs, and runs on no lesser processor: it stays on the machine.
    """
    if platform.machine() != "x86_64":
        return ""
    try:
        lines = cpuinfo.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return ""
    # Each processor's line: a virtual machine may have been given different ones.
    flags = [set(line.partition(":")[2].split()) for line in lines if line.startswith("flags")]
    return "x86-64-v3" if flags and all(one >= _LEVEL_3 for one in flags) else ""
