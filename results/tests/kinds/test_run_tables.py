"""What stands on the terminal, at 80 columns and without colour."""

from typing import Any

import pytest
from rich.console import Console, RenderableType

from results.kinds.run.tables import latency_table, observation_line, verdict_table
from results.tests.builders.run import a_run, phase

LONG_NAME = "flag_gate_unserialized"


def shown(renderable: RenderableType, width: int = 80) -> list[str]:
    console = Console(width=width, no_color=True, force_terminal=False)
    with console.capture() as capture:
        console.print(renderable)
    return [line.rstrip() for line in capture.get().splitlines()]


def wrong(**changes: Any) -> dict[str, Any]:
    return a_run(LONG_NAME, {"tracking_not_done": 12}, expect=["tracking_not_done"], **changes)


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


def test_a_name_with_brackets_is_no_markup():
    text = "\n".join(shown(verdict_table([a_run("[red]mine[/red]")])))

    assert "[red]mine[/red]" in text
