"""What a bench's rounds say, from records whose truth is known."""

from collections.abc import Sequence

import numpy as np
import pytest

from results.figures import BY_ID, FIGURES
from results.kinds.bench.findings import _leans, _slope, comparison, exit_code, found, seen
from results.kinds.bench.record import Arm, Bench, Comparison, Slope
from results.kinds.bench.tables import bench_cases
from results.numbers.rounds import RANKED, Effect
from results.tests.builders.bench import ARMS, Value, a_bench, an_arm, noisy, thin, with_races

THREE = (*ARMS, an_arm("C", "v6_16"))


def of(bench: Bench, figure: str, arm: str = "B", point: str = "") -> Comparison:
    return next(c for c in bench.comparisons if (c.figure, c.arm, c.point) == (figure, arm, point))


def slope_of(bench: Bench) -> Slope:
    return next(s for s in bench.slopes if (s.figure, s.ordering) == ("p50_ns", "v18"))


def test_no_latency_shows_less_than_a_bucket_of_its_histogram():
    bench = found(a_bench(12, noisy({}, noise=0.0001)))

    # Those near 1,000 ns have buckets of 4 ns.
    told = [(one.could_have_shown, one.low, one.high) for one in (of(bench, "p50_ns", arm) for arm in ("A2", "B"))]
    assert told == [pytest.approx((1.004, 0.996, 1.004), abs=1e-4)] * 2
    assert max(of(bench, "reads_per_s", arm).could_have_shown or 2 for arm in ("A2", "B")) < 1.001


def test_values_below_1_have_a_ratio_and_a_growth():
    steady = noisy({"B": 1.2}, noise=0.0001)
    bench = found(a_bench(12, lambda *at: (steady(*at) or 0) / 2000, values=(4, 8)))

    assert of(bench, "track_retries", point="vcpus=4").ratio == pytest.approx(1.2, abs=0.001)
    assert len(bench.slopes) == 2 * len(FIGURES)


NOTHING: Value = lambda arm, point, number: None  # noqa: E731
ONLY_A: Value = lambda arm, point, number: None if arm == "B" else 1000.0 + number  # noqa: E731
ZERO: Value = lambda arm, point, number: 0.0  # noqa: E731
MORE_OR_0: Value = lambda arm, point, number: 0.001 * (2 * number if arm == "B" else number - 1)  # noqa: E731

HARDLY_0: Value = lambda arm, point, number: 0.0001 * (number > 11) if arm == "B" else 0.001 * number  # noqa: E731


@pytest.mark.parametrize(
    ("rounds", "values", "figure", "finding", "text", "code"),
    [
        (9, noisy({"B": 5.0}), "p50_ns", "too_few", "too few: measured in 9 rounds, 10 are needed", 6),
        (12, NOTHING, "p99_ns", "too_few", "not measured: too few shootdowns a race", 6),
        (12, NOTHING, "reads_per_s", "too_few", "not measured", 6),
        (12, ONLY_A, "reads_per_s", "too_few", "not measured", 0),
        (12, MORE_OR_0, "track_retries", "differs", "more, no ratio: 0 in some of 12 rounds", 0),
        (12, HARDLY_0, "track_retries", "differs", "fewer, no ratio: 0 in some of 12 rounds", 0),
        (12, ZERO, "track_retries", "no_difference", "no difference shown: hardly ever above 0 (12 rounds)", 0),
    ],
)
def test_what_has_no_ratio_says_why(rounds: int, values: Value, figure: str, finding: str, text: str, code: int):
    bench = found(a_bench(rounds, values))

    one = of(bench, figure)
    assert (one.finding, one.ratio, one.verdict_text) == (finding, None, text)
    assert (bench.aa is None, exit_code(bench)) == (code == 6, code)


def test_ten_rounds_in_which_nothing_was_measured_are_not_called_too_few():
    bench = found(a_bench(10, NOTHING))

    assert (bench.aa, exit_code(bench)) == (None, 6)
    assert bench_cases(bench)[-1].why == "no figure was measured in 10 rounds: too few shootdowns met a vCPU"


