"""Machines beside the review's, as a user types them."""

from pathlib import Path

import pytest

from stress.tests.command import Command
from stress.tests.lengthened import answered, run_until, verdicts


@pytest.mark.processes
def test_without_the_module_the_refused_order_is_a_stale_read(tdx_stress: Command) -> None:
    # Its kick does not wait: what is removed at once is read by a vCPU that has yet to leave its guest.
    small = ("--vcpus", "1", "--zappers", "1", "--set", "module=none")
    done, result = run_until(tdx_stress, "wrong", "--ordering", "kick_without_wait", *small, holds=answered)

    (run,) = result["runs"]
    counts = {outcome["id"]: outcome["count"] for outcome in run["outcomes"]}
    assert (verdicts(done, result), run["expect"]) == (["passed"], ["use_after_remove"])
    assert counts["use_after_remove"] > 0
    assert counts["tracking_not_done"] == 0


@pytest.mark.processes
def test_a_run_of_batches_counts_pages_and_times_batches(tdx_stress: Command) -> None:
    done, result = run_until(tdx_stress, "batch", "--ordering", "spec", "--set", "resched=true", holds=answered)

    (run,) = result["runs"]
    assert verdicts(done, result) == ["passed"]
    assert run["all_shootdowns"] % 16 == 0
    assert 0 < run["latency_ns"]["shootdown"]["n"] <= run["all_shootdowns"] // 16
    assert "Times are of whole batches of 16 pages" in done.stderr


@pytest.mark.processes
def test_tdx_track_without_its_kick_is_a_stale_read_of_a_shared_page_on_the_module_too(tdx_stress: Command) -> None:
    # Whoever is in the guest stays there, with its translations: nearly every shootdown shows one or the other. With a
    # CPU to each actor no tick takes the vCPU out of the guest before the zapper runs, as it may where they share one.
    track = ("--set", "shared_flush=track", "--set", 'expect=["tracking_not_done", "use_after_remove"]')
    done, result = run_until(tdx_stress, "shared_ept", "--ordering", "no_kick", "--vcpus", "1", *track, holds=answered)

    assert verdicts(done, result) == ["passed"]


@pytest.mark.processes
def test_a_page_that_has_gone_before_the_error_is_not_shot_down_again_for_ever(
    tdx_stress: Command, tmp_path: Path
) -> None:
    """TRACK stands behind REMOVE, and its first BUSY is KVM_BUG_ON: no other shootdown can remove the page again."""
    late = (
        'shootdown = ["block", "kick", "remove", "track"]\nkick = { request = "none", wait = true }\nentry = []\n'
        'track_busy = "bug"\non_error = "leak_page"\nfaults = ["remove_without_tracking"]\nexpect = ["busy_given_up"]\n'
    )
    (tmp_path / "late.toml").write_text(late)

    done, result = run_until(tdx_stress, "--ordering", "late.toml", holds=answered)

    assert verdicts(done, result) == ["passed"]
