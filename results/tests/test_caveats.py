"""Each caveat appears for its reason and not without it."""

from collections.abc import Sequence
from typing import Any

import pytest

from results.caveats import caveats
from results.kinds.bench.findings import bench_caveats, found
from results.kinds.bench.record import Arm, Bench
from results.tests.builders.bench import ARMS, a_bench, an_arm, noisy, with_races
from results.tests.builders.run import HOST, SCENARIO, a_run, phase


def ids(runs: list[dict[str, Any]], host: dict[str, Any] | None = None, **scenario: Any) -> list[str]:
    return [caveat["id"] for caveat in caveats(HOST | (host or {}), SCENARIO | scenario, runs)]


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ({"cpus_allowed": 2}, ["oversubscribed"]),
        ({"cpus_allowed": 1}, ["single_cpu", "oversubscribed"]),
        ({"hypervisor": "KVM"}, ["virtual_machine"]),
        ({"constant_tsc": False}, ["no_constant_tsc"]),
        ({"constant_tsc": None}, []),
        ({"cpu_quota": 1.5}, ["cpu_quota"]),
        ({"busy": 0.6}, ["busy_machine"]),
        ({"governor": "powersave"}, ["cpu_frequency"]),
        ({"round_trip_ns": 86.0, "round_trip_after_ns": 312.0}, ["cpus_moved"]),
        ({"round_trip_ns": 312.0, "round_trip_after_ns": 86.0}, ["cpus_moved"]),
        ({"round_trip_ns": 86.0, "round_trip_after_ns": 120.0}, []),
        ({"round_trip_ns": 86.0, "round_trip_after_ns": None}, []),
        ({"round_trip_ns": 86.0, "round_trip_after_trouble": "no time together"}, ["no_round_trip"]),
    ],
)
def test_caveats_of_the_machine(host: dict[str, Any], expected: list[str]):
    assert ids([a_run()], host) == expected


def test_a_line_that_was_measured_once_is_not_called_unmeasured():
    host = HOST | {"round_trip_ns": 86.0, "round_trip_after_trouble": "no time together"}
    [caveat] = caveats(host, SCENARIO, [a_run()])

    said = "a line's way from CPU to CPU and back was not measured again behind the races: no time together"
    assert (caveat["seen"], caveat["means"]) == (said, "whether CPUs were moved meanwhile is not known")


def test_no_bench_is_told_to_try_a_bench():
    bench = a_bench(12, noisy({}))
    moved = bench.model_copy(update={"host": {**bench.host, "round_trip_ns": 86.0, "round_trip_after_ns": 312.0}})

    [caveat] = [one for one in bench_caveats(moved) if one["id"] == "cpus_moved"]
    assert caveat["means"] == "CPUs were moved, or others came: early and late rounds did not race alike"
    assert caveat["try"] == "ratios, which are taken within a round, or bare metal"
    assert "bench" in next(one["try"] for one in caveats(moved.host, SCENARIO, []) if one["id"] == "cpus_moved")


def test_declared_costs_are_named_and_are_no_perturbation():
    [caveat] = caveats(HOST, SCENARIO | {"costs": {"track": "2us", "exit": "1us"}}, [a_run()])

    assert (caveat["id"], caveat["seen"]) == (
        "declared_costs",
        "SEAMCALLs that take what was declared: track 2us, exit 1us",
    )
    assert "only ratios between orderings" in caveat["means"]


FEW: dict[str, Any] = {"latency_ns": {"shootdown_met": phase(57, p50=1)}}
FREE: dict[str, Any] = {"parameters": {"serialized": False}}


@pytest.mark.parametrize(
    ("changes", "scenario", "expected"),
    [
        ({}, {}, []),
        ({"steal_share": 0.05}, {}, ["high_steal"]),
        ({"steal_share": None}, {}, []),
        ({"perturbed": True}, {}, ["perturbed"]),
        ({"trace": {"ns_of_entry": 22.2}}, {}, ["traced"]),
        ({"trace": None}, {}, []),
        ({"ending": "interrupted"}, {}, ["interrupted"]),
        ({"expect": ["tracking_not_done"]}, {}, ["expected_not_seen"]),
        (
            {"expect": ["tracking_not_done"], "seen": {"tracking_not_done": 1, "stale_after_done": 1}}, {},
            ["undeclared_outcome"],
        ),
        ({"latency_ns": {"shootdown_met": phase(367)}}, {}, ["too_few_samples"]),
        ({"latency_ns": {"shootdown_met": phase(3687)}}, {}, ["too_few_samples"]),
        ({"latency_ns": {"shootdown_met": phase(3688)}}, {}, []),
        ({"expect": ["not_blocked"], "seen": {"not_blocked": 1}, "latency_ns": {"shootdown_met": phase(1)}}, {}, []),
        # A run whose verdict lacks shootdowns is not told so again.
        (FEW, {}, ["too_few_samples"]),
        (FEW | {"met": {"kicks": 90, "shootdowns": 60}}, {}, []),
        # One zapper says nothing of what zappers do to each other without mmu_lock.
        (FREE, {}, ["one_zapper"]),
        ({"parameters": {"serialized": True}}, {}, []),
        (FREE | {"zappers": 2}, {}, []),
        (FREE | {"expect": ["previous_epoch_busy"], "outcomes": []}, {}, []),
        ({}, {"workers": "thread"}, ["threads"]),
        ({}, {"costs": {}}, []),
        ({"shootdowns_per_s": 900.0}, {"rate": 1000.0}, ["rate_not_reached"]),
        ({"shootdowns_per_s": 999.0}, {"rate": 1000.0}, []),
    ],
)  # fmt: skip
def test_caveats_of_a_run(changes: dict[str, Any], scenario: dict[str, Any], expected: list[str]):
    assert ids([a_run(**changes)], **scenario) == expected


