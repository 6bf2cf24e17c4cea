"""Races of other flows as a user types them: what each puts into the machine it takes out again."""

from pathlib import Path
from typing import Any

import pytest

from stress.tests.command import Command
from stress.tests.lengthened import answered, run_until, verdicts


def successes(run: dict[str, Any]) -> dict[str, int]:
    """By SEAMCALL, how many of a race succeeded."""
    return {leaf: statuses.get("SUCCESS", 0) for leaf, statuses in run["seamcalls"].items()}


@pytest.mark.processes
def test_vcpus_populate_what_zappers_zap_and_nothing_forbidden_is_seen(tdx_stress: Command) -> None:
    done, result = run_until(tdx_stress, "populate", "--ordering", "spec", holds=answered)

    (run,) = result["runs"]
    counts = successes(run)
    assert verdicts(done, result) == ["passed"]
    assert counts["TDH.MEM.SEPT.ADD"] == 8
    assert run["all_shootdowns"] <= counts["TDH.MEM.PAGE.AUG"] <= run["all_shootdowns"] + 64


@pytest.mark.processes
def test_page_table_pages_go_beneath_vcpus_and_come_back_and_nothing_forbidden_is_seen(tdx_stress: Command) -> None:
    """Chance is on neither side of the balance. A page-table page goes every 20 us: that none does while 299 shootdowns
    meet a vCPU does not happen.
    """
    done, result = run_until(tdx_stress, "sept_pages", "--ordering", "spec", holds=answered)

    (run,) = result["runs"]
    counts = successes(run)
    tables, pages = counts["TDH.MEM.SEPT.REMOVE"], counts["TDH.MEM.PAGE.REMOVE"]
    assert verdicts(done, result) == ["passed"]
    assert run["all_shootdowns"] == pages + tables > tables > 0
    assert tables <= counts["TDH.MEM.SEPT.ADD"] <= tables + 8
    assert pages <= counts["TDH.MEM.PAGE.AUG"] <= pages + 64


@pytest.mark.processes
def test_a_wrong_order_of_page_table_pages_is_caught_beside_a_right_one_of_the_leaves(
    tdx_stress: Command, tmp_path: Path
) -> None:
    """A page-table page goes every 20 us, and SEPT.REMOVE refuses the first that is not blocked."""
    wrong = (
        'shootdown = ["block", "track", "kick", "remove"]\ntable = ["track", "kick", "remove"]\n'
        'kick = { request = "none", wait = true }\nexpect = ["not_blocked"]\n'
    )
    (tmp_path / "wrong.toml").write_text(wrong)

    done = tdx_stress("run", "sept_pages", "--ordering", "wrong.toml", "--duration", "300ms", "--set", "warmup_s=0")

    assert done.returncode == 0, done.stderr
    assert "CAUGHT wrong" in done.stdout


@pytest.mark.processes
def test_whole_batches_go_beneath_a_page_table_page_before_it_goes(tdx_stress: Command) -> None:
    """Each page-table page has a TRACK of its own, and what is below it at most one for eight: so more pages go than
    are tracked, however few a guest has touched again.
    """
    both = ("--set", "flow=batch+sept_pages", "--set", "batch=8", "--ordering", "spec", "--ordering", "no_kick")
    done, result = run_until(tdx_stress, "sept_pages", *both, holds=answered)

    spec, _ = result["runs"]
    counts = successes(spec)
    tables, pages = counts["TDH.MEM.SEPT.REMOVE"], counts["TDH.MEM.PAGE.REMOVE"]
    assert verdicts(done, result) == ["passed", "passed"]
    assert spec["all_shootdowns"] == pages + tables > counts["TDH.MEM.TRACK"] >= tables > 0


@pytest.mark.processes
def test_who_deletes_a_memslot_and_a_fault_that_is_retried_in_the_host_wait_for_each_other_unless_it_leaves(
    tdx_stress: Command,
) -> None:
    """The scenario's delay has it caught in three seconds, where it took a minute or more. How many shootdowns meet a
    vCPU hangs on who else has the CPUs: too few are inconclusive.
    """
    stuck = tdx_stress("run", "memslots", "--ordering", "v6_16", "--duration", "60s", "--no-report")
    leaves = tdx_stress("run", "memslots", "--ordering", "v6_18", "--duration", "1s", "--no-report")

    assert stuck.returncode == 0, stuck.stderr
    assert "CAUGHT v6_16" in stuck.stdout
    assert leaves.returncode in (0, 6), leaves.stderr


