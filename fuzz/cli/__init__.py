"""The command line `zmm`: one line for every mistake, documented exit codes, no tracebacks."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import typer

from ..errors import INCONCLUSIVE, USAGE, UserError, explain_os_error, one_line
from ..program import ProgramError
from ..targets import TargetError
from ..tiers.base import Interrupted
from ..version import VERSION
from . import bench, corpus, doctor, faults, fuzz, mutate, prove, replay, shrink, targets, verify
from .interrupt import interruption_behind, signals
from .output import say_error

app = typer.Typer(
    name="zmm",
    help="A request-bound allocator and the suite that holds it to its specification.",
    epilog="Exit codes: 0 clean, 1 a counterexample or failed check, 2 wrong usage or environment, 3 inconclusive.",
    add_completion=True,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("verify")(verify.command)
app.command("replay")(replay.command)
app.command("shrink")(shrink.command)
app.command("targets")(targets.command)
app.command("doctor")(doctor.command)
app.command("bench")(bench.command)
app.command("faults")(faults.command)
app.command("fuzz")(fuzz.command)
app.command("mutate")(mutate.command)
app.add_typer(corpus.app)
app.command("prove")(prove.command)


@app.callback(invoke_without_command=True)
def _root(version: bool = typer.Option(False, "--version", help="print the version and exit")) -> None:
    if version:
        typer.echo(f"zmm {VERSION}")
        raise typer.Exit(0)


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code; every mistake has been said in one line on stderr."""
    code = _run(arguments)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _abandon_output()
    except OSError as error:
        say_error(explain_os_error(error, "write to standard output"))
        code = code or USAGE
        _abandon_output()
    return code


def _abandon_output() -> None:
    """Sends what is still buffered nowhere, so that the interpreter's own last flush has nothing to complain about."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _run(arguments: Sequence[str] | None) -> int:
    try:
        with signals():
            result = app(args=None if arguments is None else list(arguments), prog_name="zmm", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except (UserError, TargetError, ProgramError) as error:
        say_error(one_line(str(error)))
        return USAGE
    except typer.Exit as error:
        return int(error.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        say_error("interrupted by SIGINT")
        return INCONCLUSIVE
    except Interrupted as error:
        # Commands that have partial results report them and never come here.
        say_error(f"interrupted by {error.signal_name}")
        return INCONCLUSIVE
    except BrokenPipeError:
        # The reader of our output went away (`zmm ... | head`): nothing is wrong, and nobody listens.
        _abandon_output()
        return 0
    except OSError as error:
        place = f" {error.filename}" if error.filename else ""
        say_error(explain_os_error(error, f"use{place}" if place else "go on"))
        return USAGE
    except MemoryError:
        say_error("out of memory; close other programs or raise the limit (ulimit -v)")
        return USAGE
    except Exception as error:
        if (interrupted := interruption_behind(error)) is not None:
            say_error(f"interrupted by {interrupted.signal_name}")
            return INCONCLUSIVE
        # Errors of the command line itself: typer's classes, which have one-line messages.
        if not hasattr(error, "format_message"):
            raise
        message = one_line(error.format_message())
        if not message:  # no command given: the help has been printed
            return USAGE
        say_error(f"{message.rstrip('.')}; see zmm --help")
        return USAGE


def main() -> NoReturn:
    """The entry point for callers that want the process to end."""
    sys.exit(run())
