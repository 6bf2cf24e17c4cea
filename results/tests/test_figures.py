"""The figures of one race, from its entry of `runs`."""

from results.figures import FIGURES, figures_of
from results.kinds.bench.gate import NAMES
from results.tests.builders.run import a_run, phase


def test_the_figures_of_a_race_are_what_its_result_says() -> None:
    assert figures_of(a_run(out_of_guest_share=0.125)) == {
        "p50_ns": 667, "p90_ns": 871, "p99_ns": 6847, "max_ns": 112000, "shootdowns_per_s": 900.0,
        "reads_per_s": 180_000.0, "out_of_guest_p50_ns": 667, "out_of_guest_share": 0.125, "track_retries": 0.02,
        "stale_window_p50_ns": 667,
    }  # fmt: skip


def test_a_race_that_measured_nothing_has_no_figures() -> None:
    nothing = {name: phase(0) for name in a_run()["latency_ns"]}
    run = a_run(seconds=0.0, shootdowns=0, latency_ns=nothing, vcpu_ns={"out_of_guest": phase(0)})

    assert set(figures_of(run).values()) == {None}


def test_every_figure_has_one_meaning_for_each_of_its_names() -> None:
    names = [name for figure in FIGURES for name in (figure.id, *figure.also)]

    assert len(names) == len(set(names)) == len(NAMES)
