"""What stands on the terminal, at 80 columns and without colour."""

from typing import Any

import pytest

from results.caveats import caveats
from results.exchange.cases import summary
from results.kinds.kind import BY_NAME
from results.kinds.run.tables import (
    observation_line,
    percentiles_table,
    run_cases,
    run_screen,
    run_tables,
    seen_table,
)
from results.table import Table
from results.tests.builders.run import HOST, SCENARIO, a_result, a_run, phase
from results.tests.views import printed
from results.verdict import MET

LONG_NAME = "flag_gate_unserialized"


def shown(*runs: dict[str, Any], width: int = 80, **more: Any) -> list[str]:
    return printed(*run_screen(a_result(*runs, **more)), width=width).splitlines()


def times_of(run: dict[str, Any]) -> list[str]:
    """The last row of its times."""
    return printed(percentiles_table([run], ["shootdown"], "", intervals=False), width=80).splitlines()[-1].split()


def wrong(**changes: Any) -> dict[str, Any]:
    return a_run(LONG_NAME, {"tracking_not_done": 12}, expect=["tracking_not_done"], **changes)


def test_an_unsafe_ordering_is_marked_wherever_a_number_of_it_stands() -> None:
    result = a_result(a_run("spec"), wrong())
    tables = [one for one in (*run_screen(result), *run_tables(result)) if isinstance(one, Table)]
    named = [cell for table in tables for row in table.rows for cell in row if LONG_NAME in cell]

    assert len(named) > 9
    assert set(named) == {f"{LONG_NAME} (unsafe)"}
    assert seen_table(result["runs"]).head[2:] == ("spec", "flag_gate_\nunserialized\n(unsafe)")


def test_the_times_fit_80_columns_with_the_longest_name() -> None:
    slow = {
        "n": 99_999, "min": 1, "p50": 999_000, "p90": 123_000_000, "p99": 999_000, "p999": 999_000, "max": 999_000,
        "ci95": {},
    }  # fmt: skip

    assert times_of(wrong(latency_ns={"shootdown": slow}, vcpu_ns={})) == [
        LONG_NAME, "(unsafe)", "99,999", "999", "us", "123", "ms", "999", "us", "999", "us", "999", "us",
    ]  # fmt: skip


def test_a_percentile_with_too_few_samples_says_so_instead_of_a_number() -> None:
    few = phase(100, min=400, p50=667, p90=871, max=900) | {"ci95": {}}

    assert times_of(a_run(latency_ns={"shootdown": few}, vcpu_ns={})) == [
        "v18", "100", "667", "ns", "871", "ns", "n<368", "n<3688", "900", "ns",
    ]  # fmt: skip


def test_a_phase_without_a_sample_has_no_row_and_nothing_measured_is_said_in_words() -> None:
    run = a_run(latency_ns={"shootdown": phase(0), MET: phase(0)}, vcpu_ns={"gate_wait": phase(0)})

    assert percentiles_table([run], ["gate_wait"], "").rows == ()
    assert "No latency: no shootdown was measured." in shown(run)


def test_more_than_four_orderings_have_a_row_each_with_the_worst_that_it_showed() -> None:
    runs = [a_run(name, {"stale_in_window": 500}) for name in "abcd"] + [wrong()]

    assert [row[:3] for row in seen_table(runs).rows] == [
        *((name, "stale_in_window", "acceptable") for name in "abcd"),
        (f"{LONG_NAME} (unsafe)", "tracking_not_done", "forbidden!"),
    ]


@pytest.mark.parametrize("width", [80, 100])
def test_a_review_with_long_numbers_and_the_usual_caveats_is_read_on_one_screen(width: int) -> None:
    seen = ("stale_in_window", "stale_after_kick", "operand_busy", "page_already_accepted", "fault")
    long: dict[str, Any] = {
        "n": 99_999_999, "min": 1, "p50": 123_000, "p90": 234_000, "p99": 345_000, "p999": 456_000, "max": 567_000,
    }  # fmt: skip
    long |= {"ci95": dict.fromkeys(("p50", "p90", "p99", "p999"), (112_000, 134_000))}
    runs = [
        a_run(
            name, dict.fromkeys(seen, 12_345_678), title="TRACK first, retried without any vCPUs; then the kick",
            all_shootdowns=234_567_890, met={"kicks": 1, "shootdowns": 123_456_789}, shootdowns_per_s=912_345.0,
            latency_ns=dict.fromkeys((MET, "lock", "block", "kick", "track", "remove"), long),
            vcpu_ns={"out_of_guest": long, "gate_wait": long},
        )
        for name in ("spec", "v18", "v6_16")
    ]  # fmt: skip
    line = {"round_trip_ns": 330, "round_trip_after_ns": 89}
    host = {**HOST, **line, "cpus_allowed": 2, "hypervisor": "KVM", "busy": 0.5}
    scenario = {**SCENARIO, "title": "The review's question: kick before TDH.MEM.TRACK, or after it?"}
    kind, result = BY_NAME["run"], a_result(*runs, host=host, scenario=scenario, caveats=caveats(host, scenario, runs))
    blocks = kind.said(result), f"{summary(kind.cases(result))} ({kind.model}): runs/20261129T121222Z-review/"
    lines = printed(*kind.shown(result), *kind.lines(result), "", "\n\n".join(blocks), width=width).splitlines()

    assert len(result["caveats"]) == 4
    assert len(lines) <= 45
    assert max(map(len, lines)) <= width


