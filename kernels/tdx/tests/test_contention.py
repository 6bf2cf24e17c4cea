"""Who is blamed for a lock that was not got: what a straight line keeps, and what it comes to for whoever looks."""

from types import FunctionType
from typing import Any, cast

import numpy as np
import pytest

from kernels import layout
from kernels.language.atomics import PYTHON
from kernels.language.generator import Reference
from kernels.language.straight import Names
from kernels.language.worlds import World
from kernels.race import lines as race
from kernels.race.variant import BARE
from kernels.race.weave import straight_source
from kernels.tdx.bits import HP, TDEL
from kernels.tdx.counters import (
    COLUMNS,
    CONTENTION,
    GONE,
    HEAD_WORDS,
    HELD,
    HELD_ENTRY,
    HELD_TDR,
    HOST_PRIORITY,
    LEAVES,
    SEVERAL,
    STATUS_COUNTS,
    STATUSES,
    WAIT_FIELDS,
    WAITING,
    WAITS,
    ModuleLock,
)
from kernels.tdx.kvm.kick import kick
from kernels.tdx.lock_contention import EXCLUSIVE, GOT, LOCK_SHIFT, TRIES_OF_ENTRY, WORD_SHIFT, contended, leaf_text
from kernels.tdx.module import mem as module
from kernels.tdx.module.locks import lock_entry, lock_entry_as_guest
from kernels.tdx.module.sept import mem_add
from kernels.tdx.protocol import SHOOTDOWN, protocol_of
from kernels.tdx.rules import FLOWS, Busy, Flow, Rules, flow_name
from kernels.tdx.statuses import Leaf
from kernels.tdx.words import plan, vcpu_actor, zapper_actor
from kernels.tests.orders import SAFE, busy

TRACK, ENTER, BLOCK = int(Leaf.TDH_MEM_TRACK), int(Leaf.TDH_VP_ENTER), int(Leaf.TDH_MEM_RANGE_BLOCK)
REMOVE, ACCEPT = int(Leaf.TDH_MEM_PAGE_REMOVE), int(Leaf.TDG_MEM_PAGE_ACCEPT)
LAY = plan(2, 2, 2, 2)
RULES = Rules(*([0] * len(Rules._fields)))._replace(ticks_to_ns=1 << 20)


class Machine:
    """Two vCPUs and two zappers whose words a test writes, and a clock that it sets."""

    def __init__(self) -> None:
        self.words, self.clock = np.zeros(LAY.total_words, np.int64), 0
        self.look = World(PYTHON, lambda bound: bound).rebound(cast(FunctionType, contended))
        self.look.__globals__["now"] = lambda rules: self.clock

    def holds(self, actor: layout.Actor, word: int, leaf: int, exclusive: bool, place: int = HELD) -> None:
        self.words[actor.tally + place] = word << WORD_SHIFT | exclusive * EXCLUSIVE | leaf

    def tries(self, actor: layout.Actor, lock: ModuleLock, word: int, leaf: int, *, exclusive: bool, got: bool) -> None:
        what = lock << LOCK_SHIFT | exclusive * EXCLUSIVE | leaf | got * GOT
        self.look(self.words, LAY, RULES, what, actor.tally, word)

    def blamed(self, actor: layout.Actor, lock: ModuleLock, leaf: int) -> dict[int, int]:
        at = actor.tally + CONTENTION + (lock * LEAVES + leaf) * COLUMNS
        return {column: int(self.words[at + column]) for column in range(COLUMNS) if self.words[at + column]}

    def waits(self, actor: layout.Actor, lock: ModuleLock, leaf: int) -> list[int]:
        at = actor.tally + WAITING + (lock * LEAVES + leaf) * WAIT_FIELDS
        return self.words[at : at + WAIT_FIELDS].tolist()


@pytest.fixture
def machine() -> Machine:
    return Machine()


VCPUS, ZAPPERS = [vcpu_actor(LAY, i) for i in range(2)], [zapper_actor(LAY, i) for i in range(2)]
SEPT_0, SEPT_1 = LAY.sept, LAY.sept + LAY.page_stride


