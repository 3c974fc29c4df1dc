"""Engines: each builds, plays, finds bugs that were planted, and keeps the input that shows them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from zmm_fuzz.harness import TARGETS
from zmm_fuzz.harness.build import ENGINES, WARNINGS, BuildError, build, build_mutator, find_compiler
from zmm_fuzz.program import Program
from zmm_fuzz.tape import decode, encode
from zmm_model.op import Operation

NATIVE = Path(__file__).resolve().parents[2] / "fuzz" / "native" / "harness"
FLAGS = ("-max_len=128", "-seed=1", "-rss_limit_mb=4096", "-print_final_stats=1")
# Found by rules that C can judge, in seconds. The rest is for the Python models, and for the nightly run.
NATIVE_FINDS = {
    "calloc_leaves_the_last_bytes": "ABS-12",
    "missed_peak": "ABS-14",
    "limit_refuses_equality": "ABS-5",
    "lost_chunk": "ABS-26",
}

SLOWER = {"missed_peak", "limit_refuses_equality"}


def fuzz(path: Path, *arguments: object, seconds: int = 120) -> subprocess.CompletedProcess[str]:
    """Run an executable of the harness as a person would."""
    command = [str(path), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=seconds, check=False)


def rule_of(said: str) -> str:
    """The rule that the harness names."""
    found = re.search(r"^zmm-fuzz: ([A-Z]+(?:-[A-Z0-9]+)?): ", said, re.MULTILINE)
    return found[1] if found else ""


def test_the_table_names_every_target() -> None:
    """A file in targets/ is a row of the table, under the same name; nobody else says that C is there."""
    files = {path.stem for path in (NATIVE / "targets").glob("*.c")}

    assert {name for name, target in TARGETS.items() if "libfuzzer" in target.engines} == files
    for name in files:
        assert f'.name = "{name}"' in (NATIVE / "targets" / f"{name}.c").read_text()
        assert (".php = true" in (NATIVE / "targets" / f"{name}.c").read_text()) == (TARGETS[name].edition == "php-8.2")


@pytest.mark.parametrize("target", [name for name, one in TARGETS.items() if "replay" in one.engines])
def test_every_target_plays_without_an_engine(target: str, folder: Path, tmp_path: Path) -> None:
    """Built with the system's compiler, warnings being errors; a folder of tapes is played whole."""
    path = build(target, folder=folder / "strict", engine="replay", flags=(*WARNINGS, "-Werror"))
    for number in range(20):
        (tmp_path / f"{number}.tape").write_bytes(bytes((8, 226, *range(number * 9 % 200, number * 9 % 200 + 40))))
    done = fuzz(path, tmp_path)

    assert (done.returncode, done.stderr) == (0, "zmm-fuzz: 20 files played, none breaks a rule\n")


def test_libfuzzer_plays_and_grows_a_corpus(folder: Path, tmp_path: Path, needs_engine: Callable[[str], None]) -> None:
    """Twenty thousand plays: no rule is broken, edges and features are found, the corpus is tapes."""
    needs_engine("libfuzzer")
    path = build("heap", folder=folder)
    done = fuzz(path, *FLAGS, "-runs=20000", tmp_path)
    corpus = list(tmp_path.iterdir())

    assert (done.returncode, rule_of(done.stderr)) == (0, "")
    assert len(corpus) > 200
    assert max(len(decode(file.read_bytes()).operations) for file in corpus) > 10

    # Features of an input do not depend on those before it: to a copy of itself a corpus adds nothing. (What is reached
    # first is played twice, and must count once.)
    copy = shutil.copytree(tmp_path, folder / f"copy-{os.getpid()}", dirs_exist_ok=True)
    try:
        assert "0 new files with 0 new features added" in fuzz(path, "-merge=1", copy, tmp_path).stderr
    finally:
        shutil.rmtree(copy)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.nightly] if name in SLOWER else []) for name in NATIVE_FINDS]
)
def test_libfuzzer_finds_planted_bugs(
    name: str,
    folder: Path,
    tmp_path: Path,
    planted_core: Callable[[str], Path],
    needs_engine: Callable[[str], None],
) -> None:
    """By the rule that says it, and the input that is kept shows it again."""
    needs_engine("libfuzzer")
    path = build("heap", folder=folder / name, core=planted_core(name))
    done = fuzz(path, *FLAGS, "-runs=2000000", f"-artifact_prefix={tmp_path}/")
    assert (done.returncode, rule_of(done.stderr)) == (77, NATIVE_FINDS[name])

    crash = next(tmp_path.glob("crash-*"))
    replay = build("heap", folder=folder / name, engine="replay", core=planted_core(name))
    assert rule_of(fuzz(replay, crash).stderr) == NATIVE_FINDS[name]
    assert fuzz(build("heap", folder=folder, engine="replay"), crash).returncode == 0


