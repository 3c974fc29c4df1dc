"""What the runner does with each step: labels, contents, storage, places; the same on PHP and on zmm."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from zlib import crc32

import pytest
from zmm_fuzz.session import Reply, Session
from zmm_fuzz.targets import Target, TargetError, find_target
from zmm_fuzz.wire import (
    BURST_TEXT,
    CLOSE_STEP,
    ROW,
    Burst,
    BurstFlag,
    BurstProfile,
    MessageKind,
    TextArea,
    pack_open,
    pack_program,
    unpack_rows,
    unpack_steps,
)
from zmm_model.op import SIZE_MAX, Operation, Settings
from zmm_model.outcome import (
    BROKEN,
    DONE,
    NO_MAPPING,
    PANIC,
    REFUSED_LIMIT,
    REFUSED_OVERFLOW,
    REFUSED_SYSTEM,
    SKIPPED,
    Row,
)

DATA = Path(__file__).parents[1] / "data"
HEADERS = Path(__file__).parents[2] / "zmm" / "include"
MIB = 2**20
ALL_FLAGS = BurstFlag.GC | BurstFlag.LIMITS | BurstFlag.OVERFLOWS
ZENDMM = ("zmm:fast", "zmm:release", "zmm:hardened", "zmm:debug", "php")


@cache
def target_or_reason(name: str) -> Target | str:
    try:
        return find_target(name)
    except TargetError as error:
        return str(error)


def target_of(name: str) -> Target:
    found = target_or_reason(name)
    if isinstance(found, str):
        pytest.skip(found)
    return found


@pytest.fixture(params=[pytest.param(name, marks=[pytest.mark.oracle] if name == "php" else []) for name in ZENDMM])
def session(request: pytest.FixtureRequest) -> Iterator[Session]:
    """A session of each ZendMM that is here."""
    with Session(target_of(request.param)) as one:
        yield one


def perform(session: Session, operations: list[Operation], settings: Settings | None = None) -> list[Row]:
    """The rows of the operations, without those of opening and closing."""
    return rows_of(session.perform(*pack_program(operations, settings or Settings(), edition="php-8.2")))[1:-1]


def rows_of(reply: Reply) -> list[Row]:
    assert reply.death is None, reply.death
    return unpack_rows(reply.rows)


def compiled(name: str, bug: int, folder: Path, *flags: str) -> Target:
    """One of the libraries with a planted bug."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")
    library = folder / f"{name}.so"
    command = [compiler, "-w", "-O1", "-shared", "-fPIC", "-fno-builtin", f"-DBUG={bug}", f"-I{HEADERS}", *flags]
    subprocess.run([*command, "-o", library, DATA / f"{name}.c", "-ldl"], check=True)
    return find_target(f"{'zmm' if name == 'bad_zmm' else 'malloc'}:{library}")


# ---- identity --------------------------------------------------------------------------------------------------------


def test_the_process_says_what_it_loaded(session: Session) -> None:
    """Allocator, version, and the path that the functions really come from."""
    target = session.target
    assert session.identity["allocator"] == target.kind
    assert session.identity["version"] == target.version
    assert Path(session.identity["path"]) == Path(target.library).resolve()


@pytest.mark.oracle
@pytest.mark.parametrize(("version", "limits"), [("8.2.32", "classic"), ("8.2.36", "soft")])
def test_php_is_known_by_version_and_kind_of_limits(version: str, limits: str) -> None:
    """8.2.35 brought limits that are not enforced on the spot."""
    with Session(target_of(f"php:{version}")) as session:
        assert (session.identity["version"], session.identity["limits"]) == (version, limits)
        assert session.target.refuses_exactly is (limits == "classic")
        assert [row.status for row in perform(session, [Operation("alloc", 0, 8), Operation("check")])] == [DONE, DONE]


# ---- steps -----------------------------------------------------------------------------------------------------------


