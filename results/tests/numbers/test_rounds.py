"""Intervals, tests and corrections of a bench, on literals and on simulated rounds whose truth is known.

Simulations have fixed seeds: they pass or fail the same way every time. Each says what a sound method would give.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import wilcoxon

from results.numbers.rounds import (
    LEAST_ROUNDS,
    bootstrapped_median,
    enough,
    holm,
    median_interval,
    paired_effect,
    paired_middle,
    sign_flip_p,
    signed_ranks,
    together,
    unpaired_effect,
)

Sample = Callable[[np.random.Generator, int], NDArray[np.float64]]
SIMULATIONS = 2_000

SHAPES: dict[str, Sample] = {
    "normal": lambda rng, n: rng.normal(0, 0.1, n),
    "heavy tails": lambda rng, n: 0.1 * rng.standard_t(2, n),
    "a bad round in ten": lambda rng, n: rng.normal(0, 0.05, n) + 2.0 * (rng.random(n) < 0.1) * rng.choice([-1, 1], n),
    "two states of the machine": lambda rng, n: rng.choice([-0.3, 0.3], n) + rng.normal(0, 0.05, n),
    "skewed": lambda rng, n: 0.2 * (rng.exponential(1.0, n) - np.log(2)),
}


@pytest.mark.parametrize("rounds", [10, 11, 15, 20, 40])
@pytest.mark.parametrize("shape", SHAPES)
def test_an_interval_holds_the_true_ratio_in_92_to_98_percent_of_benches(shape: str, rounds: int):
    # 95 % nominal; of 2,000 benches the share seen has a standard deviation of 0.5 %.
    rng = np.random.default_rng(20240226)
    truth = 1.18

    inside = 0
    for _ in range(SIMULATIONS):
        effect = paired_effect(np.log(truth) + SHAPES[shape](rng, rounds))
        inside += effect.low <= truth <= effect.high

    assert 0.92 <= inside / SIMULATIONS <= 0.98


@pytest.mark.parametrize("rounds", [(10, 10), (5, 5, 5, 5), (8, 2, 2)])
@pytest.mark.parametrize("shape", ["normal", "heavy tails"])
def test_of_several_machines_an_interval_holds_the_mean_of_their_own_ratios(shape: str, rounds: tuple[int, ...]):
    # Each machine has a ratio of its own. Of 300 benches the share seen has a standard deviation of 1.3 %; few rounds a
    # machine are held in more than 95 %, as a median of few is resampled widely.
    rng = np.random.default_rng(20240226)
    own = rng.normal(0, 0.3, len(rounds))
    truth = np.exp(np.average(own, weights=rounds))
    machines = [str(number) for number, count in enumerate(rounds) for _ in range(count)]

    inside = 0
    for _ in range(300):
        logs = np.concatenate([mean + SHAPES[shape](rng, count) for mean, count in zip(own, rounds, strict=True)])
        effect = paired_effect(logs, machines=machines)
        inside += effect.low <= truth <= effect.high

    assert inside / 300 >= 0.92


# Twelve rounds of two arms, and two ways in which two machines may have run them.
RATIOS = np.array([1.05, 1.21, 0.94, 1.33, 1.17, 1.09, 1.48, 1.02, 1.26, 1.13, 1.39, 0.97])
IN_TURN, BY_TURNS = "aaaaaaabbbbb", "abaababababa"


@pytest.mark.parametrize(
    ("rounds", "options", "effect"),
    [
        # By scipy, from the odds of every median of a resample, which deviates by d: cut off is what the normal
        # distribution has beyond sqrt(n / (n - 1)) t; exp((t(level) + t(power)) d) could have been shown.
        (12, {}, (1.149826, 1.02, 1.33, 1.191529)),
        (12, {"comparisons": 20}, (1.149826, 1.02, 1.33, 1.312195)),
        (12, {"level": 0.99}, (1.149826, 1.02, 1.33, 1.254549)),
        (12, {"comparisons": 20, "level": 0.99}, (1.149826, 1.02, 1.33, 1.386641)),
        (12, {"machines": ["one"] * 12}, (1.149826, 1.02, 1.33, 1.191529)),
        (11, {}, (1.17, 1.05, 1.33, 1.197198)),
        (2, {}, (1.127165, 1.05, 1.21, 2.026206)),
        # Within each machine, drawn.
        (12, {"machines": [*IN_TURN]}, (1.153164, 1.015895, 1.354679, 1.198558)),
        (12, {"machines": [*BY_TURNS]}, (1.132874, 1.048804, 1.300373, 1.130919)),
    ],
)
def test_an_effect_has_its_interval_and_what_could_have_been_shown(
    rounds: int, options: Any, effect: tuple[float, ...]
):
    found = paired_effect(np.log(RATIOS[:rounds]), **options)

    assert (found.ratio, found.low, found.high, found.could_have_shown) == pytest.approx(effect, rel=1e-5)


@pytest.mark.parametrize(
    ("options", "could_have_shown"), [({}, 1.442041), ({"comparisons": 20, "level": 0.99}, 3.026881)]
)
def test_an_effect_between_unpaired_rounds_hangs_on_the_fewer_ones(options: Any, could_have_shown: float):
    found = unpaired_effect(np.log(RATIOS[:5]) - 0.3, np.log(RATIOS), **options)

    effect = (1.326584, 1.146873, 1.708622, could_have_shown)
    assert (found.ratio, found.low, found.high, found.could_have_shown) == pytest.approx(effect, rel=1e-5)


@pytest.mark.parametrize(
    ("rounds", "machines", "ranks"), [(9, 1, False), (10, 1, True), (10, 2, False), (11, 2, True), (11, 3, False)]
)
def test_each_other_machine_takes_one_more_round(rounds: int, machines: int, ranks: bool):
    assert enough(rounds, machines) is ranks
    assert machines > 1 or enough(rounds) is ranks


def test_another_machines_times_do_not_widen_the_interval_of_a_ratio():
    logs = np.random.default_rng(4).normal(0, 0.01, 20)
    machines = ["one"] * 10 + ["two"] * 10

    alike = paired_effect(logs, machines=machines)
    apart = paired_effect(logs + np.repeat([0.0, 2.0], 10), machines=machines)

    assert apart.ratio == pytest.approx(alike.ratio * np.exp(1.0))
    assert apart.high / apart.low == pytest.approx(alike.high / alike.low)


@pytest.mark.parametrize(
    ("rounds", "machines", "middle", "interval"),
    [(1, "", 1.05, (1.05, 1.05)), (10, "", 1.15, (1.035, 1.295)), (12, IN_TURN, 1.153333, (1.016667, 1.355))],
)
def test_the_interval_of_a_median_is_in_its_own_unit(
    rounds: int, machines: str, middle: float, interval: tuple[float, float]
):
    assert paired_middle(RATIOS[:rounds], [*machines]) == pytest.approx(middle, rel=1e-5)
    assert median_interval(RATIOS[:rounds], [*machines]) == pytest.approx(interval, rel=1e-5)


@pytest.mark.parametrize("n", [2, 9, 10, 31])
def test_the_exact_bootstrap_is_what_resampling_comes_to(n: int):
    # 100,000 resamples: the standard error of a probability is 0.16 % at most.
    rng = np.random.default_rng(14)
    values = np.sort(rng.normal(0, 1, n))

    medians, weights = bootstrapped_median(values)
    drawn = np.median(values[rng.integers(0, n, (100_000, n))], axis=1)

    for at in (-0.5, -0.1, 0.0, 0.2, 0.6):
        assert weights[medians <= at].sum() == pytest.approx((drawn <= at).mean(), abs=0.008)


def test_an_interval_between_unpaired_rounds_holds_the_true_ratio():
    rng = np.random.default_rng(6)

    inside = 0
    for _ in range(500):
        effect = unpaired_effect(rng.normal(0, 0.1, 15), np.log(1.5) + rng.normal(0, 0.1, 15))
        inside += effect.low <= 1.5 <= effect.high

    assert 0.92 <= inside / 500 <= 0.98


@pytest.mark.parametrize("rounds", [10, 20])
def test_identical_arms_raise_a_false_alarm_in_5_percent_of_benches_over_all_their_figures(rounds: int):
    # Ten figures that hang together: the chance of one or more alarms is 5 % by construction (at 10 rounds a little
    # less, as there are only 1,024 ways to flip). 600 benches: a standard deviation of 0.9 %.
    rng = np.random.default_rng(7)

    alarms = 0
    for _ in range(600):
        common = rng.normal(0, 0.1, rounds)
        figures = {str(f): list(common + 0.1 * rng.standard_t(3, rounds)) for f in range(10)}
        alarms += any(one.p <= 0.05 for one in together(figures).values())

    assert 0.015 <= alarms / 600 <= 0.075


def test_figures_tested_together_agree_with_their_intervals():
    rng = np.random.default_rng(8)

    for _ in range(100):
        figures = {str(f): list(rng.normal(0.05, 0.1, 12)) for f in range(10)}
        for one in together(figures).values():
            assert one.low is not None
            assert one.high is not None
            assert (one.p <= 0.05) == (not one.low <= 0 <= one.high)


SLOWER = list(np.log(RATIOS))
SAME = [0.02, -0.01, 0.03, -0.04, 0.01, 0.05, -0.02, 0.06, -0.03, 0.04, -0.05, 0.07]
OFTEN_0 = [0.0] * 9 + [0.1, -0.1, 0.2]
FIVE_ALONE = [None] * 7 + [0.3, 0.1, 0.2, 0.4, 0.5]


@pytest.mark.parametrize(
    ("figures", "found"),
    [
        # All 4,096 ways to flip the signs of twelve rounds; of five rounds none is rare enough to bound an interval.
        (
            {"slower": SLOWER, "same": SAME, "often 0": OFTEN_0, "five alone": FIVE_ALONE},
            {
                "slower": (52 / 4096, 0.144687, 0.030171, 0.259962), "same": (3484 / 4096, 0.01, -0.025, 0.045),
                "often 0": (3900 / 4096, 0.0, 0.0, 0.1), "five alone": (564 / 4096, 0.3, None, None),
            },
        ),
        ({"slower": SLOWER[:5]}, {"slower": (6 / 32, 0.119705, None, None)}),
        ({"slower": SLOWER[:6]}, {"slower": (6 / 64, 0.119705, -0.061875, 0.285179)}),
        # An interval that would leave out 0, of what is not told from it, ends there.
        (
            {
                "more": [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7],
                "less": [0.0, -0.3, -0.6, -0.9, -1.2, -1.5, -1.8, -2.1],
                "one": [-0.08, -0.04, -0.06, -0.02, 0.05, -0.03, -0.01, -0.07],
                "two": [0.08, -0.05, -0.01, -0.02, 0.07, -0.03, -0.06, -0.04],
                "three": [-0.05, 0.06, 0.03, -0.07, 0.04, 0.08, 0.01, -0.02],
            },
            {
                "more": (16 / 256, 0.35, 0.0, 0.65), "less": (16 / 256, -1.05, -1.95, 0.0),
                "one": (76 / 256, -0.0375, -0.075, 0.02), "two": (1.0, -0.02, -0.055, 0.075),
                "three": (254 / 256, 0.01, -0.06, 0.07),
            },
        ),
        # Drawn, and the one as seen.
        (
            {"slower": [*SLOWER, 0.08], "same": [*SAME, -0.06]},
            {"slower": (0.0068, 0.138399, 0.034296, 0.243154), "same": (0.8834, 0.005, -0.03, 0.04)},
        ),
    ],
)  # fmt: skip
def test_figures_tested_together_have_these_p_and_intervals(figures: Any, found: dict[str, Any]):
    tested = {name: (one.p, one.middle, one.low, one.high) for name, one in together(figures).items()}

    assert tested == {name: pytest.approx(one, abs=1e-5) for name, one in found.items()}


def test_a_difference_in_one_of_ten_figures_is_found():
    rng = np.random.default_rng(9)
    figures = {str(f): list(rng.normal(0, 0.05, 12)) for f in range(9)}

    found = together(figures | {"slow": list(np.log(1.5) + rng.normal(0, 0.05, 12))})

    assert [name for name, one in found.items() if one.p <= 0.05] == ["slow"]


def test_a_figure_that_some_rounds_lack_is_tested_on_those_that_have_it():
    row = [0.1, None, 0.2, 0.3, 0.15, 0.25, None, 0.1, 0.2, 0.3, 0.2, 0.1]

    assert together({"some": row})["some"].p == 2 / 2**10


def test_the_effect_that_could_have_been_shown_is_shown_in_four_of_five_benches():
    # By the interval alone. The estimate is itself made from few rounds: 70 to 90 %.
    rng = np.random.default_rng(10)
    could = np.median([paired_effect(rng.normal(0, 0.1, 20)).could_have_shown for _ in range(200)])

    shown = sum(paired_effect(np.log(could) + rng.normal(0, 0.1, 20)).low > 1 for _ in range(SIMULATIONS))

    assert 0.7 <= shown / SIMULATIONS <= 0.9


def test_the_effect_is_the_median_of_the_ratios_whatever_one_round_did():
    logs = np.log([1.2, 1.2, 1.2, 1.2, 1.2, 1.2, 1.2, 1.2, 1.2, 24.0])

    effect = paired_effect(logs)

    assert (effect.ratio, effect.low) == pytest.approx((1.2, 1.2))


def test_the_sign_flip_test_is_wilcoxons():
    values = np.random.default_rng(13).normal(0.05, 0.1, 14)

    assert sign_flip_p(values) == pytest.approx(wilcoxon(values, method="exact").pvalue)
    assert sign_flip_p(np.arange(1.0, 11.0)) == pytest.approx(2 / 2**10)  # ten equal coins
    assert sign_flip_p(np.zeros(LEAST_ROUNDS)) == 1.0
    assert sign_flip_p(np.resize([0.1, -0.1], 76)) == 1.0  # without rounding: the odds add up to a little more


def test_equal_sizes_share_their_rank_and_zero_has_none():
    assert list(signed_ranks(np.array([0.5, -0.5, 0.0, 2.0]))) == [1.5, -1.5, 0.0, 3.0]


def test_holm_multiplies_by_the_hypotheses_that_are_left_and_never_goes_down_nor_above_1():
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "c": 0.06, "b": 0.06})
    assert holm({"a": 0.2}) == {"a": 0.2}
    assert holm({"a": 0.9, "b": 0.8}) == {"a": 1.0, "b": 1.0}
