"""Every order of an ordering's steps."""

from scenarios.loader import load_ordering
from scenarios.orders import every_order


def test_six_steps_have_720_orders_each_with_a_name_of_its_own() -> None:
    orders = list(every_order(load_ordering("v18")))

    assert len({order.name for order in orders}) == 720
    assert {frozenset(order.shootdown) for order in orders} == {frozenset(load_ordering("v18").shootdown)}


def test_the_orderings_own_order_comes_first_and_all_else_is_kept() -> None:
    v18 = load_ordering("v18")

    first = next(every_order(v18))

    assert first.shootdown == v18.shootdown
    assert (first.gate, first.entry, first.kick, first.serialized) == (v18.gate, v18.entry, v18.kick, v18.serialized)
