"""Corpora as folders: inputs named by their contents, whole or not there; crashes kept beside them."""

from __future__ import annotations

from pathlib import Path

import pytest
from zmm_fuzz.campaign.corpus import Corpus, input_name, replace_folder, write_whole
from zmm_fuzz.campaign.inbox import Inbox
from zmm_fuzz.campaign.life import Crash
from zmm_fuzz.campaign.seeds import read_seeds, write_seeds
from zmm_fuzz.campaign.status import Violation
from zmm_fuzz.errors import UserError


def test_an_input_is_added_once(tmp_path: Path) -> None:
    """Its name is the SHA-1 of its bytes, as libFuzzer's."""
    corpus = Corpus(tmp_path / "corpus").make()

    assert corpus.add(b"abc")
    assert not corpus.add(b"abc")
    assert [path.name for path in corpus.files()] == ["a9993e364706816aba3e25717850c26c9cd0d89d"]


def test_torn_inputs_are_put_right(tmp_path: Path) -> None:
    """What a killed engine left half written gets its own name; what is empty, or a copy, goes."""
    corpus = Corpus(tmp_path).make()
    corpus.add(b"whole")
    (tmp_path / input_name(b"a long one")).write_bytes(b"a lo")
    (tmp_path / input_name(b"nothing left")).write_bytes(b"")
    (tmp_path / input_name(b"whole too")).write_bytes(b"whole")
    (tmp_path / ".123.part").write_bytes(b"half")

    assert corpus.repair() == 3
    assert sorted(corpus.inputs()) == [b"a lo", b"whole"]
    assert all(path.name == input_name(path.read_bytes()) for path in tmp_path.iterdir())
    assert corpus.repair() == 0


def test_files_of_other_names_join_the_corpus(tmp_path: Path) -> None:
    """People copy inputs in by hand; that is no damage."""
    (tmp_path / "mine").write_bytes(b"hand-made")

    assert Corpus(tmp_path).repair() == 0
    assert [path.name for path in Corpus(tmp_path).files()] == [input_name(b"hand-made")]


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the last step fails nothing is left, not even a part."""

    def fail(_self: Path, _target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OSError, match="No space left"):
        write_whole(tmp_path / "file", b"data")

    assert list(tmp_path.iterdir()) == []


def test_a_folder_takes_the_place_of_another(tmp_path: Path) -> None:
    """In one step; nothing of the old one is left."""
    old, new = tmp_path / "old", tmp_path / "new"
    for folder, name in ((old, "x"), (new, "y")):
        folder.mkdir()
        (folder / name).write_bytes(b"")
    replace_folder(new, old)

    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert [path.name for path in old.iterdir()] == ["y"]


def crash(data: bytes, rule: str = "ABS-3") -> Crash:
    return Crash(data, Violation(rule, "a sentence", 2, "free"), ("line",))


def test_crashes_survive_the_campaign_that_saw_them(tmp_path: Path) -> None:
    """A killed campaign leaves them to the next, with everything that was said about them."""
    Inbox(tmp_path / "crashes").add(crash(b"one"))
    later = Inbox(tmp_path / "crashes")

    assert later.load() == 1
    assert later.crashes() == [crash(b"one")]


def test_a_crash_without_its_note_is_not_lost(tmp_path: Path) -> None:
    """The note may be torn, the input counts."""
    Inbox(tmp_path).add(crash(b"one"))
    (tmp_path / f"{input_name(b'one')}.json").write_bytes(b'{"rule": "AB')
    later = Inbox(tmp_path)
    later.load()

    assert [(one.data, one.violation.rule) for one in later.crashes()] == [(b"one", "DEATH")]


def test_of_each_rule_the_shortest_crashes_are_kept(tmp_path: Path) -> None:
    """Thousands of crashes of one rule are a few; a rare rule is not crowded out."""
    inbox = Inbox(tmp_path)
    for length in range(40, 0, -1):
        inbox.add(crash(b"x" * length))
    inbox.add(crash(b"y" * 100, "ABS-9"))

    assert [len(one.data) for one in inbox.crashes()] == [1, 2, 3, 4, 5, 6, 7, 8, 100]
    assert inbox.rules() == ["ABS-3", "ABS-9"]
    assert len(list(tmp_path.iterdir())) == 18


def test_a_crash_that_cannot_be_saved_is_kept_in_memory(tmp_path: Path) -> None:
    """A full disk, or a file where the folder should be."""
    (tmp_path / "crashes").write_bytes(b"")
    inbox = Inbox(tmp_path / "crashes")
    inbox.add(crash(b"one"))

    assert inbox.unsaved == 1
    assert inbox.crashes() == [crash(b"one")]


def test_seed_files_hold_inputs_as_text(tmp_path: Path) -> None:
    """Whatever bytes, each once, shortest first."""
    path = tmp_path / "seeds.txt"
    path.write_bytes(write_seeds([b"\xff" * 300, b"\0", b"\0"], "About these."))

    assert read_seeds(path) == [b"\0", b"\xff" * 300]
    assert path.read_text().startswith("# About these.\nAA==\n")


def test_a_broken_seed_file_is_one_line(tmp_path: Path) -> None:
    """It names the line."""
    path = tmp_path / "seeds.txt"
    path.write_text("# x\nAA==\nnot base64!\n")
    with pytest.raises(UserError, match="line 3: not base64"):
        read_seeds(path)