def test_a_figure_that_a_round_could_not_measure_is_left_out_of_that_round():
    steady, lacking = noisy({"B": 1.2}), [("B", 3), ("A", 5), ("A2", 7)]
    bench = found(
        a_bench(13, lambda arm, point, number: None if (arm, number) in lacking else steady(arm, point, number))
    )

    assert (of(bench, "p50_ns").rounds, of(bench, "p50_ns", "A2").rounds) == (10, 11)


def test_the_a_a_arm_has_no_ratio_of_a_figure_that_is_0_and_says_nothing_of_one_that_few_rounds_have():
    bench = a_bench(12, lambda arm, point, number: 1e-3 * (number - 1) * (1 + 0.01 * (arm == "A2") * (-1) ** number))
    bench = found(with_races(bench, lambda race: race.round < 4, figures=lambda race: race.figures | {"p99_ns": None}))

    told = [(one.finding, one.ratio) for one in (of(bench, name, "A2") for name in ("p50_ns", "p99_ns"))]
    assert told == [("no_difference", None), ("too_few", None)]


@pytest.mark.parametrize(
    ("arm", "differs", "said", "code"),
    [
        ("B", False, "spec against itself: no figure differs", 0),
        ("A2", True, "no difference of this bench can be believed", 6),
    ],
)
def test_a_first_ordering_that_differs_from_itself_makes_the_bench_exit_6(
    arm: str, differs: bool, said: str, code: int
):
    bench = found(a_bench(12, noisy({arm: 1.3})))

    assert bench.aa is not None
    assert (bench.aa.differs, exit_code(bench)) == (differs, code)
    assert said in bench.aa.sentence


def test_where_the_first_ordering_differs_from_itself_nothing_is_ranked():
    bench = found(a_bench(12, noisy({"A2": 1.3, "B": 2.0})))

    assert {c.finding for c in bench.comparisons if c.arm == "B"} == {"not_comparable"}
    p50 = of(bench, "p50_ns")
    assert (p50.ratio, p50.low, p50.high) == (None, None, None)
    assert p50.verdict_text == "not comparable: spec differs from itself"


def test_races_that_met_hardly_any_vcpu_are_not_comparable_however_far_apart_they_are():
    # v18 a quarter of spec's time, as a bench once ranked it on vCPUs that happened to be elsewhere.
    bench = a_bench(12, noisy({"B": 0.25}))
    bench = found(with_races(bench, lambda race: (race.round, race.arm) == (7, "B"), met=5))

    assert of(bench, "p50_ns").verdict_text == (
        "not comparable: in round 7 of v18 5 shootdowns met a vCPU, 6 are needed"
    )
    assert of(bench, "reads_per_s").verdict_text == (
        "not comparable: in round 7 of v18 5 shootdowns met a vCPU, 6 are needed"
    )
    assert (bench.aa is not None and bench.aa.differs, exit_code(bench)) == (False, 6)


def test_a_tail_without_its_samples_is_not_comparable_and_the_median_is():
    bench = found(with_races(a_bench(12, noisy({"B": 1.5})), met=367))

    assert of(bench, "p50_ns").finding == "differs"
    assert of(bench, "p99_ns").verdict_text.endswith("367 shootdowns met a vCPU, 368 are needed")
    assert exit_code(bench) == 0


def test_the_interval_of_the_a_a_arm_leaves_1_out_only_where_the_bench_exits_6():
    for seed in range(30):
        bench = found(a_bench(10, noisy({}, seed=seed)))
        outside = [c for c in bench.comparisons if c.arm == "A2" and c.low and c.high and not c.low <= 1 <= c.high]
        assert bool(outside) == (exit_code(bench) == 6)


def test_several_orderings_are_held_to_holms_correction():
    bench = found(a_bench(10, noisy({"B": 1.5, "C": 1.5}), THREE))

    # Each is the slowest of its three in every round; 20 comparisons, ten figures of each.
    for arm in ("B", "C"):
        one = of(bench, "p50_ns", arm)
        assert one.p == pytest.approx(2 / 3**10)
        assert one.holm_p == pytest.approx(20 * 2 / 3**10)


