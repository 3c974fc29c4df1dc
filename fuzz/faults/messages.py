"""Which lines on stderr are an allocator's (or a sanitizer's) diagnosis."""

from __future__ import annotations

import re
from dataclasses import dataclass

# One alternative a source. Each begins where the diagnosis begins.
_DIAGNOSES = re.compile(
    rb"""
      zend_mm_heap\ corrupted
    | zmm:\ heap\ corruption:\ [a-z0-9 _-]+
    | PHP\ Fatal\ error:\ \ [^\n]*
    | Out\ of\ memory\n
    # glibc, its malloc debug library included
    | double\ free\ or\ corruption[^\n]*
    | (?:free|malloc|realloc|calloc|munmap_chunk|malloc_consolidate|sysmalloc|mremap_chunk|memalign)\(\):\ [^\n]*
    | (?:corrupted\ (?:size|double-linked)|break\ adjusted|invalid\ (?:fastbin|pointer))[^\n]*
    | (?:malloc_check_get_size|top_check|memory\ clobbered|block\ freed\ twice)[^\n]*
    | malloc_printerr[^\n]*
    # jemalloc, tcmalloc and its debug build, mimalloc
    | <jemalloc>:\ [^\n]*
    | [^\n]*(?:tcmalloc|debugallocation)\.cc:\d+\][^\n]*
    | memory\ (?:allocation\ bug|stomping\ bug|was\ written\ to\ after)[^\n]*
    | mimalloc:\ (?:error|assertion|warning:\ mi_free)[^\n]*
    # sanitizers, valgrind, hardened allocators
    | ==\d+==\s*ERROR:\ AddressSanitizer[^\n]*
    | AddressSanitizer[:\ ][^\n]*
    | ==\d+==\ (?:Invalid\ (?:read|write|free)|Mismatched\ free|Process\ terminating|Argument\ '[^']*')[^\n]*
    | fatal\ allocator\ error:[^\n]*
    | Scudo\ ERROR:[^\n]*
    | \*\*\*\ GWP-ASan\ detected[^\n]*
    """,
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The first diagnosis on stderr: its line, and how many bytes had been said before it."""

    text: str
    offset: int


def find_diagnosis(stderr: bytes) -> Diagnosis | None:
    """The first diagnosis, or None when nobody said anything of the kind."""
    found = _DIAGNOSES.search(stderr)
    if found is None:
        return None
    return Diagnosis(found.group().decode("utf-8", "replace").strip(), found.start())
