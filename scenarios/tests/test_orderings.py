"""A user's own ordering: what holds, and the one line for each thing that does not."""

from itertools import permutations
from pathlib import Path

import pytest

from scenarios.loader import load_ordering, load_orderings
from scenarios.models import Kick
from scenarios.tests.refusals import refused

NO_KICK = 'shootdown = ["block", "track", "remove"]\n'
GATED = 'shootdown = ["block", "gate_raise", "gate_lower", "remove"]\n'
KICKED = 'shootdown = ["block", "track", "kick", "remove"]\n'
PARTS = 'shootdown = ["block", "request", "send", "track", "wait", "remove"]\n'
STEPS = (
    "block, gate_raise, kick, track, gate_lower, remove, flush, request, send, wait, unblock, protect, wbinvd, "
    "lock NAME, lock NAME read or unlock NAME"
)
POLICIES = "spin, spin_exact, tries(16), retry_without_vcpus, hand_up, skip or bug"
BY_LOCK = 'a table such as { read = "hand_up", write = "bug" }'
NO_REMOVE = 'expected the step "remove" once, found none: without it no page is ever given back'
NO_REQUEST = 'found "send" without "request" before it, which finds out who is inside: nobody would be sent an IPI'
OUTCOMES = (
    "stale_after_done, use_after_remove, previous_epoch_busy, tracking_not_done, not_blocked, already_blocked, "
    "entry_state_incorrect, refcount_broken, no_progress, busy_given_up, ve_on_memory, access_before_accept, "
    "ept_walk_failed, mirror_disagrees, two_owners, not_zeroed, vcpu_associated, sept_use_after_free, "
    "ept_page_not_free, td_state_incorrect, hkid_leaked, write_lost, metadata_incorrect or written_back_late"
)


def test_a_file_needs_no_suffix_and_its_name_becomes_one_word(tmp_path: Path) -> None:
    file = tmp_path / "my own\nordering"
    file.write_text(NO_KICK)

    assert load_ordering(str(file)).name == "my_own_ordering"


