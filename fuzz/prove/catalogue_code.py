"""The properties of the shipped library's machine code."""

from __future__ import annotations

from .property import Property
from .sources import Change

_CORE = "zmm/core/core.h"


def _machine(name: str, sentence: str, subject: str, bound: str, claim: str, change: Change) -> Property:
    return Property(name, sentence, subject, "angr", bound, claim, change, seconds=600)


MACHINE = (
    _machine(
        "code-choice",
        "Large, huge or refused, and with how many pages or bytes: as the model says.",
        "heap_alloc_beyond_small (libzmm.so)",
        "all sizes from 3073 to 2**64 - 1",
        "release:choice",
        Change("zmm/core/heap.c", "size_bytes <= ZMM_LARGE_BYTES_MAX ?", "size_bytes < ZMM_LARGE_BYTES_MAX ?"),
    ),
    _machine(
        "code-safe-alloc",
        "count * size + offset is the model's, or refused where the model refuses.",
        "zmm_heap_safe_alloc (libzmm-hardened.so)",
        "all 2**192 arguments",
        "hardened:safe_alloc",
        Change(
            "zmm/core/api.c",
            "__builtin_add_overflow(product, offset_bytes, total)",
            "((*total = product + offset_bytes), false)",
        ),
    ),
    _machine(
        "code-safe-realloc",
        "The same, for a block that is resized.",
        "zmm_heap_safe_realloc (libzmm.so)",
        "all 2**192 arguments",
        "release:safe_realloc",
        Change(
            "zmm/core/api.c",
            "__builtin_mul_overflow(count, size_bytes, &product)",
            "((product = count * size_bytes), false)",
        ),
    ),
    _machine(
        "code-calloc",
        "count * size is the model's, or refused where the model refuses.",
        "zmm_heap_calloc (libzmm-hardened.so)",
        "all 2**128 arguments",
        "hardened:calloc",
        Change(
            "zmm/core/api.c",
            "!api_product(heap, count, size_bytes, 0, &total)",
            "!api_product(heap, count, size_bytes, 1, &total)",
        ),
    ),
    _machine(
        "code-set-limit",
        "A limit is accepted exactly where the model accepts it, and then stored.",
        "zmm_heap_set_limit (libzmm.so)",
        "all 2**192 states, nothing in the cache",
        "release:set_limit",
        Change(
            "zmm/core/request.c",
            "if (limit_bytes < heap->real_size_bytes)",
            "if (limit_bytes <= heap->real_size_bytes)",
        ),
    ),
    _machine(
        "code-may-map-huge",
        "A huge block is allowed at once exactly where the model allows it.",
        "supply_may_map_huge (libzmm.so)",
        "all 2**192 states",
        "release:may_map_huge",
        Change(
            _CORE,
            "return bytes <= heap->limit_bytes - heap->real_size_bytes;",
            "return bytes < heap->limit_bytes - heap->real_size_bytes;",
        ),
    ),
    _machine(
        "code-bin-of-size",
        "A small size takes from the list of the model's bin, and counts its bytes.",
        "zmm_heap_alloc (libzmm.so)",
        "all sizes up to 3072",
        "release:bin_of_size",
        Change("zmm/core/classes.c", "TIMES2(8), TIMES2(9)", "TIMES1(8), TIMES1(9), TIMES2(9)"),
    ),
)
