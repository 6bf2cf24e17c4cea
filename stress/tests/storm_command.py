"""One command of the storm: forked or started, in a directory and a session of its own, and what it leaves."""

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

GRACE_S = 3.0
Act = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended: minus a signal's number where that ended it, None where nothing did in its time."""

    arguments: tuple[str, ...]
    code: int | None
    stdout: str
    stderr: str
    left: tuple[str, ...]  # of processes, temporary files and shared segments


class Place:
    """A directory for one command, gone afterwards; `temporary` is where its temporary files go."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.temporary = path.parent / f"{path.name}.tmp"

    def __enter__(self) -> Self:
        for made in (self.path, self.temporary):
            made.mkdir()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for made in (self.path, self.temporary):
            shutil.rmtree(made, ignore_errors=True)


def run(
    place: Place,
    arguments: Sequence[str],
    act: Act = lambda pid: None,
    *,
    most_s: float = 60.0,
    limits: Mapping[int, int] | None = None,
    anew: bool = False,
) -> Ended:
    """`tdx-stress` with these arguments; `act` is called with its pid once it heeds signals. `anew`: an interpreter of
    its own. `limits` are resources as of `resource.setrlimit`.
    """
    shared = _segments()
    files = [place.temporary.with_name(f"{place.path.name}.{name}") for name in ("out", "err")]
    pid = (_started if anew else _forked)(place, arguments, files, limits or {})
    _wait_till_heeded(pid)
    act(pid)
    code = _waited(pid, most_s)
    left = [f"process {name}" for name in _end_session(pid)]
    left += [f"file {path.name}" for path in _temporary_files(place)]
    left += [f"segment {name}" for name in _segments() - shared]
    stdout, stderr = (path.read_text(errors="surrogateescape") for path in files)
    for path in files:
        path.unlink()
    return Ended(tuple(arguments), code, stdout, stderr, tuple(left))


def gone(place: Place, ended: Ended) -> None:
    """Raise where it left something."""
    if ended.left:
        raise RuntimeError(f"{place.path}: left {ended.left}")


def _environment(place: Place) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(place.temporary), "NO_COLOR": "1"}


def _become(place: Place, files: Sequence[Path], limits: Mapping[int, int]) -> None:
    """In a child, before anything else of the command."""
    os.setsid()
    for number, path in enumerate((Path(os.devnull), *files)):
        handle = os.open(path, os.O_RDWR | os.O_CREAT)
        os.dup2(handle, number)
        os.close(handle)
    os.chdir(place.path)
    for which, most in limits.items():
        resource.setrlimit(which, (most, most))


def _forked(place: Place, arguments: Sequence[str], files: Sequence[Path], limits: Mapping[int, int]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        _become(place, files, limits)
        import tempfile

        from stress.__main__ import main

        os.environ.update(_environment(place))
        tempfile.tempdir = None
        for name, number in (("stdin", 0), ("stdout", 1), ("stderr", 2)):
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))
        sys.argv = ["tdx-stress", *arguments]
        main()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 70
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _started(place: Place, arguments: Sequence[str], files: Sequence[Path], limits: Mapping[int, int]) -> int:
    process = subprocess.Popen(
        [sys.executable, "-m", "stress", *arguments],
        env={**_environment(place), "PYTHONPATH": str(Path(__file__).parents[2])},
        preexec_fn=lambda: _become(place, files, limits),
    )
    process.returncode = 0  # waited for here, by its pid
    return process.pid


def _wait_till_heeded(pid: int) -> None:
    """Until SIGTERM is caught: from our first line on; or it has ended."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            return
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        if int(fields.get("SigCgt", "0"), 16) >> (signal.SIGTERM - 1) & 1 or fields.get("State", "Z")[0] == "Z":
            return
        time.sleep(0.002)


def _waited(pid: int, most_s: float) -> int | None:
    until = time.monotonic() + most_s
    while time.monotonic() < until:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    with contextlib.suppress(OSError):
        os.kill(pid, signal.SIGCONT)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return None


def _end_session(session: int) -> list[str]:
    """Whoever of the command's session runs on after some grace; ended here."""
    until = time.monotonic() + GRACE_S
    while (alive := _of_session(session)) and time.monotonic() < until:
        time.sleep(0.02)
    named = [process.info["name"] for process in alive]
    for process in alive:
        with contextlib.suppress(psutil.Error):
            process.kill()
    while True:  # orphans are ours
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                return named
        except ChildProcessError:
            return named


def _of_session(session: int) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["name", "status"]):
        with contextlib.suppress(OSError, psutil.Error):
            if process.info["status"] != psutil.STATUS_ZOMBIE and os.getsid(process.pid) == session:
                found.append(process)
    return found


def _temporary_files(place: Place) -> list[Path]:
    return [*place.temporary.iterdir(), *(path for path in place.path.rglob("*.tmp"))]


def _segments() -> set[str]:
    try:
        return set(os.listdir("/dev/shm"))
    except OSError:
        return set()
