"""Who is blamed for a lock that was not got: what a straight line keeps, and what it comes to for whoever looks."""

from typing import Any

import numpy as np
import pytest

from kernels import layout
from kernels.language.resolve import Names
from kernels.race import lines as race
from kernels.race.straight import BARE, straight_source
from kernels.tdx import lock_contention
from kernels.tdx.bits import HP, TDEL
from kernels.tdx.counters import (
    COLUMNS,
    CONTENTION,
    GONE,
    HELD,
    HELD_ENTRY,
    HELD_TDR,
    HOST_PRIORITY,
    LEAVES,
    SEVERAL,
    WAIT_FIELDS,
    WAITING,
    ModuleLock,
)
from kernels.tdx.kvm.kick import kick
from kernels.tdx.lock_contention import EXCLUSIVE, GOT, LOCK_SHIFT, PLACES, TRIES_OF_ENTRY, WORD_SHIFT, contended
from kernels.tdx.module import mem as module
from kernels.tdx.module.locks import lock_entry, lock_entry_as_guest
from kernels.tdx.module.sept import mem_add
from kernels.tdx.protocol import SHOOTDOWN, protocol_of
from kernels.tdx.rules import FLOWS, Busy, Flow, Rules, flow_name
from kernels.tdx.spans import LEAF_OF
from kernels.tdx.statuses import Leaf
from kernels.tdx.words import plan, vcpu_actor, zapper_actor
from kernels.tests.orders import SAFE, busy
from kernels.tests.reference import Reference

TRACK, ENTER, BLOCK = int(Leaf.TDH_MEM_TRACK), int(Leaf.TDH_VP_ENTER), int(Leaf.TDH_MEM_RANGE_BLOCK)
REMOVE, ACCEPT = int(Leaf.TDH_MEM_PAGE_REMOVE), int(Leaf.TDG_MEM_PAGE_ACCEPT)
LAY = plan(2, 2, 2, 2)
RULES = Rules(*([0] * len(Rules._fields)))._replace(ticks_to_ns=1 << 20)


class Machine:
    """Two vCPUs and two zappers whose words a test writes, and a clock that it sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.words, self.clock = np.zeros(LAY.total_words, np.int64), 0
        monkeypatch.setattr(lock_contention, "now", lambda rules: self.clock)

    def holds(self, actor: layout.Actor, word: int, leaf: int, exclusive: bool, place: int = HELD) -> None:
        self.words[actor.tally + place] = word << WORD_SHIFT | exclusive * EXCLUSIVE | leaf

    def tries(self, actor: layout.Actor, lock: ModuleLock, word: int, leaf: int, *, exclusive: bool, got: bool) -> None:
        what = lock << LOCK_SHIFT | exclusive * EXCLUSIVE | leaf | got * GOT
        contended(self.words, LAY, RULES, what, actor.tally, word, PLACES.get(lock, HELD))

    def blamed(self, actor: layout.Actor, lock: ModuleLock, leaf: int) -> dict[int, int]:
        at = actor.tally + CONTENTION + (lock * LEAVES + leaf) * COLUMNS
        return {column: int(self.words[at + column]) for column in range(COLUMNS) if self.words[at + column]}

    def waits(self, actor: layout.Actor, lock: ModuleLock, leaf: int) -> list[int]:
        at = actor.tally + WAITING + (lock * LEAVES + leaf) * WAIT_FIELDS
        return self.words[at : at + WAIT_FIELDS].tolist()


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


VCPUS, ZAPPERS = [vcpu_actor(LAY, i) for i in range(2)], [zapper_actor(LAY, i) for i in range(2)]
SEPT_0, SEPT_1 = LAY.sept, LAY.sept + LAY.page_stride


ZAPPER_BLOCKS = (ZAPPERS[0], LAY.tree_lock, BLOCK, True, HELD)
OTHER_BLOCKS, OTHER_REMOVES = (
    (ZAPPERS[1], LAY.tree_lock, leaf, exclusive, HELD) for leaf, exclusive in ((BLOCK, True), (REMOVE, False))
)
VCPU_REMOVES = (VCPUS[0], LAY.tree_lock, REMOVE, False, HELD)
# By what is shown: who holds what, a lock and its word, the leaf that zapper 0 or 1 tries it in, and who is blamed.
BLAMED: dict[str, tuple[list[Any], ModuleLock, int, int, int, dict[int, int]]] = {
    "the entry that shares the epoch lock": (
        [(VCPUS[1], LAY.epoch_lock, ENTER, False, HELD)], ModuleLock.EPOCH, LAY.epoch_lock, 0, TRACK, {ENTER: 1},
    ),
    "two in the same SEAMCALL are one": (
        [VCPU_REMOVES, OTHER_REMOVES], ModuleLock.TREE, LAY.tree_lock, 0, BLOCK, {REMOVE: 1},
    ),
    "two in two are several": (
        [(VCPUS[0], LAY.tree_lock, int(Leaf.TDH_MEM_PAGE_AUG), False, HELD), OTHER_REMOVES],
        ModuleLock.TREE, LAY.tree_lock, 0, BLOCK, {SEVERAL: 1},
    ),
    "nobody who shares what is tried shared": (
        [ZAPPER_BLOCKS, VCPU_REMOVES], ModuleLock.TREE, LAY.tree_lock, 1, REMOVE, {BLOCK: 1},
    ),
    "nobody who has let go or holds another lock": (
        [OTHER_BLOCKS, (ZAPPERS[1], SEPT_1, BLOCK, True, HELD_ENTRY)], ModuleLock.ENTRY, SEPT_0, 0, REMOVE, {GONE: 1},
    ),
    "nobody itself": ([ZAPPER_BLOCKS], ModuleLock.TREE, LAY.tree_lock, 0, BLOCK, {GONE: 1}),
}  # fmt: skip


@pytest.mark.parametrize(("held", "lock", "word", "zapper", "leaf", "blamed"), BLAMED.values(), ids=BLAMED)
def test_a_try_that_failed_blames(machine: Machine, held, lock, word, zapper, leaf, blamed):
    for one in held:
        machine.holds(*one)
    exclusive = not (lock == ModuleLock.TREE and leaf == REMOVE)
    machine.tries(ZAPPERS[zapper], lock, word, leaf, exclusive=exclusive, got=False)

    assert machine.blamed(ZAPPERS[zapper], lock, leaf) == blamed


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
    assert LEAF_OF.get(function.span) == expected


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (mem_add, [Leaf.TDH_MEM_PAGE_AUG, Leaf.TDH_MEM_SEPT_ADD]),
        (module.mem_page_remove, [Leaf.TDH_MEM_PAGE_REMOVE, Leaf.TDH_MEM_SEPT_REMOVE]),
    ],
)
def test_of_two_leaves_in_one_function_the_page_says_which(function: Any, expected: list[Leaf]):
    text = LEAF_OF[function.span]

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
