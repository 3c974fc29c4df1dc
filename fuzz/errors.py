"""What a user gets wrong, in one line: the thing and its remedy, with the exit code that goes with it."""

from __future__ import annotations

import errno
import os

CLEAN, COUNTEREXAMPLE, USAGE, INCONCLUSIVE = 0, 1, 2, 3


class UserError(Exception):
    """A mistake of the user or of the environment: shown as one line, exit code 2."""


def one_line(text: str) -> str:
    """Any text on one line, without a final full stop or stray spaces."""
    return " ".join(text.split())


def explain_os_error(error: OSError, doing: str) -> str:
    """
    One line for an error of the operating system.

    Args:
        error: what was raised.
        doing: what the program was about to do, such as "write report.json".
    """
    remedies = {
        errno.ENOSPC: "the disk is full; free some space or name a file elsewhere",
        errno.EDQUOT: "the disk quota is used up; free some space or name a file elsewhere",
        errno.EACCES: "permission denied; choose a place you may use",
        errno.EPERM: "not permitted; choose a place you may use",
        errno.ENOENT: "no such file or directory; check the path",
        errno.EEXIST: "something else of that name is there; choose another name",
        errno.EISDIR: "is a directory; name a file",
        errno.ENOTDIR: "a part of the path is not a directory; check the path",
        errno.EROFS: "the file system is read-only; choose another place",
        errno.EFBIG: "the file would be larger than allowed; name a file elsewhere or raise the limit",
        errno.EMFILE: "too many open files; raise the limit (ulimit -n)",
        errno.ENOMEM: "out of memory; close other programs or raise the limit (ulimit -v)",
        errno.EAGAIN: "no more processes; raise the limit (ulimit -u)",
    }
    said = remedies.get(error.errno or 0) or (os.strerror(error.errno) if error.errno else str(error))
    return one_line(f"cannot {doing}: {said}")