def is_seen_by_asan(done: subprocess.CompletedProcess[str]) -> None:
    """A play ends at the access to a byte that is no user's."""
    assert "AddressSanitizer: use-after-poison" in done.stderr, done.stderr[-3000:]
    assert done.returncode != 0


def test_sanitizers_watch_a_play(folder: Path, tmp_path: Path, needs_engine: Callable[[str], None]) -> None:
    """The twin with ASan and UBSan plays as well, and says nothing."""
    needs_engine("libfuzzer")
    path = build("heap", folder=folder, sanitize=True)
    done = fuzz(path, *FLAGS, "-runs=2000", tmp_path)

    assert (done.returncode, rule_of(done.stderr)) == (0, "")


def test_sanitizers_see_a_write_into_slack(
    folder: Path,
    tmp_path: Path,
    changed_core: Callable[[str, str, str, str], Path],
    needs_engine: Callable[[str], None],
) -> None:
    """A strdup that copies one byte too many, which no counter and no content shows: ASan knows whose byte it is."""
    needs_engine("libfuzzer")
    core = changed_core(
        "copies_too_much",
        "core/api.c",
        "memcpy(copy, text, length_bytes + 1);",
        "memcpy(copy, text, length_bytes + 2);",
    )
    tape = tmp_path / "tape"
    tape.write_bytes(b"\x00\x06\x02ab\x06\x03abc")

    is_seen_by_asan(fuzz(build("heap", folder=folder / "copies_too_much", sanitize=True, core=core), tape))

    alone = fuzz(build("heap", folder=folder / "copies_too_much", engine="replay", core=core), tape)
    assert alone.returncode == 0


def test_sanitizers_see_a_copy_that_is_too_long(
    folder: Path,
    tmp_path: Path,
    changed_core: Callable[[str, str, str, str], Path],
    needs_engine: Callable[[str], None],
) -> None:
    """Of a block of 200 KiB the sanitizer knows only both ends: a copy that goes eight bytes beyond them is seen."""
    needs_engine("libfuzzer")
    core = changed_core(
        "moves_too_much",
        "core/resize.c",
        "memcpy(moved, block, resize_min(resize_min(old_bytes, size_bytes), copy_bytes));",
        "memcpy(moved, block, resize_min(old_bytes, size_bytes) + 8);",
    )
    tape = tmp_path / "tape"
    # Behind the 200 KiB lies a free page, which is not enough to grow into.
    operations = [Operation("alloc", label, size) for label, size in enumerate((204800, 4096, 4096))]
    operations += [Operation("free", 1), Operation("realloc", 0, 409600)]
    program = Program(operations=tuple(operations))
    tape.write_bytes(encode(program))

    is_seen_by_asan(fuzz(build("heap", folder=folder / "moves_too_much", sanitize=True, core=core), tape))
    assert fuzz(build("heap", folder=folder, sanitize=True), tape).returncode == 0


def test_a_bug_that_only_the_heap_itself_sees_is_found(
    folder: Path,
    tmp_path: Path,
    changed_core: Callable[[str, str, str, str], Path],
    needs_engine: Callable[[str], None],
) -> None:
    """No row shows it, and the heap's own check follows one play in 256, but every one that reaches something new."""
    needs_engine("libfuzzer")
    core = changed_core(
        "tail_too_low",
        "core/run.c",
        "chunk->free_tail = page_index;\n    }\n}\n\nZMM_INTERNAL bool run_extend",
        "chunk->free_tail = page_index - (page_index > 2);\n    }\n}\n\nZMM_INTERNAL bool run_extend",
    )
    path = build("heap", folder=folder / "tail_too_low", core=core)
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_bytes(encode(Program(operations=(Operation("alloc", 0, 8),))))
    second.write_bytes(
        encode(Program(operations=(*(Operation("alloc", label, 4096) for label in range(3)), Operation("free", 2))))
    )

    # The first play of a process is always looked at closely; the second one is for what it reaches.
    done = fuzz(path, *FLAGS, first, second)
    assert (done.returncode, rule_of(done.stderr)) == (77, "INVARIANT"), done.stderr
    assert "RUN-3" in done.stderr
    assert f"Executed {first} in" in done.stderr
    assert fuzz(path, *FLAGS, first, *[first] * 20).returncode == 0