def test_a_track_that_failed_blames_the_entry_that_shares_the_epoch_lock(machine: Machine):
    machine.holds(VCPUS[1], LAY.epoch_lock, ENTER, exclusive=False)
    machine.tries(ZAPPERS[0], ModuleLock.EPOCH, LAY.epoch_lock, TRACK, exclusive=True, got=False)

    assert machine.blamed(ZAPPERS[0], ModuleLock.EPOCH, TRACK) == {ENTER: 1}


def test_two_in_the_same_seamcall_are_blamed_as_one_and_in_two_as_several(machine: Machine):
    machine.holds(VCPUS[0], LAY.tree_lock, REMOVE, exclusive=False)
    machine.holds(ZAPPERS[1], LAY.tree_lock, REMOVE, exclusive=False)
    machine.tries(ZAPPERS[0], ModuleLock.TREE, LAY.tree_lock, BLOCK, exclusive=True, got=False)
    machine.holds(VCPUS[0], LAY.tree_lock, int(Leaf.TDH_MEM_PAGE_AUG), exclusive=False)
    machine.tries(ZAPPERS[0], ModuleLock.TREE, LAY.tree_lock, BLOCK, exclusive=True, got=False)

    assert machine.blamed(ZAPPERS[0], ModuleLock.TREE, BLOCK) == {REMOVE: 1, SEVERAL: 1}


def test_a_shared_try_blames_nobody_who_shares_the_lock(machine: Machine):
    machine.holds(ZAPPERS[0], LAY.tree_lock, BLOCK, exclusive=True)
    machine.holds(VCPUS[0], LAY.tree_lock, REMOVE, exclusive=False)
    machine.tries(ZAPPERS[1], ModuleLock.TREE, LAY.tree_lock, REMOVE, exclusive=False, got=False)

    assert machine.blamed(ZAPPERS[1], ModuleLock.TREE, REMOVE) == {BLOCK: 1}


def test_who_has_let_go_or_holds_another_lock_is_not_blamed(machine: Machine):
    machine.holds(ZAPPERS[1], LAY.tree_lock, BLOCK, exclusive=True)
    machine.holds(ZAPPERS[1], SEPT_1, BLOCK, exclusive=True, place=HELD_ENTRY)
    machine.tries(ZAPPERS[0], ModuleLock.ENTRY, SEPT_0, REMOVE, exclusive=True, got=False)

    assert machine.blamed(ZAPPERS[0], ModuleLock.ENTRY, REMOVE) == {GONE: 1}


def test_nobody_blames_itself(machine: Machine):
    machine.holds(ZAPPERS[0], LAY.tree_lock, BLOCK, exclusive=True)
    machine.tries(ZAPPERS[0], ModuleLock.TREE, LAY.tree_lock, BLOCK, exclusive=True, got=False)

    assert machine.blamed(ZAPPERS[0], ModuleLock.TREE, BLOCK) == {GONE: 1}


def test_a_guest_that_stands_back_for_the_host_says_so(machine: Machine):
    machine.words[SEPT_0] = HP
    machine.tries(VCPUS[0], ModuleLock.ENTRY, SEPT_0, ACCEPT, exclusive=True, got=False)

    assert machine.blamed(VCPUS[0], ModuleLock.ENTRY, ACCEPT) == {HOST_PRIORITY: 1}


def test_a_wait_counts_its_tries_and_its_time_from_the_first(machine: Machine):
    for machine.clock, got in ((100, False), (150, False), (250, True), (900, True)):
        machine.tries(ZAPPERS[0], ModuleLock.TREE, LAY.tree_lock, BLOCK, exclusive=True, got=got)

    assert machine.waits(ZAPPERS[0], ModuleLock.TREE, BLOCK) == [1, 2, 2, 150, 150]


def test_a_wait_for_one_entry_does_not_end_with_another(machine: Machine):
    for word, got in ((SEPT_0, False), (SEPT_1, True)):
        machine.tries(VCPUS[0], ModuleLock.ENTRY, word, ACCEPT, exclusive=True, got=got)

    assert machine.waits(VCPUS[0], ModuleLock.ENTRY, ACCEPT) == [0] * WAIT_FIELDS