def test_a_race_that_kvm_bug_on_ended_says_so_once_and_its_time_is_no_time_of_each() -> None:
    scenario = {**SCENARIO, "duration_s": 2.0}
    runs = [a_run("mine", bug_on=1, seconds=0.468), a_run("spec", bug_on=1, seconds=2.01), a_run("v18", seconds=0.1)]
    caveat = caveats(HOST, scenario, runs)[-1]

    assert (caveat["id"], caveat["seen"]) == (
        "ended_early", "KVM_BUG_ON ended the race of mine after 468 ms: the VM is dead",
    )  # fmt: skip
    assert "2 vCPUs, 1 zapper, 64 pages; 3 orderings, 2.01 s at most" in shown(*runs, scenario=scenario)
    assert "2 vCPUs, 1 zapper, 64 pages; 2 orderings, 2.01 s each" in shown(*runs[1:], scenario=scenario)


def test_titles_stand_where_each_has_room_in_its_line() -> None:
    long = [a_run(name, title="Kick first without a gate, and a REMOVE that is refused is ignored") for name in "abc"]

    assert [line.split()[:2] for line in shown(*long)[3:6]] == [["PASSED", name] for name in "abc"]
    assert "Kick first" not in "\n".join(shown(*long))
    assert "A title" in "\n".join(shown(a_run("a")))


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
def test_the_observation_counts_forbidden_shootdowns_and_the_others(changes: dict[str, Any], line: str) -> None:
    assert observation_line(a_run(**changes)) == line


def test_a_known_wrong_ordering_that_shows_it_is_caught_and_a_name_with_brackets_is_no_markup() -> None:
    lines = shown(wrong(verdict="passed"), a_run("[red]mine[/red]"))

    assert any(line.startswith(f"CAUGHT {LONG_NAME}") for line in lines)
    assert "[red]mine[/red]" in "\n".join(lines)


@pytest.mark.parametrize(
    ("verdict", "typed", "next_one"),
    [
        ("inconclusive", "run small --duration 20ms -q", "run small -q --duration 9s"),
        ("inconclusive", "run --duration=20ms", "run --duration 9s"),
        ("interrupted", "run --duration=20ms", "run --duration=20ms"),
        ("failed", "run small --duration 20ms", "run small --duration 20ms --trace"),
        ("failed", "run --trace small", "run --trace small -v"),
        ("failed", "run --trace -v", "run --trace -v"),
        ("passed", "run --verbose", "run --verbose"),
        ("passed", "run", "run -v"),
    ],
)
def test_the_command_that_tells_more_types_no_option_twice(verdict: str, typed: str, next_one: str) -> None:
    how: dict[str, Any] = (
        {"verdict": "inconclusive", "ending": verdict} if verdict == "interrupted" else {"verdict": verdict}
    )
    how |= {"met": {"kicks": 30, "shootdowns": 26}, "all_shootdowns": 170}  # 299 are needed, and half as many more
    result = a_result(a_run(**how), command=["tdx-stress", *typed.split()], scenario={"duration_s": 0.5})

    assert run_cases(result)[0].more == f"tdx-stress {next_one}"


@pytest.mark.parametrize(("verdict", "more"), [("inconclusive", "tdx-stress run"), ("failed", "")])
def test_an_ordering_whose_turn_never_came_is_a_case_that_did_not_pass(verdict: str, more: str) -> None:
    result = a_result(a_run("spec", verdict=verdict), scenario={"orderings": ["spec", "v18"]})

    _, left = run_cases(result)

    assert (left.name, left.state, left.more) == ("v18", "inconclusive", more)
    assert left.why == "its turn never came, as all ended before"
