"""What bytes a block must hold, in Python and as the runner writes them."""

from __future__ import annotations

from zlib import crc32

import pytest
from zmm_model.contents import Contents, covered, kept_bytes, mix, pattern, step_seed

from tests.model.conftest import Replay


def test_the_pattern_is_splitmix64() -> None:
    """The first outputs of splitmix64 from state 0, low byte first."""
    assert mix(1) == 0xE220A8397B1DCDAF
    assert mix(2) == 0x6E789E6AA1B965F4
    assert pattern(1, 0, 16) == (0xE220A8397B1DCDAF).to_bytes(8, "little") + mix(2).to_bytes(8, "little")


@pytest.mark.parametrize(("start", "stop"), [(0, 0), (0, 1), (3, 5), (7, 9), (8, 16), (5, 100)])
def test_a_piece_of_a_pattern_is_a_piece_of_the_whole(start: int, stop: int) -> None:
    """Whatever its alignment."""
    assert pattern(77, 0, 200)[start:stop] == pattern(77, start, stop)


def test_a_seed_wraps_at_64_bits() -> None:
    """The words of a region are those of the seed plus 0, 1, ... modulo 2**64."""
    assert pattern(2**64 - 1, 8, 16) == pattern(0, 0, 8)


def test_large_blocks_are_covered_at_both_ends() -> None:
    """Up to two edges whole, beyond that an edge at either end."""
    assert covered(8192) == ((0, 8192),)
    assert covered(8193) == ((0, 4096), (4097, 8193))
    assert covered(129, 64) == ((0, 64), (65, 129))


def test_a_write_lies_on_top_of_the_base_pattern() -> None:
    """A new write takes the place of the old one; the base pattern shows again."""
    base = Contents(100, step_seed(3))
    once = base.with_write(10, 20, 7)
    twice = once.with_write(50, 10, 8)

    whole = pattern(3 << 20, 0, 100)
    assert ((0, whole),) == base.pieces()
    assert ((0, whole[:10]), (10, pattern(7, 0, 20)), (30, whole[30:])) == once.pieces()
    assert ((0, whole[:50]), (50, pattern(8, 0, 10)), (60, whole[60:])) == twice.pieces()
    assert base == once.with_write(0, 0, 9)


def test_memory_is_held_against_what_is_known() -> None:
    """Also between the ends, where only a write is known; and only as far as a resize keeps."""
    block = Contents(10_000, 5).with_write(5000, 100, 6)
    memory = bytearray(10_000)
    for offset, expected in block.pieces():
        memory[offset : offset + len(expected)] = expected
    assert block.holds(bytes(memory))
    memory[4500] ^= 1
    assert block.holds(bytes(memory))
    memory[5050] ^= 1
    assert not block.holds(bytes(memory))
    assert block.holds(bytes(memory), 5050)
    assert not block.holds(bytes(memory), 5051)


def test_the_digest_of_a_block_is_known_when_all_its_bytes_are() -> None:
    """A large block has unknown bytes in its middle, unless a write fills the gap."""
    assert crc32(pattern(9, 0, 5000)) == Contents(5000, 9).crc()
    assert Contents(0, 9).crc() == 0
    assert Contents(9000, 9).crc() is None
    assert Contents(9000, 9).with_write(4000, 1000, 1).crc() is not None


@pytest.mark.parametrize(
    ("old", "new", "copy", "kept"),
    [(10, 20, None, 10), (20, 10, None, 10), (20, 20, 5, 5), (20, 10, 99, 10), (0, 9, 9, 0)],
)
def test_a_resize_keeps_the_shorter_of_old_and_new_and_copy(old: int, new: int, copy: int | None, kept: int) -> None:
    """By requested sizes."""
    assert kept == kept_bytes(old, new, copy)


def test_the_runner_writes_the_same_bytes(replays: dict[str, Replay]) -> None:
    """Blocks made, resized and written to on the C library, read back as digests."""
    try:
        from zmm_fuzz.session import Session
        from zmm_fuzz.targets import TargetError, find_target
        from zmm_fuzz.wire import CLOSE_STEP, TextArea, pack_open, pack_steps, read_step, unpack_rows
    except ImportError:
        pytest.skip("zmm_fuzz is not installed")
    from zmm_model import Operation, Settings

    try:
        target = find_target("libc")
    except TargetError as error:
        pytest.skip(str(error))
    texts = TextArea()
    steps = pack_open(Settings(), texts, edition="zmm")
    expected: list[int | None] = []
    for label, size in enumerate((0, 1, 7, 8, 100, 4096, 8192)):
        made = [Operation("alloc", label, size)]
        block = Contents(size, step_seed(1 + 4 * label))
        if size >= 8:
            made += [Operation("write", label, 1, size // 2, 5), Operation("write", label, 3, size - 4, 2**64 - 1)]
            block = block.with_write(1, size // 2, 5).with_write(3, size - 4, 2**64 - 1)
        else:
            made += [Operation("gc")] * 2
        steps += pack_steps(made, texts) + read_step(label)
        expected.append(block.crc())
    steps += pack_steps([Operation("realloc", 4, 5000)], texts) + read_step(4)
    expected.append(Contents(5000, step_seed(29)).crc())
    with Session(target) as session:
        rows = unpack_rows(session.perform(steps + CLOSE_STEP, bytes(texts)).rows)
    assert expected == [row.value for row in rows[4:-3:4]] + [rows[-2].value]
    assert all(row.contents == 0 for row in rows)
