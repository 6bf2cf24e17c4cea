"""What stands on the terminal, at 80 columns and without colour."""

from itertools import pairwise
from typing import Any

import pytest
from rich.console import Console, RenderableType

from kernels.tdx.outcomes import Outcome
from results.collect.live import Live, live_table
from results.grades import SHORT_WHY, why
from results.kinds.run.tables import latency_table, observation_line, outcome_table, verdict_table
from results.table import WIDE, caveat_lines
from results.tests.builders.run import a_run, of_an_earlier_version, phase

LONG_NAME = "flag_gate_unserialized"


def shown(renderable: RenderableType, width: int = 80) -> list[str]:
    console = Console(width=width, no_color=True, force_terminal=False)
    with console.capture() as capture:
        console.print(renderable)
    return [line.rstrip() for line in capture.get().splitlines()]


def line_of(lines: list[str], start: str) -> str:
    return next(line for line in lines if line.strip().startswith(start))


def wrong(**changes: Any) -> dict[str, Any]:
    return a_run(LONG_NAME, {"tracking_not_done": 12}, expect=["tracking_not_done"], **changes)


def test_every_declared_outcome_has_one_line_at_80_columns():
    lines = shown(outcome_table(a_run(seen={"stale_in_window": 1234})))
    names = [line.split(" ")[0] for line in lines[2 : 2 + len(Outcome)]]

    assert sorted(names) == sorted(o.name for o in Outcome)
    assert "…" not in "".join(lines)


def test_acceptable_outcomes_come_first_and_unknown_ones_last():
    lines = shown(outcome_table(a_run()))

    assert lines[2].startswith("fresh ")
    assert lines[1 + len(Outcome)].startswith("unknown_status ")


def test_a_forbidden_outcome_at_zero_shows_count_bound_and_grade():
    line = line_of(shown(outcome_table(a_run())), "stale_after_done")

    assert line.split() == ["stale_after_done", "0", "0", "(<6.0e-04)", "forbidden", "used", "after", "the", "flush"]


def test_a_forbidden_outcome_that_was_seen_is_marked_without_colour():
    line = line_of(shown(outcome_table(wrong())), "tracking_not_done")

    assert "forbidden!" in line


def test_a_wide_terminal_shows_the_whole_reason():
    assert why("stale_in_window") in "\n".join(shown(outcome_table(a_run()), WIDE))


def test_a_narrow_terminal_has_a_short_reason_for_every_outcome():
    assert set(SHORT_WHY) == {o.name for o in Outcome}


def test_below_the_outcomes_stand_the_bound_and_the_verdict():
    text = "\n".join(shown(outcome_table(a_run())))

    assert "a rate of 6.0e-04 or more of those that met a vCPU would have\n  been caught" in text
    assert "PASSED: nothing forbidden in 4,321 shootdowns that met a vCPU" in text


def test_an_unsafe_ordering_is_marked_in_the_head_of_its_table():
    assert shown(outcome_table(wrong()))[0].startswith(f"{LONG_NAME} [unsafe, known for tracking_not_done]")


@pytest.mark.parametrize("make", [latency_table, verdict_table])
def test_an_unsafe_ordering_is_marked_wherever_a_number_of_it_stands(make: Any):
    lines = [line for line in shown(make([a_run("spec"), wrong()])) if LONG_NAME in line]

    assert lines
    assert all(f"{LONG_NAME} (unsafe)" in line for line in lines)


def test_the_latency_table_fits_80_columns_with_the_longest_name():
    slow = {"n": 99_999, "min": 1, "p50": 999_000, "p90": 123_000_000, "p99": 999_000, "p999": 999_000, "max": 999_000}
    lines = shown(latency_table([wrong(latency_ns={"shootdown": slow}, vcpu_ns={})]))

    assert lines[3].split() == [
        LONG_NAME, "(unsafe)", "99,999", "999", "us", "123", "ms", "999", "us", "999", "us", "999", "us",
    ]  # fmt: skip


def test_a_percentile_with_too_few_samples_says_so_instead_of_a_number():
    few = phase(100, min=400, p50=667, p90=871, max=900)
    lines = shown(latency_table([a_run(latency_ns={"shootdown": few}, vcpu_ns={})]))

    assert lines[3].split() == ["v18", "100", "667", "ns", "871", "ns", "n<368", "n<3688", "900", "ns"]