def test_the_line_names_the_path_as_the_user_typed_it(refusal) -> None:
    file = "scenarios/orderings/mine.toml"
    Path(file).parent.mkdir(parents=True)

    said = refusal(load_ordering, 'shootdown = ["block", "kick", "tracks", "remove"]', file)
    assert said == f'{file}: shootdown[2]: unknown step "tracks"; did you mean "track"?'


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('shootdwon = ["remove"]', 'shootdwon: unknown key; did you mean "shootdown"?'),
        (NO_KICK + 'without = "sept"', 'without: unknown lock "sept"; did you mean "sept_lock"?'),
        (NO_KICK + 'without = "track_lock"', 'without: found "track_lock", which the ordering does not take'),
        (NO_KICK + "xyz = 1",
         "xyz: unknown key; expected title, source, why, shootdown, table, kick, gate, entry, flush_at, "
         "track_busy, sept_busy, busy, undo, locks, entry_lock, fault_lock, fault_mmu_lock, no_entry_lock, without, "
         "serialized, sept_free, hkid_free, guard, elide_flush, on_error, fault_retry, faults or expect"),
        (NO_KICK + 'name = "x"', "name: unknown key; the name is that of the file"),
        (NO_KICK + "Gate = 2", 'Gate: unknown key; did you mean "gate"?'),
        (NO_KICK + '"ti\\ntle" = 1', '["ti\\ntle"]: unknown key; did you mean "title"?'),
        ('title = "x"', 'shootdown: missing; expected a list of steps such as ["block", "track", "kick", "remove"]'),
        ("shootdown = 3", 'shootdown: expected a list of steps such as ["block", "track", "kick", "remove"], found 3'),
        ("shootdown = [1]", f"shootdown[0]: expected a step ({STEPS}), found 1"),
        ('shootdown = ["xyz"]', f'shootdown[0]: unknown step "xyz"; expected {STEPS}'),
        (NO_KICK + "title = 2024-01-30", "title: expected text in quotes, found 2024-01-30"),
        (NO_KICK + "serialized = 1", "serialized: expected true or false, found 1"),
        (NO_KICK + 'serialized = "true"', 'serialized: expected true or false, found "true"'),
        (NO_KICK + 'gate = "conter"', 'gate: unknown gate "conter"; did you mean "counter"?'),
        (NO_KICK + "gate = [true]", "gate: expected a gate (none, counter or flag), found [true]"),
        (NO_KICK + 'entry = ["request"]', 'entry[0]: unknown check "request"; did you mean "requests"?'),
        (NO_KICK + 'track_busy = "xyz"', f'track_busy: unknown policy "xyz"; expected {POLICIES}'),
        (NO_KICK + 'sept_busy = "Spin"', 'sept_busy: unknown policy "Spin"; did you mean "spin"?'),
        (NO_KICK + 'busy = "spin"', 'busy: expected a table such as { block = "bug", aug = "hand_up" }, found "spin"'),
        (NO_KICK + 'busy = { blocks = "spin" }', 'busy.blocks: unknown key; did you mean "block"?'),
        (NO_KICK + 'busy = { demote = "spin" }', 'busy.demote: unknown key; did you mean "remove"?'),
        (NO_KICK + "busy = { block = 3 }", f"busy.block: expected a policy ({POLICIES}), or {BY_LOCK}, found 3"),
        (NO_KICK + "busy = { aug = { read = 3 } }", f"busy.aug.read: expected a policy ({POLICIES}), found 3"),
        (NO_KICK + 'busy = { aug = { red = "spin" } }', 'busy.aug.red: unknown key; did you mean "read"?'),
        (NO_KICK + 'busy = { block = "tries(0)" }', 'busy.block: expected from 1 to 1000 tries, found "tries(0)"'),
        (NO_KICK + 'sept_busy = "tries(1001)"', 'sept_busy: expected from 1 to 1000 tries, found "tries(1001)"'),
        (NO_KICK + 'busy = { block = "Spin" }', 'busy.block: unknown policy "Spin"; did you mean "spin"?'),
        (NO_KICK + 'on_error = "free"', 'on_error: unknown reaction "free"; did you mean "free_page"?'),
        (NO_KICK + 'faults = ["no_flush"]', 'faults[0]: unknown fault "no_flush"; did you mean "no_flush_at_entry"?'),
        (KICKED + "kick = true", 'kick: expected a table such as { request = "none", wait = true }, found true'),
        (KICKED + 'kick = { request = "flush", wait = true }',
         'kick.request: unknown request "flush"; did you mean "tlb_flush"?'),
        (KICKED + 'kick = { request = "none" }', "kick.wait: missing; expected true or false"),
        (KICKED + 'kick = { request = "none", wait = true, waits = true }',
         'kick.waits: unknown key; did you mean "wait"?'),
    ],
)  # fmt: skip
def test_a_wrong_key_or_word_or_type_gives_one_line(refusal, text: str, line: str) -> None:
    assert refusal(load_ordering, text) == f"mine.toml: {line}"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('expect = "saf"',
         'expect: expected "safe" or a list of forbidden outcomes, found "saf"; did you mean "safe"?'),
        ('expect = "tracking_not_done"',
         'expect: expected "safe" or a list of forbidden outcomes, found "tracking_not_done"; '
         'did you mean ["tracking_not_done"]?'),
        ("expect = []", 'expect: expected "safe" or a list of at least one forbidden outcome, found []'),
        ("expect = true", 'expect: expected "safe" or a list of at least one forbidden outcome, found true'),
        ('expect = ["fresh"]', f'expect[0]: outcome "fresh" is not forbidden; expected {OUTCOMES}'),
        ('expect = ["not_blocked", "tracking_done"]',
         'expect[1]: unknown outcome "tracking_done"; did you mean "tracking_not_done"?'),
        ("expect = [3]", f"expect[0]: expected an outcome ({OUTCOMES}), found 3"),
        ('expect = ["not_blocked", "not_blocked"]', 'expect: expected each at most once, found "not_blocked" twice'),
    ],
)  # fmt: skip
def test_an_expectation_is_safe_or_forbidden_outcomes(refusal, text: str, line: str) -> None:
    assert refusal(load_ordering, NO_KICK + text) == f"mine.toml: {line}"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('shootdown = ["block", "track"]', f"shootdown: {NO_REMOVE}"),
        ('shootdown = ["block", "unblock", "block", "track"]',
         'shootdown: expected "unblock" or "remove" behind the last "block", found none: it would stay blocked'),
        ('shootdown = ["block", "track", "unblock", "wbinvd"]',
         'shootdown: found "wbinvd" without "remove": the module writes back a page that no TD has'),
        (NO_KICK + 'table = ["protect", "wbinvd"]',
         'table: found "wbinvd" without "remove": the module writes back a page that no TD has'),
        ('shootdown = ["wbinvd", "remove", "wbinvd"]', 'shootdown: expected each at most once, found "wbinvd" twice'),
        (NO_KICK + 'busy = { remove = "hand_up" }\nundo = ["unblock", "wbinvd"]',
         'undo: found "wbinvd", which takes nothing back'),
        ('shootdown = ["unlock sept_lock", "remove"]', 'shootdown: found "unlock sept_lock" where it is not held'),
        ('shootdown = ["lock track_lock", "lock track_lock", "remove"]',
         'shootdown: found "lock track_lock" where it is held already'),
        ('shootdown = ["lock sept_lock", "lock sept_lock read", "remove"]',
         'shootdown: found "lock sept_lock read" where it is held already'),
        (KICKED + 'kick = { request = "none", wait = true }\nundo = ["unblock"]',
         'undo: found steps, but no BUSY of a zapper is handed up, as busy = { remove = "hand_up" } has it'),
        ('shootdown = ["track", "remove"]\nbusy = { remove = "hand_up" }\nundo = ["unblock"]',
         'undo: found steps, but no BUSY of a zapper is handed up, as busy = { remove = "hand_up" } has it'),
        (NO_KICK + 'busy = { remove = "hand_up" }\nundo = ["send", "unblock"]', f"undo: {NO_REQUEST}"),
        (NO_KICK + 'without = "fault_lock"', 'without: found "fault_lock", which the ordering does not take'),
        (NO_KICK + 'without = "no_entry_lock"', 'without: found "no_entry_lock", which the ordering does not take'),
        (NO_KICK + "elide_flush = true",
         'elide_flush: found true, but the shootdown has no step "protect", which finds whether to flush'),
        (NO_KICK + 'busy = { remove = "hand_up" }\nundo = ["track"]',
         'undo: expected the step "unblock" once, found it 0 times'),
        (NO_KICK + 'busy = { remove = "hand_up" }\nundo = ["unblock", "remove"]',
         'undo: found "remove", which takes nothing back'),
        (NO_KICK + 'busy = { remove = "hand_up" }\nundo = ["lock sept_lock", "unblock"]',
         'undo: found "lock sept_lock" without "unlock sept_lock" behind it: the next one would wait for ever'),
        ('shootdown = ["lock sept_lock", "block", "remove", "unlock sept_lock"]\nbusy = { remove = "hand_up" }\n'
         'undo = ["track", "track", "track", "track", "track", "track", "track", "track", "track", "unblock"]',
         "undo: expected at most 9 steps, found 10"),
        (NO_KICK + 'busy = { remove = "hand_up" }\nundo = ["kick", "unblock"]',
         'kick: missing; the step "kick" needs a table such as { request = "none", wait = true }'),
        (NO_KICK + 'locks = { sept_lock = "spin_irq" }',
         'locks.sept_lock: found "spin_irq", but no vCPU takes it, and steps say how they do'),
        (NO_KICK + 'locks = { sept_lock = "mutex" }',
         'locks.sept_lock: unknown kind of lock "mutex"; expected rw, spin, rw_irq or spin_irq'),
        (NO_KICK + 'locks = { sept_lok = "spin" }', 'locks.sept_lok: unknown key; did you mean "sept_lock"?'),
        ('shootdown = ["lock sept_lock read", "block", "remove", "unlock sept_lock"]\n'
         'locks = { sept_lock = "spin" }\nfault_lock = "sept_lock"',
         'locks.sept_lock: found "spin", but there is the step "lock sept_lock read"'),
        (NO_KICK + 'entry_lock = "tlbstate_lock"',
         'entry: expected "requests", as "tlbstate_lock" is taken around the look at them, interrupts on'),
        (NO_KICK + 'entry_lock = "mmu_lock"',
         'entry_lock: unknown lock "mmu_lock"; expected none, sept_lock, track_lock, page_table_lock '
         "or tlbstate_lock"),
        ('shootdown = ["lock mmu_lock read", "block", "remove", "unlock mmu_lock"]',
         "serialized: expected false, as the shootdown takes mmu_lock by steps of its own, found true"),
        ('shootdown = ["lock sept_lock shared", "remove"]',
         'shootdown[0]: expected "lock sept_lock" or "lock sept_lock read", found "lock sept_lock shared"'),
        ('shootdown = ["lock sept_lock read", "remove", "unlock sept_lock read"]',
         'shootdown[2]: expected "unlock sept_lock", found "unlock sept_lock read"'),
        ('shootdown = ["lock sept_lok", "remove"]', 'shootdown[0]: unknown lock "sept_lok"; did you mean "sept_lock"?'),
        ('shootdown = ["lock sept_lock", "remove"]',
         'shootdown: found "lock sept_lock" without "unlock sept_lock" behind it: the next one would wait for ever'),
        ("shootdown = []", f"shootdown: {NO_REMOVE}"),
        ('shootdown = ["block", "remove", "track", "remove"]',
         'shootdown: expected each at most once, found "remove" twice'),
        ('shootdown = ["block", "gate_raise", "remove"]\ngate = "counter"',
         'shootdown: expected "gate_raise" and "gate_lower" together, found "gate_raise" without "gate_lower"'),
        ('shootdown = ["block", "gate_lower", "remove"]\ngate = "counter"',
         'shootdown: expected "gate_raise" and "gate_lower" together, found "gate_lower" without "gate_raise"'),
        (NO_KICK + 'table = ["block"]', f"table: {NO_REMOVE}"),
        (NO_KICK + 'table = ["send", "remove"]', f"table: {NO_REQUEST}"),
        (NO_KICK + 'table = ["block", "gate_raise", "gate_lower", "remove"]',
         'gate: expected "counter" or "flag", as the shootdown has gate steps, found "none"'),
        (KICKED + 'table = ["request", "send", "wait", "remove"]\nkick = { request = "none" }',
         'shootdown: found "kick" beside its part "request"; write "request", "send", "wait" for a whole one'),
        (GATED, 'gate: expected "counter" or "flag", as the shootdown has gate steps, found "none"'),
        (NO_KICK + 'gate = "counter"', 'gate: expected "none", as the shootdown has no gate steps, found "counter"'),
        (KICKED, 'kick: missing; the step "kick" needs a table such as { request = "none", wait = true }'),
        (NO_KICK + 'kick = { request = "none", wait = true }',
         'kick: found a table, but the shootdown has no step "kick"'),
        (NO_KICK + 'entry = ["requests", "gate"]', 'entry: found "gate", but the ordering has no gate'),
        (GATED + 'gate = "flag"\nentry = ["gate"]',
         'entry: expected "requests" beside "gate": the gate is waited for where a request is handled'),
        (KICKED + 'kick = { request = "tlb_flush", wait = true }',
         'entry: expected "requests", as the kick makes the request "tlb_flush" and nobody else handles it'),
        ('shootdown = ["block", "flush", "remove"]',
         'entry: expected "requests", as "flush" makes the request "tlb_flush" and nobody else handles it'),
        (NO_KICK + 'entry = ["requests", "requests"]', 'entry: expected each at most once, found "requests" twice'),
        ('shootdown = ["block", "gate_raise", "gate_raise", "gate_lower", "remove"]\ngate = "counter"',
         'shootdown: expected each at most once, found "gate_raise" twice'),
        ("shootdown = [" + 12 * '"track", ' + '"remove"]', "shootdown: expected at most 12 steps, found 13"),
        ('shootdown = ["block", "track", "send", "wait", "remove"]', f"shootdown: {NO_REQUEST}"),
        ('shootdown = ["request", "send", "track", "send", "remove"]', f"shootdown: {NO_REQUEST}"),
        ('shootdown = ["block", "request", "wait", "send", "remove"]',
         'shootdown: found "wait" without "send" before it: no IPI would be waited for'),
        ('shootdown = ["request", "send", "request", "wait", "remove"]',
         'shootdown: found "wait" without "send" before it: no IPI would be waited for'),
        ('shootdown = ["kick", "request", "send", "wait", "remove"]',
         'shootdown: found "kick" beside its part "request"; write "request", "send", "wait" for a whole one'),
        (NO_KICK + 'track_busy = "none"\nbusy = { track = "spin" }',
         'busy.track: found "spin" beside its shorthand, track_busy = "none"; leave one out'),
        ('shootdown = ["track", "remove"]\nbusy = { remove = "spin", block = "none" }',
         'busy.block: found "none", but the shootdown has no step "block"'),
        (NO_KICK + 'busy = { aug = { write = "retry_without_vcpus" } }',
         'busy.aug.write: found "retry_without_vcpus", but a fault is a vCPU\'s, and no vCPU keeps vCPUs out'),
        (PARTS, 'kick: missing; the step "request" needs a table such as { request = "none" }'),
        (PARTS + 'kick = { request = "none", wait = true }',
         'kick.wait: found true, but the kick stands in its parts: it waits where "wait" stands'),
    ],
)  # fmt: skip
def test_a_combination_that_means_nothing_gives_one_line(refusal, text: str, line: str) -> None:
    assert refusal(load_ordering, text) == f"mine.toml: {line}"


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        (NO_KICK, {
            "name": "mine", "shootdown": ("block", "track", "remove"), "kick": None, "gate": "none", "entry": (),
            "faults": (), "track_busy": "spin", "sept_busy": "spin", "on_error": "stop", "serialized": True,
            "expect": "safe", "safe": True,
        }),
        (NO_KICK + 'expect = ["tracking_not_done", "previous_epoch_busy"]',
         {"expect": ("tracking_not_done", "previous_epoch_busy"), "safe": False}),
        (NO_KICK + 'fault_lock = "sept_lock"\nno_entry_lock = true\nwithout = "fault_lock+no_entry_lock"',
         {"without": "fault_lock+no_entry_lock"}),
        (NO_KICK + 'entry_lock = "tlbstate_lock"\nentry = ["requests"]', {"entry_lock": "tlbstate_lock"}),
        (NO_KICK + 'track_busy = "none"\nbusy = { block = "retry_without_vcpus" }', {"track_busy": "none"}),
        ('shootdown = ["lock sept_lock", "block", "remove", "unlock sept_lock"]\nbusy = { remove = "hand_up" }\n'
         'undo = ["track", "track", "track", "track", "track", "track", "track", "track", "unblock"]',
         {"undo": ("track",) * 8 + ("unblock",)}),
    ],
)  # fmt: skip
def test_a_file_of_ones_own_needs_little_and_a_combination_that_means_something_is_taken(
    mine, text: str, fields: dict[str, object]
) -> None:
    ordering = load_ordering(mine(text))

    assert {key: getattr(ordering, key) for key in fields} == fields


