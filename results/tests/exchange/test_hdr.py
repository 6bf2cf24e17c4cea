"""HdrHistogram's own package reads back what was written, bucket for bucket."""

from pathlib import Path
from typing import Any

import pytest
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

from results.exchange.hdr import hgrm_bytes, hlog_bytes
from results.numbers.statistics import HIGHEST_NS, HIGHS_NS, LOWS_NS, MIDS_NS
from results.tests.builders.run import a_result, a_run, counted


def logged(tmp_path: Path, result: dict[str, Any], arrays: dict[str, Any]) -> dict[str, HdrHistogram]:
    """The histograms of the log by their tags, as the package's reader gives them."""
    (tmp_path / "latency.hlog").write_bytes(hlog_bytes(result, arrays))
    reader = HistogramLogReader(str(tmp_path / "latency.hlog"), HdrHistogram(1, HIGHEST_NS, 2))
    found = {}
    while histogram := reader.get_next_interval_histogram():
        found[histogram.get_tag()] = histogram
    reader.close()
    return found


def test_every_bucket_is_the_packages_own():
    histogram = HdrHistogram(1, HIGHEST_NS, 2)
    lows = [histogram.get_lowest_equivalent_value(int(value)) for value in HIGHS_NS]
    highs = [histogram.get_highest_equivalent_value(int(value)) for value in LOWS_NS]

    assert (lows, highs) == (LOWS_NS.tolist(), HIGHS_NS.tolist())
    assert MIDS_NS.tolist() == [low + (high - low + 1) // 2 for low, high in zip(lows, highs, strict=True)]


def test_a_log_is_read_back_by_its_tags_with_every_count(tmp_path: Path):
    arrays = {"v18/hist/shootdown": counted(0, 250, 257, 70_000, HIGHEST_NS), "v18/hist/track": counted(10, 10)}
    arrays |= {f"v18/hist/shootdown_{name}": counted(10) for name in ("empty", "met")}
    result = a_result(a_run(warmup_s=0.5, seconds=5.0), started="2026-11-22T14:41:49Z")
    found = logged(tmp_path, result, arrays)
    whole = found["v18.shootdown"]

    assert sorted(found) == ["v18.shootdown", "v18.shootdown_empty", "v18.shootdown_met", "v18.track"]
    assert (whole.get_total_count(), whole.get_max_value()) == (5, HIGHEST_NS)
    assert found["v18.track"].get_count_at_value(10) == 2
    assert (whole.get_start_time_stamp(), whole.get_end_time_stamp()) == (1795358509500.0, 1795358514500.0)


def test_an_orderings_name_cannot_break_the_log(tmp_path: Path):
    name = "block,track\nkick"
    found = logged(tmp_path, a_result(a_run(name)), {f"{name}/hist/shootdown": counted(10)})

    assert list(found) == ["block_track_kick.shootdown"]


def test_a_distribution_has_the_packages_lines_under_the_orderings_name():
    counts = {"v18/hist/shootdown": counted(*range(1, 121)), "v18/hist/shootdown_met": counted(*range(1, 101))}
    lines = hgrm_bytes(a_result(a_run()), counts).decode().splitlines()
    rows = [[float(part) for part in line.split()] for line in lines[3:] if line and not line.startswith("#")]

    assert lines[0] == "#[Ordering = v18, n = 100, unit = ns]"
    assert lines[1].split() == ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"]
    assert rows[1] == [10.0, 0.1, 10.0, 1.11]
    assert rows[-1] == [100.0, 1.0, 100.0]


@pytest.mark.parametrize("made", [hgrm_bytes, hlog_bytes])
def test_an_ordering_that_measured_nothing_has_no_part(made: Any):
    assert b"v18" not in made(a_result(a_run()), {})
