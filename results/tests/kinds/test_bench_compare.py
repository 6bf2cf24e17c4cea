"""Two results held against each other: benches by their rounds, runs by the one that each is."""

from pathlib import Path
from typing import Any

import pytest

from results.kinds.bench.compare import Rounds, compare_caveats, compared, read_rounds, unlike
from results.kinds.bench.record import Bench, Comparison
from results.tests.builders.bench import a_bench, noisy, with_races
from results.tests.builders.kept import keep
from results.tests.builders.run import SCENARIO, a_result, a_run

TRACE = {"ns_of_entry": 20.0}


def stored(path: Path, made: Bench | dict[str, object]) -> Rounds:
    """The rounds of a bench or of a run."""
    return read_rounds(keep(path, made))


def of(comparisons: list[Comparison], figure: str, ordering: str = "v18") -> Comparison:
    return next(one for one in comparisons if (one.figure, one.ordering) == (figure, ordering))


def test_a_bench_or_a_run_against_itself_differs_nowhere(tmp_path: Path):
    bench = stored(tmp_path / "a", a_bench(12, noisy({"B": 1.4})))
    run = stored(tmp_path / "b", a_result(a_run(out_of_guest_share=0.1)))

    comparisons = compared(bench, bench)
    assert {c.finding for c in comparisons} == {"no_difference"}
    assert {c.ratio for c in comparisons if c.ratio} == {1.0}
    assert {c.verdict_text for c in compared(run, run)} == {"the same"}


def test_a_slower_bench_is_shown_to_be_slower(tmp_path: Path):
    before = stored(tmp_path / "a", a_bench(12, noisy({}, seed=1)))
    after = stored(tmp_path / "b", a_bench(15, noisy({"B": 1.3}, seed=2)))

    comparisons = compared(before, after)
    p99 = of(comparisons, "p99_ns")
    assert (p99.finding, p99.rounds) == ("differs", 12)
    assert p99.ratio == pytest.approx(1.3, rel=0.06)
    assert of(comparisons, "p99_ns", "spec").finding == "no_difference"


def test_points_of_a_sweep_are_compared_each_with_its_own(tmp_path: Path):
    before = stored(tmp_path / "a", a_bench(10, noisy({}), values=(1, 2, 4)))
    after = stored(tmp_path / "b", a_bench(10, noisy({}), values=(2, 4, 8)))

    assert {c.point for c in compared(before, after)} == {"vcpus=2", "vcpus=4"}


def test_two_runs_have_the_interval_within_them(tmp_path: Path):
    slow = {"n": 5000, "min": 400, "p50": 1000, "p90": 1200, "p99": 9000, "p999": 50000, "max": 112000}
    slower = a_run(out_of_guest_share=0.1)
    slower["latency_ns"] = {
        name: {**slow, "ci95": {"p50": [990, 1010], "p90": [1190, 1210], "p99": [8000, 9900], "p999": None}}
        for name in slower["latency_ns"]
    }
    before = stored(tmp_path / "a", a_result(a_run(out_of_guest_share=0.1)))
    after = stored(tmp_path / "b", a_result(slower))

    p50 = of(compared(before, after), "p50_ns")
    assert p50.finding == "too_few"
    assert p50.verdict_text == "1.50x (1.48-1.52 within the runs), too few rounds to rank"


def test_single_runs_are_a_caveat_a_traced_one_too_and_rounds_of_two_moments_another(tmp_path: Path):
    run, traced = (stored(tmp_path / name, a_result(a_run(trace=trace))) for name, trace in (("a", None), ("c", TRACE)))
    bench = stored(tmp_path / "b", a_bench(12, noisy({})))

    assert [c["id"] for c in compare_caveats(run, run)] == ["single_runs"]
    assert [c["id"] for c in compare_caveats(bench, bench)] == ["not_paired"]
    assert compare_caveats(run, traced)[0]["seen"] == f"B ({tmp_path / 'c'}): traced: v18"


RANGE = {"round_trip_range_ns": (90.0, 450.0), "round_trip_cpus": [0, 1]}