def test_a_label_holds_one_block(session: Session) -> None:
    """An allocation into a live label is skipped and shows the block; free of nothing is done; realloc allocates."""
    rows = perform(
        session,
        [
            Operation("alloc", 0, 100),
            Operation("alloc", 0, 5000),
            Operation("strdup", 0, text=b"no"),
            Operation("free", 0),
            Operation("free", 0),
            Operation("realloc", 0, 64),
            Operation("realloc2", 1, 64, 3),
            Operation("safe_realloc", 2, 2, 30, 4),
        ],
    )
    assert [row.status for row in rows] == [DONE, SKIPPED, SKIPPED, DONE, DONE, DONE, DONE, DONE]
    assert rows[0][2:5] == rows[1][2:5] == rows[2][2:5]
    assert rows[3][2:5] == rows[4][2:5] == (NO_MAPPING, 0, 0)
    assert [row.block_bytes for row in rows[5:]] == [64, 64, 64]


def test_a_write_must_lie_in_its_block(session: Session) -> None:
    """By requested size, and up to 1 MiB; offset and length may not wrap around."""
    rows = perform(
        session,
        [
            Operation("write", 0, 0, 0, 1),
            Operation("alloc", 0, 100),
            Operation("write", 0, 0, 100, 1),
            Operation("write", 0, 1, 100, 1),
            Operation("write", 0, 100, 0, 1),
            Operation("write", 0, 101, 0, 1),
            Operation("write", 0, SIZE_MAX, 2, 1),
            Operation("alloc", 1, 3 * MIB),
            Operation("write", 1, MIB, MIB, 1),
            Operation("write", 1, MIB, MIB + 1, 1),
            Operation("check"),
        ],
    )
    done = [row.status == DONE for row in rows]
    assert done == [False, True, True, False, True, False, False, True, True, False, True]


def test_strndup_is_skipped_where_it_would_read_past_its_text(session: Session) -> None:
    """A length that nothing can have is refused instead."""
    rows = perform(
        session,
        [
            Operation("strndup", 0, 6, text=b"hello"),
            Operation("strndup", 0, 2**48 - 1, text=b"hello"),
            Operation("strndup", 0, SIZE_MAX, text=b"hello"),
            Operation("strndup", 0, 2**48, text=b"hello"),
            Operation("strndup", 0, 5, text=b"hello"),
        ],
    )
    assert [row.status for row in rows] == [SKIPPED, SKIPPED, REFUSED_OVERFLOW, REFUSED_SYSTEM, DONE]


@pytest.mark.parametrize("session", ["zmm:fast", "zmm:release", "php"], indirect=True)  # trims change the numbers
def test_a_refusal_is_told_with_its_number_and_its_text_and_the_heap_goes_on(session: Session) -> None:
    """PHP's sentences; the label keeps its block."""
    operations = [
        Operation("limit", -1, 4 * MIB),
        Operation("alloc", 0, 5_000_000),
        Operation("safe_alloc", 0, 2**32, 2**32, 1),
        Operation("alloc", 1, SIZE_MAX),
        Operation("alloc", 2, 2_000_000),
        Operation("alloc", 3, 3072),
        Operation("alloc", 4, 1_900_000),
        Operation("alloc", 5, 1_200_000),
        Operation("realloc", 2, 4_000_000),
        Operation("alloc", 6, 8),
        Operation("check"),
    ]
    reply = session.perform(*pack_program(operations, Settings(), edition="php-8.2"))
    rows = rows_of(reply)[1:-1]
    texts = {message.step - 1: message.text for message in reply.messages}
    limit = "Allowed memory size of 4194304 bytes exhausted (tried to allocate {} bytes)"
    overflow = "Possible integer overflow in memory allocation ({})"
    assert texts == {
        1: limit.format(5_000_000),
        2: overflow.format("4294967296 * 4294967296 + 1"),
        3: overflow.format("18446744073709551615 + 4096"),
        7: limit.format(1_200_128),
        8: limit.format(4_000_000),
    }
    for step, row in enumerate(rows):
        if step in texts:
            assert row.text_crc == crc32(texts[step].encode())
            assert row.status == (REFUSED_LIMIT if "Allowed" in texts[step] else REFUSED_OVERFLOW)
        else:
            assert (row.status, row.text_crc) == (DONE, 0)
    assert [rows[step].refused_bytes for step in (1, 2, 3, 7, 8)] == [5_000_000, 0, 0, 1_200_128, 4_000_000]
    assert rows[8][2:5] == rows[4][2:5]


