"""Locks of a user's own ordering as they race: what a wrong use of one is known for shows, and a right one nothing."""

from pathlib import Path

import pytest

from kernels.tdx.outcomes import Outcome
from stress.options import RunRequest
from stress.resolve import resolve
from stress.tests.lengthened import raced_here

TRACKED = '"lock track_lock", "track", "kick", "unlock track_lock"'
READ_LOCKED = """\
shootdown     = [
    "lock sept_lock {}", "block", "unlock sept_lock", {},
    "lock sept_lock {}", "remove", "unlock sept_lock",
]
kick          = {{ request = "none", wait = true }}
entry         = ["wait_for_sept_zap"]
fault_lock    = "sept_lock"
no_entry_lock = true
track_busy    = "retry_without_vcpus"
sept_busy     = "retry_without_vcpus"
serialized    = false
"""
TRACKED_ALONE = """\
shootdown  = ["block", "lock mmu_lock {}", "track", "kick", "unlock mmu_lock", "remove"]
kick       = {{ request = "none", wait = true }}
serialized = false
"""
HANDED_UP = f"""\
shootdown  = ["block", {TRACKED}, "remove"]
kick       = {{{{ request = "none", wait = true }}}}
busy       = {{{{ remove = "hand_up" }}}}
serialized = false
{{}}
"""
SPUN_FOR = """\
shootdown  = ["lock page_table_lock", "block", "track", "kick", "remove", "unlock page_table_lock"]
kick       = {{ request = "tlb_flush", wait = true }}
entry      = ["requests"]
entry_lock = "page_table_lock"
locks      = {{ page_table_lock = "{}" }}
serialized = false
"""
# By name: the ordering, where its race is held up, and what shows.
ORDERS = {
    "block_for_read": (
        READ_LOCKED.format("read", TRACKED, "write"),
        "mem_range_block.unlock_exclusive_tree_lock=200us@0.5",
        "busy_given_up",
    ),
    "interrupts_off": (SPUN_FOR.format("spin_irq"), "kick.fetch_or_seq_cst_ipi=100us@0.5", "no_progress"),
    "interrupts_on": (SPUN_FOR.format("spin"), "kick.fetch_or_seq_cst_ipi=100us@0.5", ""),
    "blocked_again": (HANDED_UP.format(""), "mem_range_block.unlock_exclusive_tree_lock=200us@0.5", "already_blocked"),
    "taken_back": (HANDED_UP.format('undo = ["unblock"]'), "mem_range_block.unlock_exclusive_tree_lock=200us@0.5", ""),
    "tracked_for_read": (
        TRACKED_ALONE.format("read"),
        "mem_track.try_lock_exclusive_epoch_lock=200us@0.5",
        "previous_epoch_busy",
    ),
    "tracked_for_write": (TRACKED_ALONE.format("write"), "mem_track.try_lock_exclusive_epoch_lock=200us@0.5", ""),
    "remove_for_read": (
        READ_LOCKED.format("write", TRACKED, "read"),
        "mem_page_remove.unlock_shared_tree_lock=200us@0.5",
        "",
    ),
}


@pytest.mark.processes
@pytest.mark.parametrize("name", ORDERS)
def test_what_a_lock_is_for_shows_where_it_is_held_otherwise(tmp_path: Path, name: str) -> None:
    text, delay, shows = ORDERS[name]
    (tmp_path / "mine.toml").write_text(text + (f'expect = ["{shows}"]' if shows else 'expect = "safe"'))
    asked = RunRequest(
        "wrong", (str(tmp_path / "mine.toml"),), vcpus=1, zappers=2, pages=4, duration="3s", warmup="0s",
        settings=("delays={}", f"watchdog_s={1 if shows == 'no_progress' else 60}"), delays=(delay,),
    )  # fmt: skip
    scenario, (ordering,) = resolve(asked)

    run = raced_here(ordering, scenario, [Outcome[shows]] if shows else []).json

    forbidden = {one["id"] for one in run["outcomes"] if one["grade"] == "forbidden" and one["count"]}
    assert forbidden == {shows} - {""}
    assert run["ending"] == ("hung" if shows == "no_progress" else "finished")
