"""Where a declared cost passes: with the locks of its SEAMCALL held, or outside of them."""

import json
from typing import Any

import pytest

from kernels.tdx.bits import TDEL
from kernels.tests.single_calls import BUSY_EPOCH, BUSY_TREE, Machine, block, enter, leave, remove, track, unpacked
from scenarios.costs import COSTS
from stress.tests.command import Command


@pytest.fixture
def m() -> Machine:
    return Machine()


def label(cost: str, function: str) -> str:
    """The one label of a cost in this function of steps."""
    [found] = [one for one in COSTS[cost].labels if one.startswith(f"{function}.")]
    return found


def test_while_track_takes_its_time_no_vcpu_enters_and_nobody_else_tracks(m: Machine) -> None:
    m.begin(track, label("track", "mem_track"))

    assert (m.call(enter, vcpu=1), m.call(track, vcpu=1)) == (BUSY_EPOCH, BUSY_EPOCH)
    assert m.end(track) == 0


def test_while_block_takes_its_time_the_tree_and_the_entry_are_its_own(m: Machine) -> None:
    m.begin(block, label("block", "mem_range_block"))

    assert m["sept"] & TDEL
    assert (m.call(block, vcpu=1), m.call(remove, vcpu=1)) == (BUSY_TREE, BUSY_TREE)
    assert m.end(block) == 0


def test_while_remove_takes_its_time_it_shares_the_tree_and_has_the_entry(m: Machine) -> None:
    m.call(block)
    m.call(track)
    m.begin(remove, label("remove", "mem_page_remove"))

    assert m["sept"] & TDEL
    assert m.call(block, vcpu=1) == BUSY_TREE
    assert m.end(remove) == 0


@pytest.mark.parametrize(
    ("call", "function"), [(track, "mem_track"), (block, "mem_range_block"), (remove, "mem_page_remove")]
)
def test_the_way_into_the_module_holds_no_lock(m: Machine, call, function: str) -> None:
    labels = [one for one in COSTS["seamcall"].labels if one.startswith(f"{function}.") and "exclusive" in one]
    m.begin(call, labels[0] if call is not remove else "mem_page_remove.try_lock_shared_tree_lock")

    assert (m["epoch_lock"], m["tree_lock"], m["sept"] & TDEL) == (0, 0, 0)


def test_an_entry_takes_its_time_before_it_counts_and_an_exit_while_it_still_counts(m: Machine) -> None:
    m.begin(enter, label("enter", "vp_enter"))
    assert (m["epoch_lock"], unpacked(m["epoch_tracking"])) == (0, (1, 0, 0))

    m.end(enter)
    m.begin(leave, label("exit", "td_exit"))
    assert unpacked(m["epoch_tracking"]) == (1, 0, 1)


def raced(tdx_stress: Command, *settings: str) -> dict[str, Any]:
    """A race, longer each time, until a shootdown that stamps its phases has met the vCPU."""
    for shootdowns in (500, 2000, 8000):
        options = ("--ordering", "spec", "--warmup", "0", "--shootdowns", str(shootdowns), "--no-report", "--json", "-")
        done = tdx_stress("run", "yardstick", *options, *(word for one in settings for word in ("--set", one)))
        result: dict[str, Any] = json.loads(done.stdout)
        if result["runs"][0]["latency_ns"]["track"]["n"]:
            return result
    raise AssertionError("no shootdown of 10,500 met the vCPU")


@pytest.mark.processes
def test_no_track_is_shorter_than_the_shortest_length_of_its_cost(tdx_stress: Command) -> None:
    """The least quantile is 0.486 times the median, and nothing on any machine takes less than it spins."""
    result = raced(tdx_stress, "costs.track=100us", "costs.seamcall=0")

    (run,) = result["runs"]
    assert run["latency_ns"]["track"]["min"] >= 48_000
    assert (run["perturbed"], run["perturbation"], run["verdict"]) == (False, None, run["verdict"])
    assert result["scenario"]["costs"] == {"track": "100us", "seamcall": "0"}
    assert "declared_costs" in [caveat["id"] for caveat in result["caveats"]]
