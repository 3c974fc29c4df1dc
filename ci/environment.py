"""Makes .venv: the locked tools from pip, and zmm itself as an editable install.

Standard library only.  The work is done once for each lock file, build description, interpreter and compiler; a stamp
in .venv remembers which.  Sources need no new set-up: an editable install is rebuilt when it is imported.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LOCK = ROOT / "ci" / "requirements.lock"
STAMP = VENV / "zmm-setup.txt"
TYPES = ROOT / "build" / "types"
LOG = ROOT / "build" / "setup.log"


class SetupError(Exception):
    """What is missing and the remedy, in one line."""


def find_compiler() -> str:
    """Return the C compiler that the build will use."""
    asked = os.environ.get("CC")
    if asked:
        if shutil.which(shlex.split(asked)[0]) is None:
            raise SetupError(f"zmm needs a C compiler: CC={asked} is not there")
        return asked
    for name in ("cc", "gcc", "clang"):
        if shutil.which(name):
            return name
    raise SetupError("zmm needs a C compiler: install gcc or clang (Debian: apt-get install gcc libc6-dev)")


def check_headers() -> None:
    """Python's own header is needed to compile the extension."""
    include = Path(sysconfig.get_paths()["include"])
    if not (include / "Python.h").exists():
        raise SetupError(
            f"zmm needs Python's headers: {include}/Python.h is not there (Debian: apt-get install python3-dev)"
        )


def stamp_text(compiler: str) -> str:
    """Everything that makes a new set-up necessary."""
    digest = hashlib.sha256()
    for path in (LOCK, ROOT / "pyproject.toml", ROOT / "meson.options", Path(__file__)):
        digest.update(path.read_bytes())
    return f"{sys.version}\n{sys.base_prefix}\n{compiler}\n{ROOT}\n{digest.hexdigest()}\n"


def run(what: str, command: list[str], environment: dict[str, str]) -> None:
    """Run one step with its output in the log; its last lines are shown when it fails."""
    print(f"ci/setup: {what}", flush=True)
    with LOG.open("a") as log:
        log.write(f"\n$ {shlex.join(command)}\n")
        log.flush()
        done = subprocess.run(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT, check=False)
    if done.returncode != 0:
        tail = "\n".join(LOG.read_text(errors="replace").splitlines()[-25:])
        raise SetupError(f"{tail}\nzmm's set-up failed: {what}; the whole log is {LOG}")


def make_venv(environment: dict[str, str]) -> None:
    """Make the virtual environment, also where the interpreter cannot bring pip along."""
    if VENV.exists():
        shutil.rmtree(VENV)
    try:
        import ensurepip  # noqa: F401  (Debian leaves it out of python3)

        venv.create(VENV, with_pip=True, symlinks=True)
        return
    except (ImportError, subprocess.CalledProcessError):
        venv.create(VENV, with_pip=False, symlinks=True, clear=True)
    run(
        "bringing pip into .venv",
        [sys.executable, "-m", "pip", "--python", str(PYTHON), "install", "pip"],
        environment,
    )


def link_types() -> None:
    """Give mypy the three packages under the names they are imported by."""
    TYPES.mkdir(parents=True, exist_ok=True)
    for name, folder in (("zmm", "zmm"), ("zmm_model", "model"), ("zmm_fuzz", "fuzz")):
        link = TYPES / name
        if not link.is_symlink():
            link.symlink_to(ROOT / folder, target_is_directory=True)


def set_up() -> None:
    """Bring .venv to what the lock file says, or do nothing when it is there already."""
    compiler = find_compiler()
    check_headers()
    text = stamp_text(compiler)
    if STAMP.exists() and STAMP.read_text() == text:
        return
    environment = dict(os.environ, CC=compiler, VIRTUAL_ENV=str(VENV), PIP_DISABLE_PIP_VERSION_CHECK="1")
    environment["PATH"] = f"{VENV / 'bin'}{os.pathsep}{environment.get('PATH', '')}"
    environment.pop("PYTHONHOME", None)
    # Two processes that import at once must not run two builds in one folder.
    environment["NINJA"] = str(ROOT / "ci" / "ninja")
    LOG.unlink(missing_ok=True)
    STAMP.unlink(missing_ok=True)
    same_python = PYTHON.exists() and _version_of(PYTHON) == sys.version
    if not same_python:
        make_venv(environment)
    pip = [str(PYTHON), "-m", "pip", "install"]
    # The lock is complete; what it leaves out on purpose ([tool.uv] in pyproject.toml) pip would ask for in vain.
    run("installing the locked tools", [*pip, "--no-deps", "--require-hashes", "-r", str(LOCK)], environment)
    build = ROOT / "build" / f"cp{sys.version_info.major}{sys.version_info.minor}"
    remembered = build / "zmm-compiler.txt"
    if build.exists() and (not remembered.exists() or remembered.read_text() != compiler):
        shutil.rmtree(build, ignore_errors=True)  # meson keeps the compiler it found first
    build.mkdir(parents=True, exist_ok=True)
    remembered.write_text(compiler)
    run(
        "building and installing zmm",
        [*pip, "--no-build-isolation", "--no-deps", "--editable", str(ROOT)],
        environment,
    )
    link_types()
    STAMP.write_text(text)


def _version_of(python: Path) -> str:
    done = subprocess.run([python, "-c", "import sys; print(sys.version)"], capture_output=True, text=True, check=False)
    return done.stdout.rstrip("\n")


def main() -> int:
    """Set up, and say in one line what is missing; 2 then."""
    LOG.parent.mkdir(exist_ok=True)
    try:
        with (LOG.parent / "setup.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two at once would undo each other's work
            set_up()
    except (SetupError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
