import json
from pathlib import Path
from typing import Any

import pytest

from kernels.language.syntax import sites
from kernels.layout import FREEZE_ON
from kernels.race.lines import load
from kernels.race.ring import Entry
from kernels.race.straight import Variant
from kernels.tdx.outcomes import Outcome
from kernels.tdx.protocol import SHOOTDOWN
from kernels.tdx.words import plan
from results.collect.last_steps import LastSteps, columns, trace
from results.collect.race import Run
from scenarios.loader import load_ordering, load_scenario, with_options
from stress.processes import tracing
from stress.processes.shared_words import shared_words
from stress.processes.tracing import arm, entries_of_a_shootdown, ring_entries
from stress.tests.command import Command, Start
from stress.tests.lengthened import raced_here
from stress.tests.test_survives import FOREVER, ended, racing, stored

# Of one run; how often a race is run again until it shows its outcome.
RACE_S, TRIES = 1.0, 20


@pytest.mark.parametrize(("actors", "entries"), [(2, 1024), (64, 1024), (66, 512), (574, 64)])
def test_many_actors_have_small_rings(actors: int, entries: int) -> None:
    assert ring_entries(actors) == entries


def test_rings_freeze_at_what_is_forbidden_or_unknown() -> None:
    lay = plan(1, 1, 1, 1, trace=64)
    words = shared_words(lay.total_words)
    arm(words, lay)

    mask = int(words[lay.control + FREEZE_ON])
    assert {outcome.name for outcome in Outcome if mask >> outcome & 1} == {
        "stale_after_done", "use_after_remove", "previous_epoch_busy", "tracking_not_done", "not_blocked",
        "already_blocked", "entry_state_incorrect", "refcount_broken", "no_progress", "unknown_status", "busy_given_up",
        "access_before_accept", "ept_page_not_free", "ept_walk_failed", "hkid_leaked", "mirror_disagrees", "not_zeroed",
            "sept_use_after_free", "td_state_incorrect", "two_owners", "vcpu_associated",
        "ve_on_memory", "write_lost", "metadata_incorrect", "written_back_late",
    }  # fmt: skip


def claims(*places: int, of: int) -> list[Entry]:
    """A ring of `of` entries, those at `places` being claims of a page."""
    claim = next(site.number for site in sites() if site.name == "claim_page.claim_mirror")
    return [Entry("zapper 0", at, claim if at in places else 1, 0, 1, 0, 0) for at in range(of)]


def test_steps_of_a_shootdown_are_counted_from_claim_to_claim() -> None:
    assert entries_of_a_shootdown(claims(10, 40, 90, of=120), plan(1, 1, 1, 1)) == 40.0


def test_a_ring_with_one_claim_holds_no_whole_shootdown() -> None:
    assert entries_of_a_shootdown(claims(3, of=9), plan(1, 1, 1, 1)) is None


@pytest.fixture(scope="module")
def compiled() -> None:
    """Before the command is run within a limit of time."""
    load(SHOOTDOWN, Variant(traced=True))


