"""Scenarios whose keys do not go together: one line each."""

import pytest

from scenarios.loader import ScenarioError, apply_settings, load_ordering, load_scenario
from scenarios.rules import compile_rules


def refused(scenario: str, *settings: str) -> str:
    with pytest.raises(ScenarioError) as error:
        apply_settings(load_scenario(scenario), [], settings)
    return str(error.value)


def test_a_batch_wants_a_range_of_pages_for_each_zapper() -> None:
    assert refused("batch", "batch=64", "zappers=3", "pages=191") == (
        "--set: pages: expected 192 or more, zappers = 3 times batch = 64, found 191"
    )


def test_a_batch_wants_a_tlb_that_holds_all_of_it() -> None:
    assert refused("batch", "batch=65", "tlb_entries=64") == (
        "--set: tlb_entries: expected 128 or more, or a vCPU's TLB forgets part of a batch of 65 pages "
        "before it is flushed, found 64"
    )


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (("batch=2",),
         '--set: batch: expected 1, or flow = "batch", as flow = "shootdown" takes page after page, found 2'),
        (("resched=true",),
         '--set: resched: expected flow = "batch" beside it, found flow = "shootdown", where nobody yields in a zap'),
        (("shared_pages=4",),
         '--set: shared_pages: expected 0, or flow = "shared_ept", as flow = "shootdown" has none, found 4'),
        (("flow=shared_ept", "shared_pages=65"), "--set: shared_pages: expected from 1 to 64, as pages = 64, found 65"),
        (("flow=shared_ept",), "--set: shared_pages: expected from 1 to 64, as pages = 64, found 0"),
        (("batch=513", "flow=batch"), "--set: batch: expected a whole number from 1 to 512, found 513"),
    ],
)  # fmt: skip
def test_what_belongs_to_a_flow_is_refused_elsewhere(settings: tuple[str, ...], said: str) -> None:
    assert refused("review", *settings) == said


def test_the_rate_of_an_open_loop_is_one_of_pages() -> None:
    scenario, (spec,) = apply_settings(load_scenario("batch"), [load_ordering("spec")], ("rate=16000", "batch=16"))
    rules = compile_rules(spec, scenario, clock=1, ticks_per_s=1e9, ticks_to_ns=1 << 20, shared_cpus=False)

    assert rules.period == 1_000_000


def test_a_shared_ept_is_flushed_by_a_request_that_is_not_the_ordering_s() -> None:
    scenario, (spec,) = apply_settings(load_scenario("shared_ept"), [load_ordering("spec")], ())
    rules = compile_rules(spec, scenario, clock=1, ticks_per_s=1e9, ticks_to_ns=1 << 20, shared_cpus=False)

    assert (rules.request, rules.shared_pages, rules.shared_flush) == (0, 32, 0)
