"""A table is drawn by a terminal, a page and Markdown from one value, and cuts nothing."""

from dataclasses import replace

import pytest

from results.table import Table, markdown
from results.tests.views import printed

TABLE = Table(
    "Who",
    ("ordering", "p50", "p99", "reads/s"),
    (("a_long_ordering (unsafe)", "1.23 us (1.20-1.31)", "3.93 ms", "114 M"), ("b|c", "-", "7 ns", "9")),
    frozenset({1, 2, 3}),
    least=(3, 2),
)


@pytest.mark.parametrize(
    ("width", "heads", "interval"),
    [
        (60, "ordering p50 p99 reads/s", True), (59, "ordering p50 p99 reads/s", False),
        (48, "ordering p50 p99 reads/s", False), (47, "ordering p50 p99", False), (40, "ordering p50 p99", False),
        (39, "ordering p50", False), (32, "ordering p50", False),
    ],
)  # fmt: skip
def test_intervals_go_first_where_there_is_no_room_then_the_least_columns(
    width: int, heads: str, interval: bool
) -> None:
    lines = printed(TABLE, width=width).splitlines()

    assert " ".join(lines[1].split()) == heads
    assert [len(lines), lines[2][:24]] == [4, "a_long_ordering (unsafe)"]
    assert ("(1.20-1.31)" in lines[2]) is interval


def test_a_power_stands_right_behind_its_number_where_the_interval_between_them_has_gone() -> None:
    table = Table("", ("outcome", "rate"), (("operand_busy", "3.7 (0.8-10.8) e-07"),), frozenset({1}))

    assert "operand_busy 3.7e-07" in printed(table, width=24)
    assert "operand_busy 3.7 (0.8-10.8) e-07" in printed(table, width=40)


def test_texts_wrap_between_words_where_no_column_can_go_and_numbers_do_not() -> None:
    lines = printed(replace(TABLE, least=()), width=51).splitlines()

    assert lines[2:] == [
        "a_long_ordering 1.23 us (1.20-1.31) 3.93 ms   114 M", "(unsafe)",
        "b|c                               -    7 ns       9",
    ]  # fmt: skip


def test_markdown_has_the_same_cells_and_escapes_bars() -> None:
    assert markdown(TABLE).splitlines() == [
        "**Who**", "",
        "| ordering | p50 | p99 | reads/s |",
        "| --- | ---: | ---: | ---: |",
        "| a_long_ordering (unsafe) | 1.23 us (1.20-1.31) | 3.93 ms | 114 M |",
        "| b\\|c | - | 7 ns | 9 |",
    ]  # fmt: skip


@pytest.mark.parametrize(("width", "heads"), [(46, "grade steps why"), (45, "grade steps why"), (44, "grade steps")])
def test_a_column_of_words_goes_where_it_would_be_narrower_than_a_few_of_them(width: int, heads: str) -> None:
    words = "old translation after BLOCK, before done"
    table = Table("", ("grade", "steps", "why"), (("acceptable", "1,234,567", words),), frozenset({1}), legible=(2,))

    lines = printed(table, width=width).splitlines()

    assert " ".join(lines[0].split()) == heads
    assert len(lines) == (2 if heads == "grade steps" else 3)
