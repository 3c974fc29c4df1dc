"""What a heap can be asked for, what it says of itself, and where its libraries are."""

from __future__ import annotations

import ctypes
import pathlib
from typing import Any

import pytest

import zmm
from zmm.heap import NO_LIMIT_BYTES, Edition


@pytest.mark.parametrize(
    ("limit", "limit_bytes"),
    [
        (None, 2**63 - 1),
        (2**21, 2**21),
        (3_000_001, 3_000_001),
        ("2097152", 2**21),
        ("2048k", 2**21),
        ("64M", 2**26),
        (" 1G ", 2**30),
        (2**64, NO_LIMIT_BYTES),
    ],
)
def test_a_limit_is_bytes_or_a_number_with_a_unit(limit: int | str | None, limit_bytes: int) -> None:
    """For a new heap and for set_limit alike."""
    with zmm.Heap(limit=limit) as heap:
        assert heap.usage().limit_bytes == limit_bytes
    with zmm.Heap() as heap:
        heap.set_limit(limit)
        assert heap.usage().limit_bytes == limit_bytes


@pytest.mark.parametrize("limit", ["", "M", "64 MB", "6.4M", "64T", "-1", "٣M", "0x200000"])
def test_a_limit_in_other_words_is_refused(limit: str) -> None:
    """The error shows the word and says what can be written."""
    with pytest.raises(ValueError, match=r"not a limit: .*K, M or G"):
        zmm.Heap(limit=limit)


@pytest.mark.parametrize("limit", [-1, 0, 2**21 - 1, "1M"])
def test_a_limit_below_one_chunk_is_refused(limit: int | str) -> None:
    """No heap fits into less."""
    with pytest.raises(ValueError, match="below one chunk of 2097152 bytes"):
        zmm.Heap(limit=limit)


@pytest.mark.parametrize("edition", ["zmm", "php-8.2"])
def test_a_heap_knows_its_edition_and_level(level: Any, edition: Edition) -> None:
    """The core says so itself."""
    with zmm.Heap(level=level, edition=edition) as heap:
        assert (heap.level, heap.edition) == (level, edition)
        assert repr(heap) == f"<zmm.Heap of level {level}>"


def test_an_unknown_edition_or_level_is_refused() -> None:
    """With the names that there are."""
    wrong: Any = "php-7"
    with pytest.raises(ValueError, match=r"unknown edition 'php-7'; there are zmm, php-8\.2"):
        zmm.Heap(edition=wrong)
    with pytest.raises(ValueError, match=f"unknown level 'php-7'; there are {', '.join(zmm.LEVELS)}"):
        zmm.Heap(level=wrong)


def test_editions_differ_where_the_list_of_divergences_says() -> None:
    """A run of 512 free 8-byte slots is collected by zmm, never by PHP 8.2."""
    collected = {}
    for edition in zmm.EDITIONS:
        name: Any = edition
        with zmm.Heap(edition=name) as heap:
            heap.alloc(40)
            heap.free(heap.alloc(8))
            collected[edition] = heap.gc()

    assert collected == {"zmm": 4096, "php-8.2": 0}


def test_the_libraries_export_the_api_of_their_level() -> None:
    """get_library finds each level's library, which loads and names its level."""
    levels = {}
    for level in zmm.LEVELS:
        library = ctypes.CDLL(zmm.get_library(level))
        library.zmm_get_api.restype = ctypes.POINTER(ctypes.c_char_p)
        version, name = library.zmm_get_api()[0], library.zmm_get_api()[1]
        levels[level] = (version.decode(), name.decode())

    assert levels == {level: (zmm.__version__, level) for level in zmm.LEVELS}


def test_an_unknown_library_is_refused() -> None:
    """With the names that there are."""
    with pytest.raises(ValueError, match="unknown level 'hard'"):
        zmm.get_library("hard")


def test_the_header_says_the_version_of_the_package() -> None:
    """get_include is the folder of zmm.h."""
    header = pathlib.Path(zmm.get_include(), "zmm.h").read_text()

    assert f'#define ZMM_VERSION "{zmm.__version__}"' in header
