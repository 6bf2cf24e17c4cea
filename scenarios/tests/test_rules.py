"""Orderings and scenarios compiled to the integers that the kernels take."""

from typing import Any

import pytest

from kernels.race.ticks import Clock
from kernels.tdx.rules import UNLIMITED, Rules, Step, pack_steps
from scenarios.loader import load_ordering, load_scenario, shipped_orderings, shipped_scenarios, with_options
from scenarios.models import Ordering, Scenario
from scenarios.rules import compile_rules


def compiled(
    ordering: str | Ordering, scenario: Scenario | None = None, *, shared_cpus: bool = True, **options: Any
) -> Rules:
    return compile_rules(
        load_ordering(ordering) if isinstance(ordering, str) else ordering,
        with_options(scenario or load_scenario("review"), **options),
        clock=Clock.TSC,
        ticks_per_s=2e9,
        ticks_to_ns=1 << 19,
        shared_cpus=shared_cpus,
    )


def test_spec_compiles_to_these_integers() -> None:
    assert compiled("spec") == Rules(
        flow=0, module=0, batch=1, resched=0, shared_pages=0, shared_flush=0, memslot_zap=0,
        shootdown=int("6341", 32), table=0, undo=0, request=0, wait=1, gate=0, entry_requests=0, entry_gate=0,
        entry_wait_for_sept_zap=0, flush_at=0, fault_lock=0, entry_lock=0, spin_locks=0, irq_locks=0,
        no_entry_lock=0, fault_for_write=0, block_busy_write=0, block_busy_read=0, track_busy_write=0,
        track_busy_read=0, remove_busy_write=0, remove_busy_read=0, aug_busy_write=9, aug_busy_read=9,
        sept_add_busy_write=9, sept_add_busy_read=9, zap_for_write=0, serialized=1, mmu_lock_steps=0, sept_free=0,
        hkid_free=0, guard=0, ioctls=31, elide_flush=0, on_error=0, fault_retry=0, epf_threshold=6,
        hp_lock_timeout=100, faults=0, lps=2, aging=0, sept_ve_disable=0, pattern=0, shootdowns=UNLIMITED, gap=2000,
        period=0, start_offset=0, start_offsets=0, tick=100_000, shared_cpus=1, clock=0, ticks_to_ns=1 << 19,
        kick_by=0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("ordering", "changes"),
    [
        ("v18", {
            "shootdown": int("654321", 32), "request": 1, "gate": 1, "entry_requests": 1, "entry_gate": 1,
            "serialized": 0, "sept_free": 1,
        }),
        ("v6_16", {
            "shootdown": int("76341", 32), "entry_requests": 1, "entry_wait_for_sept_zap": 1,
            "block_busy_write": 11, "block_busy_read": 11, "track_busy_write": 11, "track_busy_read": 11,
            "remove_busy_write": 11, "remove_busy_read": 11, "sept_free": 1, "hkid_free": 1, "fault_retry": 1,
        }),
        ("no_kick", {"shootdown": int("641", 32), "wait": 0, "on_error": 1}),
        ("free_despite_error", {
            "shootdown": int("6431", 32), "request": 1, "entry_requests": 1, "sept_free": 1, "on_error": 2,
        }),
        ("no_flush_at_entry", {"faults": 1, "on_error": 1}),
    ],
)  # fmt: skip
def test_another_ordering_compiles_to_other_integers(ordering: str, changes: dict[str, int]) -> None:
    assert compiled(ordering) == compiled("spec")._replace(**changes)


@pytest.mark.parametrize(
    ("steps", "wait"),
    [
        ("block,track,request,send,wait,remove", 1),
        ("block,request,track,send,wait,remove", 1),
        ("block,request,send,track,wait,remove", 2),
        ("request,send,wait,track,request,send,block,wait,remove", 2),
        ("block,track,request,send,remove", 0),
        ("kick_without_wait", 0),
    ],
)
def test_a_kick_or_its_parts_wait_at_once_later_or_never(steps: str, wait: int) -> None:
    assert compiled(steps).wait == wait


SEAMCALLS = ("block", "track", "remove", "aug", "sept_add")
BY_HOLD = 'busy = { aug = { read = "hand_up", write = "bug" }, block = { read = "tries(2)" } }'