def test_a_phase_without_a_sample_has_no_row():
    lines = shown(latency_table([a_run(vcpu_ns={"gate_wait": phase(0), "out_of_guest": phase(0)})]))

    assert not any("vCPU at the gate" in line for line in lines)


def test_more_than_four_orderings_show_only_the_main_phases():
    lines = shown(latency_table([a_run(name) for name in "abcde"]))

    assert any("TRACK with retries" in line for line in lines)
    assert not any("REMOVE" in line for line in lines)


def test_nothing_measured_is_said_in_words():
    run = a_run(latency_ns={"shootdown": phase(0)}, vcpu_ns={})

    assert shown(latency_table([run])) == ["No latency: no shootdown was measured."]


def test_perturbed_latency_is_marked():
    text = " ".join(shown(latency_table([a_run(perturbed=True)])))

    assert "Perturbed on purpose, latency not to be compared: v18." in text


def test_traced_latency_is_marked():
    text = " ".join(shown(latency_table([a_run(trace={"ns_of_entry": 22.2}), a_run("spec", trace=None)])))

    assert "Traced, latency not to be compared with that of other runs: v18." in text


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, "Observation v18 Never 0 4321"),
        ({"seen": {"tracking_not_done": 12}}, "Observation v18 Sometimes 12 4309"),
        ({"seen": {"tracking_not_done": 4321}}, "Observation v18 Always 4321 0"),
        ({"seen": {"tracking_not_done": 12, "stale_after_done": 30}}, "Observation v18 Sometimes 30 4291"),
        ({"seen": {"stale_in_window": 500}}, "Observation v18 Never 0 4321"),
        ({"all_shootdowns": 0, "met": {"kicks": 0, "shootdowns": 0}}, "Observation v18 Never 0 0"),
    ],
)
def test_the_observation_counts_forbidden_shootdowns_and_the_others(changes: dict[str, Any], line: str):
    assert observation_line(a_run(**changes)) == line


def test_caveats_say_what_to_try():
    caveat = {"id": "x", "seen": "a thing", "means": "it matters", "try": "another thing"}

    assert shown(caveat_lines([caveat])) == ["Caveats", "! a thing: it matters. Try: another thing."]


def test_a_name_with_brackets_is_no_markup():
    text = "\n".join(shown(verdict_table([a_run("[red]mine[/red]")])))

    assert "[red]mine[/red]" in text


def test_the_live_table_shows_throughput_latency_and_outcomes():
    live = Live(LONG_NAME, False, "2 of 3, measuring", "4 s", 900, 123.4, 1.5e8, 667, None, {"stale_in_window": 7})
    lines = shown(live_table(live))

    assert lines[0] == "2 of 3, measuring"
    assert lines[2].split() == [LONG_NAME, "(unsafe)", "4", "s", "123", "150", "M", "667", "ns", "-"]
    assert lines[3].strip() == "stale_in_window 7"


def test_the_latency_table_has_shootdowns_that_met_a_vcpu_apart_from_those_that_met_nobody_and_not_all():
    lines = shown(latency_table([a_run()]), WIDE)

    assert [(name, line.split()[:4]) for name, line in pairwise(lines) if name.startswith("whole")] == [
        ("whole, met a vCPU", ["v18", "4,111", "667", "ns"]),
        ("whole, met nobody", ["v18", "389", "391", "ns"]),
    ]


def test_the_latency_table_of_an_earlier_version_has_all_shootdowns():
    lines = shown(latency_table([of_an_earlier_version(a_run())]), WIDE)

    assert [(name, line.split()[:4]) for name, line in pairwise(lines) if name.startswith("whole")] == [
        ("whole shootdown", ["v18", "4,500", "512", "ns"]),
    ]


def test_the_share_that_met_a_vcpu_stands_with_the_verdict_and_a_dash_where_nobody_counted():
    run = a_run()
    old = of_an_earlier_version(a_run("spec"))

    assert line_of(shown(verdict_table([run, old])), "v18").split()[2:5] == ["5,000", "86.4", "%"]
    assert line_of(shown(verdict_table([run, old])), "spec").split()[2:4] == ["5,000", "-"]


def test_a_result_of_an_earlier_version_has_no_bound_and_says_that_nobody_counted():
    text = "\n".join(shown(outcome_table(of_an_earlier_version(a_run())), WIDE))

    assert "would have been caught" not in text
    assert "5,000 shootdowns, not counted which met a vCPU; rates" in text