@pytest.mark.parametrize(
    ("own", "changed", "told"),
    [
        (False, {}, []),
        (False, {"delays.b": "1us"}, ["delays that held nobody up: no_kick b"]),
        (True, {}, ["delays that held nobody up: no_kick a, b", "forbidden and not declared: no_kick not_blocked"]),
    ],
)
def test_what_a_shipped_file_brings_is_a_caveat_only_for_whom_can_change_it(
    own: bool, changed: dict[str, str], told: list[str]
):
    perturbation = {"declared": {"a": "x"}, "never_struck": ["a", "b"], "yields": 1, "delays": 1, "delayed_ns": 1}
    seen = {"tracking_not_done": 3, "not_blocked": 1}
    run = a_run(
        "no_kick", seen, expect=["tracking_not_done"], perturbed=True, perturbation=perturbation, own=own,
    )  # fmt: skip
    found = caveats(HOST, {**SCENARIO, "own": own, "changed": changed}, [run])

    assert [one["seen"] for one in found if one["id"] in ("delay_never_struck", "undeclared_outcome")] == told


def test_a_caveat_says_what_was_seen_what_it_means_and_what_to_try():
    found = caveats(HOST | {"cpus_allowed": 2}, SCENARIO, [a_run()])

    assert found == [
        {
            "id": "oversubscribed",
            "seen": "oversubscribed, 2 vCPUs and 1 zapper on 2 CPUs",
            "means": "zappers keep CPUs of their own: a kick meets at most one vCPU a CPU, "
            "and vCPUs leave the guest at every tick",
            "try": "--vcpus 1",
        }
    ]


@pytest.mark.parametrize("scenario", [SCENARIO | {"placement": "mixed"}, {"vcpus": 2, "zappers": 1}])
def test_where_linux_places_everybody_many_kicks_meet_nobody(scenario: dict[str, Any]):
    (found,) = caveats(HOST | {"cpus_allowed": 2}, scenario, [a_run()])

    assert found["means"] == (
        "Linux places all of them: latency holds time to be scheduled, many kicks meet nobody, "
        "and vCPUs leave the guest at every tick"
    )


def bench_of(rounds: int = 10, slower: float = 1.0, arm: Arm = ARMS[2], stolen: Sequence[float | None] = ()) -> Bench:
    """The first ordering's copy takes so much longer, and some races had so much of their CPUs' time taken."""
    bench = a_bench(rounds, lambda arm, _, number: (1000.0 + number) * (slower if arm == "A2" else 1), (*ARMS[:2], arm))
    shares = iter(stolen)
    return found(with_races(bench, steal_share=lambda race: next(shares, race.steal_share)))


@pytest.mark.parametrize(
    ("bench", "told"),
    [
        (bench_of(), {}),
        (bench_of(9), {"too_few_rounds": "9 of at least 10 rounds"}),
        (bench_of(slower=1.3), {"a_differs_from_a": "spec differs from itself"}),
        (bench_of(stolen=[0.01]), {}),
        (
            bench_of(stolen=[0.01, 0.013, None, 0.054, 0.02]),
            {"high_steal": "the hypervisor took more than 1 % of the CPUs' time in 3 of 30 races, 5.4 % at worst"},
        ),
        (
            bench_of(arm=ARMS[2].model_copy(update={"perturbed": True})),
            {"perturbed": "declared yields, delays or start offsets"},
        ),
        (
            bench_of(arm=an_arm("B", "no_kick", ("tracking_not_done",))),
            {"unsafe_raced": "known to be wrong and raced all the same: no_kick"},
        ),
        (
            bench_of(arm=ARMS[2].model_copy(update={"parameters": {"serialized": False}})),
            {"one_zapper": f"one zapper, which meets no other: {ARMS[2].ordering} without mmu_lock for write"},
        ),
    ],
)
def test_caveats_of_the_rounds_of_a_bench(bench: Bench, told: dict[str, str]):
    assert {one["id"]: one["seen"] for one in bench_caveats(bench)} == told