# ---- storage ---------------------------------------------------------------------------------------------------------


def test_mappings_are_numbered_in_order_of_acquisition(session: Session) -> None:
    """A refused one takes no number; a freed number does not come back."""
    rows = perform(
        session,
        [
            Operation("alloc", 0, 3 * MIB),
            Operation("alloc", 1, 3 * MIB),
            Operation("free", 0),
            Operation("alloc", 2, 3 * MIB),
            Operation("alloc", 3, 9 << 30),
            Operation("alloc", 4, 3 * MIB),
            Operation("alloc", 5, 100),
        ],
    )
    assert [row.mapping for row in rows] == [1, 2, NO_MAPPING, 3, NO_MAPPING, 4, 0]
    assert rows[4].status == REFUSED_SYSTEM
    assert rows[-1].storage_calls == 7


def test_a_failing_call_fails_whichever_it_is(session: Session) -> None:
    """Alloc, truncate and extend are counted together; free is not."""
    operations = [
        Operation("alloc", 0, 3 * MIB),  # 2
        Operation("realloc", 0, 4 * MIB),  # 3: extend
        Operation("realloc", 0, 3 * MIB),  # 4: truncate fails, 5: alloc
        Operation("realloc", 0, 4 * MIB),  # 6: extend fails, 7: alloc fails
        Operation("free", 0),
        Operation("alloc", 0, 3 * MIB),  # 8
    ]
    rows = perform(session, operations, Settings(failing_calls=(4, 6, 7)))
    assert [row.mapping for row in rows] == [1, 1, 2, 2, NO_MAPPING, 3]
    assert [row.status for row in rows] == [DONE, DONE, DONE, REFUSED_SYSTEM, DONE, DONE]


def test_without_memory_for_its_first_chunk_a_heap_does_not_open(session: Session) -> None:
    """The opening is refused, every step and the closing are skipped, the next heap is a new one."""
    settings = Settings(failing_calls=(1,))
    reply = session.perform(*pack_program([Operation("alloc", 0, 8)], settings, edition="php-8.2"))
    rows = rows_of(reply)
    assert [row.status for row in rows] == [REFUSED_SYSTEM, SKIPPED, SKIPPED]
    assert (rows[0].storage_calls, rows[0].size, rows[0].limit) == (1, 0, 0)
    assert rows[1][3:] == (0,) * 18
    assert perform(session, [Operation("alloc", 0, 8)])[0].status == DONE


def test_extension_and_truncation_are_granted_as_the_settings_say(session: Session) -> None:
    """A block that may not change its size where it is moves; there is always room behind a mapping."""
    steps = [(3 * MIB, 1), (8000 * MIB, 1), (3 * MIB, 1)]
    operations = [Operation("realloc", 0, size) for size, _ in steps]
    rows = perform(session, operations)
    assert [row.mapping for row in rows] == [mapping for _, mapping in steps]
    rows = perform(session, operations[::2], Settings(truncate=False, extend=False))
    assert [row.mapping for row in rows] == [1, 1]
    rows = perform(session, [operations[0], Operation("realloc", 0, 5 * MIB)], Settings(extend=False))
    assert [row.mapping for row in rows] == [1, 2]
    rows = perform(session, [Operation("alloc", 0, 5 * MIB), operations[0]], Settings(truncate=False))
    assert [row.mapping for row in rows] == [1, 2]


def test_kernel_and_handlers_see_the_same_calls(session: Session) -> None:
    """The record of the handlers' storage, 40 bytes in the first page, is all that differs."""
    operations = [
        Operation("alloc", 0, 3 * MIB),
        Operation("realloc", 0, 5 * MIB),
        Operation("realloc", 0, 3 * MIB),
        *(Operation("alloc", label, 1_500_000) for label in range(1, 6)),
        *(Operation("free", label) for label in range(1, 6)),
    ]
    handlers = perform(session, operations)
    kernel = perform(session, operations, Settings(storage="kernel"))
    for one, other in zip(handlers, kernel, strict=True):
        assert one._replace(size=0, peak=0, offset=0) == other._replace(size=0, peak=0, offset=0)
        assert one.size == other.size + 40


