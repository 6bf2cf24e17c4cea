"""The page of a run: whole without network or script, the verdict first, every number's words, and safe to open."""

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from results.kinds.run.page import run_page
from results.page import host_table, render
from results.tests.builders.run import a_result, a_run, counted
from results.tests.html_reading import Read

ARRAYS = {"spec/hist/shootdown_met": counted(*range(200, 1200)), "v18/hist/stale_window": counted(*range(50, 450))}


def page_of(*runs: dict[str, Any], **changes: Any) -> str:
    return render(run_page(a_result(*runs, command=["tdx-stress", "run"], **changes), ARRAYS))


@cache
def review_text() -> str:
    """The page of the review's two orders, both safe."""
    return page_of(a_run("spec"), a_run("v18"))


@pytest.fixture(scope="module")
def review() -> Read:
    return Read(review_text())


def test_the_page_is_whole_loads_nothing_and_runs_nothing(review: Read):
    assert review.troubles == []


def test_what_opens_on_a_click_is_named_once_and_the_page_says_that_it_is_of_a_model(review: Read):
    assert "details" in review.tags
    assert review.text.count("Every phase, with 95 % intervals") == 1
    assert "A model of the protocol raced on this machine, not Intel silicon." in review.text


def test_a_verdict_and_its_reason_are_told_once():
    text = Read(page_of(a_run("mine", expect=["tracking_not_done"], verdict="passed", reason="caught: x 7 times"))).text

    assert re.findall("(?:caught *: *)+x 7 times", text) == ["caught : x 7 times"]


def test_the_style_sheet_asks_for_nothing_from_elsewhere_and_the_policy_forbids_scripts_and_requests():
    text = review_text()

    assert "@import" not in text
    assert not re.findall(r"url\((?!#)", text)
    assert "content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\"" in text


def test_the_verdict_stands_before_all_else():
    text = review_text()

    assert text.index("<strong>Passed: every expectation met</strong>") < text.index("<h2>")
    assert re.findall(r"<h2>(.*?)</h2>", text) == [
        "The answer", "How long a shootdown takes", "Where the time goes", "Stale reads", "Every outcome",
        "The machine, and what ran on it", "Caveats", "The exact command", "How to read it",
    ]  # fmt: skip


def test_a_failure_is_the_headline_and_its_counts_are_marked_and_inconclusive_is_never_good():
    text = page_of(a_run(verdict="failed", reason="declared safe, and showed it", seen={"tracking_not_done": 3}))
    unsure = page_of(a_run(expect=["tracking_not_done"], verdict="inconclusive", reason="did not show"))

    assert "<strong>Failed: an ordering declared safe showed what is forbidden</strong>" in text
    assert '<tr class="marked"><th scope="row">tracking_not_done</th>' in text
    assert '<p class="verdict unsure"><strong>Inconclusive: this does not count as a pass' in unsure


def test_on_a_phone_the_ordering_stays_beside_the_numbers_of_a_phase():
    rows = re.findall(r'<th scope="row" data-also="(\w+)">([^<]+)</th><td>(\w+)</td>', review_text())

    assert {("spec", "whole, met a vCPU", "spec"), ("v18", "whole, met a vCPU", "v18")} <= set(rows)


def test_a_name_of_markup_is_only_text():
    hostile = '<script>alert(1)</script>"$\\frac$'
    found = Read(page_of(a_run(hostile, title="<b>bold</b>", reason="</style><script>x</script>", notes=["<i>"])))

    assert "script" not in found.tags
    assert (found.open, found.mismatched) == ([], [])
    assert "<script>alert(1)</script>" in found.text


def test_an_ordering_that_measured_nothing_still_has_a_page():
    none = {"n": 0, "min": None, "p50": None, "p90": None, "p99": None, "p999": None, "max": None}
    phase = {**none, "ci95": dict.fromkeys(("p50", "p90", "p99", "p999"))}
    run = a_run(
        "crashed_one", verdict="crashed", ending="crashed",
        latency_ns=dict.fromkeys(("shootdown", "shootdown_met"), phase),
        vcpu_ns={"out_of_guest": phase, "gate_wait": phase},
    )  # fmt: skip
    found = Read(page_of(run))

    assert "Broken: a worker died, or nothing progressed" in found.text
    assert "Too few shootdowns for a time." in found.text


def test_trouble_that_there_was_none_of_is_no_row_of_the_machine():
    told = {row[0]: row[1] for row in host_table({"round_trip_trouble": None, "round_trip_after_trouble": "busy"}).rows}

    assert told == {"the same when all had raced": "busy"}


def test_facts_of_a_newer_machine_are_shown_as_they_are():
    host = {"cpu_model": "Some CPU", "round_trip": {"ns": 120, "pairs": [1, 2]}, "fork_us": 80}
    text = Read(page_of(a_run(), host=host)).text

    assert "round trip.ns 120" in text
    assert "fork us 80" in text


def shown(text: str, directory: Path, *flags: str) -> tuple[str, str, list[str]]:
    """A page in Chromium: the document, what the browser logs, and what the page asks for; its calls go nowhere.

    What the browser asks for by itself (its update, the time, who is logged in) has no page that initiates it.
    """
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium here: the parser's checks above are what there is")
    (directory / "report.html").write_text(text)
    done = subprocess.run(
        [
            chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={directory / 'profile'}",
            "--enable-logging=stderr", f"--log-net-log={directory / 'net.json'}", *flags,
            "--dump-dom", (directory / "report.html").as_uri(),
        ],
        capture_output=True, text=True,
    )  # fmt: skip
    requests = re.findall(r'"initiator":"([^"]*)"[^\n]*?"url":"([^"]+)"', (directory / "net.json").read_text())
    return done.stdout, done.stderr, [url for initiator, url in requests if initiator != "not an origin"]


@pytest.mark.parametrize("width", [390, 1200])
@pytest.mark.parametrize("scheme", ["0", "1"], ids=["dark", "light"])
def test_a_browser_shows_the_page_without_a_request_or_an_error(tmp_path: Path, width: int, scheme: str):
    """The page without its policy, so that nothing hides what it would ask for."""
    text = re.sub(r"<meta http-equiv[^>]*>", "", review_text())
    document, log, asked = shown(
        text, tmp_path, f"--window-size={width},900", f"--blink-settings=preferredColorScheme={scheme}"
    )

    assert "Passed: every expectation met" in document
    assert ":CONSOLE" not in log
    assert asked == []


def test_a_browser_tells_what_a_page_asks_for_from_its_own_calls(tmp_path: Path):
    _, _, asked = shown('<link rel="stylesheet" href="https://a.example/x.css">shown', tmp_path)

    assert asked == ["https://a.example/x.css"]