def test_an_interval_that_leaves_1_out_but_fails_holms_correction_is_no_difference():
    # Nine of ten rounds are slower by 5 to 45 %, one is faster by 60 %: p = 0.0022, ten figures.
    values = {n: 1 + 0.05 * n for n in range(1, 10)} | {10: 0.4}
    bench = found(
        a_bench(10, lambda arm, point, n: 1000 * values[n] if arm == "B" else 1000.0 + (arm == "A2") * (-1) ** n)
    )

    one = of(bench, "p50_ns")
    assert one.low is not None
    assert one.low > 1
    assert one.finding == "no_difference"
    assert one.verdict_text.endswith(f"but p {one.holm_p:.2g} after Holm, above 0.01")


@pytest.mark.parametrize(
    ("low", "high", "holm_p", "finding"),
    [
        (1.05, 1.35, 1 - RANKED, "differs"),
        (1.05, 1.35, 0.0101, "no_difference"),
        (1.0, 1.35, 0.002, "no_difference"),
        (0.9, 1.35, 0.002, "no_difference"),
        (0.8, 1.0, 0.002, "no_difference"),
        (0.8, 0.99, 0.002, "differs"),
    ],
)
def test_a_difference_needs_its_p_and_its_interval(low: float, high: float, holm_p: float, finding: str):
    pairs, effect = [(1000.0, 1210.0), (1040.0, 1230.0), (1020.0, 1290.0)], Effect(1.2, low, high, 1.1)
    one = comparison(BY_ID["p50_ns"], "", "B", "v18", pairs, effect, 0.001, holm_p, level=RANKED)

    assert (one.finding, one.reference, one.value) == (finding, 1020.0, 1230.0)


def test_growth_along_a_sweep_is_a_power_with_an_interval():
    # Of the rounds that have it above 0 at every size.
    steady, lacking = noisy({}, noise=0.02, seed=2), {("vcpus=4", 3): None, ("vcpus=8", 5): 0.0}

    def value(arm: str, point: str, n: int) -> float | None:
        return lacking.get((point, n), (steady(arm, point, n) or 0) * int(point[6:]) ** 0.5)

    bench = found(a_bench(14, value, values=(1, 2, 4, 8, 16)))

    slope = slope_of(bench)
    assert slope.low is not None
    assert slope.high is not None
    assert slope.low < 0.5 < slope.high
    assert slope.low < (slope.slope or 0.0) < slope.high
    assert slope.high - slope.low < 0.05
    assert slope.why_none == ""
    assert slope.medians == pytest.approx((1000, 1414, 2000, 2828, 4000), rel=0.03)


@pytest.mark.parametrize("sizes", [(1, 2), (1, 2, 4, 8)])
def test_four_sizes_have_no_growth_however_straight_they_lie(sizes: tuple[int, ...]):
    bench = found(a_bench(12, lambda arm, point, n: 100.0 * float(point.partition("=")[2]), values=sizes))

    slope = slope_of(bench)
    assert (slope.slope, slope.low, slope.high) == (None, None, None)
    assert slope.why_none == "too few sizes, five are needed"
    assert slope.medians == tuple(100.0 * size for size in sizes)


def test_a_bent_curve_is_no_power_law():
    # A cost that does not grow, and one that does: 100 + 10 n.
    steady = noisy({}, noise=0.02)
    bench = found(
        a_bench(
            12,
            lambda arm, point, n: (steady(arm, point, n) or 0) * (100 + 10 * float(point.partition("=")[2])) / 1000,
            values=(1, 4, 16, 64, 256),
        )
    )

    slope = slope_of(bench)
    assert (slope.slope, slope.why_none) == (None, "no power law holds here")


def test_a_power_law_under_heavy_noise_is_refused_in_5_percent_of_benches_at_most():
    # 200 benches: a standard deviation of 1.5 %.
    rng = np.random.default_rng(3)
    sizes = np.log([1.0, 2, 4, 8, 16])

    refused = 0
    for _ in range(200):
        rows = np.exp(0.5 * sizes + 0.2 * rng.standard_t(2, (10, 1)) + 0.1 * rng.standard_t(3, (10, 5)))
        refused += _slope("p50_ns", ARMS[0], sizes, rows).slope is None

    assert refused / 200 <= 0.08


@pytest.mark.parametrize(("off", "known", "leans"), [(0.002, 0.0, False), (0.009, 0.0, True), (0.009, 0.01, False)])
def test_rounds_off_their_lines_to_one_side_at_a_size_lean_by_more_than_is_known(off: float, known: float, leans: bool):
    residuals = np.outer(np.resize([0.05, -0.05], 12), [1, 1, 0, 1, -1])
    residuals[:, 2] = off

    assert _leans(residuals, np.full(5, known)) is leans


