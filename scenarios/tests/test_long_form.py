"""An ordering in full, as `list NAME` has it behind its file."""

from scenarios.fields import LOCKS as LOCK_NAMES
from scenarios.fields import STEPS
from scenarios.loader import load_ordering
from scenarios.long_form import DOES, LOCKS, in_full
from scenarios.models import Ordering

FOR_PEOPLE = {"name", "title", "source", "why"}


def test_every_step_and_every_key_says_what_it_does() -> None:
    assert set(DOES) == {step.partition(" ")[0] for step in STEPS}
    assert set(LOCKS) == set(LOCK_NAMES)
    assert {key for key, field in Ordering.model_fields.items() if field.title is None} == FOR_PEOPLE


def test_a_lock_is_told_with_how_it_is_taken() -> None:
    steps = [line for line in in_full(load_ordering("read_locked")) if "sept_lock: " in line or "read: " in line]

    assert steps == [
        "  lock sept_lock: takes the ordering's own lock of the S-EPT for write",
        "  unlock sept_lock: gives the ordering's own lock of the S-EPT back",
        "  lock sept_lock read: takes the ordering's own lock of the S-EPT for read",
        "  unlock sept_lock: gives the ordering's own lock of the S-EPT back",
    ]


def test_the_write_back_of_caches_is_told_with_its_seamcall_and_why_it_is_there() -> None:
    [said] = [line for line in in_full(load_ordering("v6_19")) if line.startswith("  wbinvd")]

    assert said == (
        "  wbinvd: TDH.PHYMEM.PAGE.WBINVD: what caches hold of the page is written back, before it is anybody else's"
    )


def test_a_policy_by_how_mmu_lock_is_held_is_written_out(mine) -> None:
    file = mine('shootdown = ["track", "remove"]\nbusy = { aug = { write = "bug" } }')

    busy = 'busy = { track = "spin", remove = "spin", aug = { write = "bug", read = "hand_up" }, sept_add = "hand_up" }'
    assert any(line.startswith(busy) for line in in_full(load_ordering(file)))


def test_shorthands_are_written_out_and_what_a_file_leaves_out_is_told(mine) -> None:
    file = mine(
        'shootdown = ["block", "request", "send", "remove"]\nkick = { request = "none" }\n'
        'sept_busy = "none"\nbusy = { remove = "spin" }'
    )

    lines = [line.partition(": ")[0] for line in in_full(load_ordering(file))]

    assert lines == [
        "shootdown = 4 steps", "  block", "  request", "  send", "  remove", "table = [] (left out)",
        'kick = { request = "none" }', 'gate = "none" (left out)', "entry = [] (left out)",
        'flush_at = "request" (left out)', 'track_busy = "spin" (left out)', 'sept_busy = "none"',
        'busy = { block = "bug", remove = "spin", aug = "bug", sept_add = "bug" }', "undo = [] (left out)",
        "locks = {} (left out)", 'entry_lock = "none" (left out)', 'fault_lock = "none" (left out)',
        'fault_mmu_lock = "read" (left out)', "no_entry_lock = false (left out)", 'without = "none" (left out)',
        "serialized = true (left out)", 'sept_free = "live" (left out)', 'hkid_free = "first" (left out)',
        'guard = "own" (left out)', "elide_flush = false (left out)", 'on_error = "stop" (left out)',
        'fault_retry = "reenter" (left out)', "faults = [] (left out)", 'expect = "safe" (left out)',
    ]  # fmt: skip
