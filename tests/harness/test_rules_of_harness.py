"""The harness' own rules: for each a planted change and a tape that make it speak; without the change it is silent."""

from __future__ import annotations

import hashlib
import re
import shutil
import signal
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import zmm_fuzz.harness.build as builder
from zmm_fuzz.tape import encode
from zmm_fuzz.text import parse_text
from zmm_fuzz.truth.patch import PlantError
from zmm_fuzz.truth.plant import replace_once

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
# Whoever builds, builds all: one worker does.
pytestmark = pytest.mark.xdist_group("rules of the harness")

# The abstract model's rules are compared with their twins in Python, on damaged rows (test_play.py): all but those that
# one wrong number in a row does not break.
ABSTRACT = {"ABS-18", "ABS-19"}


@dataclass(frozen=True)
class Planted:
    """
    A rule, and what makes it speak.

    In ``file`` the expression ``old`` becomes ``(planted("NAME") ? (new) : (old))``: so one copy of the sources has all
    changes, each of them asleep until it is named. ``tape`` is a program in the text form, its lines ended by ``;``, or
    the bytes of a tape. ``way`` tells rows of one rule apart, and is what its line has to say.
    """

    rule: str
    target: str
    file: str
    old: str
    new: str
    tape: str | bytes
    way: str = ""

    @property
    def name(self) -> str:
        return f"{self.rule} {self.way}".strip()

    def body(self) -> bytes:
        if isinstance(self.tape, bytes):
            return self.tape
        return encode(parse_text("zmm-program 1\n" + self.tape.replace(";", "\n")))


API, CORE = "zmm/core/api.c", "zmm/core/core.h"
GC, GROUND, HUGE, REQUEST = "zmm/core/gc.c", "zmm/core/ground.c", "zmm/core/huge.c", "zmm/core/request.c"
RESIZE, STORAGE, SUPPLY, WALK = "zmm/core/resize.c", "zmm/core/storage.c", "zmm/core/supply.c", "zmm/core/walk.c"
TAPE, TARGET = "fuzz/native/tape.c", "fuzz/native/target_zmm.c"

