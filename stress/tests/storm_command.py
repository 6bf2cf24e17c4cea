"""One command of the storm: forked or started, in a directory and a session of its own, and what it leaves."""

import contextlib
import os
import resource
import select
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

# Long, as other lanes and others' work have the CPUs too: what hangs does so for good.
MOST_S, GRACE_S, HEEDED_S = 300.0, 20.0, 120.0
Act = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended: minus a signal's number where that ended it, None where nothing did in its time."""

    arguments: tuple[str, ...]
    code: int | None
    stdout: str
    stderr: str
    left: tuple[str, ...]  # of processes and temporary files


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
    act: Act | None = None,
    *,
    most_s: float = MOST_S,
    limits: Mapping[int, int] | None = None,
    anew: bool = False,
) -> Ended:
    """`tdx-stress` with these arguments; `act` is called with its pid once it heeds signals. `anew`: an interpreter of
    its own. `limits` are resources as of `resource.setrlimit`.
    """
    files = [place.temporary.with_name(f"{place.path.name}.{name}") for name in ("out", "err")]
    pid = (_started if anew else _forked)(place, arguments, files, limits or {})
    if act is not None:
        _wait_till_heeded(pid)
        act(pid)
    code = _waited(pid, most_s)
    left = [f"process {name}" for name in _end_session(pid)]
    until = time.monotonic() + GRACE_S  # what was killed has its files removed by who waits for its end
    while (files_left := _temporary_files(place)) and time.monotonic() < until:
        time.sleep(0.05)
    left += [f"file {path.name}" for path in files_left]
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
    until = time.monotonic() + HEEDED_S
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
    end = os.pidfd_open(pid)
    try:
        if select.select([end], [], [], most_s)[0]:
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    finally:
        os.close(end)
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
    for pid in alive:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    while True:  # orphans are ours
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                return list(alive.values())
        except ChildProcessError:
            return list(alive.values())


def _of_session(session: int) -> dict[int, str]:
    """The processes of a session by pid, with their names, without those that have ended."""
    found = {}
    for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
        with contextlib.suppress(OSError):
            if os.getsid(pid) == session:
                name, _, rest = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(")")
                if rest.split()[0] not in "ZX":
                    found[pid] = name
    return found


def _temporary_files(place: Place) -> list[Path]:
    return [*place.temporary.iterdir(), *(path for path in place.path.rglob("*.tmp"))]