@pytest.mark.parametrize(
    ("text", "for_write", "for_read"),
    [
        ("", [0, 0, 0, 9, 9], ...),
        ('sept_busy = "none"', [8, 0, 8, 8, 8], ...),
        ('sept_busy = "spin_on_tree"', [4, 0, 4, 13, 13], ...),
        ('sept_busy = "retry_on_tree"', [17 << 3 | 4, 0, 4, 13, 13], ...),
        ('sept_busy = "retry_without_vcpus"\ntrack_busy = "none"', [11, 8, 11, 9, 9], ...),
        ('track_busy = "retry_on_tree"', [0, 4, 0, 9, 9], ...),
        ('sept_busy = "tries(3)"\ntrack_busy = "tries_exact(2)"', [24, 20, 24, 9, 9], ...),
        ('sept_busy = "skip"', [10, 0, 10, 10, 10], ...),
        ('busy = { block = "tries(1)", track = "skip", remove = "hand_up" }', [8, 10, 9, 9, 9], ...),
        ('sept_busy = "none"\nbusy = { aug = "spin", sept_add = "spin_exact" }', [8, 0, 8, 0, 4], ...),
        (f'sept_busy = "none"\n{BY_HOLD}', [8, 0, 8, 8, 8], [16, 0, 8, 9, 8]),
    ],
)
def test_a_policy_for_busy_is_compiled_by_seamcall_and_may_hang_on_how_mmu_lock_is_held(
    mine, text: str, for_write: list[int], for_read: Any
) -> None:
    rules = compiled(mine(f'shootdown = ["block", "track", "remove"]\n{text}'))
    found = ([getattr(rules, f"{one}_busy_{mode}") for one in SEAMCALLS] for mode in ("write", "read"))

    assert [*found] == [for_write, for_write if for_read is ... else for_read]


def test_a_page_table_page_has_its_own_steps_and_its_own_wait(mine) -> None:
    table = 'table = ["block", "request", "send", "track", "wait", "remove"]\nkick = { request = "none" }'
    rules = compiled(mine(f'shootdown = ["block", "remove"]\n{table}'))

    assert (rules.shootdown, rules.table, rules.wait) == (int("61", 32), int("6a4981", 32), 2)


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        ({"reads": "uniform"}, {"pattern": 0}),
        ({"reads": "sequential"}, {"pattern": 1}),
        ({"reads": "hot_set"}, {"pattern": 2}),
        ({"shootdowns": 500}, {"shootdowns": 500}),
        # A rate is shared among the zappers: the highest still has a period, the lowest fits a word.
        ({"rate": 1000, "zappers": 1}, {"period": 2_000_000}),
        ({"rate": 1000, "zappers": 4}, {"period": 8_000_000}),
        ({"rate": 1000, "zappers": 3, "flow": "batch", "batch": 2}, {"period": 12_000_000}),
        ({"rate": 1e7}, {"period": 200}),
        # A shared EPT is flushed by a request that is not the ordering's.
        ({"flow": "shared_ept", "shared_pages": 32}, {"request": 0, "shared_pages": 32, "shared_flush": 0}),
        ({"rate": 0.001, "zappers": 62}, {"period": 124_000_000_000_000}),
        # In ticks, from its least to its most; one of nothing still has zappers start together.
        ({"rate": 1000, "zappers": 2, "start_offset": "500ns-2us"}, {"start_offset": 1000, "start_offsets": 3001}),
        ({"rate": 1000, "zappers": 2, "start_offset": "0ns"}, {"start_offset": 0, "start_offsets": 1}),
        # The host ticks only where CPUs are shared, a storm on any machine.
        ({"shared_cpus": False}, {"tick": 0, "shared_cpus": 0}),
        ({"shared_cpus": False, "flow": "migrate"}, {"tick": 100_000, "shared_cpus": 0}),
        ({"shared_cpus": False, "flow": "build"}, {"tick": 100_000, "shared_cpus": 0}),
        ({"tick_us": 0}, {"tick": 0}),
        ({"storm_us": 3, "shared_cpus": False}, {"tick": 6000}),
        ({"storm_us": 3, "tick_us": 50}, {"tick": 6000}),
    ],
)
def test_an_option_is_compiled_to_words_of_the_rules(options: dict[str, Any], fields: dict[str, int]) -> None:
    rules = compiled("spec", **options)

    assert {name: getattr(rules, name) for name in fields} == fields


