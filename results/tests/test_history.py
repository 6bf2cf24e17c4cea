"""Directories as tables: what is listed, filtered, exported and skipped."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from results.draw.over_time import FIGURES, history_picture
from results.draw.sheet import drawn
from results.history import History
from results.tests.builders.bench import a_bench, noisy, thin
from results.tests.builders.kept import keep
from results.tests.builders.run import SCENARIO, a_result, a_run


def keep_run(directory: Path, *runs: dict[str, Any], **changes: Any) -> None:
    keep(directory, a_result(*runs, **changes))


def test_a_bench_has_a_row_for_each_point_in_turn_with_the_verdict_of_all_its_rounds(tmp_path: Path):
    keep(tmp_path, thin(a_bench(25, noisy({}), values=(4, 1, 16)), 12))

    found = [(row["point"], row["ordering"], row["verdict"]) for row in History([tmp_path]).rows({})]

    assert found == [
        (point, name, "passed") for name in ("spec", "v18") for point in ("vcpus=4", "vcpus=1", "vcpus=16")
    ]


def test_a_changed_run_or_bench_has_a_name_of_its_own_and_is_found_by_the_plain_one(tmp_path: Path):
    faulty = a_run("spec", parameters={"faults": ["lost_kick"]}, changed={"kick.wait": False})
    scenario = {**SCENARIO, "changed": {"pages": 8}}
    keep_run(tmp_path / "plain", a_run("spec"))
    keep_run(tmp_path / "changed", faulty, scenario=scenario)
    bench = a_bench(10, noisy({}))
    arms = [arm.model_copy(update={"changed": {"gate": "flag"}} if arm.arm == "B" else {}) for arm in bench.arms]
    changed = bench.model_copy(update={"arms": tuple(arms), "scenario": {**bench.scenario, "changed": {"rate": 9.5}}})
    keep(tmp_path / "bench", changed)

    history = History([tmp_path])

    assert {(row["scenario"], row["ordering"], row["changed"]) for row in history.rows({"ordering": "spec"})} == {
        ("review", "spec", ""),
        ("review (pages=8)", "spec (lost_kick, kick.wait=false)", "lost_kick, kick.wait=false, pages=8"),
        ("review (rate=9.5)", "spec", "rate=9.5"),
    }
    assert [row["ordering"] for row in history.rows({"ordering": "v18*"})] == ["v18 (gate=flag)"]
    assert history.query("SELECT DISTINCT scenario, ordering FROM rounds ORDER BY 2") == [
        {"scenario": "review (rate=9.5)", "ordering": "spec"},
        {"scenario": "review (rate=9.5)", "ordering": "v18 (gate=flag)"},
    ]


@pytest.mark.parametrize(
    ("wanted", "kept"),
    [
        ({"scenario": "review"}, ["old", "new"]),
        ({"scenario": "crowd"}, []),
        ({"ordering": "o*"}, ["old"]),
        ({"host": "some cpu"}, ["old"]),
        ({"host": "1a2b"}, ["new"]),
        ({"version": "0.2.*"}, ["new"]),
        ({"verdict": "failed"}, ["new"]),
        ({"since": "2026-01-01"}, ["new"]),
        ({"since": "2025-06-01T02:00+02:00"}, ["old", "new"]),
        ({"since": "2026-01-01", "verdict": "passed"}, []),
    ],
)
def test_filters_keep_what_matches_all_of_them(tmp_path: Path, wanted: dict[str, str], kept: list[str]):
    keep_run(tmp_path / "a", a_run("old"), started="2025-06-01T00:00:00Z", version="0.1.0")
    other = {"id": "1a2b3c4d", "cpu_model": "Another", "cpus_allowed": 2}
    keep_run(tmp_path / "b", a_run("new", verdict="failed"), version="0.2.1", host=other)

    assert [row["ordering"] for row in History([tmp_path]).rows(wanted)] == kept


def test_the_newest_rows_are_the_last(tmp_path: Path):
    keep_run(tmp_path / "a", a_run("new"), started="2026-06-01T00:00:00Z")
    keep_run(tmp_path / "b", a_run("old"), started="2025-06-01T00:00:00Z")

    assert [row["ordering"] for row in History([tmp_path]).rows({})] == ["old", "new"]
    assert [row["ordering"] for row in History([tmp_path]).rows({}, last=1)] == ["new"]


def test_a_link_to_a_run_does_not_count_it_twice(tmp_path: Path):
    keep_run(tmp_path / "one", a_run())
    (tmp_path / "latest").symlink_to("one")

    assert len(History([tmp_path, tmp_path / "one"]).rows({})) == 1


def test_a_name_with_a_pattern_in_it_is_only_a_name(tmp_path: Path):
    keep_run(tmp_path / "[a]*?", a_run())
    history = History([tmp_path])

    assert (history.skipped, len(history.rows({}))) == ([], 1)


def test_a_file_that_is_no_result_is_skipped_and_named(tmp_path: Path):
    keep_run(tmp_path / "good", a_run())
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/result.json").write_text('{"schema": "other/1"}')
    history = History([tmp_path])

    assert len(history.rows({})) == 1
    assert history.skipped == [f"{tmp_path}/bad/result.json: expected schema tdx-stress/result/1, found other/1"]


def test_a_query_sees_what_the_filters_left(tmp_path: Path):
    keep_run(tmp_path / "one", a_run("spec"), a_run("v18"))
    history = History([tmp_path])
    history.rows({"ordering": "v18"})

    assert history.query("SELECT count(*) AS n FROM chosen") == [{"n": 1}]
    assert history.query("SELECT count(*) AS n FROM runs") == [{"n": 2}]


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".json"])
def test_a_copy_is_read_back_with_every_row(tmp_path: Path, suffix: str):
    keep_run(tmp_path / "runs/one", a_run("spec"), a_run("v18"))
    history = History([tmp_path / "runs"])
    history.copy(tmp_path / f"copy{suffix}", {"ordering": "v18"})

    assert history.query(f"SELECT ordering, p50_ns FROM '{tmp_path}/copy{suffix}'") == [
        {"ordering": "v18", "p50_ns": 667}
    ]


@pytest.mark.parametrize("figure", list(FIGURES))
def test_every_figure_can_be_drawn_over_time(tmp_path: Path, figure: str):
    keep_run(tmp_path / "a", a_run("spec"), a_run("no_kick", expect=["tracking_not_done"], verdict="inconclusive"))
    keep_run(tmp_path / "b", a_run("spec"), started="2026-11-25T00:00:00Z", scenario={"name": "crowd"})
    files = drawn({"a": partial(history_picture, History([tmp_path]).rows({}), figure)}, ["svg"])

    assert files["a.svg"].startswith(b"<?xml")


def test_no_run_with_the_figure_is_a_picture_that_says_so():
    (panel,) = history_picture([], "p50").axes

    assert [text.get_text() for text in panel.texts] == ["No run has this figure."]


def test_two_machines_have_a_line_each_in_one_picture(tmp_path: Path):
    host = {"cpu_model": "One", "cpus_allowed": 2}
    for number, machine in enumerate(("1a2b3c4d", "5e6f7081", "1a2b3c4d"), start=1):
        keep_run(
            tmp_path / str(number), a_run("spec"), started=f"2026-11-0{number}T00:00:00Z", host={**host, "id": machine}
        )

    (panel,) = history_picture(History([tmp_path]).rows({}), "p50").axes
    labels = ((str(line.get_label()), np.size(line.get_xdata())) for line in panel.lines)
    lines = {label: points for label, points in labels if "spec" in label}
    assert lines == {"spec, 1a2b3c4d": 2, "spec, 5e6f7081": 1}


def test_points_of_a_sweep_and_changed_scenarios_have_a_panel_each(tmp_path: Path):
    keep_run(tmp_path / "plain", a_run("spec"))
    keep_run(tmp_path / "changed", a_run("spec"), scenario={**SCENARIO, "changed": {"pages": 8}})
    keep(tmp_path / "bench", a_bench(10, noisy({}), values=(1, 16), key="gap"))

    panels = history_picture(History([tmp_path]).rows({}), "p50").axes

    assert {ax.get_title().partition(", 2 vCPUs")[0] for ax in panels} == {
        "review", "review (pages=8)", "review gap=1", "review gap=16",
    }  # fmt: skip