@pytest.mark.processes
def test_every_td_lives_for_its_pages_and_gives_them_and_its_hkid_back(tdx_stress: Command) -> None:
    """Chance is on neither side: only the last life may be cut short, by the end of the run."""
    orders = ("--ordering", "spec", "--ordering", "v18", "--ordering", "v6_16")
    done, result = run_until(tdx_stress, "teardown", *orders, holds=answered)

    spec, v18, v6_16 = map(successes, result["runs"])
    assert verdicts(done, result) == ["passed"] * 3
    for counts in (spec, v18, v6_16):
        assert counts["TDH.MNG.KEY.FREEID"] == counts["TDH.MNG.VPFLUSHDONE"] > 0
    added = spec["TDH.MEM.PAGE.ADD"] + spec["TDH.MEM.PAGE.AUG"] + spec["TDH.MEM.SEPT.ADD"]
    gone = spec["TDH.PHYMEM.PAGE.RECLAIM"] + spec["TDH.MEM.PAGE.REMOVE"]
    assert gone <= added <= gone + 18
    lives = v18["TDH.MNG.VPFLUSHDONE"]
    assert 16 * (lives - 1) <= v18["TDH.MEM.TRACK"] <= 16 * lives
    lives = v6_16["TDH.MNG.KEY.FREEID"]  # every guest page is removed, the two of the S-EPT are reclaimed
    assert 2 * (lives - 1) <= v6_16["TDH.PHYMEM.PAGE.RECLAIM"] <= 2 * lives


@pytest.mark.processes
def test_lines_that_are_written_back_behind_remove_are_never_late_and_before_the_kick_they_are(
    tdx_stress: Command,
) -> None:
    """With a module that does not ask, a guest writes between WBINVD and the kick in 4 of 10 shootdowns that meet one,
    and a race lasts until 299 have: none does not happen.
    """
    tdx = ("--set", "module=tdx")
    right, of_right = run_until(tdx_stress, "writes", *tdx, "--ordering", "v6_19", holds=answered)
    broken = ("--ordering", "wbinvd_before_kick", "--fault", "wbinvd_ignores_owner")
    known = ("--set", 'expect=["written_back_late"]')
    wrong, of_wrong = run_until(tdx_stress, "writes", *tdx, *broken, *known, holds=answered)

    (run,), (early,) = of_right["runs"], of_wrong["runs"]
    counts = successes(run)
    assert verdicts(right, of_right) == verdicts(wrong, of_wrong) == ["passed"]
    assert counts["TDH.PHYMEM.PAGE.WBINVD"] == counts["TDH.MEM.PAGE.REMOVE"] == run["all_shootdowns"] > 0
    assert {one["id"] for one in early["outcomes"] if one["grade"] == "forbidden" and one["count"]} == {
        "written_back_late"
    }


def tracked_more(result: dict[str, Any]) -> bool:
    """Whether TRACK was called more often than pages were removed, and some were."""
    counts = successes(result["runs"][0])
    return counts.get("TDH.MEM.TRACK", 0) > counts.get("TDH.MEM.PAGE.REMOVE", 0) > 0


@pytest.mark.processes
def test_v18_holds_while_vcpus_track_and_every_one_of_them_comes_to_its_end(tdx_stress: Command) -> None:
    """A vCPU tracks at one entry of 64: of 1000 entries, and there are tens of thousands, once in 7 million runs at
    none. How many shootdowns meet a vCPU hangs on who else has the CPUs: too few are inconclusive.
    """
    done, result = run_until(tdx_stress, "flush_current", "--vcpus", "2", "--zappers", "1", holds=tracked_more)

    (run,) = result["runs"]
    assert (run["verdict"], done.returncode) in (("passed", 0), ("inconclusive", 6))
    assert tracked_more(result)