def test_a_track_keeps_the_lock_between_its_try_and_behind_its_release():
    lines = [line.strip() for line in straight_source(SHOOTDOWN, module.mem_track, Names(), BARE).splitlines()]
    tried, freed = lines.index("_t1 = try_lock_exclusive(td, _word)"), lines.index("unlock_exclusive(td, _word)")

    assert lines[tried + 1 : tried + 3] == ["if _t1:", f"set_own(td, me.tally + {HELD}, _word << 9 | 256 | {TRACK})"]
    assert lines[freed + 1] == f"set_own(td, me.tally + {HELD}, 0)"


@pytest.mark.parametrize(
    ("function", "expected"),
    [(module.mem_range_block, str(BLOCK)), (module.mem_page_accept, str(ACCEPT)), (kick, None), (module.td_exit, None)],
)
def test_a_seamcall_or_tdcall_is_known_by_its_leaf(function: Any, expected: str | None):
    assert leaf_text(function) == expected


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (mem_add, [Leaf.TDH_MEM_PAGE_AUG, Leaf.TDH_MEM_SEPT_ADD]),
        (module.mem_page_remove, [Leaf.TDH_MEM_PAGE_REMOVE, Leaf.TDH_MEM_SEPT_REMOVE]),
    ],
)
def test_of_two_leaves_in_one_function_the_page_says_which(function: Any, expected: list[Leaf]):
    text = leaf_text(function)

    assert text is not None
    assert [eval(text, {"node": page, "gpa": page, "lay": LAY}) for page in (1, 2)] == expected


@pytest.mark.parametrize("flow", FLOWS, ids=flow_name)
def test_whoever_keeps_a_lock_in_a_flow_also_lets_it_go_there(flow: Flow):
    lines = [
        line.strip()
        for function in protocol_of(flow).steps.values()
        for line in straight_source(SHOOTDOWN, function, Names(), BARE).splitlines()
    ]
    places = {place: f"set_own(td, me.tally + {place}, " for place in (HELD, HELD_ENTRY, HELD_TDR)}
    kept = {place for place, start in places.items() if any(it.startswith(start) and "<<" in it for it in lines)}

    assert kept == {place for place, start in places.items() if f"{start}0)" in lines}
    assert HELD_ENTRY in kept


@pytest.mark.parametrize("function", [lock_entry, lock_entry_as_guest], ids=lambda one: one.name)
@pytest.mark.parametrize(("entry", "expected"), [(0, True), (TDEL, False)])
def test_a_try_of_an_entry_is_known_to_have_succeeded_by_what_it_returns(function: Any, entry: int, expected: bool):
    words = np.zeros(LAY.total_words, np.int64)
    words[SEPT_0] = entry
    run = Reference(function, words, LAY, RULES, VCPUS[0], 0)
    while not run.done:
        run.step(0)

    assert bool(eval(TRIES_OF_ENTRY[function.name].format(run.value))) is expected


def test_a_compiled_zapper_blames_the_vcpu_that_keeps_the_epoch_locked():
    lay = plan(1, 1, 1, 1)
    words = np.zeros(lay.total_words, np.int64)
    rules = SAFE["spec"]._replace(**busy(Busy.BUG, "track"), shootdowns=1, ticks_to_ns=1 << 20)
    SHOOTDOWN.prepare(words, lay, rules, 1)
    words[lay.epoch_lock] = 2
    words[vcpu_actor(lay, 0).tally + HELD] = lay.epoch_lock << WORD_SHIFT | ENTER
    race.load_one(SHOOTDOWN, "zapper", BARE)(words, lay, rules, zapper_actor(lay, 0))
    counts = words[zapper_actor(lay, 0).tally + CONTENTION :][: WAITING - CONTENTION]

    assert counts.sum() == counts[(ModuleLock.EPOCH * LEAVES + TRACK) * COLUMNS + ENTER] == 1


def test_the_head_of_a_tally_has_room_for_all_of_it():
    assert STATUS_COUNTS + LEAVES * STATUSES <= CONTENTION
    assert WAITS + len(ModuleLock) * WAIT_FIELDS <= HEAD_WORDS
    assert len(Leaf) <= LEAVES