@pytest.mark.parametrize("axis", [("process", "thread", "other"), (0, 1, 2, 4, 8), (16,)])
def test_an_axis_of_words_or_with_a_0_or_of_one_size_has_no_growth(axis: tuple[int | str, ...]):
    bench = found(a_bench(12, noisy({}), values=axis))

    assert bench.slopes == ()


def test_along_a_sweep_the_a_a_arm_speaks_for_all_points_at_once():
    bench = found(a_bench(10, noisy({}), values=(1, 2, 4)))

    again = [c for c in bench.comparisons if c.arm == "A2"]
    assert {c.point for c in again} == {""}
    assert of(bench, "p50_ns", "A2").rounds == 30
    assert found(a_bench(9, noisy({}), values=(1, 2, 4))).aa is None


def test_a_forbidden_outcome_of_a_safe_ordering_makes_the_bench_exit_1():
    # Also where too few of its shootdowns met a vCPU to claim an absence.
    bad = {"verdict": "failed", "reason": "showed it", "forbidden_shootdowns": 3}
    bench = with_races(a_bench(10, noisy({})), met_shootdowns=7)
    bench = found(with_races(bench, lambda race: (race.round, race.arm) == (2, "B"), **bad))

    assert exit_code(bench) == 1
    its = seen(bench)["", "v18"]
    assert (its["verdict"], its["reason"], its["forbidden"]) == ("failed", "round 2: showed it", 3)


def test_an_unsafe_ordering_that_fails_as_it_is_known_to_does_not_fail_the_bench():
    arms = (*ARMS[:2], an_arm("B", "no_kick", ("tracking_not_done",)))
    bench = a_bench(10, noisy({}, seed=2), arms)

    assert exit_code(found(with_races(bench, lambda race: race.arm == "B", verdict="failed"))) == 0


def judged_thin(met: int, reason: str, arms: Sequence[Arm] = ARMS, verdict: str = "inconclusive") -> Bench:
    """Twelve rounds of every arm, of each of whose 100 shootdowns so many met a vCPU."""
    return found(with_races(thin(a_bench(12, noisy({}), arms), met), verdict=verdict, reason=reason))


def too_thin(met: int, of: str = "100") -> str:
    return f"only {met} of {of} shootdowns met a vCPU, and 299 are needed; try a longer --duration or an idle machine"


@pytest.mark.parametrize(
    ("met", "said", "verdict", "reason", "code"),
    [
        (24, too_thin(24), "inconclusive", too_thin(288, "1,200"), 6),
        (25, too_thin(25), "passed", "nothing forbidden in 300 shootdowns that met a vCPU", 0),
        (30, "only 1 of 2 vCPUs entered", "inconclusive", "round 1: only 1 of 2 vCPUs entered", 6),
    ],
)
def test_thin_rounds_are_judged_by_what_they_met_together(met: int, said: str, verdict: str, reason: str, code: int):
    bench = judged_thin(met, said)
    entry = seen(bench)["", "v18"]

    assert (entry["verdict"], entry["reason"], exit_code(bench)) == (verdict, reason, code)


def test_a_known_wrong_ordering_is_judged_by_its_races_however_few_or_many_met_a_vcpu():
    arms = (*ARMS, an_arm("C", "no_kick", ("tracking_not_done",)))
    caught = judged_thin(2, "caught: tracking_not_done 2 times", arms, verdict="passed")
    missed = judged_thin(200, "known for tracking_not_done, which did not show in this time", arms)

    assert [seen(one)["", "no_kick"]["verdict"] for one in (caught, missed)] == ["passed", "inconclusive"]


def test_rounds_one_of_which_others_had_the_cpus_in_need_to_have_met_more():
    bench = with_races(judged_thin(90, "", verdict="passed"), own_share=0.97)

    assert exit_code(bench) == 0
    entry = seen(with_races(bench, lambda race: race.round == 3, own_share=0.5))["", "v18"]
    assert (entry["verdict"], entry["reason"].partition(";")[0]) == (
        "inconclusive",
        "only 1,080 of 1,200 shootdowns met a vCPU, and 29,956 are needed where others have the CPUs",
    )