# Blocks of 3, 2.5 and 4 MiB are huge; 1,500,000 bytes are most of a chunk.
ROWS = [
    # ---- targets ----
    Planted(  # bins in turns: what the first gc leaves is for the second
        "GC-1",
        "gc",
        GC,
        "heap->edition == ZMM_EDITION_PHP_8_2 ? 1 : 0",
        "({ static unsigned calls; calls++ % 2 == 0 ? ZMM_BIN_COUNT - 1 : 0; })",
        "a = alloc 100; free a; gc",
    ),
    Planted(  # writes to the first slot of each run
        "GC-2",
        "gc",
        GC,
        "chunk->free_slots[page_index] = 0",
        "++*(char *)chunk_page(chunk, page_index), chunk->free_slots[page_index] = 0",
        "heap storage=kernel; a = alloc 100; gc",
    ),
    Planted(  # takes all but the first page of a live block back
        "GC-3",
        "gc",
        GC,
        "page_index += page_word_run_pages(word)",
        "page_word_run_pages(word) > 1"
        " ? run_give_back(chunk, page_index + 1, page_word_run_pages(word) - 1) : (void)0,"
        " words[page_index] = page_word_large(heap->id, 1), page_index += page_word_run_pages(word)",
        "a = alloc 8000; gc",
    ),
    Planted(  # refuses before it collects
        "LIMIT-1",
        "limit",
        SUPPLY,
        "gc_collect(heap) == 0",
        "true",
        "heap limit=2097152; a = alloc 100; free a; b = alloc 1500000; c = alloc 1500000",
    ),
    Planted(  # copies twice as much as the new block holds
        "REALLOC-1",
        "realloc",
        RESIZE,
        "memcpy(moved, block, resize_min(resize_min(old_bytes, size_bytes), copy_bytes))",
        "memcpy(moved, block, 2 * size_bytes)",
        "a = alloc 8; b = alloc 16; c = alloc 16; free b; a = realloc a 16",
    ),
    Planted(  # the main chunk goes on with the pages of the last request
        "REQUEST-1", "request", REQUEST, "chunk_reset(heap->main_chunk)", "(void)0", "a = alloc 40; request_end"
    ),
    Planted(  # huge blocks survive
        "REQUEST-2", "request", REQUEST, "huge_release_all(heap)", "(void)0", "a = alloc 3145728; request_end"
    ),
    Planted(
        "REQUEST-3",
        "request",
        REQUEST,
        "heap->delete_boundary = heap->delete_count = 0",
        "(void)0",
        "a = alloc 1500000; b = alloc 1500000; c = alloc 1500000; free c; request_end",
    ),
    Planted(
        "TAPE-1",
        "tape",
        TAPE,
        "steps[tape.step_count++] = step",
        "step.op = 16, steps[tape.step_count++] = step",
        "a = alloc 40",
    ),
    Planted(
        "TAPE-2",
        "tape",
        TAPE,
        "tape.label_count = (size_t)step.label + 1",
        "tape.label_count = step.label",
        "a = alloc 40",
    ),
    Planted("TAPE-3", "tape", TAPE, "byte == 0 ? 1 : byte", "byte", b"\x00\x06\x03a\x00b"),
    Planted("TAPE-4", "tape", TAPE, "label - FAR_LABEL", "label", "z = alloc 40"),
    Planted(  # one operation of a tape with misuse is read as if it stood in a tape without
        "TAPE-5", "tape", TAPE, "body[0] & FLAG_MISUSE", "body[offset] & FLAG_MISUSE", b"\x40\x0f\x00"
    ),
    Planted(  # an operation begins where the settings do, and two zeros mean the same as the next two
        "TAPE-6", "tape", TAPE, "(void)read_settings(&reader, NULL)", "(void)0", b"\x00\x00\x00"
    ),
    # ---- the runner's ----
    Planted(
        "PLACE-1",
        "heap",
        WALK,
        "run_offset == 0 && (word & PAGE_WORD_WAITING) == 0",
        "false",
        "a = alloc 8000; check",
    ),
    Planted(
        "PLACE-2",
        "heap",
        HUGE,
        "record->mapping_index = heap->mapping_count++",
        "record->mapping_index = ++heap->mapping_count",
        "a = alloc 3145728; check",
    ),
    Planted("PLACE-3", "heap", WALK, "huge_find_around(heap, address) != NULL", "false", "a = alloc 3145728; check"),
    Planted(
        "REFUSAL-1",
        "heap",
        SUPPLY,
        "refuse_limit(heap, tried_bytes)",
        "(void)0",
        "heap limit=2097152; a = alloc 1500000; b = alloc 1500000",
    ),
    Planted(  # frees a huge block twice
        "STORAGE-1",
        "heap",
        HUGE,
        "storage_huge_release(heap, block, huge_remove(heap, block))",
        "({ const size_t bytes = huge_remove(heap, block);"
        " storage_huge_release(heap, block, bytes); storage_huge_release(heap, block, bytes); })",
        "a = alloc 3145728; free a",
    ),
    Planted(
        "STORAGE-2",
        "heap",
        HUGE,
        "storage_huge_release(heap, record->block, record->size_bytes)",
        "storage_huge_release(heap, record->block, record->size_bytes - ZMM_PAGE_BYTES)",
        "a = alloc 3145728",
    ),
    Planted(
        "STORAGE-3",
        "heap",
        RESIZE,
        "storage_huge_truncate(heap, record->block, old_bytes, new_bytes)",
        "storage_huge_truncate(heap, record->block, old_bytes + ZMM_PAGE_BYTES, new_bytes)",
        "a = alloc 3145728; a = realloc a 2621440",
    ),
    Planted(
        "STORAGE-4",
        "heap",
        RESIZE,
        "storage_huge_extend(heap, record->block, old_bytes, new_bytes)",
        "storage_huge_extend(heap, record->block, old_bytes + ZMM_PAGE_BYTES, new_bytes)",
        "a = alloc 2621440; a = realloc a 3145728",
    ),
    Planted(  # commits each chunk twice
        "STORAGE-5",
        "heap",
        GROUND,
        "kernel()->commit((void *)record->base, ZMM_CHUNK_BYTES, ZMM_PAGE_BYTES)",
        "kernel()->commit((void *)record->base, ZMM_CHUNK_BYTES, ZMM_PAGE_BYTES) &&"
        " kernel()->commit((void *)record->base, ZMM_CHUNK_BYTES, ZMM_PAGE_BYTES)",
        "heap storage=kernel; a = alloc 40; free a",
    ),
    Planted(  # a size that goes round
        "STORAGE-6",
        "heap",
        STORAGE,
        "heap->storage->handlers.chunk_alloc(heap->storage, size_bytes, ZMM_CHUNK_BYTES)",
        "heap->storage->handlers.chunk_alloc(heap->storage, size_bytes % 4194304, ZMM_CHUNK_BYTES)",
        "a = alloc 4194304",
    ),
    # ---- the shadow model's ----
    Planted(  # no limit
        "ABS-18",
        "heap",
        CORE,
        "bytes <= heap->limit_bytes - heap->real_size_bytes",
        "true",
        "heap limit=2097152; a = alloc 1500000; b = alloc 1500000",
    ),
    Planted(  # takes a chunk that nobody asked for
        "ABS-19",
        "heap",
        API,
        "heap->real_peak_bytes = heap->real_size_bytes",
        "heap->cached_count++, heap->real_peak_bytes = heap->real_size_bytes += ZMM_CHUNK_BYTES",
        "reset_peak",
    ),
    # ---- about the harness itself: what one play leaves for the next ----
    Planted("RESET-1", "heap", GROUND, "record->heap = NULL", "(void)0", "a = alloc 40"),
    Planted(
        "RESET-2",
        "heap",
        REQUEST,
        "memset(chunk_words(chunk), 0, ZMM_CHUNK_PAGES * sizeof(page_word))",
        "memset(chunk_words(chunk), 0, (ZMM_CHUNK_PAGES - 1) * sizeof(page_word))",
        "heap storage=kernel; a = alloc 1499136; b = alloc 589824; c = alloc 4096",
    ),
    Planted(
        "RESET-3",
        "heap",
        REQUEST,
        "memset(live_word(chunk_position(chunk, page_index)), 0, ZMM_LIVE_WORDS_PER_PAGE * sizeof(uint64_t))",
        "(void)0",
        "heap storage=kernel; a = alloc 40",
    ),
    Planted(
        "RESET-4",
        "heap",
        WALK,
        "count ? (uint16_t)(*free_slots + 1) : 0",
        "(uint16_t)(*free_slots + 1)",
        "heap storage=kernel; a = alloc 40",
    ),
    Planted("RESET-5", "heap", GROUND, "zone->free_count++", "(void)0", "heap storage=kernel; a = alloc 40"),
    Planted(  # a heap that is there is said to be refused, and so never closed
        "RESET-6",
        "heap",
        TARGET,
        "heap != NULL || refuse(STATUS_REFUSED_SYSTEM, 0) != NULL",
        "refuse(STATUS_REFUSED_SYSTEM, 0) != NULL",
        "heap storage=kernel; a = alloc 40",
    ),
    Planted(  # after 65,534 plays there would be none left
        "RESET-7", "heap", REQUEST, "ground_heap_id_give_back(heap->id)", "(void)0", "a = alloc 40; b = alloc 40"
    ),
    Planted(  # a table that no heap owns changes with each heap
        "RESET-8",
        "heap",
        GROUND,
        "ground.base != 0",
        "page_word_secret += 2, ground.base != 0",
        "heap storage=kernel; a = alloc 40",
    ),
    Planted(  # a counter begins with what lay in the memory
        "RESET-9",
        "heap",
        REQUEST,
        "heap->main_chunk = chunk",
        "heap->delete_boundary = ((unsigned char *)chunk->base)[3 * ZMM_PAGE_BYTES], heap->main_chunk = chunk",
        "a = alloc 40",
        way="used by others",
    ),
    Planted(  # state outside of the heap changes what the fifth heap of the process does: that of the last repetition
        "RESET-9",
        "heap",
        REQUEST,
        "heap->chunk_count_average = 1.0",
        "({ static int heaps; heap->chunk_count_average = ++heaps > 4 ? 2.0 : 1.0; })",
        "a = alloc 40",
        way="never used",
    ),
]


