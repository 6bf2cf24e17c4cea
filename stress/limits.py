"""What the system grants, asked before the race: processes and open files for every worker."""

import os
import resource
from pathlib import Path

from results.system_files import ROOT, control_groups
from stress.errors import CannotRunHere

# Two pipes a worker (multiprocess's sentinel and the parent's), and what a Python process has open anyway.
FILES_A_WORKER, FILES_BESIDE = 2, 64


def make_room(actors: int, *, threads: bool) -> None:
    """See to it that this many actors can start; raises this process's soft limit of open files where it must.

    Raises CannotRunHere with the limit that is in the way, and what to do.
    """
    _files(1 if threads else actors)
    for limit, room in _process_limits():
        if room < actors + 1:
            what = "threads" if threads else "processes"
            raise CannotRunHere(
                f"{actors} actors need {actors} {what}, and {limit} leaves room for {max(room, 0)}; "
                "raise it or take fewer --vcpus"
            )


def _files(workers: int) -> None:
    need = FILES_A_WORKER * workers + FILES_BESIDE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= need:
        return
    if hard != resource.RLIM_INFINITY and hard < need:
        raise CannotRunHere(
            f"{workers} workers need {need} open files, and the limit is {hard}; "
            "raise it (ulimit -Hn) or take fewer --vcpus"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (need, hard))


def least_room() -> tuple[str, int]:
    """The limit that is reached first as worker processes start, and how many more it lets start."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = UNKNOWN if hard == resource.RLIM_INFINITY else (hard - FILES_BESIDE) // FILES_A_WORKER
    return min([*_process_limits(), ("the limit of open files (ulimit -Hn)", files)], key=lambda named: named[1])


def _process_limits() -> list[tuple[str, int]]:
    """Each limit by name, with how many more processes it lets start."""
    found = [("kernel.threads-max", _number("/proc/sys/kernel/threads-max") - _system_threads())]
    found.append(("kernel.pid_max", _number("/proc/sys/kernel/pid_max") - _system_threads()))
    for folder in control_groups(ROOT):
        most = _number(f"/{folder}/pids.max")
        if most < UNKNOWN:
            found.append(("the control group's pids.max", most - _number(f"/{folder}/pids.current", missing=0)))
    soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    if soft != resource.RLIM_INFINITY and os.geteuid() != 0:  # root is not counted
        found.append(("the user's limit of processes (ulimit -u)", soft - _threads_of_user()))
    return found


UNKNOWN = 1 << 62


def _number(path: str, missing: int = UNKNOWN) -> int:
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):  # not there, or "max"
        return missing


def _system_threads() -> int:
    """Threads of the whole system, from the fourth field of /proc/loadavg."""
    try:
        return int(Path("/proc/loadavg").read_text().split()[3].partition("/")[2])
    except (OSError, ValueError, IndexError):
        return 0


def _threads_of_user() -> int:
    """Threads that count against this user's limit."""
    mine, count = os.getuid(), 0
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and entry.stat().st_uid == mine:
                count += len(list((entry / "task").iterdir()))
        except OSError:
            continue
    return count
