"""Small files of /proc and /sys, read without ever failing. `root` is where they hang: "/", or a tree of a test."""

from collections.abc import Iterable
from pathlib import Path

ROOT = Path("/")


def line(root: Path, path: str) -> str | None:
    """The file's text without the white space around it; None where it is not there, not readable or empty."""
    try:
        return (root / path).read_text(errors="replace").strip(" \t\n\0") or None
    except OSError:
        return None


def number(root: Path, path: str) -> int | None:
    """The file's whole number; None where it holds another thing, such as "max"."""
    text = line(root, path)
    try:
        return None if text is None else int(text)
    except ValueError:
        return None


def cpu_list(text: str | None) -> tuple[int, ...]:
    """The CPUs of a list as Linux writes it, `0-3,6`; none where there is no list, or nothing like one."""
    found: set[int] = set()
    for part in (text or "").split(","):
        first, _, last = part.strip().partition("-")
        if first.isdigit() and (last or first).isdigit():
            found.update(range(int(first), int(last or first) + 1))
    return tuple(sorted(found))


def shown_cpus(cpus: Iterable[int]) -> str:
    """CPUs as a user writes them: `0-3,6`."""
    runs: list[list[int]] = []
    for cpu in sorted(cpus):
        if runs and runs[-1][1] == cpu - 1:
            runs[-1][1] = cpu
        else:
            runs.append([cpu, cpu])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def control_groups(root: Path, controller: str = "") -> list[str]:
    """The folders, below `root`, of this process's control group and of its parents, the nearest first.

    Of version 2, or with a controller's name (`cpu`, `memory`) of version 1. Both for the group that /proc names and,
    as in a container that sees only its own, for the top.
    """
    for entry in (line(root, "proc/self/cgroup") or "").splitlines():
        _, names, path = (*entry.split(":", 2), "", "")[:3]
        if controller in names.split(",") if controller else not names:
            top = Path("sys/fs/cgroup") / controller
            own = top / path.strip("/")
            return [str(folder) for folder in (own, *own.parents) if folder.is_relative_to(top)]
    return []
