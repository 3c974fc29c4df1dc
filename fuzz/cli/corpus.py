"""`zmm corpus`: merge, prune and measure the inputs that campaigns begin with."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ..campaign.corpus import Corpus
from ..campaign.engines import Engine, EngineError, find_engine
from ..campaign.merge import Merged, measure, merge
from ..campaign.seeds import read_seeds, write_seeds
from ..errors import CLEAN, UserError, explain_os_error
from ..report.simple import write_simple
from . import options
from .output import check_outputs, check_writable, make_console, write_file

app = typer.Typer(
    name="corpus",
    help="Keep corpora small: merge, prune, stats.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

_Engine = Annotated[
    str,
    typer.Option(
        "--engine", metavar="NAME", help="what measures: libfuzzer, atheris", show_default="the harness' first"
    ),
]
_FuzzTarget = Annotated[
    str, typer.Option("--fuzz-target", "--target-name", metavar="NAME", help="the harness; see zmm fuzz --list")
]
_Budget = Annotated[str, typer.Option("--time-budget", metavar="TIME", help="at most: 60s, 2m, 1h")]


@app.command("merge")
def merge_command(
    into: Annotated[Path, typer.Argument(metavar="DIR", help="the corpus that grows")],
    sources: Annotated[list[Path], typer.Argument(metavar="FROM...", help="corpora, or seed files (.txt)")],
    engine: _Engine = "",
    fuzz_target: _FuzzTarget = "heap",
    time_budget: _Budget = "10m",
    json: options.Json = None,
    quiet: options.Quiet = False,
) -> None:
    """
    Add to a corpus what others cover and it does not; what becomes superfluous goes.

    For example:

        zmm corpus merge zmm-corpus/heap downloaded/

        zmm corpus merge zmm-corpus/heap other-machine/ --fuzz-target heap --json merged.json
    """
    check_outputs({"--json": json}, {"DIR": into})
    folders = [folder_of(path) for path in sources]
    _change(into, folders, _find(engine, fuzz_target), time_budget, json, quiet, "merge")


@app.command("prune")
def prune_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="the corpus")],
    engine: _Engine = "",
    fuzz_target: _FuzzTarget = "heap",
    time_budget: _Budget = "10m",
    save: Annotated[
        Path | None, typer.Option("--save", metavar="FILE", help="also write the inputs as a seed file (.txt)")
    ] = None,
    edges: Annotated[bool, typer.Option("--edges", help="keep what reaches edges, however often: few inputs")] = False,
    longest: Annotated[
        int | None, typer.Option("--longest", metavar="BYTES", help="drop longer inputs", show_default="any", min=1)
    ] = None,
    json: options.Json = None,
    quiet: options.Quiet = False,
) -> None:
    """
    Reduce a corpus to the fewest inputs that cover the same; it is replaced in one step.

    For example:

        zmm corpus prune zmm-corpus/heap

        zmm corpus prune copy-of-the-corpus --edges --longest 40 --save seeds.txt
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder; name a corpus")
    check_outputs({"--save": save, "--json": json})
    found = _find(engine, fuzz_target)
    _change(folder, [], found, time_budget, json, quiet, "prune", edges=edges, longest_bytes=longest or 0)
    if save is not None:
        about = f"Seeds of the harness {fuzz_target}: one tape a line, in base64; made by zmm corpus prune."
        write_file(save, write_seeds(Corpus(folder).inputs(), about))


@app.command("stats")
def stats_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="the corpus, or a seed file (.txt)")],
    engine: _Engine = "",
    fuzz_target: _FuzzTarget = "heap",
    json: options.Json = None,
    quiet: options.Quiet = False,
) -> None:
    """
    Show what a corpus is: inputs, bytes, operations by word, and the coverage that it reaches.

    Without an engine the coverage is left out, and the reason is said.

    For example:

        zmm corpus stats zmm-corpus/heap

        zmm corpus stats zmm-corpus/heap --json stats.json
    """
    check_writable(json)
    path = folder_of(folder)
    found: Engine | None = None
    reason = ""
    try:
        found = find_engine(engine, fuzz_target)
    except EngineError as error:
        if str(error).startswith(("unknown", "fuzz target")):
            raise
        reason = str(error)
    stats = measure(path, found, reason=reason, kind=found.kind if found is not None else "tape")
    console = make_console()
    if not quiet:
        total = sum(stats.operations.values())
        for word, count in stats.operations.items():
            console.print(f"  {word:<14}{count:>10,}  {100 * count / total:5.1f} %", markup=False)
    reached = f"coverage {stats.coverage:,}, features {stats.features:,}" if stats.features else "coverage not measured"
    damaged = f", {stats.damaged} torn (zmm corpus prune puts that right)" if stats.damaged else ""
    console.print(
        f"zmm corpus stats: {stats.files:,} inputs, {stats.bytes:,} bytes, the longest {stats.longest_bytes:,}, "
        f"{sum(stats.operations.values()):,} operations, {reached}{damaged}"
        + (f" ({stats.reason})" if stats.reason else ""),
        markup=False,
        soft_wrap=True,
    )
    if json is not None:
        write_file(json, write_simple("pass", corpus=str(folder), fuzz_target=fuzz_target, **asdict(stats)))
    raise typer.Exit(CLEAN)


def _find(engine: str, fuzz_target: str) -> Engine:
    if engine == "afl":
        raise UserError("engine afl does not measure a corpus; use libfuzzer or atheris")
    return find_engine(engine, fuzz_target)


def folder_of(path: Path) -> Path:
    """
    A corpus folder; a seed file is unpacked into a temporary one, which goes when the process ends.

    Raises:
        UserError: there is nothing of that name.
    """
    if path.is_dir():
        return path
    if path.suffix != ".txt" or not path.is_file():
        raise UserError(f"{path} is neither a corpus folder nor a seed file (.txt); check the path")
    import atexit
    import shutil
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="zmm-seeds-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    corpus = Corpus(folder)
    for data in read_seeds(path):
        corpus.add(data)
    return folder


def _change(
    into: Path,
    sources: list[Path],
    engine: Engine,
    time_budget: str,
    json: Path | None,
    quiet: bool,
    verb: str,
    *,
    edges: bool = False,
    longest_bytes: int = 0,
) -> None:
    """Merges, says what came of it, and writes the report."""
    seconds = options.parse_duration(time_budget)
    try:
        merged = merge(engine, into, sources, seconds=seconds, edges=edges, longest_bytes=longest_bytes)
    except OSError as error:
        raise UserError(f"{explain_os_error(error, f'{verb} {into}')}; the corpus is as it was") from None
    _say(merged, into, verb, quiet)
    if json is not None:
        write_file(json, write_simple("pass", corpus=str(into), fuzz_target=engine.target, **asdict(merged)))


def _say(merged: Merged, into: Path, verb: str, quiet: bool) -> None:
    damaged = f", {merged.damaged} torn inputs put right" if merged.damaged and not quiet else ""
    make_console().print(
        f"zmm corpus {verb}: {into}: {merged.files_before:,} inputs ({merged.bytes_before:,} bytes) became "
        f"{merged.files:,} ({merged.bytes:,} bytes){damaged}",
        markup=False,
        soft_wrap=True,
    )