def test_python_drives_and_the_models_judge(
    folder: Path,
    tmp_path: Path,
    planted_core: Callable[[str], Path],
    needs_engine: Callable[[str], None],
) -> None:
    """A bug that only the exact model sees: the harness' own rules are all kept."""
    needs_engine("atheris")
    path = build("heap", folder=folder / "free_list_order", engine="atheris", core=planted_core("free_list_order"))
    done = fuzz(path, *FLAGS, "-runs=100000", f"-artifact_prefix={tmp_path}/")

    assert done.returncode == 77, done.stderr[-2000:]
    assert rule_of(done.stderr) == "EXACT-PLACE"
    assert list(tmp_path.glob("crash-*"))


# Plays the same tape again and again, and says after which plays the models were asked.
ASKED = """
import ctypes, sys
ctypes.CDLL(sys.argv[1], mode=ctypes.RTLD_GLOBAL)
library = ctypes.PyDLL(sys.argv[2])
library.zmm_harness_prepare()
make = library.zmm_harness_callback
make.argtypes, make.restype = (ctypes.py_object, ctypes.c_uint64), ctypes.py_object
asked = []
take = make(asked.append, 4)
answers = []
bodies = [b"\\0\\0\\x28"] * 9 + [b"\\x40\\0\\x28", b"\\0\\0\\x28\\x10\\x60\\x08"]
for number, body in enumerate(bodies, 1):
    before = len(asked)
    answers.append(take(body))
    if len(asked) > before:
        print(number, asked[-1] == body, end=" ")
print(answers)
def fail(body):
    raise ArithmeticError
try:
    make(fail, 1)(b"")
except ArithmeticError:
    print("raised")
"""
NO_RUNTIME = """
void __sanitizer_cov_8bit_counters_init(char *start, char *stop) { (void)start, (void)stop; }
void __sanitizer_cov_pcs_init(const char *start, const char *stop) { (void)start, (void)stop; }
"""


