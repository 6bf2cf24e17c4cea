"""Results of earlier versions are read as ever, and nothing is claimed from what they did not count: which shootdowns
met a vCPU, and keys that a scenario did not have.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from kernels.tdx.outcomes import OUTCOMES
from results.draw.panels import Shown, done_by
from results.draw.style import styles
from results.exchange.hdr import hgrm_bytes
from results.kinds.bench.compare import unlike
from results.kinds.bench.findings import exit_code, found, seen
from results.kinds.run.answer import review_answer
from results.kinds.run.record import read_result
from results.numbers.rounds import Met, met_of, too_few_met
from results.store import RunDirectory
from results.tests.builders.bench import a_bench, noisy, with_races
from results.tests.builders.run import a_result, a_run, counted, of_an_earlier_version
from results.tests.kinds.test_bench_compare import stored
from results.verdict import judge, said, whole

UNCOUNTED = "made by an earlier version, which did not count the shootdowns that met a vCPU"
OLD = of_an_earlier_version(a_run())
ALL = {"v18/hist/shootdown": counted(*range(1, 121))}


def test_no_absence_is_claimed_and_latency_is_of_all_shootdowns() -> None:
    ax = Figure().add_subplot()
    done_by(ax, Shown([OLD], styles([OLD]), ALL))

    assert judge(OLD) == ("inconclusive", UNCOUNTED)
    assert said(OLD) == "5,000 shootdowns, not counted which met a vCPU"
    assert whole(OLD) == OLD["latency_ns"]["shootdown"]
    assert hgrm_bytes(a_result(OLD), ALL).startswith(b"#[Ordering = v18, n = 120, unit = ns]")
    assert float(np.asarray(ax.lines[0].get_xdata())[-1]) == 120


def test_a_directory_is_read_with_todays_verdict_and_none_of_the_outcomes_that_came_later(tmp_path: Path) -> None:
    series = {"v18/series/time_s": np.array([0.5, 1.0]), "v18/series/outcomes": np.ones((2, 37), np.int64)}
    RunDirectory(tmp_path).write(a_result(OLD), series)
    result, arrays = read_result(tmp_path).result, read_result(tmp_path).arrays

    assert [(run["verdict"], run["reason"]) for run in result["runs"]] == [("inconclusive", UNCOUNTED)]
    assert arrays["v18/series/outcomes"].sum(axis=0).tolist() == [2] * 37 + [0] * (OUTCOMES - 37)


def test_an_order_that_passed_then_decides_nothing() -> None:
    assert review_answer(a_result(a_run("spec"), OLD)) == (
        f"This run does not decide whether TRACK or the kick comes first: v18 is inconclusive ({UNCOUNTED}).",
    )


def test_a_bench_ranks_nothing_and_claims_no_absence() -> None:
    bench = found(with_races(a_bench(12, noisy({"B": 1.5})), lambda race: True, met=None, met_shootdowns=None))
    entry = seen(bench)["", "v18"]

    assert {one.verdict_text for one in bench.comparisons if one.figure == "p50_ns" and one.arm == "B"} == {
        "not comparable: it is not known how many shootdowns met a vCPU"
    }
    assert (entry["verdict"], entry["reason"], exit_code(bench)) == ("inconclusive", UNCOUNTED, 6)
    assert too_few_met("reads_per_s", met_of(OLD)) == "it is not known how many shootdowns met a vCPU"
    assert met_of(OLD) == Met(None, 4500)


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ({}, {"lps": 2, "epf_threshold": 6, "hp_lock_timeout": 100, "delays": {}, "kick_by": "word"}, ""),
        ({"flow": "populate+migrate"}, {"flow": "migrate+populate"}, ""),
        ({}, {"flow": "shootdown", "batch": 1}, ""),
        ({}, {"flow": "batch", "batch": 16}, "flow shootdown in A, batch in B; batch 1 in A, 16 in B"),
        ({"placement": ...}, {}, "placement mixed in A, apart in B"),
    ],
)
def test_a_key_that_a_scenario_did_not_have_was_as_its_machines_were_then(
    tmp_path: Path, first: dict[str, Any], second: dict[str, Any], told: str
) -> None:
    one, other = (
        replace(its, scenario={key: value for key, value in {**its.scenario, **keys}.items() if value is not ...})
        for its, keys in (
            (stored(tmp_path / side, a_bench(10, noisy({}))), keys) for side, keys in (("a", first), ("b", second))
        )
    )

    assert unlike(one, other) == (f"not comparable: {told}; give two results of one scenario" if told else "")