@pytest.fixture(scope="module")
def refused() -> LastSteps:
    """A race of kick_then_track whose rings froze at the refused REMOVE.

    Chance: with the scenario's yields and nobody else on the machine one shootdown of some hundred is refused, and 1 s
    is some thousands; on a machine so busy that it is only some hundred, twenty such races are as many.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracing, "FORBIDDEN", frozenset({Outcome.tracking_not_done}))
        for _ in range(TRIES):
            steps = raced("kick_then_track").last_steps
            assert steps is not None
            if steps.json["frozen_by"]:
                return steps
    raise AssertionError(f"no REMOVE was refused in {TRIES} races of {RACE_S} s")


def raced(ordering: str) -> Run:
    """A race between two vCPUs and one zapper, traced, with the delays of the scenario of wrong orderings; TRACK always
    has one, as steps of two actors that are less than some 100 ns apart may stand in the wrong order.
    """
    scenario = with_options(load_scenario("wrong"), vcpus=2, zappers=1, duration_s=RACE_S, warmup_s=0.0)
    delays = scenario.delays | {"mem_track.try_lock_exclusive_epoch_lock": "100us"}
    scenario = scenario.model_copy(update={"delays": delays})
    return raced_here(load_ordering(ordering), scenario, traced=True)


@pytest.mark.processes
def test_the_trace_ends_in_the_refused_remove(refused: LastSteps) -> None:
    removes = [one for one in slices(trace(refused.whole)) if one["name"] == "TDH.MEM.PAGE.REMOVE"]
    frozen = refused.json["frozen_by"]

    assert removes[-1]["args"]["status"] == "TLB_TRACKING_NOT_DONE|RCX"
    assert (frozen["outcome"], frozen["actor"], frozen["status"]) == (
        "tracking_not_done",
        "zapper 0",
        "TLB_TRACKING_NOT_DONE|RCX",
    )


@pytest.mark.processes
def test_a_vcpu_enters_between_the_kick_and_track(refused: LastSteps) -> None:
    """The answer to the review: it enters at the old epoch, so its reference stands in the way of REMOVE. The kick may
    still wait for the other vCPU then.
    """
    events = refused.shown.story.events
    track = max(at for at, event in enumerate(events) if event.leaf == "TDH.MEM.TRACK")
    block = max(at for at, event in enumerate(events[:track]) if event.leaf == "TDH.MEM.RANGE.BLOCK")
    kick = min(at for at, event in enumerate(events) if event.function == "kick" and at > block)

    entered = [
        event for event in events[kick:track] if event.function == "vp_enter" and event.text.startswith("fetch_add")
    ]
    assert kick < track
    assert entered


@pytest.mark.processes
def test_slices_of_a_raced_track_nest_strictly(refused: LastSteps) -> None:
    around: dict[int, list[tuple[int, int]]] = {}
    found = slices(trace(refused.whole))
    assert len(found) > 100
    for one in sorted(found, key=lambda s: (s["ts"], -s["dur"])):
        start, end = round(one["ts"] * 1000), round((one["ts"] + one["dur"]) * 1000)
        stack = around.setdefault(one["tid"], [])
        while stack and stack[-1][1] <= start:
            stack.pop()
        assert not stack or end <= stack[-1][1]
        stack.append((start, end))


@pytest.mark.processes
def test_the_columns_of_a_race_run_from_the_claim_to_the_failure(refused: LastSteps) -> None:
    rows = columns(refused.shown).rows

    assert [row for row in rows if f"claims page {refused.json['frozen_by']['page']}" in row.does]
    assert [row.outcomes for row in rows if row.fails][-1] == ("tracking_not_done",)


@pytest.mark.processes
def test_who_failed_keeps_nothing_behind_the_failure(refused: LastSteps) -> None:
    behind = refused.whole.story.events[(refused.whole.failed or 0) + 1 :]

    assert "zapper 0" not in {event.actor for event in behind}


@pytest.mark.processes
@pytest.mark.usefixtures("compiled")
def test_a_traced_run_says_so_and_leaves_its_trace(tdx_stress: Command, tmp_path: Path) -> None:
    done = tdx_stress(
        "run", "--ordering", "spec", "--shootdowns", "300", "--trace", "--no-report", "--out", "out", "--json", "-"
    )

    result = json.loads(done.stdout)
    facts = result["runs"][0]["trace"]
    assert (facts["file"], facts["ring_entries"], facts["frozen_by"]) == ("trace.json", 1024, None)
    assert facts["ns_of_entry"] > 0
    assert facts["entries_of_a_shootdown"] > 20
    assert "traced" in [caveat["id"] for caveat in result["caveats"]]
    assert "spec: no step failed; trace.json holds the last" in done.stderr
    names = {one["name"] for one in slices(json.loads((tmp_path / "out/trace.json").read_text()))}
    assert {"kick", "in the guest", "TDH.MEM.TRACK", "TDH.VP.ENTER"} <= names


@pytest.mark.processes
@pytest.mark.usefixtures("compiled")
def test_a_killed_worker_leaves_a_whole_trace_of_everybody(start_tdx_stress: Start, tmp_path: Path) -> None:
    parent = start_tdx_stress("run", *FOREVER, "--trace")
    racing(parent)[1].kill()

    code, _, _ = ended(parent)
    assert (code, stored(tmp_path / "out")["verdict"]) == (3, "crashed")
    events = json.loads((tmp_path / "out/trace.json").read_text())["traceEvents"]
    tracks = {one["tid"]: one["args"]["name"] for one in events if one["name"] == "thread_name"}
    assert {tracks[one["tid"]] for one in events if one["ph"] == "X"} == {"vcpu 0", "vcpu 1", "zapper 0"}


def slices(made: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for one in made["traceEvents"] if one["ph"] == "X"]
