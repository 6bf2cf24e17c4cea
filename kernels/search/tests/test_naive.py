"""The slow search is right: by state spaces counted by hand, and no step touches two things."""

import sys
from collections import Counter
from typing import Any

import pytest

from kernels.language.atomics import own, set_own
from kernels.language.steps import composed, local, steps
from kernels.layout import name_of
from kernels.search.explore import explore
from kernels.search.schedule import Move
from kernels.tdx.bits import ONE_EPOCH, Mirror
from kernels.tdx.kvm.zapper import zapper
from kernels.tdx.module.locks import try_lock_exclusive
from kernels.tdx.module.mem import mem_track
from kernels.tdx.protocol import Size, of_flow
from kernels.tdx.statuses import OPERAND_BUSY, SUCCESS, TD_EPOCH
from kernels.tests.naive import Space, StepMachine, as_python, search
from kernels.tests.orders import SPEC, V6_16, V18, order
from kernels.tests.slow_search import lengths
from kernels.tests.symmetry import orders, renamed

TINY = Size(1, 1)
IDLE = SPEC._replace(shootdowns=0)
# A vCPU left alone, one page, nothing looked at before entry but the mode. Before its first entry the vCPU's epoch is
# 0: 6 steps, from the store of IN_GUEST_MODE to the release of the epoch lock. After it, once with the page in the TLB
# and once without, the same 6, TD exit, OUTSIDE_GUEST_MODE, the look for an IPI, and in the guest the tick, the IPI,
# the page, the page's word: 13 each. Without it also the S-EPT entry; with it the word behind the fill. Only the tick
# goes two ways.
#
# Two of them share the epoch's lock and count by adding, so where both stand says what the words hold: 34 times 34.
#
# With two pages: never entered 6. A TLB of two entries holds 4 sets of pages, of one entry 3. For each of them the 6
# steps of entry, 3 behind TD exit, and the tick, the IPI, the page; the page's word, of either page: 14. A miss is a
# page not held (4; 4), the word behind the fill a page just filled (4; 2). The tick and the page go two ways.
#
# A lone REMOVE finds the page not blocked and stops: page, claim, tree lock, entry lock and its two words, two
# releases, and KVM_BUG_ON. The vCPU looks at neither lock, so its 34 states go with each of 10.
COUNTED = {
    "an idle vCPU": (IDLE, TINY, 6 + 2 * 13 + 2, 34 + 2, {}),
    "two of them": (IDLE, Size(2, 1), 34 * 34, 2 * 34 * 36, {}),
    "one with two pages and a TLB for both": (IDLE, Size(1, 1, 2, 2), 70, 70 + 8, {}),
    "one with two pages and a TLB for one": (IDLE, Size(1, 1, 2, 1), 54, 54 + 6, {}),
    "a lone REMOVE": (order("remove"), TINY, 34 * 10, 36 * 10 + 34 * 9, {"not_blocked": 8}),
}


@pytest.mark.parametrize(("rules", "size", "states", "edges", "outcomes"), COUNTED.values(), ids=COUNTED)
def test_machines_counted_by_hand(rules, size, states, edges, outcomes):
    space = search(StepMachine(rules, size))
    found = explore(*of_flow(rules), size, symmetry=False, reduction=False, threads=1)

    assert (len(space.depth), len(space.edges), space.outcomes) == (states, edges, outcomes)
    assert space.deadlocks == space.hopeless == set()
    assert (found.states, found.transitions, lengths(found)) == (states, edges, outcomes)


def test_a_zapper_that_waits_for_a_page_nobody_gives_back_is_not_waited_for_once_the_vm_is_dead():
    """One page, two zappers; REMOVE is refused, KVM_BUG_ON, the page kept. The other one tries to claim it for ever."""
    space = search(StepMachine(order("remove"), Size(1, 2)))

    assert space.deadlocks == space.hopeless == set()


def test_a_lock_that_its_holder_takes_again_is_tried_for_ever():
    """Which no file may say: every state is hopeless, and none a deadlock, as the zapper takes steps."""
    space = search(StepMachine(order("lock_sept_lock lock_sept_lock"), TINY))

    assert space.hopeless == space.depth.keys()
    assert space.deadlocks == set()


