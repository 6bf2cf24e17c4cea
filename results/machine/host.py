"""What this machine is, as far as a measurement depends on it: no host name, no user name, no path.

Small files of /proc and /sys are read without ever failing. `root` is where they hang: "/", or a tree of a test.
"""

import os
import platform
import re
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import psutil

ROOT = Path("/")
CPUS = "sys/devices/system/cpu"


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


class CpuTimes(NamedTuple):
    """Seconds since boot over all CPUs: taken by the hypervisor, and in all."""

    steal_s: float
    total_s: float


def cpu_times() -> CpuTimes | None:
    """Now, from /proc/stat; None where the system does not count steal."""
    try:
        times = psutil.cpu_times()
    except (OSError, RuntimeError):
        return None
    steal = getattr(times, "steal", None)
    # guest and guest_nice are part of user and nice already.
    parts = (value for name, value in times._asdict().items() if name not in ("guest", "guest_nice"))
    return None if steal is None else CpuTimes(steal, sum(parts))


def steal_share(before: CpuTimes | None, after: CpuTimes | None) -> float | None:
    """The share (0 to 1) of all CPUs' time between two moments that the hypervisor gave to others; None if unknown."""
    if before is None or after is None or after.total_s <= before.total_s:
        return None
    return round(max(after.steal_s - before.steal_s, 0.0) / (after.total_s - before.total_s), 6)


LISTEN_S = 0.1
CLOCKSOURCE = "sys/devices/system/clocksource/clocksource0"
X86 = ("x86_64", "i686")
# A clock that only a guest has, and whose guest that is.
BY_CLOCK = {"kvm": "KVM", "hyperv": "Hyper-V", "xen": "Xen"}


def host_facts(root: Path = ROOT) -> dict[str, Any]:
    """Facts of the machine for `host` in result.json; a fact that cannot be read is None.

    `busy` is the share of all CPUs' time that went to anything in the `LISTEN_S` seconds that this takes. The load
    average is kept beside it, but it remembers the run before this one.
    """
    first = _first_cpu(root)
    flags = set((first.get("flags") or first.get("Features") or "").split())
    allowed = sorted(os.sched_getaffinity(0))
    return {
        "cpu_model": _model(first),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "cpus_allowed": len(allowed),
        "cpu_quota": cpu_quota(root),
        "smt": None if (smt := line(root, f"{CPUS}/smt/active")) is None else smt == "1",
        "governor": governor(root, allowed),
        "memory_bytes": psutil.virtual_memory().total,
        "hypervisor": hypervisor(root, flags),
        "constant_tsc": "constant_tsc" in flags if platform.machine() in X86 else None,
        "clocksource": line(root, f"{CLOCKSOURCE}/current_clocksource"),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "numba": version("numba"),
        "numpy": version("numpy"),
        "load_1m": round(os.getloadavg()[0], 2),
        "busy": round(psutil.cpu_percent(interval=LISTEN_S) / 100, 2),
    }


def _first_cpu(root: Path) -> dict[str, str]:
    text = (line(root, "proc/cpuinfo") or "").split("\n\n", 1)[0]
    pairs = (entry.partition(":") for entry in text.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _model(first: dict[str, str]) -> str:
    """The CPU's name; on aarch64, where Linux tells none, its maker and part as numbers."""
    if "CPU part" in first:
        return f"Arm implementer {first.get('CPU implementer', 'unknown')}, part {first['CPU part']}"
    return first.get("model name") or platform.processor() or platform.machine()


def governor(root: Path, cpus: Sequence[int]) -> str | None:
    """The frequency governor of these CPUs, `performance, powersave` where they differ; None where none is told."""
    found = {line(root, f"{CPUS}/cpu{cpu}/cpufreq/scaling_governor") for cpu in cpus} - {None}
    return ", ".join(sorted(map(str, found))) or None


def hypervisor(root: Path, flags: set[str]) -> str | None:
    """The hypervisor's name where the system tells or lets it be seen, "unnamed" where only the CPU flag does.

    None on bare metal, and on machines of other kinds than x86 where nothing tells.
    """
    clocks = line(root, f"{CLOCKSOURCE}/available_clocksource") or ""
    by_clock = next((name for key, name in BY_CLOCK.items() if key in clocks), None)
    tree = line(root, "sys/firmware/devicetree/base/hypervisor/compatible")
    told = line(root, "sys/hypervisor/type") or (tree and re.split(r"[,\0]", tree)[-1])
    if "hypervisor" not in flags and not told and not by_clock:
        return None
    return told or line(root, "sys/class/dmi/id/sys_vendor") or by_clock or "unnamed"


def cpu_quota(root: Path) -> float | None:
    """CPUs that the control groups let this process use; None where there is no limit.

    The least of cpu.max (version 2), of its own group and of those above, and of cpu.cfs_quota_us (version 1).
    """
    found = []
    for folder in control_groups(root) or ["sys/fs/cgroup"]:
        quota, _, period = (line(root, f"{folder}/cpu.max") or "max").partition(" ")
        if quota.isdigit() and period.isdigit() and int(period):
            found.append(int(quota) / int(period))
    for folder in control_groups(root, "cpu"):
        micros, every = number(root, f"{folder}/cpu.cfs_quota_us"), number(root, f"{folder}/cpu.cfs_period_us")
        if micros and every and micros > 0:
            found.append(micros / every)
    return round(min(found), 3) if found else None


def memory_to_be_had(root: Path = ROOT) -> int:
    """Bytes that processes can still take without swapping: what the system has, or less where a control group is full
    before, and would kill for it; its cached pages of files can be given back.
    """
    room = [int(psutil.virtual_memory().available)]
    limits = [(folder, "memory.max", "memory.current", "inactive_file") for folder in control_groups(root)]
    old = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    limits += [(folder, *old) for folder in control_groups(root, "memory")]
    for folder, most, now, cached in limits:
        limit = number(root, f"{folder}/{most}")
        if limit is not None:
            told = re.search(rf"^{cached} (\d+)$", line(root, f"{folder}/memory.stat") or "", re.M)
            used = (number(root, f"{folder}/{now}") or 0) - (int(told[1]) if told else 0)
            room.append(max(limit - used, 0))
    return min(room)
