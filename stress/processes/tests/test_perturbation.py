import numpy as np
import pytest

from conftest import SmallMachine
from kernels.layout import COST, COSTS, DELAY_ODDS_SHIFT, MAX_SITES, SLEEPS, SPREAD, SPREADS
from kernels.race.clock import Calibration
from kernels.race.lines import labels_of
from kernels.race.ticks import Clock
from kernels.tdx.protocol import SHOOTDOWN, protocol_of
from kernels.tdx.rules import FLOWS, Flow
from scenarios import costs
from scenarios.loader import load_scenario, with_delays
from scenarios.times import Delay
from stress.errors import UsageFault
from stress.processes.perturbation import (
    AtSite,
    costs_by_site,
    declare,
    declare_costs,
    declared_sites,
    declared_texts,
    sites_of,
)

NAMES = ["", "kick.load_acquire_ipi", "mem_track.try_lock", "kick.load_acquire_ipi"]
# Two ticks a nanosecond.
CLOCK = Calibration(Clock.TSC, 2e9, 1 << 19, 0.0, True)
TRACK = "mem_track.try_lock_exclusive_epoch_lock"


def test_a_label_stands_for_every_site_of_its_name() -> None:
    assert sites_of("yields", "kick.load_acquire_ipi", NAMES) == [1, 3]


@pytest.mark.parametrize(
    ("label", "nearest"), [("mem_track.trylock", 'did you mean "mem_track.try_lock"? '), ("xyz", "")]
)
def test_an_unknown_label_is_refused_with_the_nearest_one_and_what_names_them(label: str, nearest: str) -> None:
    with pytest.raises(UsageFault) as refused:
        sites_of("delays", label, NAMES)

    said = f"{nearest}`tdx-stress list --labels SCENARIO` names them all"
    assert str(refused.value) == f'delays: unknown label "{label}"; {said}'


def test_a_label_of_another_flow_is_refused() -> None:
    scenario = load_scenario("small")

    with pytest.raises(UsageFault, match='delays: unknown label "mem_add'):
        declared_sites(with_delays(scenario, ["mem_add.try_lock_shared_tree_lock=1us"]))


def test_labels_are_those_at_which_an_actor_of_the_flow_looks() -> None:
    labels = labels_of(SHOOTDOWN)

    assert TRACK in labels
    assert TRACK not in labels_of(SHOOTDOWN, ("vcpu",))
    assert not [label for label in labels if label.startswith(("guest.", "mem_add.", "claim_page.any_page"))]


def test_a_yield_and_a_delay_at_one_label_stand_side_by_side() -> None:
    scenario = load_scenario("small").model_copy(update={"yields": {TRACK: 0.25}, "delays": {TRACK: "1us@0.5"}})

    assert list(declared_sites(scenario).values()) == [AtSite(0.25, Delay(1000, 1000, 0.5))]
    assert declared_texts(scenario) == {TRACK: "yield 0.25, delay 1us@0.5"}


def test_probabilities_stand_in_the_words_as_parts_of_65536(small_machine: SmallMachine) -> None:
    words, lay = small_machine

    declare(words, lay, {1: AtSite(0.5), 2: AtSite(1.0), 3: AtSite(0.0)}, CLOCK)

    assert words[lay.perturb : lay.perturb + 4].tolist() == [0, 32768, 65536, 0]


def test_a_short_delay_is_spun_in_ticks_and_a_long_one_slept_in_nanoseconds(small_machine: SmallMachine) -> None:
    words, lay = small_machine

    declare(words, lay, {1: AtSite(0.5, Delay(100, 300, 1.0)), 2: AtSite(delay=Delay(0, 100_000, 0.5))}, CLOCK)

    odds, least, most = (words[lay.perturb + place * MAX_SITES :][1:3].tolist() for place in range(3))
    assert odds == [32768 + (65536 << DELAY_ODDS_SHIFT), (32768 << DELAY_ODDS_SHIFT) + SLEEPS]
    assert (least, most) == ([200, 0], [600, 100_000])


def test_without_a_counter_of_constant_rate_every_delay_is_slept(small_machine: SmallMachine) -> None:
    words, lay = small_machine

    declare(words, lay, {1: AtSite(delay=Delay(100, 100, 1.0))}, Calibration(Clock.MONOTONIC, 1e9, 1 << 20, 0.0, False))

    assert (words[lay.perturb + 1] & SLEEPS, words[lay.perturb + MAX_SITES + 1]) == (SLEEPS, 100)


def test_a_start_offset_is_declared_without_a_site() -> None:
    scenario = load_scenario("small").model_copy(update={"start_offset": "0-2us", "rate": 100.0, "zappers": 2})

    assert declared_sites(scenario) == {}
    assert declared_texts(scenario) == {"start_offset": "0-2us"}
    assert scenario.perturbed


@pytest.mark.parametrize(("without", "said"), [({"zappers": 1}, "2 zappers or more"), ({"rate": 0.0}, "--rate beside")])
def test_a_start_offset_where_nobody_starts_together_is_refused(without: dict[str, float], said: str) -> None:
    scenario = load_scenario("small").model_copy(
        update={"start_offset": "0-2us", "rate": 100.0, "zappers": 2, **without}
    )

    with pytest.raises(UsageFault, match=f"^start_offset: expected {said}"):
        declared_sites(scenario)


@pytest.mark.parametrize("flow", FLOWS, ids=str)
def test_every_cost_passes_somewhere_in_every_flow(flow: Flow) -> None:
    labels = set(labels_of(protocol_of(flow)))

    assert {key: bool(labels & set(cost.labels)) for key, cost in costs.COSTS.items()} == dict.fromkeys(
        costs.COSTS, True
    )


def test_a_cost_of_nothing_has_no_site_and_the_others_have_those_of_their_labels() -> None:
    scenario = load_scenario("small").model_copy(update={"costs": {"track": "0", "block": "1.5us", "exit": "2us"}})

    labels = labels_of(SHOOTDOWN)
    assert {labels[site]: ns for site, ns in costs_by_site(scenario).items()} == {
        "mem_range_block.load_acquire_sept": 1500,
        "td_exit.fetch_add_seq_cst_epoch_tracking": 2000,
    }
    assert not scenario.perturbed


def test_a_cost_stands_beside_a_yield_and_a_delay_of_its_site(small_machine: SmallMachine) -> None:
    words, lay = small_machine

    declare(words, lay, {2: AtSite(0.5, Delay(100, 300, 1.0))}, CLOCK)
    declare_costs(words, lay, {2: 1500, 3: 700}, CLOCK)

    assert words[lay.perturb : lay.perturb + 4].tolist() == [
        0, 0, COSTS | 65536 << DELAY_ODDS_SHIFT | 32768, COSTS,
    ]  # fmt: skip
    assert words[lay.perturb + COST :][:4].tolist() == [0, 0, 3000, 1400]


def test_lengths_are_log_normal_about_the_median(small_machine: SmallMachine) -> None:
    words, lay = small_machine

    declare_costs(words, lay, {}, CLOCK)

    spread = np.log(words[lay.perturb + SPREAD : lay.perturb + SPREAD + SPREADS] / 65536)
    assert abs(np.median(spread)) < 0.01
    assert np.std(spread) == pytest.approx(0.25, abs=0.005)
    assert np.exp(np.percentile(spread, [5, 95])) == pytest.approx([0.66, 1.51], abs=0.01)
