"""A table that fits drops columns whole, and cuts nothing."""

import pytest

from results.table import Fitting
from results.tests.views import printed

COLUMNS = [("WHO", "left"), ("p50", "right"), ("p99", "right"), ("READS/s", "right")]
ROWS = [["a_long_ordering (unsafe)", "1.23 us", "3.93 ms", "114 M"]]


@pytest.mark.parametrize(
    ("width", "heads"),
    [(48, "WHO p50 p99 READS/s"), (47, "WHO p50 p99"), (40, "WHO p50 p99"), (39, "WHO p50"), (10, "WHO p50")],
)
def test_the_least_columns_go_first_where_there_is_no_room(width: int, heads: str) -> None:
    lines = printed(Fitting(COLUMNS, ROWS, ("READS/s", "p99")), width=width).splitlines()

    assert " ".join(lines[0].split()) == heads
    assert width < 30 or "…" not in "".join(lines)
