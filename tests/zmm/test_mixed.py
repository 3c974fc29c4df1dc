"""With the preload library the C library's calls refuse blocks of zmm, and pass every other on."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import zmm

PROGRAM = """
import ctypes, sys, zmm
libc = ctypes.CDLL(None)
for name in ("malloc", "realloc", "calloc"):
    getattr(libc, name).restype = ctypes.c_void_p
library = ctypes.CDLL(zmm.get_library(LEVEL))
library.zmm_emalloc.restype = ctypes.c_void_p
small, large, huge = (ctypes.c_void_p(library.zmm_emalloc(size)) for size in (64, 5000, 3 << 20))
own = libc.realloc(ctypes.c_void_p(libc.malloc(100)), 200)
assert libc.malloc_usable_size(ctypes.c_void_p(own)) >= 200
libc.free(ctypes.c_void_p(own))
CALL
print("nobody said a word")
"""
CALLS = ("free(small)", "free(large)", "free(huge)", "realloc(small, 400)", "malloc_usable_size(large)")


def run(call: str, level: str, preload: str) -> subprocess.CompletedProcess[str]:
    """Run the program with one call in it, with a library preloaded."""
    program = PROGRAM.replace("CALL", call).replace("LEVEL", repr(level))
    environment = dict(os.environ, LD_PRELOAD=preload)
    return subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def mixed_library() -> str:
    """The preload library; builds with AddressSanitizer have none."""
    try:
        return zmm.get_mixed_library()
    except FileNotFoundError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("level", ["release", "debug"])
@pytest.mark.parametrize("call", CALLS)
def test_libc_refuses_a_block_of_zmm(call: str, level: str, mixed_library: str) -> None:
    """The report names the owner and what to call instead."""
    done = run(f"libc.{call}", level, mixed_library)
    assert done.returncode == -6
    assert done.stderr.startswith("zmm: heap corruption: given to the C library\n  address:   0x")
    assert ", belongs to this heap 0x" in done.stderr
    assert "\n  hint:      this block came from zmm: free it with efree() or zmm_heap_free()\n" in done.stderr


def test_libc_keeps_its_own(mixed_library: str) -> None:
    """A program that mixes nothing is left alone, and so is one of blocks that no heap knows."""
    done = run("pass", "release", mixed_library)
    assert (done.returncode, done.stdout) == (0, "nobody said a word\n"), done.stderr