@pytest.mark.parametrize(("rules", "size"), [(order("block kick remove"), Size(1, 2)), (order("remove"), Size(2, 1))])
def test_renaming_actors_that_are_alike_leads_from_moves_to_moves(rules, size):
    machine = StepMachine(rules, size)
    space = search(machine)
    swap = orders(machine)[1]
    other = {state: renamed(machine, state, *swap) for state in space.depth}

    assert set(other.values()) == set(space.depth)
    assert {(other[state], other[after]) for state, _, after in space.edges} == {(s, a) for s, _, a in space.edges}


TOUCHED: list[tuple[str, int]] = []
MOST = 100  # of a step's states


class Watched(list[int]):
    """Words that say by which primitive which of them was touched, once an access."""

    def __getitem__(self, at: Any) -> Any:
        TOUCHED.append((sys._getframe(1).f_code.co_name, at))
        return super().__getitem__(at)

    def __setitem__(self, at: Any, value: Any) -> None:
        name = sys._getframe(1).f_code.co_name
        if name.startswith(("store", "set")):  # the others have read it
            TOUCHED.append((name, at))
        super().__setitem__(at, value)


def two_at_once(machine: StepMachine, space: Space) -> list[str]:
    """Every step, from the first of these states in which an actor is about to take it, that touches more than one word
    that others see, or a word other than it says; once each.

    Private are an actor's own words, and to a zapper the owner of a page whose mirror SPTE is frozen: no other one
    claims the page meanwhile.
    """
    found, seen = set(), Counter[tuple[str, int, int]]()
    for state in space.depth:
        for move in machine.moves(state):
            actor, kind = machine.actors[move.actor]
            seen[where := (move.actor, state[actor.pc], move.chosen)] += 1
            if seen[where] > MOST:
                continue
            TOUCHED.clear()
            said = kind.step(Watched([*state, *machine.tally]), machine.lay, machine.rules, actor, move.chosen)
            touched = [(name, at) for name, at in TOUCHED if at < machine.lay.state_words]
            shared = [at for name, at in touched if name not in ("own", "set_own")]
            hidden = [
                at for name, at in touched if name in ("own", "set_own") and not _private(machine, state, move, at)
            ]
            if hidden or shared != [at for at in [said - 1] if at >= 0]:
                names = [name_of(machine.lay, at) for at in (*shared, *hidden)]
                found.add(f"{kind.machine.sites[state[actor.pc]]}: {', '.join(names)}")
    return sorted(found)


def _private(machine: StepMachine, state: tuple[int, ...], move: Move, word: int) -> bool:
    name = name_of(machine.lay, word)
    frozen = move.actor.startswith("zapper") and state[machine.lay.mirror] == Mirror.FROZEN
    return f"[{move.actor}]" in name or (frozen and name == "owner[page 0]")


@pytest.mark.parametrize("rules", [V18, V6_16])
def test_no_step_touches_two_words_that_others_see(rules):
    machine = StepMachine(rules, TINY)

    assert two_at_once(machine, search(machine)) == []


@local
def advance(td, lay):
    """What no op may do: accesses hidden where the language does not look for any."""
    set_own(td, lay.epoch_tracking, own(td, lay.epoch_tracking) + ONE_EPOCH)
    set_own(td, lay.epoch_lock, 0)


@steps
def track_at_once(td, lay, rules, me):
    """TDH.MEM.TRACK that never holds its lock between two steps; it trusts that the previous epoch is empty."""
    if not (yield try_lock_exclusive(td, lay.epoch_lock)):
        return OPERAND_BUSY | TD_EPOCH
    advance(td, lay)
    return SUCCESS


def test_a_step_that_does_two_things_at_once_is_seen():
    blind = composed(zapper, [{mem_track: track_at_once}], "zapper")
    machine = StepMachine(order("track remove"), TINY, for_zapper=as_python(blind))

    (found,) = two_at_once(machine, search(machine))
    assert found.startswith("track_at_once: ")
    assert found.endswith(": epoch_lock, epoch_tracking, epoch_tracking, epoch_lock")
