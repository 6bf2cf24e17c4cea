"""What this machine is, as far as a measurement depends on it: no host name, no user name, no path."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import psutil


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


def host_facts() -> dict[str, Any]:
    """Facts of the machine for `host` in result.json; a fact that cannot be read is None.

    `busy` is the share of all CPUs' time that went to anything in the `LISTEN_S` seconds that this takes. The load
    average is kept beside it, but it remembers the run before this one.
    """
    first = _first_cpu()
    flags = set((first.get("flags") or first.get("Features") or "").split())
    return {
        "cpu_model": first.get("model name") or platform.processor() or platform.machine(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "cpus_allowed": len(os.sched_getaffinity(0)),
        "cpu_quota": _cpu_quota(),
        "smt": _flag("/sys/devices/system/cpu/smt/active"),
        "governor": _line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "memory_bytes": psutil.virtual_memory().total,
        "hypervisor": _hypervisor(flags),
        "constant_tsc": "constant_tsc" in flags if platform.machine() in ("x86_64", "i686") else None,
        "clocksource": _line("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "numba": _version("numba"),
        "numpy": _version("numpy"),
        "load_1m": round(os.getloadavg()[0], 2),
        "busy": round(psutil.cpu_percent(interval=LISTEN_S) / 100, 2),
    }


def _first_cpu() -> dict[str, str]:
    try:
        text = Path("/proc/cpuinfo").read_text(errors="replace").split("\n\n", 1)[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _line(path: str) -> str | None:
    try:
        return Path(path).read_text(errors="replace").strip() or None
    except OSError:
        return None


def _flag(path: str) -> bool | None:
    text = _line(path)
    return None if text is None else text == "1"


def _hypervisor(flags: set[str]) -> str | None:
    """The hypervisor's name where the system tells, "unnamed" where only the CPU flag does, None on bare metal."""
    if "hypervisor" not in flags and _line("/sys/hypervisor/type") is None:
        return None
    return _line("/sys/hypervisor/type") or _line("/sys/class/dmi/id/sys_vendor") or "unnamed"


def _cpu_quota() -> float | None:
    """CPUs that the control group may use, from cpu.max of cgroup 2; None where there is no limit."""
    quota, _, period = (_line("/sys/fs/cgroup/cpu.max") or "max").partition(" ")
    return round(int(quota) / int(period), 3) if quota.isdigit() and period.isdigit() and int(period) else None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