MERGED = {"kick": Kick(request="none", wait=True), "gate": "none", "entry": (), "serialized": True}
AS_V18 = MERGED | {
    "kick": Kick(request="tlb_flush", wait=True), "gate": "counter", "entry": ("requests", "gate"), "serialized": False,
}  # fmt: skip


@pytest.mark.parametrize(
    ("steps", "fields"),
    [
        ("block,track,kick,remove", MERGED | {"on_error": "stop", "expect": "safe", "no_entry_lock": False}),
        ("block,gate_raise,kick,track,gate_lower,remove", AS_V18),
        # The parts of a kick say themselves where it waits, never among them, or that it is never sent.
        ("block,request,send,track,wait,remove", MERGED | {"kick": Kick(request="none")}),
        ("block,gate_raise,request,send,track,gate_lower,wait,remove", AS_V18 | {"kick": Kick(request="tlb_flush")}),
        ("block,track,request,send,remove", {"kick": Kick(request="none")}),
        ("block,track,request,remove", {"kick": Kick(request="none")}),
        ("block,track,remove", {"kick": None}),
        ("block,kick,track,kick,remove", MERGED),
        ("remove", {"kick": None}),
        (11 * "track," + "remove", {"kick": None}),
    ],
)
def test_what_steps_leave_unsaid_follows_from_them(steps: str, fields: dict[str, object]) -> None:
    ordering = load_ordering(steps)

    assert ordering.shootdown == tuple(steps.split(","))
    assert {key: getattr(ordering, key) for key in fields} == fields


