"""The figures of one race that a bench compares: what each is, in which unit, and which way is better."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from results.verdict import whole


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure. `unit` is ns, /s, share (0 to 1) or /shootdown; `more` and `less` say on which side of 1 a ratio is.

    `also` are short names for the command line; `over_time` is what it is called where runs are drawn over time, "" for
    one that is not.
    """

    id: str
    words: str
    unit: str
    more: str
    less: str
    over_time: str = ""
    also: tuple[str, ...] = ()


SLOWER, MORE, LONGER = ("slower", "faster"), ("more", "fewer"), ("longer", "shorter")
FIGURES = (
    Figure("p50_ns", "shootdown, p50", "ns", *SLOWER, "time of a shootdown, p50", ("p50",)),
    Figure("p90_ns", "shootdown, p90", "ns", *SLOWER, "time of a shootdown, p90", ("p90",)),
    Figure("p99_ns", "shootdown, p99", "ns", *SLOWER, "time of a shootdown, p99", ("p99",)),
    Figure("max_ns", "shootdown, max", "ns", *SLOWER, "longest shootdown", ("max",)),
    Figure("shootdowns_per_s", "shootdowns/s", "/s", *MORE, "shootdowns/s", ("shootdowns/s", "shootdowns")),
    Figure("reads_per_s", "guest reads/s", "/s", *MORE, "guest reads/s", ("reads/s", "reads")),
    Figure("out_of_guest_p50_ns", "vCPU out of guest, p50", "ns", *LONGER, "vCPU out of guest, p50", ("out_of_guest",)),
    Figure("out_of_guest_share", "vCPU time out of guest", "share", *MORE),
    Figure("track_retries", "TRACK BUSY retries", "/shootdown", *MORE, "TRACK retries a shootdown", ("retries",)),
    Figure(
        "stale_window_p50_ns", "legal stale window, p50", "ns", *LONGER, "legal stale window, p50", ("stale_window",)
    ),
)
# Of a bench that has the machine's own shootdowns beside the model's.
REAL_FIGURES = (
    Figure("alone_p50_ns", "shootdown with nobody, p50", "ns", *SLOWER, also=("alone",)),
    Figure("ipis", "IPIs a shootdown", "/shootdown", *MORE),
)
IPIS = ("CAL", "RES")  # function calls, with the TLB shootdowns among them, and the wake-ups that carry signals
BY_ID = {figure.id: figure for figure in (*FIGURES, *REAL_FIGURES)}


def figures_of(run: Mapping[str, Any]) -> dict[str, int | float | None]:
    """The figures of one entry of `runs`, as `results.collect.race.run_record` makes it; None where n is too small."""
    latency, met, outside = run["latency_ns"], whole(run), run["vcpu_ns"].get("out_of_guest", {})
    measured = run["seconds"] > 0 and run.get("shootdowns", run["all_shootdowns"]) > 0
    alone, sent = latency.get("shootdown_empty") or latency.get("held_by_0") or {}, run.get("interrupts", {})
    of_real = {
        "alone_p50_ns": alone.get("p50"),
        "ipis": sum(sent.get(name, 0) for name in IPIS) / run["all_shootdowns"] if measured and sent else None,
    }
    return {
        "p50_ns": met["p50"],
        "p90_ns": met["p90"],
        "p99_ns": met["p99"],
        "max_ns": met["max"],
        "shootdowns_per_s": run["shootdowns_per_s"] if measured else None,
        "reads_per_s": run["reads_per_s"] if measured else None,
        "out_of_guest_p50_ns": outside.get("p50"),
        "out_of_guest_share": run.get("out_of_guest_share") if measured else None,
        "track_retries": run["track_retries"]["mean"] if measured and "track_retries" in run else None,
        "stale_window_p50_ns": latency.get("stale_window", {}).get("p50"),
        **(of_real if "interrupts" in run else {}),
    }


def latencies_of(run: Mapping[str, Any]) -> Iterator[float | None]:
    """The percentiles of all that one entry of `runs` holds, in ns; None where n is too small."""
    for phases in (run["latency_ns"], run.get("vcpu_ns", {})):
        for phase in phases.values():
            yield from (phase.get(name) for name in ("p50", "p90", "p99"))


Run = Mapping[str, Any]
# What a phase is called, its colour and its hatch.
PHASES = {
    "lock": ("wait for mmu_lock", "#D9D9D9", ""), "block": ("BLOCK", "#22325F", ""),
    "kick_send": ("kick: send", "#F2C76E", ""), "kick_ack": ("kick: last ack", "#E39A2D", "///"),
    "track": ("TRACK", "#6FB7C9", "\\\\"), "remove": ("REMOVE", "#7A5B8E", ""),
}  # fmt: skip
# A step of an ordering and the phases that it is measured in; the lock comes before all of them.
STEP_PHASES = {
    "block": ("block",), "kick": ("kick_send", "kick_ack"), "request": ("kick_send",), "send": ("kick_send",),
    "wait": ("kick_ack",), "track": ("track",), "remove": ("remove",),
}  # fmt: skip


def phase_shares(run: Run) -> dict[str, float]:
    """The share (0 to 1) of each phase that has a median, in the order in which this ordering takes them; they add up
    to 1. None where no phase was measured."""
    steps = [step for step in run["shootdown"] if step in STEP_PHASES] or list(STEP_PHASES)
    names = dict.fromkeys(["lock", *(phase for step in steps for phase in STEP_PHASES[step])])
    medians = {name: run["latency_ns"].get(name, {}).get("p50") or 0 for name in names}
    whole = sum(medians.values())
    return {name: median / whole for name, median in medians.items() if median}