def test_every_rule_of_the_harness_has_a_row() -> None:
    """What its sources can say is in the table, and what is in the table can be said."""
    sources = "".join(path.read_text() for path in sorted((ROOT / "fuzz" / "native").rglob("*.[ch]")))
    said = set(re.findall(r'"([A-Z]+-\d+)[":]', sources))

    assert len(said) > 50
    assert {row.rule for row in ROWS} == {rule for rule in said if not rule.startswith("ABS-")} | ABSTRACT
    assert len({row.name for row in ROWS}) == len(ROWS)


def plant_all(into: Path) -> None:
    """
    Copies what a harness is made of, with every change of the table in it, asleep.

    Raises :class:`PlantError`, which names the rule, for an ``old`` that does not stand in its file exactly once.
    """
    for part in ("zmm/core", "zmm/include", "fuzz/native"):
        shutil.copytree(ROOT / part, into / part)
    awake = (HERE / "planted.h").read_text()
    for file in sorted({row.file for row in ROWS}):
        text = (into / file).read_text()
        for row in (row for row in ROWS if row.file == file):
            try:
                text = replace_once(text, row.old, f'(planted("{row.name}") ? ({row.new}) : ({row.old}))')
            except PlantError as error:
                raise PlantError(f"{row.name}: {file}: {error}") from None
        (into / file).write_text(f"{awake}\n{text}")


