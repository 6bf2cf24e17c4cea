"""What is shipped: every file loads, says where it comes from, and is the ordering that its name promises."""

import tomllib
from pathlib import Path

import pytest

from scenarios.faults import Shown, faults, to_explore, to_race
from scenarios.fields import FAULTS
from scenarios.loader import load_ordering, load_scenario, shipped_orderings, shipped_scenarios

ROOM = Path(__file__).parent.parent

READ_LOCKED = (
    *("lock sept_lock", "block", "unlock sept_lock"),
    *("lock track_lock", "track", "kick", "unlock track_lock"),
    *("lock sept_lock read", "remove", "unlock sept_lock"),
)


SAFE = ["flag_gate", "parallel_kick", "read_locked", "spec", "v18", "v6_16", "v6_18", "v6_19"]


def test_these_orderings_are_shipped_the_safe_ones_first() -> None:
    assert [ordering.name for ordering in shipped_orderings() if ordering.safe] == SAFE
    assert [ordering.name for ordering in shipped_orderings()] == [
        *SAFE, "exact_busy", "flag_gate_unserialized", "free_despite_error", "gate_lowered_early", "kick_then_track",
        "kick_without_wait", "no_block", "no_flush_at_entry", "no_kick", "parallel_kick_ungated",
        "read_locked_untracked", "remove_without_tracking", "request_then_track", "spec_unserialized",
        "track_then_block",
        "track_then_block_unserialized", "v18_literal", "v6_16_entry_unchecked", "wbinvd_before_kick",
    ]  # fmt: skip


def test_these_orderings_are_shipped_for_machines_with_a_part() -> None:
    assert {one.name for one in shipped_orderings(None)} - {one.name for one in shipped_orderings()} == {
        "dirty_log", "dirty_log_elided",
    }  # fmt: skip
    assert [one.name for one in shipped_orderings("writes")] == ["dirty_log", "dirty_log_elided"]


def test_these_scenarios_are_shipped_the_default_first() -> None:
    names = [scenario.name for scenario in shipped_scenarios()]

    assert names == [
        "review", "batch", "build", "crowd", "flush_current", "memslots", "migrate", "mmio", "populate",
        "sept_pages", "shared_ept", "small", "teardown", "writes", "wrong", "yardstick", "zero_step",
    ]  # fmt: skip


def test_an_ordering_and_a_scenario_have_a_title_a_source_and_one_sentence_of_why() -> None:
    orderings, scenarios = shipped_orderings(), shipped_scenarios()

    assert all(one.title and one.source for one in orderings)
    assert all(one.title for one in scenarios)
    sentences = [*(one.why for one in orderings), *(one.shows for one in scenarios)]
    assert [said for said in sentences if not said.endswith(".") or ". " in said] == []


def test_shipped_files_stand_beside_the_loader_and_hold_tables() -> None:
    files = [*ROOM.glob("*.toml"), *(ROOM / "orderings").glob("*.toml")]

    assert len(files) == len(shipped_scenarios()) + len(shipped_orderings(None))
    assert all(tomllib.loads(file.read_text(encoding="utf-8")) for file in files)