def test_blanks_between_steps_are_no_part_of_the_name() -> None:
    assert load_ordering("block, track,kick,remove").name == "block,track,kick,remove"


def test_every_order_of_v18s_six_steps_can_be_asked_for() -> None:
    steps = ("block", "gate_raise", "kick", "track", "gate_lower", "remove")

    orderings = [load_ordering(",".join(order)) for order in permutations(steps)]

    assert [ordering.shootdown for ordering in orderings] == list(permutations(steps))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("v81", 'unknown ordering "v81"; did you mean "v18"? `tdx-stress list` names them all'),
        ("V18", 'unknown ordering "V18"; did you mean "v18"? `tdx-stress list` names them all'),
        ("xyz", 'unknown ordering "xyz"; `tdx-stress list` names them all'),
        ("", 'unknown ordering ""; `tdx-stress list` names them all'),
        ("review", '"review" is a scenario: tdx-stress run review'),
        ("lost_kick", '"lost_kick" is a fault: --fault lost_kick'),
        (
            "block,tracks,remove",
            'ordering "block,tracks,remove": shootdown[1]: unknown step "tracks"; did you mean "track"?',
        ),
        ("v18, spec", 'ordering "v18, spec": expected one, or steps, found 2; try --ordering v18 --ordering spec'),
        ("block,,remove", f'ordering "block,,remove": shootdown[1]: unknown step ""; expected {STEPS}'),
        (
            "block,gate_raise,remove",
            'ordering "block,gate_raise,remove": shootdown: expected "gate_raise" and "gate_lower" together, '
            'found "gate_raise" without "gate_lower"',
        ),
    ],
)
def test_an_unknown_name_or_step_names_the_nearest_right_one(text: str, line: str) -> None:
    assert refused(load_ordering, text) == line


def test_two_orderings_of_one_name_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("spec.toml").write_text(NO_KICK)

    assert refused(load_orderings, ["spec", "v18", "spec.toml"]) == (
        'ordering "spec.toml": expected a name of its own, found "spec" again, after "spec"'
    )


def test_several_orderings_keep_their_order() -> None:
    assert [ordering.name for ordering in load_orderings(["v18", "spec"])] == ["v18", "spec"]