def test_the_models_are_asked_of_what_is_new_and_of_samples(
    folder: Path, tmp_path: Path, needs_engine: Callable[[str], None]
) -> None:
    """The first play, each fourth one, and one that does something else; never of a tape that is not wanted."""
    needs_engine("atheris")
    build("heap", folder=folder, engine="atheris")
    source, stub = tmp_path / "stub.c", tmp_path / "stub.so"
    source.write_text(NO_RUNTIME)
    subprocess.run([find_compiler(ENGINES["atheris"]), "-shared", "-fPIC", "-o", str(stub), str(source)], check=True)
    command = [sys.executable, "-c", ASKED, str(stub), str(folder / "libzmm-fuzz-heap-atheris.so")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    assert done.returncode == 0, done.stderr
    # Counters are no runtime's here and never cleared, so that what was reached once is never new again.
    said, rest = done.stdout.splitlines()
    assert said == "1 True 4 True 8 True 11 True " + str([0] * 9 + [-1, 0])
    assert rest == "raised"


def test_sanitizers_watch_what_python_drives(
    folder: Path,
    tmp_path: Path,
    changed_core: Callable[[str, str, str, str], Path],
    needs_engine: Callable[[str], None],
) -> None:
    """Under Atheris, too: a byte too many is ASan's, a shift too far is UBSan's, and the right core is nobody's."""
    needs_engine("atheris")
    passage = "memcpy(copy, text, length_bytes + 1);"
    tape = tmp_path / "tape"
    tape.write_bytes(b"\x00\x06\x02ab\x06\x03abc")
    for name, change, said in (
        ("copies_too_much", "memcpy(copy, text, length_bytes + 2);", "AddressSanitizer: use-after-poison"),
        (
            "shifts_too_far",
            f"{passage} ground_id_next += (uint32_t)((length_bytes << (length_bytes + 62)) >> 63 >> 1);",
            "runtime error: shift exponent",
        ),
    ):
        core = changed_core(name, "core/api.c", passage, change)
        done = fuzz(build("heap", folder=folder / name, engine="atheris", sanitize=True, core=core), tape)
        assert said in done.stderr, done.stderr[-3000:]
        # Its callers are named without frame pointers, too (UBSan tells of them on demand only).
        assert "zmm_heap_strdup" in done.stderr or name != "copies_too_much"
        assert done.returncode != 0

        # The twin sees what is AddressSanitizer's, and nothing else.
        twin = build("heap", folder=folder / name, engine="atheris", sanitize=True, undefined=False, core=core)
        done = fuzz(twin, tape)
        assert (said in done.stderr) == (done.returncode != 0) == ("AddressSanitizer" in said), done.stderr[-3000:]

    for undefined in (True, False):
        path = build("heap", folder=folder, engine="atheris", sanitize=True, undefined=undefined)
        done = fuzz(path, *FLAGS, "-runs=2000", tape)
        assert (done.returncode, rule_of(done.stderr)) == (0, ""), done.stderr[-3000:]


def test_python_starts_itself_again(folder: Path, tmp_path: Path, needs_engine: Callable[[str], None]) -> None:
    """-merge and -fork start the script anew, which may silently do nothing: here corpora grow."""
    needs_engine("atheris")
    path = build("heap", folder=folder, engine="atheris")
    seeds, merged, forked = (tmp_path / name for name in ("seeds", "merged", "forked"))
    for one in (seeds, merged, forked):
        one.mkdir()
    for number in range(30):
        (seeds / str(number)).write_bytes(bytes((0, 0, 8 * number, 0x10, 128 + number, 8)))
    done = fuzz(path, "-merge=1", merged, seeds)
    assert done.returncode == 0, done.stderr[-2000:]
    assert 1 < len(list(merged.iterdir())) <= 30

    done = fuzz(path, "-fork=1", "-max_total_time=4", "-max_len=64", f"-artifact_prefix={tmp_path}/", forked, merged)
    assert len(list(forked.iterdir())) > 30, done.stderr[-2000:]
    assert not list(tmp_path.glob("crash-*"))


def test_afl_plays(folder: Path, tmp_path: Path, needs_engine: Callable[[str], None]) -> None:
    """AFL++ in persistent mode, with our mutator: it finds paths, and no crash."""
    needs_engine("afl")
    path = build("heap", folder=folder, engine="afl")
    seeds = tmp_path / "seeds"
    seeds.mkdir()
    (seeds / "one").write_bytes(b"\x00\x00\x28\x10\x60\x08")
    environment = dict(
        os.environ,
        AFL_CUSTOM_MUTATOR_LIBRARY=str(build_mutator(folder)),
        AFL_SKIP_CPUFREQ="1",
        AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES="1",
        AFL_NO_AFFINITY="1",
        AFL_NO_UI="1",
    )
    command = ["afl-fuzz", "-V", "3", "-i", str(seeds), "-o", str(tmp_path / "out"), "--", str(path)]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, errors="replace", timeout=120, check=False
    )
    statistics = (tmp_path / "out" / "default" / "fuzzer_stats").read_text()

    assert int(re.search(r"corpus_count\s*: (\d+)", statistics)[1]) > 20, done.stdout[-2000:]  # type: ignore[index]
    assert re.search(r"saved_crashes\s*: 0\b", statistics)


@pytest.mark.parametrize("arguments", [{"target": "nonsense"}, {"target": "text", "engine": "libfuzzer"}])
def test_what_cannot_be_built_is_said_in_one_line(arguments: dict[str, str], tmp_path: Path) -> None:
    """An unknown target, and an engine that a target has not got: the line lists what there is."""
    with pytest.raises(BuildError, match=r"there are: .*heap") as caught:
        build(arguments["target"], folder=tmp_path, engine=arguments.get("engine", "libfuzzer"))

    assert "\n" not in str(caught.value)


def test_a_missing_compiler_is_said_with_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What to install, not a traceback."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(BuildError, match="apt-get install clang-19"):
        build("heap", folder=tmp_path)