def test_closing_counts_what_was_never_given_back(tmp_path: Path) -> None:
    """A heap that ends a request only keeps its main chunk and a huge block's mapping is given back."""
    good = target_of("zmm:release")
    leaky = compiled("bad_zmm", 9, tmp_path, f'-DLIBRARY="{good.library}"')
    for target, left in ((good, 0), (leaky, 1)):
        with Session(target) as session:
            steps = pack_program([Operation("alloc", 0, 3 * MIB)], Settings(), edition="zmm")
            assert rows_of(session.perform(*steps))[-1].value == left


# ---- checks ----------------------------------------------------------------------------------------------------------


def test_fresh_memory_is_zero_though_it_was_used_before(session: Session) -> None:
    """The bytes of calloc are checked on every path; ten heaps one after the other use the same addresses."""
    operations: list[Operation] = []
    for label, size in enumerate((8, 100, 3000, 5000, 100_000, 2_000_000, 3 * MIB, 200_000)):
        operations += [Operation("calloc", label, 1, size), Operation("write", label, 0, size // 2, label)]
    for _ in range(10):
        assert {(row.status, row.contents) for row in perform(session, operations)} <= {(DONE, 0), (SKIPPED, 0)}


@pytest.mark.parametrize(
    ("bug", "operation"),
    [
        (1, Operation("alloc", 1, 100)),
        (3, Operation("realloc", 0, 50)),
        (4, Operation("calloc", 1, 1, 100)),
        (8, Operation("free", 0)),
    ],
)
def test_wrong_contents_are_noticed(bug: int, operation: Operation, tmp_path: Path) -> None:
    """Overlapping blocks, a realloc that loses a byte, dirty zeros, a free that writes: each shows in a row."""
    operations = [
        Operation("alloc", 0, 30),
        Operation("alloc", 2, 100),
        Operation("alloc", 3, 100),
        operation,
        Operation("check"),
    ]
    with Session(compiled("bad_malloc", bug, tmp_path)) as session:
        steps = pack_program(operations, Settings(), edition="zmm")
        reply = session.perform(*steps)
    rows = rows_of(reply)
    assert any(row.contents for row in rows)
    assert any(message.kind == MessageKind.CONTENTS for message in reply.messages)
    with Session(compiled("bad_malloc", 0, tmp_path)) as session:
        assert not any(row.contents for row in rows_of(session.perform(*steps)))


def test_a_malloc_that_grants_an_overflowing_product_panics(tmp_path: Path) -> None:
    """The library's own check is under test."""
    operations = [Operation("calloc", 0, 2**63, 2)]
    with Session(compiled("bad_malloc", 5, tmp_path)) as session:
        reply = session.perform(*pack_program(operations, Settings(), edition="zmm"))
    assert unpack_rows(reply.rows)[-1].status == PANIC
    with Session(compiled("bad_malloc", 0, tmp_path)) as session:
        reply = session.perform(*pack_program(operations, Settings(), edition="zmm"))
    assert rows_of(reply)[1].status == REFUSED_OVERFLOW


def test_a_broken_invariant_is_told_by_name(tmp_path: Path) -> None:
    """`check` asks the heap itself."""
    good = target_of("zmm:release")
    with Session(compiled("bad_zmm", 4, tmp_path, f'-DLIBRARY="{good.library}"')) as session:
        reply = session.perform(*pack_program([Operation("check")], Settings(), edition="zmm"))
    assert rows_of(reply)[1].status == BROKEN
    assert [(message.step, message.kind, message.text) for message in reply.messages] == [
        (1, MessageKind.BROKEN, "RUN-2")
    ]


def test_a_panic_leaves_its_row_and_its_reason(tmp_path: Path) -> None:
    """A table of zmm whose alloc calls the panic hook."""
    good = target_of("zmm:release")
    source = tmp_path / "panics.c"
    source.write_text(
        f"""
        #include <dlfcn.h>
        #include "zmm.h"
        static zmm_api bad;
        static zmm_panic_hook panic;
        static void *alloc(zmm_heap *heap, size_t size)
        {{
            panic(heap, "a slot was freed twice", heap, NULL);
            return NULL;
        }}
        static void set_hook(zmm_panic_hook hook, void *context) {{ panic = hook; }}
        __attribute__((visibility("default"))) const zmm_api *zmm_get_api(void)
        {{
            const zmm_api *(*get)(void) = dlsym(dlopen("{good.library}", RTLD_NOW), "zmm_get_api");
            bad = *get();
            bad.heap_alloc = alloc;
            bad.set_panic_hook = set_hook;
            return &bad;
        }}
        """
    )
    library = tmp_path / "libpanics.so"
    compiler = shutil.which("cc") or "gcc"
    subprocess.run([compiler, "-w", "-shared", "-fPIC", f"-I{HEADERS}", "-o", library, source], check=True)
    operations = [Operation("calloc", 0, 1, 8), Operation("alloc", 1, 8), Operation("check")]
    with Session(find_target(f"zmm:{library}")) as session:
        reply = session.perform(*pack_program(operations, Settings(), edition="zmm"))
    assert [row.status for row in unpack_rows(reply.rows)] == [DONE, DONE, PANIC]
    assert [(message.step, message.text) for message in reply.messages] == [(2, "a slot was freed twice")]
    assert reply.death is not None
    assert (reply.death.kind, reply.death.number, reply.death.step) == ("exit", 134, 2)


def test_storage_calls_that_make_no_sense_break_the_next_check(tmp_path: Path) -> None:
    """A heap that gives a huge block back twice, or with another size."""
    good = target_of("zmm:release")
    source = tmp_path / "twice.c"
    source.write_text(
        f"""
        #include <dlfcn.h>
        #include "zmm.h"
        static zmm_api bad;
        static const zmm_api *good;
        static void release(zmm_heap *heap, void *block)
        {{
            zmm_storage *storage = good->heap_storage(heap);
            good->heap_free(heap, block);
            storage->handlers.chunk_free(storage, block, 3 << 20);
        }}
        __attribute__((visibility("default"))) const zmm_api *zmm_get_api(void)
        {{
            const zmm_api *(*get)(void) = dlsym(dlopen("{good.library}", RTLD_NOW), "zmm_get_api");
            good = get();
            bad = *good;
            bad.heap_free = release;
            return &bad;
        }}
        """
    )
    library = tmp_path / "libtwice.so"
    compiler = shutil.which("cc") or "gcc"
    subprocess.run([compiler, "-w", "-shared", "-fPIC", f"-I{HEADERS}", "-o", library, source], check=True)
    operations = [Operation("alloc", 0, 3 * MIB), Operation("free", 0), Operation("check")]
    with Session(find_target(f"zmm:{library}")) as session:
        reply = session.perform(*pack_program(operations, Settings(), edition="zmm"))
    assert rows_of(reply)[3].status == BROKEN
    assert reply.messages[0].text.startswith("STORAGE-1")


# ---- bursts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", BurstProfile)
def test_a_burst_is_its_operations(session: Session, profile: BurstProfile) -> None:
    """Its digest is that of the rows of the same operations, one by one; the row is the last one's otherwise."""
    burst = Burst(5, 3000, profile, ALL_FLAGS)
    operations = unpack_steps(session.expand_burst(burst), BURST_TEXT)
    assert len(operations) == 3001
    assert operations[-1].word == "check"
    rows = session.perform(*pack_program(operations, Settings(), edition="php-8.2")).rows
    texts = TextArea()
    steps = pack_open(Settings(), texts, edition="php-8.2") + burst.pack() + CLOSE_STEP
    whole = rows_of(session.perform(steps, bytes(texts)))
    performed = rows[ROW.size : -ROW.size]
    last = unpack_rows(performed[-ROW.size :])[0]
    assert whole[1] == last._replace(value=crc32(performed))
    assert whole[1].status == DONE


def test_a_burst_depends_on_nothing_but_its_numbers() -> None:
    """Expanded on two targets, whole and in parts."""
    burst = Burst(2**63, 300_000, BurstProfile.SWARM, ALL_FLAGS | BurstFlag.REQUESTS, 3)
    with Session(target_of("libc")) as one, Session(target_of("zmm:fast")) as other:
        whole = one.expand_burst(burst)
        assert len(whole) == 300_001 * 32
        assert other.expand_burst(burst, 299_000) == whole[299_000 * 32 :]
        assert other.expand_burst(burst, 10, 5) == whole[10 * 32 : 15 * 32]
        assert one.expand_burst(Burst(1, 300)) != one.expand_burst(Burst(2, 300))


@pytest.mark.parametrize("profile", BurstProfile)
def test_bursts_use_every_word_that_they_may(profile: BurstProfile) -> None:
    """And none that they may not; the anchor stays."""
    with Session(target_of("libc")) as session:
        everything = unpack_steps(
            session.expand_burst(Burst(1, 100_000, profile, ALL_FLAGS | BurstFlag.REQUESTS)), BURST_TEXT
        )
        quiet = unpack_steps(session.expand_burst(Burst(1, 100_000, profile, BurstFlag(0))), BURST_TEXT)
    rare = {"gc", "limit", "request_end"}
    words = {operation.word for operation in everything}
    assert rare | {"alloc", "calloc", "safe_alloc", "realloc", "realloc2", "safe_realloc"} <= words
    assert {"strdup", "strndup", "free", "check", "reset_peak"} <= words
    assert not rare & {operation.word for operation in quiet}
    assert [operation.word for operation in quiet if operation.label == 0] == ["alloc"]


@pytest.mark.oracle
@pytest.mark.parametrize("storage", ["handlers", "kernel"])
@pytest.mark.parametrize("level", ["fast", "release"])
def test_zmm_answers_bursts_as_php_does(level: str, storage: str) -> None:
    """All profiles, refusals and failing calls included, with the places, counters and storage calls of every step."""
    flags = ALL_FLAGS | (BurstFlag.REQUESTS if storage == "kernel" else BurstFlag(0))
    with Session(target_of(f"zmm:{level}")) as zmm, Session(target_of("php:8.2.32")) as php:
        for profile in BurstProfile:
            settings = Settings(storage=storage, failing_calls=(3, 9, 27, 81), extend=profile % 2 == 0)
            texts = TextArea()
            steps = pack_open(settings, texts, edition="php-8.2")
            count = 1000 if profile == BurstProfile.CHURN else 10_000
            steps += b"".join(Burst(seed, count, profile, flags).pack() for seed in (1, 2)) + CLOSE_STEP
            assert rows_of(zmm.perform(steps, bytes(texts))) == rows_of(php.perform(steps, bytes(texts))), profile


# ---- malloc libraries ------------------------------------------------------------------------------------------------


def test_the_c_library_is_judged_by_what_it_has() -> None:
    """No limit, no gc, no counters; request_end frees; absurd sizes are refused by the system."""
    operations = [
        Operation("alloc", 0, 0),
        Operation("alloc", 1, 100),
        Operation("limit", -1, 4 * MIB),
        Operation("gc"),
        Operation("reset_peak"),
        Operation("alloc", 2, 2**50),
        Operation("safe_realloc", 1, 2**40, 2**40, 0),
        Operation("calloc", 3, 2**40, 2**40),
        Operation("strdup", 4, text=b"hello"),
        Operation("request_end"),
        Operation("alloc", 1, 10),
        Operation("check"),
    ]
    with Session(target_of("libc")) as session:
        rows = perform(session, operations)
    overflow = REFUSED_OVERFLOW
    statuses = [DONE, DONE, SKIPPED, SKIPPED, SKIPPED, REFUSED_SYSTEM, overflow, overflow, DONE, DONE, DONE, DONE]
    assert [row.status for row in rows] == statuses
    assert all(row.storage_calls == row.size == row.chunk_count == 0 for row in rows)
    assert rows[1].block_bytes >= 100
    assert rows[1].mapping == 0
