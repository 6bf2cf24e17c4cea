"""What the system grants, asked before the race: address space, processes and open files; and, where something was not
to be had in spite of that, the line that names the limit.
"""

import errno
import os
import resource
from collections.abc import Sequence
from pathlib import Path

from kernels.files import in_units
from results.machine.host import ROOT, control_groups, number
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


# MiB that a verb takes with its libraries loaded and kernels compiled, measured: LLVM ends the process without them.
RACING, READING = 700, 420
ADDRESS_SPACE = {
    **dict.fromkeys(("run", "bench", "explore", "orders", "faults", "merge", "selftest", "doctor", "replay"), RACING),
    **dict.fromkeys(("report", "compare", "list"), READING),
    "history": 1100,
}


def check_address_space(arguments: Sequence[str]) -> None:
    """Before anything large is imported. Raises CannotRunHere where the verb has too little address space."""
    verb = next((word for word in arguments if word in ADDRESS_SPACE), None)
    soft, need = address_space(), ADDRESS_SPACE.get(verb or "", 0) << 20
    if soft is not None and soft < need:
        raise CannotRunHere(
            f"{verb} needs {in_units(need)} of address space, and the limit is {in_units(soft)}; raise it (ulimit -v)"
        )


def address_space() -> int | None:
    """The bytes of address space that this process may take in all; None where there is no limit."""
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if soft == resource.RLIM_INFINITY else soft


def address_space_left() -> int | None:
    """The same without what it has taken already."""
    granted = address_space()
    if granted is None:
        return None
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return max(granted - pages * resource.getpagesize(), 0)


def limit_met(error: BaseException) -> str | None:
    """A line that names the limit, of an error that says that something is not to be had; None of any other."""
    number = error.errno if isinstance(error, OSError) else None
    said = str(error)
    granted = address_space()
    # C that had no memory for its error, either, returns without one.
    starved = isinstance(error, MemoryError) or (isinstance(error, SystemError) and granted is not None)
    if starved or number == errno.ENOMEM or "annot allocate memory" in said:
        limit = "" if granted is None else f", under a limit of {in_units(granted)} of address space (ulimit -v)"
        what = f": {said}" if isinstance(error, MemoryError) and said else ""
        return f"no more memory is to be had{limit}{what}; raise the limit, or try a smaller machine or --memory"
    if number == errno.EAGAIN or "can't start new thread" in said:
        limit, room = least_room()
        return f"no more processes or threads are to be had: {limit} leaves room for {max(room, 0)}; raise it"
    if number in (errno.EMFILE, errno.ENFILE):
        return (
            f"no more open files are to be had: the limit is {resource.getrlimit(resource.RLIMIT_NOFILE)[0]}; raise it"
        )
    if isinstance(error, ImportError | OSError) and "shared object" in said:
        return "a library cannot be loaded: no more memory is to be had; raise the limit of address space (ulimit -v)"
    return None


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


def threads_to_start(wanted: int) -> int:
    """So many threads in all, or as many as the system lets this process have."""
    return max(1, min(wanted, 1 + min(room for _, room in _process_limits())))


def least_room() -> tuple[str, int]:
    """The limit that is reached first as worker processes start, and how many more it lets start."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = UNKNOWN if hard == resource.RLIM_INFINITY else (hard - FILES_BESIDE) // FILES_A_WORKER
    return min([*_process_limits(), ("the limit of open files (ulimit -Hn)", files)], key=lambda named: named[1])


def _process_limits() -> list[tuple[str, int]]:
    """Each limit by name, with how many more processes it lets start."""
    named = (("kernel.threads-max", "threads-max"), ("kernel.pid_max", "pid_max"))
    found = [(name, (number(ROOT, f"proc/sys/kernel/{file}") or UNKNOWN) - _system_threads()) for name, file in named]
    for folder in control_groups(ROOT):
        if (most := number(ROOT, f"{folder}/pids.max")) is not None:
            found.append(("the control group's pids.max", most - (number(ROOT, f"{folder}/pids.current") or 0)))
    soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    if soft != resource.RLIM_INFINITY and os.geteuid() != 0:  # root is not counted
        found.append(("the user's limit of processes (ulimit -u)", soft - _threads_of_user()))
    return found


UNKNOWN = 1 << 62


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