@pytest.mark.parametrize(
    ("name", "base", "difference"),
    [
        ("flag_gate", "v18", {"gate": "flag", "serialized": True}),
        ("spec_unserialized", "spec", {"serialized": False, "expect": ("previous_epoch_busy",)}),
        ("kick_then_track", "v18", {
         "shootdown": ("block", "kick", "track", "remove"),
         "gate": "none",
         "entry": ("requests",),
         "serialized": True,
         "expect": ("tracking_not_done",),
         }),
        ("no_kick", "spec",
         {"shootdown": ("block", "track", "remove"), "kick": None, "expect": ("tracking_not_done",)}),
        ("track_then_block", "spec",
         {"shootdown": ("track", "kick", "block", "remove"), "expect": ("tracking_not_done",)}),
        ("no_block", "spec", {"shootdown": ("track", "kick", "remove"), "expect": ("not_blocked",)}),
        ("kick_without_wait", "spec", {"kick": {"request": "none", "wait": False}, "expect": ("tracking_not_done",)}),
        ("flag_gate_unserialized", "v18", {"gate": "flag", "expect": ("tracking_not_done",)}),
        ("gate_lowered_early", "v18", {
         "shootdown": ("block", "gate_raise", "kick", "gate_lower", "track", "remove"),
         "expect": ("tracking_not_done",),
         }),
        ("free_despite_error", "kick_then_track", {"on_error": "free_page", "expect": ("use_after_remove",)}),
        ("no_flush_at_entry", "spec", {"faults": ("no_flush_at_entry",), "expect": ("use_after_remove",)}),
        ("remove_without_tracking", "kick_then_track",
         {"faults": ("remove_without_tracking",), "expect": ("use_after_remove",)}),
        ("exact_busy", "spec", {"sept_busy": "spin_on_tree", "on_error": "leak_page", "expect": ("busy_given_up",)}),
        ("v18_literal", "v18", {"sept_busy": "retry_on_tree", "serialized": True, "expect": ("busy_given_up",)}),
        ("track_then_block_unserialized", "track_then_block", {"serialized": False, "expect": ("tracking_not_done",)}),
        ("v6_16_entry_unchecked", "v6_16", {"entry": ("requests",), "expect": ("busy_given_up",)}),
        ("v6_18", "v6_16", {"fault_retry": "local_valid"}),
        ("v6_19", "v6_18", {
         "shootdown": ("block", "track", "kick", "remove", "wbinvd", "flush"),
         "on_error": "free_page",
         "guard": "all",
         }),
        ("wbinvd_before_kick", "v6_19",
         {"shootdown": ("block", "track", "wbinvd", "kick", "remove", "flush"), "expect": ("metadata_incorrect",)}),
        ("parallel_kick", "v18", {
         "shootdown": ("block", "gate_raise", "request", "send", "track", "gate_lower", "wait", "remove"),
         "kick": {"request": "tlb_flush", "wait": None},
         "serialized": True,
         }),
        ("parallel_kick_ungated", "kick_then_track", {
         "shootdown": ("block", "request", "send", "track", "wait", "remove"),
         "kick": {"request": "tlb_flush", "wait": None},
         }),
        ("read_locked", "v6_16", {
         "shootdown": READ_LOCKED,
         "entry": ("wait_for_sept_zap",),
         "fault_lock": "sept_lock",
         "no_entry_lock": True,
         "serialized": False,
         "hkid_free": "first",
         }),
        ("read_locked_untracked", "read_locked", {
         "shootdown": tuple(step for step in READ_LOCKED if "track_lock" not in step),
         "entry": (),
         "no_entry_lock": False,
         "track_busy": "spin",
         "sept_busy": "spin",
         "expect": ("previous_epoch_busy",),
         }),
        ("request_then_track", "spec", {
         "shootdown": ("block", "request", "track", "send", "wait", "remove"),
         "kick": {"request": "none", "wait": None},
         "expect": ("tracking_not_done",),
         }),
    ],
)  # fmt: skip
def test_an_ordering_differs_from_its_base_in_nothing_else(name: str, base: str, difference: dict[str, object]) -> None:
    words = {"name", "title", "source", "why"}
    expected = load_ordering(base).model_dump(exclude=words) | difference
    if "expect" in difference and "on_error" not in difference:
        expected["on_error"] = "leak_page"

    assert load_ordering(name).model_dump(exclude=words) == expected


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("review", {"vcpus": 2, "zappers": 1}),
        ("small", {"vcpus": 2, "zappers": 1, "tlb_entries": 1, "shootdowns": 1}),
        ("crowd", {"vcpus": 64, "zappers": 4}),
        (
            "yardstick",  # of the program that it is held against
            {
                "vcpus": 1, "zappers": 1, "pages": 64, "tlb_entries": 64, "reads": "uniform", "tick_us": 50,
                "gap": 2000, "rate": 0.0,
            },
        ),
    ],
)  # fmt: skip
def test_a_scenario_is_what_its_name_promises(name: str, keys: dict[str, object]) -> None:
    its = load_scenario(name)

    assert its.orderings == ("spec", "v18", "v6_16")
    assert {key: getattr(its, key) for key in keys} == keys


def test_wrong_holds_every_ordering_that_is_known_to_be_wrong() -> None:
    wrong = {ordering.name for ordering in shipped_orderings() if not ordering.safe}

    assert set(load_scenario("wrong").orderings) == wrong


def test_every_fault_is_told_with_whose_it_is_and_an_ordering_under_which_it_shows() -> None:
    known = faults()

    assert set(known) == set(FAULTS)
    assert {shown.breaks for shown in known.values()} == {"module", "kvm"}
    assert all(set(shown.beside) <= set(known) and shown.name not in shown.beside for shown in known.values())


@pytest.mark.parametrize("shown", faults().values(), ids=lambda shown: shown.name)
def test_a_fault_adds_something_that_its_ordering_is_not_known_for(shown: Shown) -> None:
    base = load_ordering(shown.ordering)

    assert base.faults == ()
    assert shown.shows not in (() if base.safe else base.expect)


@pytest.mark.parametrize("shown", faults().values(), ids=lambda shown: shown.name)
def test_a_fault_races_and_is_explored_in_its_own_flow_under_its_own_name(shown: Shown) -> None:
    (raced, racing), (machines, explored) = to_race(shown), to_explore(shown)

    assert {raced.flow, *(machine.flow for machine in machines)} == {shown.flow}
    assert racing.name == explored.name == shown.name
    assert racing.faults == explored.faults == (shown.name, *shown.beside)
    assert racing.expect == explored.expect == (shown.shows,)
    assert all(machine.vcpus + machine.zappers <= 4 for machine in machines)


def test_what_perturbs_a_fault_takes_the_place_of_what_its_scenario_does() -> None:
    of = {name: to_race(shown)[0] for name, shown in faults().items()}

    assert of["no_flush_at_entry"].delays == load_scenario("wrong").delays
    assert (of["lost_kick"].yields, of["lost_kick"].delays) == ({}, {})
    assert of["torn_epoch_read"].delays == faults()["torn_epoch_read"].delays
    assert (list(of["track_ignores_refcount"].yields), of["track_ignores_refcount"].delays) == (
        ["write_lock_mmu.try_lock_exclusive_mmu_lock"],
        {},
    )


def test_a_fault_of_the_default_flow_is_explored_on_machines_that_grow() -> None:
    machines, _ = to_explore(faults()["torn_epoch_read"])

    assert [(one.vcpus, one.zappers, one.pages, one.shootdowns) for one in machines] == [
        (1, 1, 1, 1), (2, 1, 1, 1), (1, 2, 2, 1), (2, 1, 1, 2), (1, 2, 2, 2),
    ]  # fmt: skip
