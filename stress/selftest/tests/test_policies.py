"""Policies for BUSY of a user's own, held to what they are known for: explored, and raced until each is caught."""

from pathlib import Path

import pytest

from stress.tests.command import Command

ORDER = """\
shootdown  = ["block", "track", "kick", "remove"]
kick       = {{ request = "none", wait = true }}
entry      = ["wait_for_sept_zap"]
busy       = {{ {} }}
serialized = {}
on_error   = "leak_page"
expect     = {}
"""
# By name: the policy, whether mmu_lock is held for write, and what shows.
POLICIES = {
    "skip_block": ('block = "skip"', True, "not_blocked"),
    "skip_track": ('track = "skip"', True, "tracking_not_done"),
    "skip_remove": ('remove = "skip"', False, "entry_state_incorrect"),
    "one_track": ('track = "tries(1)"', True, "busy_given_up"),
    "two_block": ('block = "tries(2)"', True, "busy_given_up"),
    "up_track": ('track = { write = "hand_up", read = "spin" }', True, "already_blocked"),
    "up_block": ('block = "hand_up"', True, ""),
}


@pytest.mark.processes
def test_each_wrong_policy_is_caught_and_the_right_one_shows_nothing(tdx_stress: Command, tmp_path: Path) -> None:
    typed = []
    for name, (busy, serialized, shows) in POLICIES.items():
        expect = f'["{shows}"]' if shows else '"safe"'
        (tmp_path / f"{name}.toml").write_text(ORDER.format(busy, str(serialized).lower(), expect))
        typed += ["--ordering", f"{name}.toml"]

    done = tdx_stress("selftest", "--short", *typed)

    assert done.returncode == 0, done.stderr
    assert "Of 6 known wrong 6 caught by exploring, 6 by racing; of 1 safe 1 showed nothing." in done.stdout
