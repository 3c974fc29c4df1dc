"""`zmm targets`: what can be verified here, and what is missing."""

from __future__ import annotations

import typer

from ..errors import CLEAN, USAGE
from ..report.simple import write_simple
from ..targets import Target, found_targets
from . import options
from .output import check_writable, make_console, write_file


def command(json: options.Json = None, quiet: options.Quiet = False) -> None:
    """
    List the targets found here, and how to get those that are missing.

    For example:

        zmm targets

        zmm targets --json targets.json
    """
    check_writable(json)
    console = make_console()
    rows = []
    found_any = False
    for name, found in found_targets():
        if isinstance(found, Target):
            found_any = True
            judged = "exact model and abstract model" if found.is_exact else "abstract model"
            limits = ", refusals left out" if found.is_exact and not found.refuses_exactly else ""
            remark = f"{found.allocator} {found.version}, judged by the {judged}{limits}"
            rows.append(
                {"name": name, "status": "found", "version": found.version, "library": found.library, "remark": remark}
            )
        else:
            remark = str(found)
            rows.append({"name": name, "status": "missing", "version": "", "library": "", "remark": remark})
        if not quiet:
            console.print(f"{name:<12} {rows[-1]['status']:<8} {remark}", markup=False, soft_wrap=True)
    if not quiet:
        console.print("also: zmm:/path/libzmm.so, php:/path/libphp8.2.so, malloc:/path/library.so", markup=False)
    if json is not None:
        write_file(json, write_simple("pass" if found_any else "fail", targets=rows))
    raise typer.Exit(CLEAN if found_any else USAGE)
