"""Machines that are not there, as trees of /proc and /sys, and the facts of one as `doctor` gathers them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

CPUS = "sys/devices/system/cpu"
CLOCK = "sys/devices/system/clocksource/clocksource0"


def hang_up(root: Path, files: Mapping[str, str]) -> Path:
    """These files, by their paths, below `root`; returns `root`."""
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


def two_sockets(root: Path) -> Path:
    """Two packages of two cores with two threads each: CPU n and n + 4 are siblings; CPUs 0, 1, 4, 5 are in package 0.

    CPU 8 is offline, 3 and 7 are isolated, and two governors are at work.
    """
    told = {"online": "0-7\n", "offline": "8\n", "isolated": "3,7\n", "smt/active": "1\n"}
    files = {f"{CPUS}/{name}": text for name, text in told.items()}
    for cpu in range(8):
        package, core = (cpu % 4) // 2, cpu % 4
        here = f"{CPUS}/cpu{cpu}"
        together = "0-1,4-5\n" if package == 0 else "2-3,6-7\n"
        files |= {
            f"{here}/topology/core_cpus_list": f"{core},{core + 4}\n",
            f"{here}/topology/package_cpus_list": together,
            f"{here}/cache/index0/level": "1\n",
            f"{here}/cache/index0/shared_cpu_list": f"{core},{core + 4}\n",
            f"{here}/cache/index3/level": "3\n",
            f"{here}/cache/index3/shared_cpu_list": together,
            f"{here}/node{package}/cpulist": together,
            f"{here}/cpufreq/scaling_governor": "performance\n" if package == 0 else "powersave\n",
        }
    return hang_up(root, files)


def facts(**changed: Any) -> dict[str, Any]:
    """Of a quiet machine with four CPUs that is good for everything, but for what is changed."""
    told: dict[str, Any] = {
        "cpu_model": "Some CPU", "machine": "x86_64", "cpus": 4, "cpus_allowed": 4, "cpus_used": "0-3", "offline": "",
        "topology": {
            "told": True, "cores": 4, "caches": 1, "packages": 1, "nodes": 1, "kinds": 1, "one_a_core": "0-3",
            "near": "0-3", "alike": "0-3",
        },
        "tdx": {"enabled": False, "version": None, "module": None}, "isolated": "", "isolated_allowed": "",
        "nohz_full": "", "cpu_quota": None, "smt": False, "governor": "performance", "hypervisor": None,
        "steal_share": 0.0, "busy": 0.01, "load_1m": 0.1, "own_share": 0.97, "clock": "TSC", "clocksource": "tsc",
        "ticks_per_us": 2596.146, "clock_error_ppm": 1.4, "timer_ns": 9.5, "timer_step_ns": 0.4,
        "empty_shootdown_ns": 50, "round_trip_ns": 86.1, "round_trip_range_ns": [81.2, 94.7],
        "round_trip_cpus": [0, 1],
        "round_trips": {"cpus": [0, 1], "pairs": 1, "median_ns": 86.1, "least_ns": 86.1, "most_ns": 86.1},
        "store_buffering": {
            "cpus": [0, 1], "trials": 51200, "missed": 2500, "trials_fenced": 51200, "missed_fenced": 0,
        },
        "kicks_ns": {"membarrier": 4640.0, "signal": 1510.0}, "kicks_missing": {}, "fork_ns": 2_000_000,
        "worker_bytes": 3 << 20, "memory_available_bytes": 8 << 30, "vcpus_fit": 512,
        "vcpus_fit_because": "the most that there can be", "vcpus_asked": None, "realtime": True,
        "cache": {"is_used": True, "files": 12, "bytes": 3 << 20, "damaged": 0, "troubles": []}, "trouble": "",
        "crashed": False,
    }  # fmt: skip
    return told | changed
