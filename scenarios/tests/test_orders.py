"""Every order of an ordering's steps."""

from scenarios.loader import load_ordering


def test_six_steps_have_720_orders_each_with_a_name_of_its_own() -> None:
    orders = list(load_ordering("v18").every_order())

    assert len({order.name for order in orders}) == 720
    assert {frozenset(order.shootdown) for order in orders} == {frozenset(load_ordering("v18").shootdown)}


def test_the_orderings_own_order_comes_first_and_all_else_is_kept() -> None:
    v18 = load_ordering("v18")

    first = next(v18.every_order())

    assert first.shootdown == v18.shootdown
    assert (first.gate, first.entry, first.kick, first.serialized) == (v18.gate, v18.entry, v18.kick, v18.serialized)


def test_orders_in_which_a_part_of_a_kick_has_nothing_to_do_are_left_out() -> None:
    orders = [order.shootdown for order in load_ordering("request,send,track,wait,remove").every_order()]

    assert len(orders) == 5 * 4 * 3 * 2 // (3 * 2)
    assert all(order.index("request") < order.index("send") < order.index("wait") for order in orders)


def test_two_equal_steps_change_places_in_no_order() -> None:
    orders = [order.shootdown for order in load_ordering("kick,track,kick,remove").every_order()]

    assert len(orders) == len(set(orders)) == 12
