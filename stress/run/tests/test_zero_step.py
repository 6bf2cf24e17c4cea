"""`run zero_step` as a user types it: a guest stuck at one instruction, and what the module does about it."""

import json
from typing import Any

import pytest

from kernels.tdx.outcomes import Outcome
from scenarios.faults import faults, to_race
from stress.tests.command import Command
from stress.tests.lengthened import answered, lengthened, raced_here, run_until, verdicts


@pytest.mark.processes
def test_the_module_guards_a_guest_that_is_stepped_and_nothing_forbidden_is_seen(tdx_stress: Command) -> None:
    guarded = ("--ordering", "v6_16", "--set", "yields={}", "--set", "epf_threshold=1")

    done, result = run_until(tdx_stress, "zero_step", *guarded, holds=answered)

    (run,) = result["runs"]
    seen = {outcome["id"]: outcome["count"] for outcome in run["outcomes"]}
    assert verdicts(done, result) == ["passed"]
    entries = run["seamcalls"]["TDH.VP.ENTER"]
    assert entries["SUCCESS"] > 0
    assert entries.get("OPERAND_BUSY|SEPT_TREE", 0) == seen["zero_step_busy"]
    assert entries.get("EPT_VIOLATION_EXIT", 0) == seen["zero_step_fault"]
    assert entries.get("HOST_PRIORITY_BUSY_TIMEOUT", 0) == seen["host_priority_timeout"]


@pytest.mark.processes
def test_vcpus_that_all_wait_for_pages_that_none_has_accepted_are_a_hang_which_v18_is_known_for(
    tdx_stress: Command,
) -> None:
    done = tdx_stress(
        "run", "zero_step", "--ordering", "v18", "--set", "epf_threshold=0", "--set", "watchdog_s=0.5",
        "--duration", "30s", "--warmup", "0s", "--no-report", "--json", "-",
    )  # fmt: skip

    assert done.stdout, done.stderr
    run = json.loads(done.stdout)["runs"][0]
    assert (run["expect"], run["ending"], run["verdict"]) == (["no_progress"], "hung", "passed")
    assert done.returncode == 0


@pytest.mark.processes
def test_behind_a_catch_a_broken_protocol_need_not_come_to_an_end() -> None:
    """With the tree locked for ever the next BLOCK waits for ever, and every zapper behind it."""
    scenario, ordering = to_race(faults()["zero_step_keeps_tree"])
    brief = scenario.model_copy(update={"warmup_s": 0.0, "duration_s": 60.0})

    run = raced_here(ordering, brief, (Outcome.busy_given_up,)).json

    assert (run["ending"], run["caught"]["id"]) == ("finished", "busy_given_up")
    assert [note for note in run["notes"] if note.startswith("told to stop, and went on for 1 s")]


@pytest.mark.processes
def test_references_that_entries_left_behind_are_found_when_every_vcpu_has_ended_outside() -> None:
    """To its time, as behind a catch nobody waits for them."""
    scenario, ordering = to_race(faults()["zero_step_keeps_reference"])
    scenario = scenario.model_copy(update={"warmup_s": 0.0, "epf_threshold": 0, "yields": {}, "delays": {}})

    def raced(duration: str) -> dict[str, Any]:
        brief = scenario.model_copy(update={"duration_s": int(duration.removesuffix("ms")) / 1000})
        return raced_here(ordering, brief).json

    def left_behind(run: dict[str, Any]) -> int:
        return sum(int(outcome["count"]) for outcome in run["outcomes"] if outcome["id"] == "refcount_broken")

    run = lengthened(raced, left_behind)

    assert run["ending"] == "finished"
    assert left_behind(run) >= 1
