"""Each finding says what it must, and the judgement is as good as the worst of them."""

from typing import Any

import pytest

from results.machine.checks import diagnose
from results.machine.findings import Finding, Limits, judge
from results.tests.builders.machine import facts


def finding(id: str, **changed: Any) -> Finding:
    return next(found for found in diagnose(facts(**changed)) if found.id == id)


def limited(**changed: Any) -> dict[str, str]:
    """What takes anything from a result, by the finding's id."""
    found = {finding.id: finding.limits.value for finding in diagnose(facts(**changed))}
    return {id: limits for id, limits in found.items() if limits != "nothing"}


GROUPS = facts()["topology"]


def test_a_quiet_machine_of_ones_own_is_good_for_everything_by_findings_each_with_an_id_of_its_own():
    ids = [found.id for found in diagnose(facts())]

    assert limited() == {}
    assert judge(diagnose(facts())).sentence == "good for verdicts and for latency"
    assert judge([]).limits is Limits.nothing
    assert len(ids) == len(set(ids)) == 21


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"hypervisor": "KVM"}, {"hypervisor": "absolute latency"}),
        ({"governor": "powersave"}, {"frequency": "absolute latency"}),
        ({"governor": None}, {}),
        ({"clocksource": "hpet"}, {"clocksource": "absolute latency"}),
        ({"clocksource": None}, {}),
        ({"clock": "MONOTONIC"}, {"counter": "absolute latency"}),
        ({"clock_error_ppm": 101.0}, {"counter": "absolute latency"}),
        ({"timer_ns": 101.0}, {"timer": "absolute latency"}),
        ({"timer_step_ns": 40.0}, {"timer": "absolute latency"}),
        ({"topology": GROUPS | {"cores": 2, "one_a_core": "0-1"}}, {"smt": "absolute latency"}),
        ({"topology": GROUPS | {"kinds": 2, "alike": "0-1"}}, {"topology": "absolute latency"}),
        ({"topology": GROUPS | {"caches": 2, "near": "0-1"}}, {}),
        ({"smt": True}, {}),
        ({"steal_share": 0.011}, {"steal": "latency"}),
        ({"steal_share": 0.01}, {}),
        ({"steal_share": None}, {}),
        ({"busy": 0.26}, {"load": "latency"}),
        ({"own_share": 0.79}, {"load": "verdicts"}),
        ({"own_share": 0.8}, {}),
        ({"own_share": None, "busy": 0.26}, {"load": "latency"}),
        ({"cpu_quota": 1.5}, {"cpu_quota": "latency"}),
        ({"cpu_quota": 4.0}, {}),
        ({"cpus_allowed": 1, "cpus_used": "2"}, {"cpus": "verdicts"}),
        ({"fork_ns": None}, {"fork": "everything"}),
        ({"vcpus_asked": 512}, {}),
        ({"vcpus_asked": 65, "vcpus_fit": 64}, {"memory": "everything"}),
        ({"realtime": False}, {}),
        ({"realtime": None}, {}),
        ({"store_buffering": facts()["store_buffering"] | {"missed": 0}}, {}),
        ({"store_buffering": facts()["store_buffering"] | {"missed_fenced": 1}}, {"store_buffering": "everything"}),
        ({"empty_shootdown_ns": None}, {}),
        ({"round_trips": None, "store_buffering": None}, {}),
    ],
)
def test_what_takes_something_from_a_result(changed: dict[str, Any], expected: dict[str, str]):
    assert limited(**changed) == expected


def test_the_judgement_is_as_bad_as_the_worst_finding_and_names_its_reasons():
    found = judge(diagnose(facts(hypervisor="KVM", governor="powersave")))

    assert found.sentence == "good for verdicts; latency only as ratios (frequency, hypervisor)"
    assert judge(diagnose(facts(hypervisor="KVM", busy=0.9))).because == ("load",)


def test_where_others_have_the_cpus_nothing_is_called_good_for_verdicts():
    assert finding("load", own_share=0.214).means == (
        "our probes got 21 % of the time that they wanted the CPUs for: a safe ordering needs 29,956 shootdowns that "
        "met a vCPU where others have them, or it is inconclusive"
    )
    assert judge(diagnose(facts(own_share=0.214, busy=1.0, load_1m=12.5))).sentence == (
        "weak for verdicts: a wrong ordering may go unseen, a safe one be inconclusive; no latency (load)"
    )


