"""What the atlas says of orders whose verdict is known, and that it says the same again."""

import itertools
from typing import Any

import pytest

from results.kinds.orders import AS_IS, CHECK_OFF, HOST_FREES, Tier
from scenarios.loader import load_ordering, load_scenario
from stress.explore import orders as atlas_search
from stress.explore.atlas import job_of
from stress.explore.orders import TIERS, look_at, order_of, run_order
from stress.explore.witness import as_searched
from stress.interrupts import Interrupts

ONE, TWO_ZAPPERS = TIERS[0], TIERS[4]
V18 = "block gate_raise kick track gate_lower remove"


def look(steps: str, ordering: str = "v18", tier: int = 0) -> dict[str, dict[str, int]]:
    """By variant, what this order of steps shows on a machine."""
    its = load_ordering(ordering).model_copy(update={"shootdown": tuple(steps.split())})
    return look_at(as_searched(its, load_scenario("small")), TIERS[tier]).found


@pytest.mark.parametrize(
    ("steps", "ordering"),
    [
        (V18, "v18"),
        ("block track kick remove", "spec"),
        ("gate_raise block kick track remove gate_lower", "v18"),
        ("gate_raise kick block track gate_lower remove", "v18"),
        ("gate_lower block kick track gate_raise remove", "v18"),
    ],
)
def test_right_orders_show_nothing_forbidden_and_need_no_variants(steps: str, ordering: str) -> None:
    assert [look(steps, ordering, tier) for tier in range(4)] == [{AS_IS: {}}] * 4


@pytest.mark.parametrize(
    ("steps", "ordering"),
    [
        ("block kick track remove", "kick_then_track"),  # W1
        ("block track remove", "no_kick"),  # W2
        ("track kick block remove", "track_then_block"),  # W4
        ("block gate_raise kick gate_lower track remove", "v18"),  # W10
    ],
)
def test_wrong_orders_are_refused_and_stale_once_nobody_refuses_them(steps: str, ordering: str) -> None:
    found = look(steps, ordering)

    assert "tracking_not_done" in found[AS_IS]
    assert "use_after_remove" not in found[AS_IS]
    assert "use_after_remove" in found[CHECK_OFF]
    assert "use_after_remove" in found[HOST_FREES]


def test_a_page_removed_while_every_vcpu_waits_at_the_gate_is_refused_and_not_stale_without_that() -> None:
    found = look("block gate_raise kick remove track gate_lower")

    assert "tracking_not_done" in found[AS_IS]
    assert found[CHECK_OFF] == {}


def test_the_specified_order_unserialized_fails_only_with_two_zappers_and_two_pages() -> None:
    steps = "block gate_raise track kick gate_lower remove"

    assert look(steps) == {AS_IS: {}}
    assert set(look(steps, tier=4)[AS_IS]) == {"previous_epoch_busy"}


def test_a_page_not_blocked_is_refused_even_where_the_module_does_not_look_at_tracking() -> None:
    found = look("remove block track", "no_kick")

    assert set(found[AS_IS]) == set(found[CHECK_OFF]) == {"not_blocked"}


def decided(name: str, tiers: int, memory_bytes: int = 1 << 30, going: int = 1000) -> list[dict[str, Any]]:
    """Every order of this ordering on so many machines; after so many an interrupt."""
    tables = {"ordering": load_ordering(name), "scenario": load_scenario("small")}
    subject = {key: one.model_dump(mode="json") for key, one in tables.items()}
    job = job_of({**subject, "memory_bytes": memory_bytes, "tiers": tiers, "seed": 1})
    found = []
    for place, one in enumerate(job.pieces.values()):
        seen, whole = run_order(one, Interrupts(lambda place=place: place < going), None)  # type: ignore[misc]
        assert whole == (place < going)
        found.append(order_of(one["ordering"]["shootdown"], seen))
    return found


def test_every_order_of_block_track_and_remove_without_a_kick() -> None:
    orders = decided("no_kick", 2)

    assert {" ".join(order["order"]): (order["verdict"], *order["statuses"]) for order in orders} == {
        "block track remove": ("refused", "tracking_not_done"),
        "block remove track": ("refused", "tracking_not_done"),
        "track block remove": ("refused", "tracking_not_done"),
        "track remove block": ("refused", "not_blocked"),
        "remove block track": ("refused", "not_blocked"),
        "remove track block": ("refused", "not_blocked"),
    }
    assert all(Tier(**order["decided"])[:4] == ONE[:4] for order in orders)


def test_of_24_orders_with_a_kick_and_mmu_lock_only_those_that_track_and_then_kick_behind_block_are_safe() -> None:
    orders = decided("spec", 3)

    assert len(orders) == 24
    assert [order["order"] for order in orders if order["verdict"] == "safe"] == [["block", "track", "kick", "remove"]]


def test_an_interrupt_leaves_open_what_was_not_looked_at() -> None:
    verdicts = [order["verdict"] for order in decided("no_kick", 1, going=2)]

    assert verdicts == ["refused"] * 2 + ["open"] * 4


def test_an_order_is_decided_although_the_answer_of_a_variant_stays_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(atlas_search.VARIANT_BYTES, HOST_FREES, 1 << 18)
    orders = decided("no_kick", 1)

    assert {order["verdict"] for order in orders} == {"refused"}
    assert [HOST_FREES] in [order["stale_open_in"] for order in orders]


def test_orders_for_which_the_memory_does_not_do_are_open() -> None:
    verdicts = {" ".join(order["order"]): order["verdict"] for order in decided("no_kick", 1, 1 << 18)}

    assert verdicts["block track remove"] == "open"
    assert verdicts["remove track block"] == "refused"


def test_no_machine_is_looked_at_twice_and_each_is_at_least_as_large_as_one_before() -> None:
    assert len({tier[:4] for tier in TIERS}) == len(TIERS)
    assert all(any(a >= b for a, b in zip(two, one, strict=True)) for one, two in itertools.pairwise(TIERS))
    assert TWO_ZAPPERS.pages == 2
