"""Numbers as people read them."""

import pytest

from results.words import conditions, count, nanoseconds, nanoseconds_with_interval, plural, rate_with_interval, share


@pytest.mark.parametrize(
    ("value_ns", "text"),
    [
        (None, "-"),
        (0, "0 ns"),
        (999, "999 ns"),
        (1000, "1.00 us"),
        (6015, "6.01 us"),
        (12_345_678, "12.3 ms"),
        (999_999, "1.00 ms"),
        (2**40, "1,100 s"),
    ],
)
def test_times_have_three_digits_and_a_unit(value_ns: int | None, text: str):
    assert nanoseconds(value_ns) == text


@pytest.mark.parametrize(
    ("values", "text"), [((667, 663, 671), "667 ns (663-671)"), ((940, 870, 1020), "940 ns (870 ns-1.02 us)")]
)
def test_an_interval_shares_its_unit_where_it_can(values: tuple[int, int, int], text: str):
    assert nanoseconds_with_interval(*values) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (99_999, "99,999"), (100_000, "100 k"), (1_512_345, "1.51 M"), (999_999, "1.00 M"), (2.5e9, "2.50 G")],
)
def test_counts_are_exact_until_they_are_long(value: float, text: str):
    assert count(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (1, "100 %"), (0.9999, "> 99.9 %"), (0.123, "12.3 %"), (0.000037, "3.7e-05")]
)
def test_shares_are_percent_until_they_are_small(value: float, text: str):
    assert share(value) == text


@pytest.mark.parametrize("of", [0, 4321])
def test_an_outcome_only_of_shootdowns_that_met_nobody_is_no_zero(of: int):
    outcome = {"shootdowns": 12, "met": 0, "of": of, "rate": 0.0, "ci95": [0.0, 0.0009]}

    assert rate_with_interval(outcome) == "12 that met nobody"


@pytest.mark.parametrize(
    ("shootdowns", "of", "ci95", "text"),
    [
        (0, 81234, [0.0, 3.69e-05], "0 (<3.7e-05)"),
        (3, 81234, [7.6e-06, 1.08e-04], "3.7 (0.8-10.8) e-05"),
        (300, 1000, [0.272, 0.330], "30.0 % (27.2-33.0)"),
        (0, 0, [0.0, 1.0], "none met a vCPU"),
    ],
)
def test_a_rate_stands_with_its_interval(shootdowns: int, of: int, ci95: list[float], text: str):
    outcome = {"shootdowns": shootdowns, "of": of, "rate": shootdowns / of if of else 0.0, "ci95": ci95}

    assert rate_with_interval(outcome) == text


def test_a_zero_has_the_bound_of_its_sentence_in_an_earlier_result_too():
    earlier = {"shootdowns": 0, "of": 81234, "rate": 0.0, "ci95": [0.0, 4.54e-05], "would_have_caught": 3.69e-05}

    assert rate_with_interval(earlier) == "0 (<3.7e-05)"


def test_what_belongs_to_no_shootdown_has_no_rate():
    assert rate_with_interval({"shootdowns": None, "of": 10, "rate": None, "ci95": None}) == ""


def test_one_of_a_thing_is_not_plural():
    assert (plural(1, "vCPU"), plural(2, "vCPU")) == ("1 vCPU", "2 vCPUs")


def test_what_is_not_as_usual_is_told():
    assert conditions({"kick_by": "word", "costs": {}}) == conditions({}) == []
    assert conditions({"kick_by": "signal", "costs": {"track": "2us", "exit": "0"}}) == [
        "kick by signal",
        "costs track=2us exit=0",
    ]