@pytest.mark.parametrize(
    ("id", "changed", "found", "try_"),
    [
        ("cpus", {"offline": "4-5"}, "4 allowed (0-3) of 4 online, 4-5 offline",
         "at most --vcpus 3 --zappers 1 for latency"),
        ("smt", {"topology": GROUPS | {"cores": 2, "one_a_core": "0-1"}, "smt": True}, "on: 4 CPUs on 2 cores",
         "--cpus 0-1"),
        ("hypervisor", {"hypervisor": "unnamed"}, "a virtual machine",
         "bare metal for latency"),
        ("isolation", {"isolated": "2-3", "isolated_allowed": "2"}, "CPUs 2 isolated", "--cpus 2"),
        ("tdx", {"tdx": {"enabled": True, "version": "1.5.30", "module": "tdx_1_5_24"}}, "yes, module 1.5.30", ""),
        ("tdx", {"tdx": {"enabled": True, "version": None, "module": None}}, "yes, its module's version is not told",
         'a newer kernel, or module = "tdx" (1.5.01)'),
        ("isolation", {"isolated": "6-7"}, "CPUs 6-7 isolated", "taskset -c 6-7 tdx-stress run"),
        ("memory", {"vcpus_asked": 99, "vcpus_fit": 64}, "8.0 GiB to be had, 3.0 MiB a worker", "--vcpus 64"),
        ("round_trip", {}, "86 ns (81-95) between CPUs 0 and 1", ""),
        ("kicks", {}, "membarrier 4.64 us, signal 1.51 us", ""),
        ("kicks", {"kicks_ns": {"signal": 900.0}, "kicks_missing": {"membarrier": "x"}},
         "signal 900 ns, no membarrier", ""),
        ("kicks", {"kicks_ns": {"membarrier": 14_600.0}}, "membarrier 14.6 us, signal not measured",
         "again, when the CPUs are free"),
        ("kicks", {"kicks_ns": {}}, "not measured", "again, when the CPUs are free"),
        ("kicks", {"kicks_ns": {}, "cpus_allowed": 1}, "not measured", ""),
        ("store_buffering", {}, "4.88 % of 51,200 trials, 0 of 51,200 fenced", ""),
    ],
)  # fmt: skip
def test_what_is_found_and_what_to_try(id: str, changed: dict[str, Any], found: str, try_: str):
    told = finding(id, **changed)

    assert (told.found, told.try_) == (found, try_)


def test_what_a_container_hides_is_not_taken_for_known():
    hidden = {
        "topology": GROUPS | {"told": False}, "isolated": None, "smt": None, "clocksource": None, "governor": None,
    }  # fmt: skip

    told = {id: finding(id, **hidden).found for id in ("smt", "clocksource", "frequency", "isolation", "topology")}

    assert set(told.values()) == {"not told", "Some CPU: not told"}
    assert "not known" in finding("smt", **hidden).means


def test_aarch64_has_a_counter_of_its_own_name_and_is_said_to_reorder_more():
    assert "generic timer" in finding("counter", machine="aarch64").found
    assert "timestamp counter" in finding("counter").found
    assert "aarch64 reorders more" in finding("store_buffering", machine="aarch64").means
    assert "aarch64" not in finding("store_buffering").means


MISSING: dict[str, Any] = {"round_trips": None, "store_buffering": None, "realtime": None, "kicks_ns": {}}
REASON = "not done after 10 s: something else holds the CPUs"


@pytest.mark.parametrize(
    ("id", "changed", "means"),
    [
        *((id, MISSING | {"trouble": REASON}, REASON) for id in ("round_trip", "store_buffering", "realtime", "kicks")),
        ("kicks", {"kicks_ns": {}}, "the CPU to interrupt was with others"),
        ("kicks", {"kicks_ns": {"signal": 1510.0}}, "a signal does not; the CPU to interrupt was with others"),
        ("round_trip", MISSING | {"cpus_allowed": 1}, "it takes two CPUs"),
        ("kicks", MISSING | {"cpus_allowed": 1}, "it takes two CPUs"),
        ("store_buffering", MISSING | {"cpus_allowed": 1}, "it takes two CPUs: whether fences hold is not known"),
    ],
)
def test_what_was_not_measured_says_why(id: str, changed: dict[str, Any], means: str):
    assert finding(id, **changed).means.endswith(means)


def test_many_pairs_are_told_by_their_spread_and_how_many_cpus_were_tried():
    trips = {"cpus": [0, 1, 2], "pairs": 3, "median_ns": 80.0, "least_ns": 30.0, "most_ns": 120.0}

    told = finding("round_trip", round_trips=trips, topology=GROUPS | {"near": "0-1"})

    assert told.found == "80 ns, 30 to 120 over 3 pairs of CPUs, 3 of 4 CPUs tried"
    assert told.means.endswith("; pairs differ by 4.0x")
    assert told.try_ == "--cpus 0-1 (one cache)"


def test_of_many_cpus_a_single_pair_may_have_been_measured():
    trips = {"cpus": [0, 1, 2], "pairs": 1, "median_ns": 80.0, "least_ns": 80.0, "most_ns": 80.0}

    told = finding("round_trip", round_trips=trips, round_trip_ns=None, round_trip_range_ns=None, trouble="interrupted")

    assert told.found == "80 ns, 80 to 80 over 1 pair of CPUs, 3 of 4 CPUs tried"
    assert told.means.endswith("; 2 pairs not measured: interrupted")


def test_a_finding_as_json_has_its_five_words_and_what_it_takes():
    assert finding("load", busy=0.9).as_dict() == {
        "id": "load",
        "what": "load",
        "found": "90 % of the CPUs' time just now, load average 0.1",
        "means": "others run here, too: latency is theirs as well as ours",
        "try": "an idle machine, or --cpus away from the others",
        "limits": "latency",
    }


def test_a_cache_is_whole_or_damaged_or_not_used() -> None:
    kept = facts()["cache"]
    whole, damaged, refused = (
        finding("cache", cache={**kept, **changed})
        for changed in ({}, {"damaged": 2}, {"troubles": ["d: compiled code there is not used: others may write it"]})
    )

    assert (whole.found, whole.means) == ("12 files, 3.0 MiB, whole", "kernels are compiled once, for all later runs")
    assert damaged.means.startswith("2 damaged files thrown away, and compiled anew")
    assert refused.means.startswith("d: compiled code there is not used: others may write it")