@pytest.mark.parametrize(
    ("ordering", "flow", "held"),
    [("spec", "shootdown", (1, 0)), ("spec", "populate", (0, 1)), ("v18", "populate", (0, 0))],
)
def test_where_there_are_page_tables_mmu_lock_is_held_for_write_or_shared(
    ordering: str, flow: str, held: tuple[int, int]
) -> None:
    rules = compiled(ordering, flow=flow)

    assert (rules.serialized, rules.zap_for_write) == held


def test_a_lock_that_is_left_out_takes_its_steps_with_it() -> None:
    def left(without: str) -> tuple[int, int, int]:
        rules = compiled(load_ordering("read_locked").model_copy(update={"without": without}))
        return rules.shootdown, rules.fault_lock, rules.no_entry_lock

    tracked = [Step.LOCK_TRACK_LOCK, Step.TRACK, Step.KICK, Step.UNLOCK_TRACK_LOCK]
    assert left("sept_lock") == (pack_steps([Step.BLOCK, *tracked, Step.REMOVE]), 1, 1)
    assert left("sept_lock+track_lock") == (pack_steps([Step.BLOCK, Step.TRACK, Step.KICK, Step.REMOVE]), 1, 1)
    assert left("fault_lock+no_entry_lock")[1:] == (0, 0)


def test_a_lock_is_taken_for_write_where_it_is_not_said_how(mine) -> None:
    def steps(mode: str) -> int:
        return compiled(mine(f'shootdown = ["lock sept_lock{mode}", "block", "unlock sept_lock", "remove"]')).shootdown

    behind = [Step.BLOCK, Step.UNLOCK_SEPT_LOCK, Step.REMOVE]
    assert steps("") == steps(" write") == pack_steps([Step.LOCK_SEPT_LOCK, *behind])
    assert steps(" read") == pack_steps([Step.LOCK_SEPT_LOCK_READ, *behind])


@pytest.mark.parametrize(("steps", "held"), [("lock mmu_lock", 1), ("lock mmu_lock read", 0), ("track", 0)])
def test_a_page_is_mapped_again_inside_mmu_lock_where_a_step_takes_it_for_write(steps: str, held: int) -> None:
    rules = compiled(f"{steps},block,remove{',unlock mmu_lock' * ('lock' in steps)}")

    assert (rules.mmu_lock_steps, rules.serialized) == (held, int(steps == "track"))


def test_what_takes_a_block_back_is_compiled_without_locks_that_are_left_out(mine) -> None:
    undo = 'busy = { remove = "hand_up" }\nundo = ["lock sept_lock", "unblock", "unlock sept_lock"]'
    locked, left_out = (
        compiled(mine(f'shootdown = ["block", "remove"]\n{undo}\nwithout = "{lock}"')) for lock in ("none", "sept_lock")
    )

    assert locked.undo == pack_steps([Step.LOCK_SEPT_LOCK, Step.UNBLOCK, Step.UNLOCK_SEPT_LOCK])
    assert left_out.undo == pack_steps([Step.UNBLOCK])


def test_how_vcpus_take_a_lock_is_compiled(mine) -> None:
    taken = 'entry_lock = "tlbstate_lock"\nfault_lock = "page_table_lock"'
    kinds = 'locks = { tlbstate_lock = "spin_irq", page_table_lock = "rw_irq" }'
    rules = compiled(mine(f'shootdown = ["block", "remove"]\n{taken}\n{kinds}'))

    assert (rules.entry_lock, rules.fault_lock, rules.spin_locks, rules.irq_locks) == (4, 3, 8, 12)


@pytest.mark.parametrize("ordering", shipped_orderings(), ids=lambda ordering: ordering.name)
def test_everything_shipped_compiles_to_plain_integers(ordering: Ordering) -> None:
    for scenario in shipped_scenarios():
        rules = compiled(ordering, scenario)

        assert all(type(value) is int for value in rules), scenario.name