def tree_with_all(folder: Path) -> Path:
    """The copy, where it is kept from run to run: its name says what it is made of."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        plant_all(Path(scratch, "tree"))
        digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(Path(scratch).rglob("*.[ch]"))))
        kept = folder / f"rules-{digest.hexdigest()[:12]}"
        if not kept.exists():
            Path(scratch, "tree").rename(kept)
    return kept


@pytest.fixture(scope="module")
def executables(folder: Path, cores: Path) -> Mapping[str, Path]:
    """
    An executable of each target of the table.

    Nearly all of what they are linked of is the same, and is compiled as quickly as can be: few tapes are played.
    """
    tree = tree_with_all(cores)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builder, "_NATIVE", tree / "fuzz" / "native")
        patch.setattr(builder, "_HARNESS", tree / "fuzz" / "native" / "harness")
        return {
            target: builder.build(
                target, folder=folder / "rules", engine="replay", core=tree / "zmm" / "core", flags=("-O0",)
            )
            for target in sorted({row.target for row in ROWS})
        }


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_a_rule_of_the_harness_speaks(
    row: Planted, executables: Mapping[str, Path], run: Callable[..., tuple[int, str]]
) -> None:
    """With its change awake the tape ends with exactly this rule; with all of them asleep nothing is said of it."""
    path = executables[row.target]
    asleep = run(path, row.body(), ZMM_FUZZ_CHECK_EVERY="1", PLANTED="none")
    status, said = run(path, row.body(), ZMM_FUZZ_CHECK_EVERY="1", PLANTED=row.name)

    assert asleep == (0, "zmm-fuzz: 1 files played, none breaks a rule\n")
    assert re.findall(r"^zmm-fuzz: ([A-Z]+(?:-\d+)?): step", said, re.MULTILINE) == [row.rule], said
    assert row.way in said
    assert status == -signal.SIGABRT
