"""The page of a bench: the ratios first, with the first ordering against itself, and the scaling curve of a sweep."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from results.kinds.bench.directory import pooled
from results.kinds.bench.findings import found
from results.kinds.bench.page import bench_page
from results.kinds.bench.record import Bench, round_file
from results.page import render
from results.store import StoreError
from results.tests.builders.bench import a_bench, noisy, with_races
from results.tests.builders.run import counted
from results.tests.html_reading import Read
from results.verdict import Verdict


def page_of(bench: Bench) -> Read:
    hists = {
        (point, arm.arm): {"shootdown_met": counted(*range(100, 900))} for point in bench.points for arm in bench.arms
    }
    return Read(render(bench_page(found(bench), hists)))


def test_a_first_ordering_that_differs_from_itself_is_the_headline():
    text = page_of(a_bench(12, noisy({"A2": 3.0}))).text

    assert "Inconclusive: no difference here is to be believed" in text
    assert "spec differs from itself" in text


def test_too_few_rounds_still_have_a_page():
    text = page_of(a_bench(2, noisy({}))).text

    assert "The A/A arm says nothing: too few rounds (2)." in text
    assert "No ratio: too few rounds, or nothing was measured." in text


@pytest.mark.parametrize(("verdict", "headline"), [(Verdict.failed, "Failed: "), (Verdict.crashed, "Broken: ")])
def test_what_failed_at_one_point_and_was_inconclusive_at_another_has_failed(verdict: Verdict, headline: str):
    bench = with_races(a_bench(10, noisy({}), values=(1, 2)), verdict=Verdict.inconclusive, reason="so it was")
    bench = with_races(bench, lambda race: race.point == "vcpus=1", verdict=verdict)
    page = bench_page(found(bench), defaultdict(dict))

    assert [card.verdict for card in page.cards] == [verdict, verdict]
    assert page.headline.startswith(headline)


@pytest.mark.parametrize("values", [(), (1, 2, 4)])
def test_the_page_is_whole_loads_nothing_and_runs_nothing(values: tuple[int, ...]):
    assert page_of(a_bench(12, noisy({"B": 1.5}), values=values)).troubles == []


def keep_rounds(directory: Path, rounds: int, **arrays: Any) -> None:
    for number in range(1, rounds + 1):
        path = round_file(directory, number)
        path.parent.mkdir(exist_ok=True)
        np.savez(path, **arrays)


def test_the_rounds_of_an_arm_are_added_up(tmp_path: Path):
    keep_rounds(tmp_path, 3, **{"B/hist/shootdown_met": counted(100, 100)})
    hists = pooled(a_bench(3, noisy({})), tmp_path)

    assert int(hists["", "B"]["shootdown_met"].sum()) == 6
    assert hists["", "A"] == {}


def test_rounds_of_another_kind_are_named_by_their_file(tmp_path: Path):
    keep_rounds(tmp_path, 1, **{"B/hist/shootdown_met": np.zeros(7, dtype=np.int64)})

    with pytest.raises(StoreError, match=r"rounds/0001\.npz: B/hist/shootdown_met: expected \d+ counts, found \(7,\)"):
        pooled(a_bench(1, noisy({})), tmp_path)


def test_a_round_that_is_gone_is_named(tmp_path: Path):
    with pytest.raises(StoreError, match=r"rounds/0001\.npz: expected the arrays of a round"):
        pooled(a_bench(1, noisy({})), tmp_path)
