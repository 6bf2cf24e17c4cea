"""Numbers as people read them."""

from typing import Any

import pytest

from results.words import (
    broken_name,
    conditions,
    count,
    described,
    mean,
    nanoseconds,
    nanoseconds_with_interval,
    per_second,
    plural,
    rate_with_interval,
    share,
    title_of,
)


@pytest.mark.parametrize(
    ("value_ns", "text"),
    [
        (None, "-"), (0, "0 ns"), (999, "999 ns"), (1000, "1.00 us"), (6015, "6.01 us"), (12_345_678, "12.3 ms"),
        (999_999, "1.00 ms"), (2**40, "1,100 s"),
    ],
)  # fmt: skip
def test_times_have_three_digits_and_a_unit(value_ns: int | None, text: str):
    assert nanoseconds(value_ns) == text


@pytest.mark.parametrize(
    ("values", "text"), [((667, 663, 671), "667 ns (663-671)"), ((940, 870, 1020), "940 ns (870 ns-1.02 us)")]
)
def test_an_interval_shares_its_unit_where_it_can(values: tuple[int, int, int], text: str):
    assert nanoseconds_with_interval(*values) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (99_999, "99,999"), (9_999_999, "9,999,999"), (10_000_000, "10.0 M"), (999_999_999, "1.00 G")],
)
def test_counts_are_exact_until_they_are_long(value: float, text: str):
    assert count(value) == text


@pytest.mark.parametrize(
    ("rate", "text"),
    [(0, "0"), (999, "999"), (999.6, "1.00 k"), (81_234, "81.2 k"), (1.512e6, "1.51 M"), (2e12, "2,000 G")],
)
def test_rates_have_three_digits(rate: float, text: str):
    assert per_second(rate) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (1, "100 %"), (0.9995, "> 99.9 %"), (0.9994, "99.9 %"), (0.123, "12.3 %"), (0.001, "0.10 %"),
        (0.00099, "0.099 %"), (0.000037, "0.0037 %"), (1e-6, "0.00010 %"), (9e-7, "9.0e-07"),
    ],
)  # fmt: skip
def test_shares_are_percent_until_they_are_small(value: float, text: str):
    assert share(value) == text


@pytest.mark.parametrize(
    ("shootdowns", "of", "ci95", "more", "text"),
    [
        (0, 81234, [0.0, 3.69e-05], {}, "0 (<0.0037 %)"),
        (3, 81234, [7.6e-06, 1.08e-04], {}, "0.0037 % (0.0008-0.0108)"),
        (3, 10_000_000, [6.2e-08, 8.8e-07], {}, "3.0 (0.6-8.8) e-07"),
        (300, 1000, [0.272, 0.330], {}, "30.0 % (27.2-33.0)"),
        (0, 0, [0.0, 1.0], {}, "none met a vCPU"),
        # Only of shootdowns that met nobody is no zero.
        (12, 0, [0.0, 0.0009], {"met": 0, "rate": 0.0}, "12 that met nobody"),
        (12, 4321, [0.0, 0.0009], {"met": 0, "rate": 0.0}, "12 that met nobody"),
        # The bound of a zero is that of its sentence, also where an earlier version had two.
        (0, 6928, [0.0, 0.000532], {"would_have_caught": 0.000432}, "0 (<0.043 %)"),
        # What belongs to no shootdown has no rate.
        (None, 10, None, {"rate": None}, ""),
    ],
)
def test_a_rate_stands_with_its_interval(shootdowns: int | None, of: int, ci95: Any, more: dict[str, Any], text: str):
    rate = shootdowns / of if shootdowns and of else 0.0

    assert rate_with_interval({"shootdowns": shootdowns, "of": of, "rate": rate, "ci95": ci95} | more) == text


def test_one_of_a_thing_is_not_plural():
    assert (plural(1, "vCPU"), plural(2, "vCPU")) == ("1 vCPU", "2 vCPUs")


def test_what_is_not_as_usual_is_told():
    assert conditions({"kick_by": "word", "costs": {}}) == conditions({}) == []
    assert conditions({"kick_by": "signal", "costs": {"track": "2us", "exit": "0"}}) == [
        "kick by signal",
        "costs track=2us exit=0",
    ]


def test_what_was_changed_is_told_once_and_whose_it_is_where_not_all_have_it():
    spec = {"ordering": "spec", "parameters": {"faults": ["lost_kick"]}, "changed": {"kick.wait": False}}
    v18 = {"ordering": "v18", "changed": {"kick.wait": False, "gate": "flag"}}
    scenario = {"changed": {"pages": 8, "tick_us": 0}}

    assert conditions(scenario, [spec, v18], ["pages"]) == [
        "faults: lost_kick in spec",
        "set: kick.wait=false, gate=flag in v18, tick_us=0",
    ]
    assert conditions(scenario, [spec]) == ["faults: lost_kick", "set: kick.wait=false, pages=8, tick_us=0"]


def test_an_ordering_without_a_title_is_told_by_its_steps():
    assert title_of({"title": "TRACK first", "shootdown": ["block"]}) == "TRACK first"
    assert title_of({"title": "", "shootdown": ["block", "kick"]}) == "block, kick"
    assert title_of({"title": "", "parameters": {"shootdown": ["block", "track"]}}) == "block, track"
    assert title_of({"title": ""}) == "without a title"
    assert described({"ordering": "a", "title": "A title", "faults": ["lost_kick"]}) == "A title; faults: lost_kick"


def test_a_mean_has_no_power_of_ten():
    assert [mean(value) for value in (0, 0.000019, 0.02, 12.34, 99.96, 3707.4, 1e7)] == [
        "0", "0.000019", "0.020", "12.3", "100", "3,707", "10,000,000",
    ]  # fmt: skip


def test_a_head_breaks_a_name_at_underscores_and_marks_and_never_before_its_first_word():
    assert broken_name("kick_then_track (unsafe) (changed)") == "kick_then_\ntrack\n(unsafe)\n(changed)"
    assert broken_name("block,track,remove,kick") == "block,track,remove,kick"
    assert broken_name("spec", safe=False) == "spec\n(unsafe)"
