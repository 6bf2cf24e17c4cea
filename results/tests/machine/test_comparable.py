"""Two hosts held against each other."""

from typing import Any

import pytest

from results.machine.comparable import Host, differing

HOST = {
    "machine": "x86_64", "cpu_model": "Some CPU", "hypervisor": None, "cpus_allowed": 4, "cpus_used": "0-3",
    "cpu_quota": None, "smt": False, "governor": "performance", "constant_tsc": True, "clocksource": "tsc",
    "kernel": "Linux 6.18", "numba": "0.68.1", "python": "3.11.7", "memory_bytes": 1 << 34, "load_1m": 0.2,
    "busy": 0.01, "clock_error_ppm": 1.0, "timer_ns": 9.5, "empty_shootdown_ns": 50, "round_trip_ns": 100.0,
}  # fmt: skip


def differences(first: Host, second: Host) -> list[str]:
    return [one.text for one in differing(first, second)]


def against(**changed: Any) -> list[str]:
    return differences(HOST, HOST | changed)


@pytest.mark.parametrize(
    "changed",
    [
        {}, {"python": "3.14.0"}, {"memory_bytes": 1 << 30}, {"load_1m": 9.0}, {"round_trip_ns": 149.0}, {"busy": 0.25},
        {"timer_ns": 29.5},  # the clock's grain
    ],
)  # fmt: skip
def test_what_changes_no_figure_is_no_difference(changed: dict[str, Any]):
    assert against(**changed) == []
    assert differences({}, {}) == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"cpu_model": "Another"}, "CPU: Some CPU in the first, Another in the second: latency is another CPU's."),
        ({"hypervisor": "KVM"},
         "hypervisor: none or not told in the first, KVM in the second: tails are another host's."),
        ({"smt": True}, "SMT: off in the first, on in the second: actors shared cores differently."),
        ({"cpu_quota": 1.5}, "CPU quota: none or not told in the first, 1.5 in the second: "
         "the control group stopped actors at other times."),
        ({"round_trip_ns": 320.0}, "core-to-core round trip: 100 ns in the first, 320 ns in the second (3.2x): "
         "latencies compare only as multiples of it."),
        ({"timer_ns": 40.0},
         "reading of the clock: 9.5 ns in the first, 40.0 ns in the second (4.2x): every phase contains one."),
        ({"empty_shootdown_ns": None},
         "empty shootdown: known for the first only: whether the machines ran alike cannot be judged by it."),
        ({"busy": 0.9}, "load: 90 % of the CPUs' time was taken before the second: not ours alone."),
        ({"round_trip_ns": 151.0}, "core-to-core round trip: 100 ns in the first, 151 ns in the second (1.5x): "
         "latencies compare only as multiples of it."),
        ({"clock_error_ppm": 250.0}, "clock: known only to 250 ppm in the second: its times may be wrong by as much."),
    ],
)  # fmt: skip
def test_a_difference_is_one_sentence(changed: dict[str, Any], said: str):
    assert against(**changed) == [said]


def test_both_hosts_are_looked_at_alike():
    changed = HOST | {"round_trip_ns": 320.0, "busy": 0.9, "governor": "powersave"}

    assert len(differences(HOST, changed)) == len(differences(changed, HOST)) == 3


def test_what_an_older_result_has_not_recorded_is_told_only_for_measures():
    said = differences({"cpu_model": "Some CPU"}, HOST)

    assert [sentence.partition(":")[0] for sentence in said] == [
        "core-to-core round trip",
        "empty shootdown",
        "reading of the clock",
    ]
