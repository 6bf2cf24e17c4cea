"""What may be ranked: races that met their vCPUs, on literals; that a thing against itself is not, by simulation."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from results.numbers.rounds import Met, holm, met_of, place_p, too_few_met
from results.tests.builders.run import PHASE

Races = Callable[[np.random.Generator, tuple[int, ...]], NDArray[np.float64]]
BENCHES, FIGURES = 2_000, 10

# What a race adds to the logarithms of all its figures: a machine that was fast or slow at that moment.
SHAPES: dict[str, Races] = {
    "normal": lambda rng, shape: rng.normal(0, 0.1, shape),
    "heavy tails": lambda rng, shape: 0.3 * rng.standard_t(1.5, shape),
    "two states of the machine": lambda rng, shape: rng.choice([-0.7, 0.7], shape) + rng.normal(0, 0.02, shape),
    "a bad race in ten": lambda rng, shape: 3.0 * (rng.random(shape) < 0.1) + rng.normal(0, 0.02, shape),
    "values that are mostly equal": lambda rng, shape: (rng.random(shape) < 0.2).astype(np.float64),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_thing_against_itself_is_ranked_in_1_percent_of_2000_benches_at_most(shape: str):
    # Ten rounds of A, A2 and B, ten figures that hang together: 20 of 2,000 by the promise, and the exact p of so few
    # rounds stays below it. More than 31 would be three standard deviations off.
    rng = np.random.default_rng(20240226)

    ranked = 0
    for _ in range(BENCHES):
        race = SHAPES[shape](rng, (10, 3, 1))
        values = race + rng.normal(0, 1, (10, 1, 1)) + 0.05 * rng.standard_t(2, (10, 3, FIGURES)) * (race != 0)
        p_values = {f: place_p([(a, again, b) for a, again, b in values[:, :, f]]) for f in range(FIGURES)}
        ranked += min(holm(p_values).values()) <= 0.01

    assert ranked <= 31


def test_a_difference_of_a_fifth_is_found_in_ten_rounds():
    rng = np.random.default_rng(2)

    found = 0
    for _ in range(200):
        values = rng.normal(0, 0.05, (10, 3)) + np.log([1, 1, 1.2])
        found += place_p([(a, again, b) for a, again, b in values]) * FIGURES <= 0.01

    assert found >= 180


@pytest.mark.parametrize(
    ("rounds", "p"),
    [
        # The slowest, and the fastest, of three in each of ten rounds: the odds of ten fair draws.
        ([(1.0, 2.0, 3.0)] * 10, 2 / 3**10),
        ([(2.0, 1.0, 0.5)] * 10, 2 / 3**10),
        # Between the others in every round, as where a copy of the first is slow: no place is more ordinary.
        ([(1.0, 3.0, 2.0)] * 10, 1.0),
        ([(1.0, 2.0, 4.0, 5.0, 3.0)] * 5, 1.0),
        # Equal values share their places: -1, -1 and 2 (three times the mean rank), and 2 has the odds of one in three.
        ([(1.0, 1.0, 1.0)] * 10, 1.0),
        ([(1.0, 1.0, 2.0)], 1 / 3),
        ([], 1.0),
    ],
)
def test_the_places_of_the_last_have_the_odds_of_fair_draws(rounds: list[tuple[float, ...]], p: float):
    assert place_p(rounds) == pytest.approx(p)


@pytest.mark.parametrize(
    ("figure", "met", "measured", "said"),
    [
        ("p50_ns", 6, 40_000, ""),
        ("p50_ns", 5, 40_000, "5 shootdowns met a vCPU, 6 are needed"),
        ("p90_ns", 35, 40_000, "35 shootdowns met a vCPU, 36 are needed"),
        ("p99_ns", 367, 40_000, "367 shootdowns met a vCPU, 368 are needed"),
        ("p99_ns", 368, 40_000, ""),
        ("shootdowns_per_s", 20_000, 40_000, ""),
        ("shootdowns_per_s", 4_800, 40_000, "4,800 of 40,000 shootdowns (12.0 %) met a vCPU, 50 % are needed"),
        ("max_ns", 6, 9, ""),
        ("max_ns", 1, 1, "1 shootdown met a vCPU, 6 are needed"),
        ("reads_per_s", 0, 0, "0 shootdowns met a vCPU, 6 are needed"),
    ],
)
def test_a_race_ranks_by_what_enough_of_its_shootdowns_showed(figure: str, met: int, measured: int, said: str):
    assert too_few_met(figure, Met(met, measured)) == said


def test_what_a_race_met_stands_beside_its_whole_shootdowns():
    assert met_of({"latency_ns": {"shootdown": PHASE, "shootdown_met": {**PHASE, "n": 4200}}}) == Met(4200, 5000)