def test_another_machine_what_was_measured_of_it_a_busy_moment_and_a_longer_race_are_caveats(tmp_path: Path):
    hosts = {"round_trip_ns": 100.0, **RANGE, "busy": 0.6}, {"cpu_model": "Another", "round_trip_ns": 400.0, **RANGE}
    bench = a_bench(12, noisy({}))
    first, second = (
        stored(
            tmp_path / str(seconds),
            bench.model_copy(
                update={"host": {**bench.host, **host}, "scenario": {**bench.scenario, "duration_s": seconds}}
            ),
        )
        for host, seconds in zip(hosts, (1.0, 5.0), strict=True)
    )

    assert [(c["id"], c["seen"]) for c in compare_caveats(first, second)[:4]] == [
        ("other_machine", "CPU: Some CPU in the first, Another in the second"),
        ("other_measure", "core-to-core round trip: 100 ns in the first, 400 ns in the second (4.0x)"),
        ("other_moment", "load: 60 % of the CPUs' time was taken before the first"),
        ("other_length", "not as long: duration_s 1.0 in A, 5.0 in B"),
    ]


def with_keys(**keys: object) -> Bench:
    bench = a_bench(10, noisy({}))
    return bench.model_copy(update={"scenario": bench.scenario | keys})


def swept(*values: int, **keys: object) -> Bench:
    return a_bench(10, noisy({}), values=values, scenario={**SCENARIO, "orderings": ["spec", "v18"], **keys})


PLAIN, ONE_SCENARIO = with_keys(), "; give two results of one scenario"
SPEC_AND_V18 = a_result(a_run("spec"), a_run("v18"))
FAULTY = a_result(a_run("spec", parameters={"faults": ["lost_kick"]}), a_run("v18"))
# By what is shown: two results, and why they are not held against each other.
UNLIKE: dict[str, tuple[Any, Any, str]] = {
    "what says nothing of a race may differ": (
        PLAIN, with_keys(name="mine", seed=7, duration_s=60.0, orderings=["spec"]), "",
    ),
    "every other key has to be the same": (
        PLAIN, with_keys(placement="mixed"), f"placement apart in A, mixed in B{ONE_SCENARIO}",
    ),
    "a size": (PLAIN, with_keys(vcpus=8), f"vcpus 2 in A, 8 in B{ONE_SCENARIO}"),
    "a table": (
        with_keys(delays={}), with_keys(delays={"kick.send": "1us"}),
        f"delays none in A, {{'kick.send': '1us'}} in B{ONE_SCENARIO}",
    ),
    "and one of a later version": (
        PLAIN, with_keys(a_key_of_tomorrow=1), f"a_key_of_tomorrow not told in A, 1 in B{ONE_SCENARIO}",
    ),
    "a run and a sweep are told apart": (
        a_result(a_run(out_of_guest_share=0.1)), swept(1, 2),
        "A is a run without a sweep, B is a sweep of vcpus; give two runs, or two benches with one sweep",
    ),
    "two sweeps of one key need not one base": (swept(1, 2), swept(2, 4, vcpus=9), ""),
    "but a point in common": (
        swept(1, 2), swept(8, 16), "vcpus=1, vcpus=2 in A, vcpus=8, vcpus=16 in B; no point is in both",
    ),
    "a run is held against itself": (SPEC_AND_V18, SPEC_AND_V18, ""),
    "a changed one as well": (FAULTY, FAULTY, ""),
    "but no changed ordering against one that is not": (
        SPEC_AND_V18, FAULTY, "spec in A, spec (lost_kick) in B; give two results of the same orderings",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("first", "second", "said"), UNLIKE.values(), ids=UNLIKE)
def test_what_is_not_comparable_says_why(tmp_path: Path, first: Any, second: Any, said: str):
    found = unlike(stored(tmp_path / "a", first), stored(tmp_path / "b", second))

    assert found == (f"not comparable: {said}" if said else "")


def test_benches_whose_races_met_nobody_are_not_comparable(tmp_path: Path):
    before = stored(tmp_path / "a", a_bench(12, noisy({})))
    after = stored(tmp_path / "b", with_races(a_bench(12, noisy({"B": 0.25})), lambda race: race.arm == "B", met=3))

    p50 = of(compared(before, after), "p50_ns")
    assert (p50.finding, p50.ratio) == ("not_comparable", None)
    assert p50.verdict_text == "not comparable: in B in round 1 of v18 3 shootdowns met a vCPU, 6 are needed"
    assert of(compared(before, after), "p50_ns", "spec").finding == "no_difference"
